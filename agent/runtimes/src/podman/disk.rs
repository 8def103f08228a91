//! What Podman keeps on its disk of a container.
//!
//! Podman writes all of it before it calls the runtime (by conmon), and holds no lock that readers of these files would wait for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use verger_agent_core::gate::Launch;
use verger_policy::digest::Digest;
use verger_policy::facts::podman::{self, Kept, Places};
use verger_policy::facts::{Evidence, ImageDefaults, Instance, NamespaceOwner, image, oci};

use super::netns;
use crate::bundle;
use crate::docker::{confine, is_container_id};

/// The most bytes of one of these files.
const LIMIT: usize = 16 << 20;
/// The most bytes of a file that holds a pid.
const PID_LIMIT: usize = 32;

/// The folders of Podman's storage (`podman info`): root's, and no others.
#[derive(Clone, Debug)]
pub struct PodmanRoots {
    /// What is kept for good (`graphRoot`).
    pub graph: PathBuf,
    /// What is kept while the host is up (`runRoot`).
    pub run: PathBuf,
}

impl Default for PodmanRoots {
    /// The usual ones of root's Podman.
    fn default() -> Self {
        Self {
            graph: "/var/lib/containers/storage".into(),
            run: "/run/containers/storage".into(),
        }
    }
}

/// Podman's files.
#[derive(Clone, Debug)]
pub struct PodmanDisk {
    roots: PodmanRoots,
}

/// The bundle of a container below the first folder, and what is kept of it below either.
fn userdata(id: &str) -> String {
    format!("overlay-containers/{id}/userdata")
}

impl PodmanDisk {
    /// Those below these folders.
    pub const fn new(roots: PodmanRoots) -> Self {
        Self { roots }
    }

    /// Whether this folder is the bundle of Podman's container of this id.
    pub(crate) fn is_bundle(&self, bundle: &Path, id: &str) -> bool {
        is_container_id(id) && bundle::is_same(bundle, &self.roots.graph.join(userdata(id)))
    }

    /// Whether Podman has a container of this id.
    pub(crate) fn has(&self, id: &str) -> bool {
        is_container_id(id) && self.config(id).is_ok()
    }

    /// One instance as it is launched.
    pub(crate) fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        match launch {
            // Nothing of it is there yet.
            Launch::Config { id, config, .. } => self.launched(id, config, |path| netns::owner(path, None)),
            Launch::Made { id } => {
                let own = self.init_pid(id)?;
                self.launched(id, &self.config(id)?, |path| netns::owner(path, Some(own)))
            }
            Launch::Process { id, process } => {
                let config =
                    oci::with_process(&self.config(id)?, process).map_err(|error| error.to_string())?;
                self.launched(id, &config, |_| {
                    Evidence::missing("whose the network of a container that runs is, is not looked at")
                })
            }
        }
    }

    /// The pid that the runtime left where Podman told it to, once it has made the container.
    pub(crate) fn init_pid(&self, id: &str) -> Result<u32, String> {
        let bytes = bundle::read_below(&self.roots.run, &format!("{}/pidfile", userdata(id)), PID_LIMIT)?;
        let pid = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        pid.filter(|pid| *pid > 0)
            .ok_or_else(|| "its pidfile holds no pid".to_owned())
    }

    fn config(&self, id: &str) -> Result<Vec<u8>, String> {
        let path = format!("{}/config.json", userdata(id));
        bundle::read_below(&self.roots.graph, &path, bundle::CONFIG_LIMIT)
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        bundle::read_below(&self.roots.graph, path, LIMIT)
    }

    /// A list, and the one beside it of what does not outlive the host's next start, where there is one.
    fn lists(&self, folder: &str, name: &str) -> Result<Vec<Vec<u8>>, String> {
        let mut lists = vec![self.file(&format!("{folder}/{name}"))?];
        let beside = format!("{folder}/volatile-{name}");
        if self.roots.graph.join(&beside).exists() {
            lists.push(self.file(&beside)?);
        }
        Ok(lists)
    }

    fn launched(
        &self,
        id: &str,
        config: &[u8],
        network: impl FnOnce(&str) -> Evidence<NamespaceOwner>,
    ) -> Result<Instance, String> {
        let oci = oci::parse(config).map_err(|error| error.to_string())?;
        let lists = self.lists("overlay-containers", "containers.json")?;
        let mut kept = podman::container(&lists, id).map_err(|error| error.to_string())?;
        let defaults = match &kept.image {
            Evidence::Missing(why) => Evidence::Missing(why.clone()),
            Evidence::Seen(digest) => match self.image(&kept, digest) {
                Ok(defaults) => Evidence::Seen(defaults),
                Err(why) => {
                    // What is not seen to be of an image is of none.
                    kept.image = Evidence::Missing(why.clone());
                    Evidence::Missing(why)
                }
            },
        };
        let network = match &oci.config.namespaces.network {
            Evidence::Seen(NamespaceOwner::Instance(path)) => network(path),
            other => other.clone(),
        };
        let mut instance = podman::instance(kept, oci, &self.places(), defaults, network);
        confine(&mut instance.config.apparmor);
        Ok(instance)
    }

    /// The image's own words, from its config, which its digest names; and whether the layers of the container are that image's.
    fn image(&self, kept: &Kept, digest: &Digest) -> Result<ImageDefaults, String> {
        let file = podman::big_data_file(&digest.to_string());
        let bytes = self.file(&format!("overlay-images/{}/{file}", digest.hex()))?;
        let image = image::parse(&bytes).map_err(|error| error.to_string())?;
        if image.digest != *digest || Digest::of(&bytes) != *digest {
            return Err("the image's config on disk is not what its digest says".to_owned());
        }
        let list = self.file("overlay-images/images.json")?;
        let tops = podman::top_layers(&list, digest).map_err(|error| error.to_string())?;
        let lists = self.lists("overlay-layers", "layers.json")?;
        let (top, diffs) = podman::diffs_below(&lists, &kept.layer).map_err(|error| error.to_string())?;
        let is_on_top = match &top {
            Some(top) => tops.contains(top),
            None => tops.is_empty(),
        };
        if !is_on_top || !podman::is_image(&bytes, &diffs) {
            return Err("its root file system is not made of its image's layers".to_owned());
        }
        Ok(image.defaults)
    }

    /// The folders as they may be written in a config: as they were named, and with links resolved.
    fn places(&self) -> Places {
        let names = |root: &Path| -> BTreeSet<String> {
            let real = std::fs::canonicalize(root).ok();
            let named = root.to_str().map(|root| root.trim_end_matches('/').to_owned());
            let real = real.and_then(|root| root.to_str().map(str::to_owned));
            named.into_iter().chain(real).collect()
        };
        Places {
            graph: names(&self.roots.graph),
            run: names(&self.roots.run),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
