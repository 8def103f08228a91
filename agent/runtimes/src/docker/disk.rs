//! What Docker keeps on its disk of a container, read without asking the daemon: while a container is launched the daemon holds its
//! lock, and would not answer before the launch is over.
//!
//! The daemon writes these files before it calls the runtime. They say what an inspection says of what was asked for, in other places.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use verger_agent_core::gate::Launch;
use verger_policy::digest::Digest;
use verger_policy::facts::oci::OciConfig;
use verger_policy::facts::{Evidence, ImageDefaults, Instance, NamespaceOwner, image, inspect, merge, oci};

use super::recent::Recent;
use super::{daemon, is_container_id};
use crate::{bundle, disk};

/// The most bytes of one of these files.
const LIMIT: usize = 8 << 20;
/// The most bytes of a file that holds a pid.
const PID_LIMIT: usize = 32;
/// Why an id is not looked for.
const NOT_OF_DOCKER: &str =
    "no container of Docker or Podman has such an id, and of others (ctr, a builder) no image is known here";

/// Docker's files.
#[derive(Clone, Debug)]
pub struct DockerDisk {
    data_root: PathBuf,
    bundle_roots: Vec<PathBuf>,
    configs: Recent<OciConfig>,
    asked: Recent<Asked>,
}

/// Of `config.v2.json`, what an inspection says, too.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kept<'a> {
    #[serde(rename = "ID")]
    id: String,
    #[serde(borrow)]
    config: &'a RawValue,
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    path: String,
    args: Option<Vec<String>>,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    app_armor_profile: String,
    #[serde(default)]
    resolv_conf_path: String,
    #[serde(borrow)]
    mount_points: Option<BTreeMap<String, &'a RawValue>>,
}

/// The same as an inspection says it. Texts that hold what somebody chose (labels, variables) are handed on as they are written.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Said<'a> {
    id: &'a str,
    name: &'a str,
    image: &'a str,
    path: &'a str,
    args: &'a Option<Vec<String>>,
    app_armor_profile: &'a str,
    resolv_conf_path: &'a str,
    graph_driver: GraphDriver,
    config: &'a RawValue,
    host_config: &'a RawValue,
    mounts: Vec<&'a RawValue>,
}

/// Where the storage keeps the root file system.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: BTreeMap<&'static str, String>,
}

/// What is said of ports before the daemon has chosen any.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publishing {
    #[serde(default)]
    publish_all_ports: bool,
    port_bindings: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_port: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exposing<'a> {
    #[serde(borrow)]
    exposed_ports: Option<BTreeMap<String, &'a RawValue>>,
}

