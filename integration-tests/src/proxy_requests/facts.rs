//! What a daemon shows of how far its containers, volumes and networks reach. The word is the daemon's, and nobody else's.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::runtime_proxy::said_at;

/// Capabilities that a container has of itself.
const OWN: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A daemon, asked by root past every proxy.
#[derive(Debug)]
pub(super) struct Daemon {
    socket: PathBuf,
    /// The mode of control groups that containers have of themselves: the host's, with version 1 of them.
    cgroups: String,
}

/// All that a daemon has.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) containers: BTreeSet<String>,
    pub(super) volumes: BTreeSet<String>,
    pub(super) networks: BTreeSet<String>,
    /// What reaches the host, each in a sentence.
    pub(super) reaches: BTreeSet<String>,
}

impl Daemon {
    /// `plain` is a container without any option.
    pub(super) fn at(socket: &Path, plain: &str) -> Result<Self> {
        let mut daemon = Self {
            socket: socket.to_owned(),
            cgroups: String::new(),
        };
        let shown = daemon.ask(&format!("/containers/{plain}/json"))?;
        daemon.cgroups = text(&shown, "/HostConfig/CgroupnsMode").to_owned();
        Ok(daemon)
    }

    /// Sends bytes, and gives what comes back.
    pub(super) fn send(&self, request: &[u8]) -> Result<Vec<u8>> {
        let stream = UnixStream::connect(&self.socket).context("connecting to the daemon")?;
        Ok(said_at(stream, request, Some(Duration::from_millis(300)))?)
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let head = format!("GET /v1.41{path} HTTP/1.0\r\nHost: docker\r\n\r\n");
        let mut stream = UnixStream::connect(&self.socket).context("connecting to the daemon")?;
        std::io::Write::write_all(&mut stream, head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        ensure!(head.contains(" 200 "), "GET {path}: {answer}");
        serde_json::from_str(body).with_context(|| format!("GET {path}: {answer}"))
    }

    /// Removes what was made since.
    pub(super) fn forget(&self, before: &Shown) -> Result<()> {
        let now = self.shown()?;
        let gone = |path: String| {
            let head = format!("DELETE /v1.41{path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
            self.send(head.as_bytes()).map(drop)
        };
        for id in now.containers.difference(&before.containers) {
            gone(format!("/containers/{id}?force=1&v=1"))?;
        }
        for name in now.volumes.difference(&before.volumes) {
            gone(format!("/volumes/{name}?force=1"))?;
        }
        for id in now.networks.difference(&before.networks) {
            gone(format!("/networks/{id}"))?;
        }
        Ok(())
    }

    pub(super) fn shown(&self) -> Result<Shown> {
        let mut shown = Shown::default();
        for listed in items(&self.ask("/containers/json?all=1")?, "") {
            let id = text(listed, "/Id");
            let container = self.ask(&format!("/containers/{id}/json"))?;
            for how in self.of_container(&container) {
                shown.reaches.insert(format!("container {id}: {how}"));
            }
            for exec in items(&container, "/ExecIDs") {
                let exec = exec.as_str().unwrap_or_default();
                // One that has ended may be gone already.
                if self
                    .ask(&format!("/exec/{exec}/json"))
                    .is_ok_and(|shown| shown.pointer("/ProcessConfig/privileged") == Some(&Value::Bool(true)))
                {
                    shown.reaches.insert(format!("exec {exec} in {id} is privileged"));
                }
            }
            shown.containers.insert(id.to_owned());
        }
        for volume in items(&self.ask("/volumes")?, "/Volumes") {
            let name = text(volume, "/Name").to_owned();
            let has_options = volume
                .pointer("/Options")
                .and_then(Value::as_object)
                .is_some_and(|options| !options.is_empty());
            if has_options || text(volume, "/Driver") != "local" {
                shown.reaches.insert(format!("volume {name}: {volume}"));
            }
            shown.volumes.insert(name);
        }
        for network in items(&self.ask("/networks")?, "") {
            let (id, driver) = (text(network, "/Id").to_owned(), text(network, "/Driver"));
            if !matches!(driver, "bridge" | "null") {
                shown.reaches.insert(format!("network {id} of {driver}"));
            }
            shown.networks.insert(id);
        }
        Ok(shown)
    }

    fn of_container(&self, container: &Value) -> Vec<String> {
        let host = container.pointer("/HostConfig").unwrap_or(&Value::Null);
        let mut found = Vec::new();
        if host["Privileged"] == true {
            found.push("privileged".to_owned());
        }
        for capability in items(host, "/CapAdd") {
            let name = capability.as_str().unwrap_or_default().to_uppercase();
            if !OWN.contains(&name.trim_start_matches("CAP_")) {
                found.push(format!("capability {name}"));
            }
        }
        for option in items(host, "/SecurityOpt") {
            let option = option.as_str().unwrap_or_default();
            if !option.starts_with("no-new-privileges") {
                found.push(format!("security option {option}"));
            }
        }
        for mode in [
            "NetworkMode",
            "PidMode",
            "IpcMode",
            "UTSMode",
            "UsernsMode",
            "CgroupnsMode",
        ] {
            let of_itself = mode == "CgroupnsMode" && self.cgroups == "host";
            if host[mode] == "host" && !of_itself {
                found.push(format!("{mode} host"));
            }
        }
        if container.pointer("/NetworkSettings/Networks/host").is_some() {
            found.push("an endpoint in the host's network".to_owned());
        }
        for mount in items(container, "/Mounts") {
            if mount["Type"] != "volume" && mount["Type"] != "tmpfs" {
                found.push(format!("mount {mount}"));
            }
        }
        for bind in items(host, "/Binds") {
            if bind
                .as_str()
                .is_some_and(|bind| bind.starts_with(['/', '.', '~']) && bind.contains(':'))
            {
                found.push(format!("bind {bind}"));
            }
        }
        for mount in items(host, "/Mounts") {
            let options = mount.pointer("/VolumeOptions/DriverConfig/Options");
            if options
                .and_then(Value::as_object)
                .is_some_and(|options| !options.is_empty())
            {
                found.push(format!("volume {mount}"));
            }
        }
        for list in [
            "Devices",
            "DeviceCgroupRules",
            "DeviceRequests",
            "BlkioWeightDevice",
        ] {
            if !items(host, &format!("/{list}")).is_empty() {
                found.push(list.to_owned());
            }
        }
        for (key, own) in [("CgroupParent", ""), ("Runtime", "runc"), ("VolumeDriver", "")] {
            let given = text(host, &format!("/{key}"));
            if !given.is_empty() && given != own && !(key == "VolumeDriver" && given == "local") {
                found.push(format!("{key} {given}"));
            }
        }
        if host["OomScoreAdj"].as_i64().is_some_and(|adj| adj < 0) {
            found.push("OomScoreAdj below zero".to_owned());
        }
        if host["OomKillDisable"] == true {
            found.push("OomKillDisable".to_owned());
        }
        for key in ["CpuRealtimePeriod", "CpuRealtimeRuntime"] {
            if host[key].as_i64().is_some_and(|number| number != 0) {
                found.push(key.to_owned());
            }
        }
        for key in ["MaskedPaths", "ReadonlyPaths"] {
            // It shows those that a container has of itself.
            if items(host, &format!("/{key}")).len() < 3 {
                found.push(format!("{key} {}", host[key]));
            }
        }
        for (name, _) in host["Sysctls"].as_object().into_iter().flatten() {
            let own = ["net.", "fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm"];
            if !own.iter().any(|own| name.starts_with(own)) {
                found.push(format!("kernel parameter {name}"));
            }
        }
        let log = text(host, "/LogConfig/Type");
        if !matches!(log, "json-file" | "local" | "none") {
            found.push(format!("log {log}"));
        }
        found
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
