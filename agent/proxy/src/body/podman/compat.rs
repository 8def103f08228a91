//! What Podman reads otherwise than Docker in a document of Docker's: it makes flags of its own CLI of many of its words
//! (Podman 4.3, pkg/api/handlers/compat).

use serde_json::Value;
use verger_policy::model::Verb;

use super::super::create::foreign_log_option;
use super::super::{Read, is_nothing, items, object, text, texts};
use super::OWN_OPTIONS;
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
    let volumes = keys(of, "Volumes")?.iter().any(|volume| volume.contains(':'));
    Ok(variables
        || volumes
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
