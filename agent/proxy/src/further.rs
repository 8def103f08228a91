//! What a path and a query ask for besides what the table says.

use verger_policy::model::{Resource, Verb};

use crate::call::{On, Wish};
use crate::query::Query;
use crate::table::Engine;

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
    // With words of the caller's it may run ps(1) within the container.
    if let (Engine::Podman, ["containers", container, "top"]) = (engine, &words[..])
        && !query.get("ps_args").is_empty()
    {
        wishes.push(Wish {
            verb: Verb::Exec,
            on: On::Container((*container).to_owned()),
        });
    }
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
            // What a build of Podman's is of says what of the host it has: links in its folder, its steps' own mounts, its preprocessor.
            let of_podman = engine == Engine::Podman;
            if !own || !none("cgroupparent") || !none("securityopt") || of_podman {
                wishes.push(administer());
            }
        }
        ["images", "create"] => {
            if !query.get("fromSrc").is_empty() {
                wishes.push(all(Verb::Load, Resource::Images));
            }
            // Podman takes a path for one of the host.
            let is_file = !matches!(query.get("fromSrc"), "" | "-")
                || !is_registrys(query.get("fromImage"))
                || !is_tag(query.get("tag"));
            if engine == Engine::Podman && is_file {
                wishes.push(administer());
            }
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
        .any(|key| !matches!(query.get(key), "" | "1" | "true"));
    match words {
        // As for Docker's words.
        ["build"] => administer(true),
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

/// Whether it can mean nothing but the tag or digest of an image.
fn is_tag(tag: &str) -> bool {
    tag.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
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

#[cfg(test)]
mod tests;
