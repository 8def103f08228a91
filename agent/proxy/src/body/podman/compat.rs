//! What Podman reads otherwise than Docker in a document of Docker's: it makes flags of its own CLI of many of its words
//! (Podman 4.3, pkg/api/handlers/compat).

use serde_json::Value;
use verger_policy::model::Verb;

use super::super::create::foreign_log_option;
use super::super::{Read, is_nothing, items, object, text, texts};
use super::{OWN_OPTIONS, is_device, is_reaching_label};
use crate::Refusal;
use crate::call::On;

/// Adds what a container that is made this way reaches at Podman.
pub(in super::super) fn of_docker(mut read: Read) -> Result<Read, Refusal> {
    if reaches(&read.value)? {
        read.wish(Verb::ReachHost, On::Made);
    }
    Ok(read)
}

fn reaches(of: &Value) -> Result<bool, Refusal> {
    let host = object(of, "HostConfig")?;
    // `A` alone, and `A*`, is the service's own variable.
    let variables = texts(of, "Env")?.iter().any(|variable| !variable.contains('='));
    // Podman looks on the host where a path leads that begins nowhere.
    let is_path = |path: &str| path.starts_with('/') && !path.contains("..");
    let volumes = keys(of, "Volumes")?
        .iter()
        .any(|volume| volume.contains(':') || !is_path(volume));
    let anonymous = texts(host, "Binds")?
        .into_iter()
        .any(|bind| !bind.contains(':') && !is_path(bind));
    let labelled = keys(of, "Labels")?.iter().any(|key| is_reaching_label(key));
    // Options are those of the mounts instead of their own, which may have been `ro`.
    let widened = texts(host, "VolumesFrom")?
        .into_iter()
        .any(|from| from.split_once(':').is_some_and(|(_, options)| options != "ro"));
    Ok(variables
        || volumes
        || anonymous
        || labelled
        || widened
        || throttled(host)?
        || !is_nothing(host.get("ContainerIDFile"))
        || !is_nothing(host.get("StorageOpt"))
        || network(text(host, "NetworkMode")?)
        || texts(host, "GroupAdd")?.contains(&"keep-groups")
        || keys(object(host, "LogConfig")?, "Config")?
            .iter()
            .any(|key| foreign_log_option(key))
        || object(host, "Tmpfs")?.to_string().contains("bind")
        || binds(host)?
        || mounts(host)?)
}

fn keys<'a>(of: &'a Value, key: &str) -> Result<Vec<&'a str>, Refusal> {
    let members = object(of, key)?.as_object();
    Ok(members
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect())
}

/// Whether a network is one by its path (`ns:`), is given options, or is that of the host by way of a program.
fn network(mode: &str) -> bool {
    let is_others = mode.starts_with("container:");
    mode.starts_with("slirp4netns") || !is_others && mode.contains([':', ',', '='])
}

/// Whether a limit of a device's names a file that is none.
fn throttled(host: &Value) -> Result<bool, Refusal> {
    for key in [
        "BlkioDeviceReadBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceWriteIOps",
    ] {
        for limit in items(host, key)? {
            if !is_device(text(limit, "Path")?) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Binds with options that give more than a volume.
fn binds(host: &Value) -> Result<bool, Refusal> {
    let foreign = |bind: &str| {
        bind.splitn(3, ':')
            .nth(2)
            .is_some_and(|options| options.split(',').any(|option| !OWN_OPTIONS.contains(&option)))
    };
    Ok(texts(host, "Binds")?.into_iter().any(foreign))
}

/// Mounts are put together as `type=…,source=…,target=…`: a comma in one of these begins another.
fn mounts(host: &Value) -> Result<bool, Refusal> {
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte))
    };
    for mount in items(host, "Mounts")? {
        // A folder is made where a source names one.
        if !plain(text(mount, "Target")?)
            || !plain(text(mount, "Source")?)
            || text(mount, "Source")?.contains('/')
            || !plain(text(mount, "Consistency")?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
