//! The parts of the document that count.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Deserialize)]
pub(super) struct Spec<'a> {
    #[serde(borrow)]
    pub(super) process: Option<Process<'a>>,
    pub(super) root: Option<Root>,
    #[serde(borrow)]
    pub(super) hostname: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) mounts: Option<Vec<Mount<'a>>>,
    #[serde(borrow)]
    pub(super) linux: Option<Linux<'a>>,
    #[serde(borrow)]
    pub(super) hooks: Option<BTreeMap<Cow<'a, str>, Option<Vec<Hook<'a>>>>>,
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
pub(super) struct Hook<'a> {
    #[serde(default, borrow)]
    pub(super) path: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) args: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) env: Option<Vec<Text<'a>>>,
    pub(super) timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process<'a> {
    pub(super) user: User,
    pub(super) args: Option<Vec<String>>,
    #[serde(borrow)]
    pub(super) env: Option<Vec<Text<'a>>>,
    pub(super) cwd: String,
    #[serde(borrow)]
    pub(super) capabilities: Option<Capabilities<'a>>,
    #[serde(borrow)]
    pub(super) rlimits: Option<Vec<Limit<'a>>>,
    #[serde(default)]
    pub(super) no_new_privileges: bool,
    #[serde(default)]
    pub(super) terminal: bool,
    pub(super) apparmor_profile: Option<String>,
    pub(super) selinux_label: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) additional_gids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
pub(super) struct Capabilities<'a> {
    #[serde(borrow)]
    pub(super) bounding: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) effective: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) inheritable: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) permitted: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub(super) ambient: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct Limit<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    pub(super) hard: u64,
    pub(super) soft: u64,
}

#[derive(Deserialize)]
pub(super) struct Root {
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) readonly: bool,
}

#[derive(Deserialize)]
pub(super) struct Mount<'a> {
    pub(super) destination: String,
    #[serde(rename = "type", borrow)]
    pub(super) fstype: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) options: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Linux<'a> {
    #[serde(borrow)]
    pub(super) namespaces: Option<Vec<Namespace<'a>>>,
    pub(super) uid_mappings: Option<Vec<Mapping>>,
    #[serde(borrow)]
    pub(super) devices: Option<Vec<Node<'a>>>,
    #[serde(borrow)]
    pub(super) resources: Option<Resources<'a>>,
    pub(super) sysctl: Option<BTreeMap<String, String>>,
    pub(super) masked_paths: Option<BTreeSet<String>>,
    pub(super) readonly_paths: Option<BTreeSet<String>>,
    #[serde(borrow)]
    pub(super) seccomp: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) cgroups_path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) rootfs_propagation: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Namespace<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) path: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mapping {
    #[serde(rename = "containerID")]
    pub(super) container: u32,
    #[serde(rename = "hostID")]
    pub(super) host: u32,
    pub(super) size: u32,
}

#[derive(Deserialize)]
pub(super) struct Node<'a> {
    pub(super) path: String,
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) major: i64,
    #[serde(default)]
    pub(super) minor: i64,
}

#[derive(Deserialize)]
pub(super) struct Resources<'a> {
    #[serde(borrow)]
    pub(super) devices: Option<Vec<DeviceRule<'a>>>,
    pub(super) memory: Option<Memory>,
    pub(super) cpu: Option<Cpu>,
    pub(super) pids: Option<Pids>,
}

#[derive(Deserialize)]
pub(super) struct DeviceRule<'a> {
    pub(super) allow: bool,
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) major: Option<i64>,
    pub(super) minor: Option<i64>,
    #[serde(borrow)]
    pub(super) access: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Memory {
    pub(super) limit: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct Cpu {
    pub(super) quota: Option<i64>,
    pub(super) period: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Pids {
    pub(super) limit: Option<i64>,
}