/// A port that is published on one of the host that the daemon has yet to choose, if there is any.
fn published_anywhere(config: &RawValue, host: &RawValue) -> Result<Option<String>, serde_json::Error> {
    let publishing: Publishing = serde_json::from_str(host.get())?;
    let bindings = publishing.port_bindings.unwrap_or_default();
    let is_chosen = |binding: &Binding| binding.host_port.parse::<u16>().is_ok_and(|port| port != 0);
    // A port without a binding is published by some daemons, where the image exposes it, and not by others.
    let open = bindings
        .iter()
        .find(|(_, bindings)| {
            let bindings = bindings.as_deref().unwrap_or_default();
            bindings.is_empty() || !bindings.iter().all(is_chosen)
        })
        .map(|(listen, _)| listen.clone());
    if open.is_some() || !publishing.publish_all_ports {
        return Ok(open);
    }
    let exposing: Exposing<'_> = serde_json::from_str(config.get())?;
    Ok(exposing
        .exposed_ports
        .into_iter()
        .flat_map(BTreeMap::into_keys)
        .find(|listen| !bindings.contains_key(listen)))
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Asked {
    inspected: inspect::Inspected,
    defaults: Evidence<ImageDefaults>,
    /// A port that is published anywhere.
    anywhere: Option<String>,
    /// Whether it was told where the root file system is.
    is_rooted: bool,
}

impl DockerDisk {
    /// Those below the daemon's data root (`/var/lib/docker`), and the folders that hold `ID/config.json` of what runs, searched
    /// before the usual ones.
    pub fn new(data_root: PathBuf, bundle_roots: Vec<PathBuf>) -> Self {
        let usual = bundle::DEFAULT_ROOTS.map(PathBuf::from);
        Self {
            data_root,
            bundle_roots: bundle_roots.into_iter().chain(usual).collect(),
            configs: Recent::default(),
            asked: Recent::default(),
        }
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        bundle::read_below(&self.data_root, path, LIMIT)
    }

    /// What was asked for, as an inspection would say it, and the image's defaults.
    fn asked(&self, id: &str) -> Result<Asked, String> {
        let kept = self.file(&format!("containers/{id}/config.v2.json"))?;
        let host = self.file(&format!("containers/{id}/hostconfig.json"))?;
        // What is not there yet may come.
        let is_whole = |asked: &Asked| asked.is_rooted && matches!(asked.defaults, Evidence::Seen(_));
        self.asked.read(&[id.as_bytes(), &kept, &host], is_whole, || {
            self.asked_of(id, &kept, &host)
        })
    }

    /// The same of these two documents, and of what they name: an image, which its digest names, and the root file system that the container has
    /// for as long as it is there.
    fn asked_of(&self, id: &str, kept: &[u8], host: &[u8]) -> Result<Asked, String> {
        let kept: Kept<'_> = serde_json::from_slice(kept)
            .map_err(|error| format!("its config.v2.json is malformed: {error}"))?;
        if kept.id != id {
            return Err("its config.v2.json is of another container".to_owned());
        }
        let malformed = |error: serde_json::Error| format!("its hostconfig.json is malformed: {error}");
        let host: &RawValue = serde_json::from_slice(host).map_err(malformed)?;
        let anywhere = published_anywhere(kept.config, host).map_err(malformed)?;
        let defaults = self.defaults(&kept);
        let root = self.root_of(&kept);
        let said = Said {
            id: &kept.id,
            name: &kept.name,
            image: &kept.image,
            path: &kept.path,
            args: &kept.args,
            app_armor_profile: &kept.app_armor_profile,
            resolv_conf_path: &kept.resolv_conf_path,
            graph_driver: GraphDriver {
                data: root.iter().map(|path| ("MergedDir", path.clone())).collect(),
            },
            config: kept.config,
            host_config: host,
            mounts: kept
                .mount_points
                .iter()
                .flatten()
                .map(|(_, mount)| *mount)
                .collect(),
        };
        let document = serde_json::to_vec(&said).map_err(|error| error.to_string())?;
        let inspected = inspect::parse(&document).map_err(|error| error.to_string())?;
        Ok(Asked {
            inspected,
            defaults,
            anywhere,
            is_rooted: root.is_some(),
        })
    }

    /// Where the storage mounts the root file system of a container: it has a name of its own, which the store of layers keeps
    /// (moby `layer/filestore.go`). None where it is not told, or the storage is another one.
    fn root_of(&self, kept: &Kept<'_>) -> Option<String> {
        let (driver, id) = (kept.driver.as_str(), kept.id.as_str());
        let (folder, place) = match driver {
            "overlay2" | "fuse-overlayfs" => (driver, "/merged"),
            "vfs" => ("vfs/dir", ""),
            _ => return None,
        };
        let bytes = self
            .file(&format!("image/{driver}/layerdb/mounts/{id}/mount-id"))
            .ok()?;
        let mount = String::from_utf8(bytes).ok()?;
        if !is_container_id(&mount) {
            return None;
        }
        // The daemon resolves links in the path of its data root, and in no other.
        let data_root = std::fs::canonicalize(&self.data_root).ok()?;
        Some(format!("{}/{folder}/{mount}{place}", data_root.display()))
    }

    /// The image's own words, from the store of images; it is named by its digest, which is worked out again.
    fn defaults(&self, kept: &Kept<'_>) -> Evidence<ImageDefaults> {
        let read = || {
            let digest: Digest = kept
                .image
                .parse()
                .map_err(|_| "the container names no image digest".to_owned())?;
            let driver = &kept.driver;
            if driver.is_empty()
                || !driver
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            {
                return Err("the container names no storage driver".to_owned());
            }
            let bytes = self.file(&format!("image/{driver}/imagedb/content/sha256/{}", digest.hex()))?;
            let image = image::parse(&bytes).map_err(|error| error.to_string())?;
            if image.digest != digest {
                return Err("the image's config on disk is not what its digest says".to_owned());
            }
            Ok(image.defaults)
        };
        match read() {
            Ok(defaults) => Evidence::Seen(defaults),
            Err(why) => Evidence::Missing(why),
        }
    }

    /// One instance as it is launched. Hooks are yet to be run where it `is_made` now.
    fn launched(&self, id: &str, config: &[u8], is_made: bool) -> Result<Instance, String> {
        if !is_container_id(id) {
            return Err(NOT_OF_DOCKER.to_owned());
        }
        let oci = self.configs.read(
            &[config],
            |_| true,
            || oci::parse(config).map_err(|error| error.to_string()),
        )?;
        let daemon_hook = oci.daemon_hook.filter(|_| is_made);
        let Asked {
            inspected,
            defaults,
            anywhere,
            is_rooted: _,
        } = self.asked(id)?;
        // Without a network of its own nothing is published, whatever was asked for.
        let anywhere = anywhere.filter(|_| inspected.network == NamespaceOwner::Own);
        let not_live = Evidence::missing("nothing of it runs yet");
        let mut instance = merge::instance(inspected, Some(oci), defaults, not_live);
        if let Some(listen) = anywhere {
            instance.config.ports = Evidence::Missing(format!(
                "{listen} is published on a port of the host that the daemon will choose"
            ));
        }
        if let Some(pid) = daemon_hook
            && let Evidence::Seen(beyond) = &mut instance.config.beyond
        {
            beyond.hooks = daemon::own_hook(pid, &beyond.hooks);
        }
        daemon::confine(&mut instance.config.apparmor);
        Ok(instance)
    }
}

impl DockerDisk {
    /// Whether this folder is the bundle of Docker's container of this id.
    pub(crate) fn is_bundle(&self, bundle: &Path, id: &str) -> bool {
        let of = |root: &PathBuf| bundle::is_same(bundle, &root.join(id));
        is_container_id(id) && self.bundle_roots.iter().any(of)
    }

    /// Whether Docker has made a container of this id.
    pub(crate) fn has_bundle(&self, id: &str) -> bool {
        is_container_id(id) && bundle::stamp(&self.bundle_roots, id).is_some()
    }

    /// A namespace of containerd's besides Docker's that has a container of this id.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) fn stranger(&self, id: &str) -> Result<Option<String>, String> {
        for root in self.bundle_roots.iter().filter(|_| is_container_id(id)) {
            if let Some(namespace) = disk::other_namespace(root, id)? {
                return Ok(Some(namespace));
            }
        }
        Ok(None)
    }

    /// One instance as it is launched, which is Docker's.
    pub(crate) fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        match launch {
            Launch::Config { id, config, .. } => self.launched(id, config, true),
            Launch::Made { id } => {
                let config = self.config(id)?;
                self.launched(id, &config, false)
            }
            Launch::Process { id, process } => {
                let config =
                    oci::with_process(&self.config(id)?, process).map_err(|error| error.to_string())?;
                self.launched(id, &config, false)
            }
        }
    }

    /// The pid that the shim leaves in the bundle, once the runtime has made the container.
    pub(crate) fn init_pid(&self, id: &str) -> Result<u32, String> {
        if !is_container_id(id) {
            return Err(NOT_OF_DOCKER.to_owned());
        }
        let bytes = bundle::read_beside(&self.bundle_roots, id, "init.pid", PID_LIMIT)?;
        let pid = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        pid.filter(|pid| *pid > 0)
            .ok_or_else(|| "its init.pid holds no pid".to_owned())
    }

    fn config(&self, id: &str) -> Result<Vec<u8>, String> {
        if !is_container_id(id) {
            return Err(NOT_OF_DOCKER.to_owned());
        }
        bundle::read(&self.bundle_roots, id).map(|(bytes, _)| bytes)
    }
}

#[cfg(test)]
mod tests;
