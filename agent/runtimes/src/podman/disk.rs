//! What Podman keeps on its disk of a container.
//!
//! Podman writes all of it before it calls the runtime (by conmon), and holds no lock that readers of these files would wait for. What the runtime
//! leaves there is the pid of the container's first process; the file stays when that has ended, and is gone once it is about to be started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use verger_agent_core::gate::Launch;
use verger_policy::digest::Digest;
use verger_policy::facts::oci::{self, OciConfig};
use verger_policy::facts::podman::{self, Kept, Places};
use verger_policy::facts::{Evidence, ImageDefaults, Instance, InvalidFacts, NamespaceOwner, image};

use super::life::Life;
use super::netns;
use crate::bundle::{self, Stamp};
use crate::docker::{confine, is_container_id};

/// The most bytes of one of these files.
const LIMIT: usize = 16 << 20;
/// The folder of the driver's containers below either folder of the storage.
pub(super) const FOLDER: &str = "overlay-containers";
/// The list of them.
const CONTAINERS: &str = "overlay-containers/containers.json";
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
pub(super) fn userdata(id: &str) -> String {
    format!("{FOLDER}/{id}/userdata")
}

fn pidfile(id: &str) -> String {
    format!("{}/pidfile", userdata(id))
}

fn pid_in(bytes: &[u8]) -> Result<u32, String> {
    let pid = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
        .ok_or_else(|| "its pidfile holds no pid".to_owned())
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

    /// Whether [`PodmanRuntime`](super::PodmanRuntime) lists the container of this id as one that runs.
    pub(crate) fn is_watched(&self, id: &str) -> bool {
        is_container_id(id) && Life::of(self, id).may_run()
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
        pid_in(&bundle::read_below(&self.roots.run, &pidfile(id), PID_LIMIT)?)
    }

    /// The same, and when it was left there; none where there is no such file.
    pub(super) fn pid_left(&self, id: &str) -> Result<Option<(u32, Stamp)>, String> {
        let read = bundle::read_if_there(&self.roots.run, &pidfile(id), PID_LIMIT)?;
        read.map(|(bytes, stamp)| Ok((pid_in(&bytes)?, stamp)))
            .transpose()
    }

    /// Every container that the storage lists, and of each what it says; none where Podman never kept any here.
    pub(super) fn listed(&self) -> Result<BTreeMap<String, Result<Kept, String>>, String> {
        let is_there = self.roots.graph.join(CONTAINERS).try_exists();
        if !is_there.map_err(|error| format!("{CONTAINERS} in {}: {error}", self.roots.graph.display()))? {
            return Ok(BTreeMap::new());
        }
        let lists = self.lists(FOLDER, "containers.json")?;
        let listed = podman::containers(&lists).map_err(|error| error.to_string())?;
        let told = |(id, kept): (String, Result<Kept, _>)| {
            (id, kept.map_err(|error: InvalidFacts| error.to_string()))
        };
        Ok(listed.into_iter().map(told).collect())
    }

    /// Those that something is kept of while the host is up.
    ///
    /// # Errors
    /// When that cannot be told. That there is no such folder is none: Podman made no container since.
    pub(super) fn in_use(&self) -> io::Result<BTreeSet<String>> {
        let entries = match fs::read_dir(self.roots.run.join(FOLDER)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let mut found = BTreeSet::new();
        for entry in entries {
            found.extend(
                entry?
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| is_container_id(name)),
            );
        }
        Ok(found)
    }

    /// The folders of the storage.
    pub(super) const fn roots(&self) -> &PodmanRoots {
        &self.roots
    }

    /// Whether a path, as it is written, leads into the bundle of Podman's container of this id.
    pub(crate) fn is_in_bundle(&self, path: &Path, id: &str) -> bool {
        let graphs = self.places().graph;
        is_container_id(id)
            && graphs
                .iter()
                .any(|graph| path.starts_with(Path::new(graph).join(userdata(id))))
    }

    /// What identifies the state of the container's config now, if it has one.
    pub(super) fn config_stamp(&self, id: &str) -> Option<Stamp> {
        bundle::stamp_below(&self.roots.graph, &format!("{}/config.json", userdata(id)))
    }

    /// The container's config, and what identifies its state.
    pub(super) fn config_read(&self, id: &str) -> Result<(Vec<u8>, Stamp), String> {
        let path = format!("{}/config.json", userdata(id));
        let read = bundle::read_if_there(&self.roots.graph, &path, bundle::CONFIG_LIMIT)?;
        read.ok_or_else(|| format!("there is no {path} in {}", self.roots.graph.display()))
    }

    fn config(&self, id: &str) -> Result<Vec<u8>, String> {
        self.config_read(id).map(|(bytes, _)| bytes)
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
        let lists = self.lists(FOLDER, "containers.json")?;
        let kept = podman::container(&lists, id).map_err(|error| error.to_string())?;
        let network = match &oci.config.namespaces.network {
            Evidence::Seen(NamespaceOwner::Instance(path)) => network(path),
            other => other.clone(),
        };
        Ok(self.instance(kept, oci, network))
    }

    /// One instance of what is kept of it and of its config. `network` is whose network namespace it has.
    pub(super) fn instance(
        &self,
        mut kept: Kept,
        oci: OciConfig,
        network: Evidence<NamespaceOwner>,
    ) -> Instance {
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
        let mut instance = podman::instance(kept, oci, &self.places(), defaults, network);
        confine(&mut instance.config.apparmor);
        instance
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
