//! `bless`: a workload draft from what runs, for a person to read and to seal.

use std::path::PathBuf;

use verger_policy::draft;
use verger_policy::facts::{Evidence, Instance, image, inspect, merge, oci};
use verger_policy::model::Name;

use crate::args::BlessArgs;
use crate::exit::{Exit, Failure};
use crate::output::{emit, note};
use crate::{docker, podman};

pub(super) async fn bless(args: BlessArgs) -> anyhow::Result<Exit> {
    let BlessArgs {
        from_running,
        from_podman,
        podman_graph_root,
        podman_run_root,
        docker_host,
        oci_root,
        name,
    } = args;
    let given = name.as_deref().map(named).transpose()?;
    let (what, instance) = match (from_podman, from_running) {
        (Some(container), _) => {
            let instance = podman::instance(&podman_graph_root, &podman_run_root, &container)?;
            note(
                "note: which ports Podman publishes is not read, so the draft says `ports: any`, and `seccomp` is what the profile's digest is now",
            );
            (container, instance)
        }
        (None, Some(container)) => {
            let instance = of_docker(&container, &docker_host, &oci_root).await?;
            (container, instance)
        }
        (None, None) => {
            return Err(Failure::input("name a container with --from-running or --from-podman").into());
        }
    };
    let name = match given {
        Some(name) => name,
        None => made_of(&instance.name).ok_or_else(|| {
            Failure::input("the container's name gives no workload name; give one with --name")
        })?,
    };
    let object = verger_policy::bless::bless(&instance, name)?;
    emit(&draft::write(&object))?;
    note(&format!(
        "note: this is what `{what}` runs with now, good or bad. Read it, save it, then: verger apply -f FILE"
    ));
    Ok(Exit::Clean)
}

async fn of_docker(from_running: &str, docker_host: &str, oci_root: &[PathBuf]) -> anyhow::Result<Instance> {
    let socket = docker::socket(docker_host)?;
    let inspected = inspect::parse(&docker::container(&socket, from_running).await?)?;
    if inspected.pid.is_none() {
        return Err(Failure::input(format!("`{from_running}` does not run; start it, then bless it")).into());
    }
    let image = match &inspected.image {
        Evidence::Seen(digest) => {
            Evidence::Seen(image::parse(&docker::image(&socket, digest).await?)?.defaults)
        }
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    };
    let oci = match docker::bundle(oci_root, &inspected.id) {
        Ok(bytes) => Some(oci::parse(&bytes)?),
        Err(reason) => {
            note(&format!(
                "note: the container's OCI config cannot be read ({reason}); taking Docker's word alone. Run as root, or \
                 name the folder with --oci-root"
            ));
            None
        }
    };
    Ok(merge::instance(
        inspected,
        oci,
        image,
        Evidence::missing("its processes were not looked at"),
    ))
}

fn named(text: &str) -> Result<Name, Failure> {
    text.parse()
        .map_err(|error| Failure::input(format!("--name `{text}`: {error}")))
}

/// A workload's name of a container's, which may have other characters.
fn made_of(container: &str) -> Option<Name> {
    let plain: String = container
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    plain.trim_matches(['-', '.']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_containers_become_names_of_workloads() {
        for (container, name) in [
            ("Web_1", Some("web-1")),
            ("_a.b_", Some("a.b")),
            ("\u{1b}[31m", Some("31m")),
            ("--", None),
        ] {
            assert_eq!(
                made_of(container).as_ref().map(Name::as_str),
                name,
                "{container:?}"
            );
        }
    }
}
