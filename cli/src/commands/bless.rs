//! `bless`: a workload draft from what runs, for a person to read and to seal.

use verger_policy::draft;
use verger_policy::facts::{Evidence, image, inspect, merge, oci};
use verger_policy::model::Name;

use crate::args::BlessArgs;
use crate::docker;
use crate::exit::{Exit, Failure};
use crate::output::{emit, note};

pub(super) async fn bless(args: BlessArgs) -> anyhow::Result<Exit> {
    let BlessArgs {
        from_running,
        docker_host,
        oci_root,
        name,
    } = args;
    let socket = docker::socket(&docker_host)?;
    let given = name.as_deref().map(named).transpose()?;

    let inspected = inspect::parse(&docker::container(&socket, &from_running).await?)?;
    if inspected.pid.is_none() {
        return Err(Failure::input(format!("`{from_running}` does not run; start it, then bless it")).into());
    }
    let name = match given {
        Some(name) => name,
        None => made_of(&inspected.name).ok_or_else(|| {
            Failure::input("the container's name gives no workload name; give one with --name")
        })?,
    };
    let image = match &inspected.image {
        Evidence::Seen(digest) => {
            Evidence::Seen(image::parse(&docker::image(&socket, digest).await?)?.defaults)
        }
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    };
    let oci = match docker::bundle(&oci_root, &inspected.id) {
        Ok(bytes) => Some(oci::parse(&bytes)?),
        Err(reason) => {
            note(&format!(
                "note: the container's OCI config cannot be read ({reason}); taking Docker's word alone. Run as root, or \
                 name the folder with --oci-root"
            ));
            None
        }
    };
    let instance = merge::instance(
        inspected,
        oci,
        image,
        Evidence::missing("its processes were not looked at"),
    );
    let object = verger_policy::bless::bless(&instance, name)?;
    emit(&draft::write(&object))?;
    note(&format!(
        "note: this is what `{from_running}` runs with now, good or bad. Read it, save it, then: verger apply -f FILE"
    ));
    Ok(Exit::Clean)
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
