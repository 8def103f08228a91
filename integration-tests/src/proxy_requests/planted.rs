//! Proxies that are too lax, each as some real one was: a reader that finds nothing in what they let through would find nothing anywhere.

use serde_json::Value;

/// One of them: whether it lets a request through, by its method, target and body.
pub(super) type Planted = (&'static str, fn(&str, &str, &[u8]) -> bool);

pub(super) const ALL: &[Planted] = &[
    ("by the spelling of the documents", by_spelling),
    ("by the last of two", by_the_last),
    ("by the path as it stands", by_the_path),
    ("by privileges alone", by_privileges),
];

fn host(body: &[u8]) -> Option<Value> {
    let document: Value = serde_json::from_slice(body).ok()?;
    Some(document["HostConfig"].clone())
}

/// Of those that the seeds have, what a proxy would look for at least.
fn is_plain(host: &Value) -> bool {
    let Value::Object(members) = host else { return true };
    members.iter().all(|(key, value)| {
        let is_nothing = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            _ => false,
        };
        is_nothing || ["Memory", "PidsLimit", "ReadonlyRootfs"].contains(&key.as_str())
    })
}

fn is_create(target: &str) -> bool {
    target
        .split('?')
        .next()
        .unwrap_or_default()
        .ends_with("/containers/create")
}

/// Asks of the key in its own case, as who reads JSON into a map does, and passes over others.
fn by_spelling(_: &str, target: &str, body: &[u8]) -> bool {
    is_create(target)
        && host(body)
            .is_some_and(|host| is_plain(&host) || host.get("Privileged").is_none_or(|value| *value == false))
}

/// Reads strictly, but takes of two keys the last.
fn by_the_last(_: &str, target: &str, body: &[u8]) -> bool {
    let known = ["Image", "Cmd", "Env", "Labels", "HostConfig", "NetworkingConfig"];
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let members = document.as_ref().and_then(Value::as_object);
    is_create(target)
        && members.is_some_and(|members| members.keys().all(|key| known.contains(&key.as_str())))
        && host(body).is_some_and(|host| is_plain(&host))
}

/// Looks at bodies of paths that it knows as they stand, and takes others for harmless.
fn by_the_path(method: &str, target: &str, _: &[u8]) -> bool {
    method == "POST" && target.to_lowercase().contains("create") && !is_create(target)
}

/// Knows one privilege.
fn by_privileges(_: &str, target: &str, body: &[u8]) -> bool {
    is_create(target) && !String::from_utf8_lossy(body).contains("\"Privileged\":true")
}
