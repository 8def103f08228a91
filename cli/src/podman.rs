//! The little that `bless` reads of Podman's storage: what the gate reads when it launches the same container.

use std::path::Path;

use anyhow::Context as _;
use verger_policy::facts::podman::{self, Places};
use verger_policy::facts::{Evidence, Instance, NamespaceOwner, image, oci};

use crate::docker::below;
use crate::exit::Failure;

/// The most bytes of a file that is read.
const LIMIT: u64 = 16 << 20;

/// The container of this name or id.
///
/// # Errors
/// When there is none, or what is kept of it cannot be read.
pub(crate) fn instance(graph: &Path, run: &Path, wanted: &str) -> anyhow::Result<Instance> {
    let file = |path: &str| {
        below(graph, path, LIMIT).with_context(|| {
            format!(
                "{path} in {}: run as root, or name Podman's storage with --podman-graph-root (`podman info`)",
                graph.display()
            )
        })
    };
    let lists = vec![file("overlay-containers/containers.json")?];
    let id = podman::find(&lists, wanted).map_err(|error| Failure::input(error.to_string()))?;
    let kept = podman::container(&lists, &id)?;
    let config = file(&format!("overlay-containers/{id}/userdata/config.json"))?;
    let oci = oci::parse(&config)?;
    let defaults = match &kept.image {
        Evidence::Missing(why) => Evidence::Missing(why.clone()),
        Evidence::Seen(digest) => {
            let name = podman::big_data_file(&digest.to_string());
            let bytes = file(&format!("overlay-images/{}/{name}", digest.hex()))?;
            Evidence::Seen(image::parse(&bytes)?.defaults)
        }
    };
    // Whether it is its own is seen when it is launched; a person reads what is said here.
    let network = match &oci.config.namespaces.network {
        Evidence::Seen(NamespaceOwner::Instance(path)) if podman::is_made_network(path) => {
            Evidence::Seen(NamespaceOwner::Own)
        }
        other => other.clone(),
    };
    let names = |root: &Path| {
        let named = root.display().to_string().trim_end_matches('/').to_owned();
        let real = std::fs::canonicalize(root).map(|root| root.display().to_string());
        std::iter::once(named).chain(real).collect()
    };
    let places = Places {
        graph: names(graph),
        run: names(run),
    };
    Ok(podman::instance(kept, oci, &places, defaults, network))
}
