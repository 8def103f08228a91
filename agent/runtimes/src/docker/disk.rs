//! What Docker keeps on its disk of a container, read without asking the daemon: while a container is launched the daemon holds its
//! lock, and would not answer before the launch is over.
//!
//! The daemon writes these files before it calls the runtime. They say what an inspection says of what was asked for, in other places.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use verger_agent_core::door::{Bundles, Launch};
use verger_policy::digest::Digest;
use verger_policy::facts::{Evidence, ImageDefaults, Instance, image, inspect, merge, oci};
use verger_policy::model::{Labels, RuntimeKind};

use super::{bundle, is_container_id};
use crate::unknown::unknown_instance;

/// The most bytes of one of these files.
const LIMIT: usize = 64 << 20;

/// Docker's files.
#[derive(Clone, Debug)]
pub struct DockerDisk {
    data_root: PathBuf,
    bundle_roots: Vec<PathBuf>,
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
    mount_points: Option<std::collections::BTreeMap<String, Value>>,
}

impl DockerDisk {
    /// Those below the daemon's data root (`/var/lib/docker`), and the folders that hold `ID/config.json` of what runs, searched
    /// before the usual ones.
    pub fn new(data_root: PathBuf, bundle_roots: Vec<PathBuf>) -> Self {
        let usual = bundle::DEFAULT_ROOTS.map(PathBuf::from);
        Self {
            data_root,
            bundle_roots: bundle_roots.into_iter().chain(usual).collect(),
        }
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        bundle::read_below(&self.data_root, path, LIMIT)
    }

    /// What was asked for, as an inspection would say it, and the image's defaults.
    fn asked(&self, id: &str) -> Result<(inspect::Inspected, Evidence<ImageDefaults>), String> {
        let bytes = self.file(&format!("containers/{id}/config.v2.json"))?;
        let kept: Kept<'_> = serde_json::from_slice(&bytes)
            .map_err(|error| format!("its config.v2.json is malformed: {error}"))?;
        if kept.id != id {
            return Err("its config.v2.json is of another container".to_owned());
        }
        let host = self.file(&format!("containers/{id}/hostconfig.json"))?;
        let host: Value = serde_json::from_slice(&host)
            .map_err(|error| format!("its hostconfig.json is malformed: {error}"))?;
        let defaults = self.defaults(&kept);
        let document = json!({
            "Id": kept.id,
            "Name": kept.name,
            "Image": kept.image,
            "Path": kept.path,
            "Args": kept.args,
            "AppArmorProfile": kept.app_armor_profile,
            "ResolvConfPath": kept.resolv_conf_path,
            "Config": kept.config,
            "HostConfig": host,
            "Mounts": kept.mount_points.unwrap_or_default().into_values().collect::<Vec<_>>(),
        });
        let inspected = inspect::parse(document.to_string().as_bytes()).map_err(|error| error.to_string())?;
        Ok((inspected, defaults))
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

    /// One instance as it is launched.
    fn launched(&self, id: &str, config: &[u8]) -> Result<Instance, String> {
        let oci = oci::parse(config).map_err(|error| error.to_string())?;
        let asked = if is_container_id(id) {
            self.asked(id)
        } else {
            Err("no container of Docker has such an id".to_owned())
        };
        let not_live = Evidence::missing("nothing of it runs yet");
        Ok(match asked {
            Ok((inspected, defaults)) => merge::instance(inspected, Some(oci), defaults, not_live),
            Err(why) => {
                let id = verger_policy::facts::InstanceId {
                    runtime: RuntimeKind::Docker,
                    id: id.to_owned(),
                };
                let unknown = unknown_instance(id, &why);
                Instance {
                    config: oci.config,
                    labels: Labels::default(),
                    live: not_live,
                    ..unknown
                }
            }
        })
    }
}

impl Bundles for DockerDisk {
    fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        match launch {
            Launch::Config { id, config } => self.launched(id, config),
            Launch::Made { id } => {
                let config = self.config(id)?;
                self.launched(id, &config)
            }
            Launch::Process { id, process } => {
                let config =
                    oci::with_process(&self.config(id)?, process).map_err(|error| error.to_string())?;
                self.launched(id, &config)
            }
        }
    }
}

impl DockerDisk {
    fn config(&self, id: &str) -> Result<Vec<u8>, String> {
        if !is_container_id(id) {
            return Err("no container of Docker has such an id".to_owned());
        }
        bundle::read(&self.bundle_roots, id).map(|(bytes, _)| bytes)
    }
}
