//! The parts of the document that count.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) image: String,
    #[serde(default)]
    pub(super) path: String,
    pub(super) args: Option<Vec<String>>,
    #[serde(default)]
    pub(super) app_armor_profile: String,
    pub(super) state: Option<State>,
    #[serde(default)]
    pub(super) resolv_conf_path: String,
    pub(super) graph_driver: Option<GraphDriver>,
    pub(super) config: Config,
    pub(super) host_config: HostConfig,
    pub(super) mounts: Option<Vec<MountPoint>>,
    pub(super) network_settings: Option<NetworkSettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct State {
    #[serde(default)]
    pub(super) pid: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GraphDriver {
    pub(super) data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default)]
    pub(super) user: String,
    pub(super) env: Option<Vec<String>>,
    #[serde(default)]
    pub(super) image: String,
    #[serde(default)]
    pub(super) working_dir: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default)]
    pub(super) network_mode: String,
    pub(super) port_bindings: Option<Ports>,
    #[serde(default)]
    pub(super) cgroup_parent: String,
    #[serde(default)]
    pub(super) ipc_mode: String,
    #[serde(default)]
    pub(super) pid_mode: String,
    #[serde(default, rename = "UTSMode")]
    pub(super) uts_mode: String,
    #[serde(default)]
    pub(super) userns_mode: String,
    #[serde(default)]
    pub(super) cgroupns_mode: String,
    #[serde(default)]
    pub(super) privileged: bool,
    #[serde(default)]
    pub(super) readonly_rootfs: bool,
    pub(super) cap_add: Option<Vec<String>>,
    pub(super) cap_drop: Option<Vec<String>>,
    pub(super) security_opt: Option<Vec<String>>,
    pub(super) group_add: Option<Vec<String>>,
    pub(super) devices: Option<Vec<Device>>,
    pub(super) device_cgroup_rules: Option<Vec<String>>,
    pub(super) device_requests: Option<Vec<DeviceRequest>>,
    pub(super) tmpfs: Option<BTreeMap<String, String>>,
    pub(super) sysctls: Option<BTreeMap<String, String>>,
    pub(super) memory: Option<i64>,
    pub(super) pids_limit: Option<i64>,
    pub(super) nano_cpus: Option<i64>,
    pub(super) cpu_quota: Option<i64>,
    pub(super) cpu_period: Option<i64>,
    pub(super) ulimits: Option<Vec<Ulimit>>,
    pub(super) masked_paths: Option<Vec<String>>,
    pub(super) readonly_paths: Option<Vec<String>>,
    pub(super) init: Option<bool>,
}

pub(super) type Ports = BTreeMap<String, Option<Vec<Binding>>>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Binding {
    #[serde(default)]
    pub(super) host_ip: String,
    #[serde(default)]
    pub(super) host_port: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Device {
    #[serde(default)]
    pub(super) path_on_host: String,
    #[serde(default)]
    pub(super) path_in_container: String,
    #[serde(default)]
    pub(super) cgroup_permissions: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeviceRequest {
    #[serde(default)]
    pub(super) driver: String,
    pub(super) capabilities: Option<Vec<Option<Vec<String>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ulimit {
    pub(super) name: String,
    pub(super) hard: i64,
    pub(super) soft: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MountPoint {
    #[serde(default, rename = "Type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) source: String,
    pub(super) destination: String,
    #[serde(default, rename = "RW")]
    pub(super) writable: bool,
    #[serde(default)]
    pub(super) propagation: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    pub(super) ports: Option<Ports>,
}
