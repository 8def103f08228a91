//! What a path and a query ask for besides what the table says.

use verger_policy::model::{Resource, Verb};

use crate::call::{On, Wish};
use crate::query::Query;
use crate::table::Engine;

/// The profile for system calls that Podman's CLI names where nobody named one.
const OWN_SECCOMP: &str = "/usr/share/containers/seccomp.json";
/// What a build may be told that reaches past it, whatever it says. Podman alone knows these.
const REACHING: [&str; 14] = [
    "addcaps",
    "additionalbuildcontexts",
    "apparmor",
    "cachefrom",
    "cacheto",
    "devices",
    "labelopts",
    "registry",
    "remote",
    "rusagelogfile",
    "secrets",
    "securityopt",
    "ulimits",
    "volume",
];
/// Names that do not mean a registry (containers-transports(5)): files of the host.
const TRANSPORTS: [&str; 9] = [
    "containers-storage",
    "dir",
    "docker-archive",
    "docker-daemon",
    "oci",
    "oci-archive",
    "ostree",
    "sif",
    "tarball",
];

fn all(verb: Verb, resource: Resource) -> Wish {
    Wish {
        verb,
        on: On::All(resource),
    }
}

/// What is asked for besides.
pub(crate) fn further(engine: Engine, is_libpod: bool, path: &[String], query: &Query) -> Vec<Wish> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let mut wishes = match is_libpod {
        false => of_docker(engine, &words, query),
        true => of_podman(&words, query),
    };
    // Podman removes the containers that use what is removed by force.
    let is_removed = matches!(words[..], ["images" | "networks" | "volumes", ..]);
    if engine == Engine::Podman && is_removed && is_true(query.get("force")) {
        wishes.push(all(Verb::Delete, Resource::Containers));
    }
    wishes
}

fn of_docker(engine: Engine, words: &[&str], query: &Query) -> Vec<Wish> {
    let administer = || all(Verb::Administer, Resource::Runtime);
    let mut wishes = Vec::new();
    match words {
        // What a checkpoint holds is run, from any folder of the host.
        ["containers", _, "start"]
            if !query.get("checkpoint").is_empty() || !query.get("checkpoint-dir").is_empty() =>
        {
            wishes.push(administer());
        }
        ["build"] => {
            let own = matches!(query.get("networkmode"), "" | "default" | "bridge" | "none");
            // An empty list is written as null.
            let none = |key| matches!(query.get(key), "" | "null" | "[]");
            let of_podman = engine == Engine::Podman && reaches(query);
            if !own || !none("cgroupparent") || !none("securityopt") || of_podman {
                wishes.push(administer());
            }
        }
        ["images", "create"] if !query.get("fromSrc").is_empty() => {
            wishes.push(all(Verb::Load, Resource::Images));
            // Podman takes a path for one of the host.
            if engine == Engine::Podman && query.get("fromSrc") != "-" {
                wishes.push(administer());
            }
        }
        ["images", "create"] if engine == Engine::Podman && !is_registrys(query.get("fromImage")) => {
            wishes.push(administer());
        }
        ["system", "df"] => wishes.extend(of_disk()),
        _ => {}
    }
    wishes
}

fn of_podman(words: &[&str], query: &Query) -> Vec<Wish> {
    let mut wishes = Vec::new();
    let mut administer = |reaches: bool| {
        if reaches {
            wishes.push(all(Verb::Administer, Resource::Runtime));
        }
    };
    let insecure = ["tlsverify", "tlsVerify"]
        .iter()
        .any(|key| !query.get(key).is_empty() && !is_true(query.get(key)));
    match words {
        ["build"] => {
            // As buildah numbers them: the usual, none, and one that is made.
            let own = matches!(query.get("networkmode"), "" | "0" | "1" | "2");
            let none = |key| matches!(query.get(key), "" | "null" | "[]");
            administer(!own || !none("cgroupparent") || reaches(query) || insecure);
        }
        ["images", "pull"] => {
            let is_file = !query.get("authfile").is_empty();
            administer(!is_registrys(query.get("reference")) || is_file || insecure);
        }
        ["images", .., "push"] => {
            let is_file = !query.get("authfile").is_empty();
            administer(!is_registrys(query.get("destination")) || is_file || insecure);
        }
        ["images", "search"] => administer(!query.get("authfile").is_empty() || insecure),
        // Also a path of the host.
        ["images", "import"] => administer(!query.get("url").is_empty()),
        // Containers that are of no Podman container: those of builders.
        ["images", "prune"] => administer(is_true(query.get("external"))),
        ["containers", _] if is_true(query.get("depend")) => {
            wishes.push(all(Verb::Delete, Resource::Containers));
        }
        ["system", "df"] => wishes.extend(of_disk()),
        _ => {}
    }
    wishes
}

fn of_disk() -> [Wish; 2] {
    [Resource::Images, Resource::Volumes].map(|resource| all(Verb::List, resource))
}

/// Whether it may say yes to some reader.
fn is_true(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

/// Whether a name can mean nothing but an image of a registry.
fn is_registrys(name: &str) -> bool {
    let name = name.strip_prefix("docker://").unwrap_or(name);
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.:@/-".contains(&byte));
    let transport = name.split_once(':').map_or("", |(before, _)| before);
    is_name && !TRANSPORTS.contains(&transport) && !name.starts_with('/')
}

/// Whether a build of Podman's reaches past it: builds without a runtime (`--isolation chroot`), files of the host for its own.
fn reaches(query: &Query) -> bool {
    let said = |key: &str| !matches!(query.get(key), "" | "null" | "[]" | "{}" | "0" | "false");
    // The usual, and those of a runtime: the last is what the CLI says where its user is not root, who the service is.
    let isolated = matches!(
        query.get("isolation"),
        "" | "0" | "1" | "3" | "default" | "oci" | "rootless"
    );
    let files: Vec<String> = match serde_json::from_str(query.get("dockerfile")) {
        Ok(files) => files,
        Err(_) => vec![query.get("dockerfile").to_owned()],
    };
    let within = files
        .iter()
        .all(|file| !file.starts_with('/') && !file.contains("..") && !file.contains("://"));
    let own_maps = matches!(query.get("idmappingoptions"), "" | OWN_MAPS);
    let own_namespaces = matches!(query.get("nsoptions"), "" | "null" | "[]" | OWN_NAMESPACES);
    let own_calls = matches!(query.get("seccomp"), "" | OWN_SECCOMP);
    REACHING.iter().any(|key| said(key)) || !isolated || !within || !own_maps || !own_namespaces || !own_calls
}

/// What Podman's CLI says of maps of users where nobody asked for any.
const OWN_MAPS: &str = r#"{"HostUIDMapping":true,"HostGIDMapping":true,"UIDMap":[],"GIDMap":[],"AutoUserNs":false,"AutoUserNsOpts":{"Size":0,"InitialSize":0,"PasswdFile":"","GroupFile":"","AdditionalUIDMappings":null,"AdditionalGIDMappings":null}}"#;
/// The same of namespaces: users are the host's, as they are of every container.
const OWN_NAMESPACES: &str = r#"[{"Name":"user","Host":true,"Path":""}]"#;

#[cfg(test)]
mod tests;
