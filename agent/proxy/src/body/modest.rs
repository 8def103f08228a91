//! Documents that say little.

use serde_json::Value;
use verger_policy::model::{Resource, Verb};

use super::{Named, Read, is_nothing, object, text, texts};
use crate::Refusal;
use crate::call::{On, reference};

/// A process in a container.
pub(super) fn exec(value: Value) -> Read {
    let mut read = Read::of(value);
    if !is_nothing(read.value.get("Privileged")) {
        read.of_own.insert(Verb::ReachHost);
    }
    read
}

/// Limits that reach past a container, whatever they say.
pub(super) const REACHING: [&str; 8] = [
    "BlkioWeightDevice",
    "CgroupParent",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "OomKillDisable",
];

/// Other limits.
pub(super) fn update(value: Value) -> Read {
    let mut read = Read::of(value);
    if REACHING.iter().any(|key| !is_nothing(read.value.get(key))) {
        read.of_own.insert(Verb::ReachHost);
    }
    read
}

/// A container that joins a network, or leaves it; the key that names it.
pub(super) fn membership(value: Value, verb: Verb, key: &str) -> Result<Read, Refusal> {
    let container = reference(text(&value, key)?)?;
    let mut read = Read::of(value);
    read.named.push(Named {
        pointer: format!("/{key}"),
        before: "",
        reference: container.clone(),
        after: String::new(),
    });
    read.wish(verb, On::Container(container));
    if let Some(endpoint) = read.value.get("EndpointConfig").cloned() {
        links(&mut read, &endpoint)?;
    }
    Ok(read)
}

/// What an endpoint is linked to: its names and addresses are told.
pub(super) fn links(read: &mut Read, endpoint: &Value) -> Result<(), Refusal> {
    for link in texts(endpoint, "Links")? {
        let name = link.split(':').next().unwrap_or_default();
        read.wish(Verb::Get, On::Container(reference(name)?));
    }
    Ok(())
}

/// A network. One that is not a bridge, or has options, may be of the host's own.
pub(super) fn network(value: Value) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    let value = &read.value;
    let is_bridge = matches!(text(value, "Driver")?, "" | "default" | "bridge");
    let ipam = object(value, "IPAM")?;
    let own = is_bridge
        && matches!(text(ipam, "Driver")?, "" | "default")
        && is_nothing(ipam.get("Options"))
        && ["Options", "ConfigFrom", "ConfigOnly", "Ingress"]
            .iter()
            .all(|key| is_empty(value.get(key)));
    if !own {
        read.all(Verb::Administer, Resource::Runtime);
    }
    Ok(read)
}

/// As [`is_nothing`], and an object all of whose members are.
fn is_empty(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Object(members)) => members.values().all(|value| is_nothing(Some(value))),
        other => is_nothing(other),
    }
}

/// A volume. With options of its driver it may be any folder of the host.
pub(super) fn volume(value: Value) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    let plain =
        matches!(text(&read.value, "Driver")?, "" | "local") && is_nothing(read.value.get("DriverOpts"));
    if !plain {
        read.all(Verb::Administer, Resource::Runtime);
    }
    Ok(read)
}
