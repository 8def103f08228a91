//! Documents of Podman: those of its own API, and Docker's, of which it reads some words otherwise.

mod compat;
pub(crate) mod shapes;
mod spec;

use serde_json::Value;
use verger_policy::model::{Resource, Verb};

use super::{Read, is_nothing, object, text};
use crate::Refusal;

pub(super) use compat::of_docker;
pub(super) use spec::read as spec;

/// What a mount of a volume may be told. With others a part of it may be any folder of the host (`O,upperdir=`), or be given to others (`U`).
const OWN_OPTIONS: [&str; 11] = [
    "copy", "exec", "nocopy", "nodev", "noexec", "nosuid", "ro", "rprivate", "rw", "z", "Z",
];

/// Whether a label has root's own services do something: `podman auto-update` starts the unit that a container names, and fetches as root.
pub(crate) fn is_reaching_label(key: &str) -> bool {
    key == "PODMAN_SYSTEMD_UNIT" || key.starts_with("io.containers.autoupdate")
}

/// Whether a path can be that of nothing but a device.
fn is_device(path: &str) -> bool {
    path.starts_with("/dev/") && !path.contains("..")
}

/// Other limits.
pub(super) fn limits(value: Value) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    if reaching(&read.value)? {
        read.of_own.insert(Verb::ReachHost);
    }
    Ok(read)
}

/// Whether limits reach past a container.
fn reaching(limits: &Value) -> Result<bool, Refusal> {
    let (memory, cpu) = (object(limits, "memory")?, object(limits, "cpu")?);
    let devices = object(limits, "blockIO")?.get("weightDevice");
    let own = ["devices", "hugepageLimits", "network", "rdma", "unified"]
        .iter()
        .all(|key| is_nothing(limits.get(key)))
        && is_nothing(memory.get("disableOOMKiller"))
        && is_nothing(cpu.get("realtimeRuntime"))
        && is_nothing(cpu.get("realtimePeriod"))
        && is_nothing(devices);
    Ok(!own)
}

/// A network. One that is not a bridge of its own, or has options, may be of the host's.
pub(super) fn network(value: Value) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    let value = &read.value;
    let addresses = object(value, "ipam_options")?.as_object();
    let own = matches!(text(value, "driver")?, "" | "bridge")
        && is_nothing(value.get("network_interface"))
        && is_nothing(value.get("options"))
        && addresses
            .into_iter()
            .flatten()
            .all(|(key, value)| key == "driver" && value == "host-local");
    if !own {
        read.all(Verb::Administer, Resource::Runtime);
    }
    Ok(read)
}

/// A volume. With options of its driver it may be any folder of the host.
pub(super) fn volume(value: Value) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    let plain = matches!(text(&read.value, "Driver")?, "" | "local") && is_nothing(read.value.get("Options"));
    if !plain {
        read.all(Verb::Administer, Resource::Runtime);
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
