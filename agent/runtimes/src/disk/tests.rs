#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use verger_policy::facts::Evidence;
use verger_policy::model::RuntimeKind;

use super::*;
use crate::podman::tests::Storage;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const IMAGE: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const OCI: &str = r#"{"process":{"user":{"uid":0,"gid":0},"args":["/a"],"cwd":"/"},"linux":{}}"#;

/// A host with Docker, which has a container of that id, and Podman, which has another of the same.
struct Both {
    docker: tempfile::TempDir,
    podman: Storage,
}

impl Both {
    fn new() -> Self {
        let both = Self {
            docker: tempfile::tempdir().unwrap(),
            podman: Storage::new(),
        };
        let container = both.docker.path().join("containers").join(ID);
        fs::create_dir_all(&container).unwrap();
        fs::write(
            container.join("config.v2.json"),
            format!(r#"{{"ID":"{ID}","Name":"/web","Image":"{IMAGE}","Path":"/a","Args":null,"Config":{{}},"Driver":"overlay2","MountPoints":{{}}}}"#),
        )
        .unwrap();
        fs::write(container.join("hostconfig.json"), "{}").unwrap();
        both.bundle("moby");
        both
    }

    /// A container of that id in a namespace of containerd's.
    fn bundle(&self, namespace: &str) -> PathBuf {
        let bundle = self.docker.path().join("task").join(namespace).join(ID);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), OCI).unwrap();
        bundle
    }

    fn disk(&self) -> Disk {
        let docker = DockerDisk::new(
            self.docker.path().to_owned(),
            vec![self.docker.path().join("task/moby")],
        );
        Disk::new(docker, self.podman.disk())
    }

    fn created(&self, bundle: &Path) -> Result<Instance, String> {
        let config = fs::read(bundle.join("config.json")).unwrap_or_default();
        self.disk().launch(&Launch::Config {
            id: ID,
            bundle,
            config: &config,
        })
    }
}

#[test]
fn a_container_is_of_the_runtime_whose_bundle_it_is_made_of() {
    let both = Both::new();
    let docker = both.created(&both.bundle("moby")).unwrap();
    assert_eq!(
        (docker.id.runtime, docker.image),
        (RuntimeKind::Docker, Evidence::Seen(IMAGE.parse().unwrap()))
    );
    let podman = both.created(&both.podman.bundle()).unwrap();
    assert_eq!(
        (podman.id.runtime, podman.image),
        (RuntimeKind::Podman, Evidence::Seen(both.podman.image))
    );
}

#[test]
fn what_takes_the_id_of_another_runtimes_container_is_not_taken_for_it() {
    let both = Both::new();
    // `ctr run` in a namespace of its own, and somebody's copy of a bundle, with every word of what is blessed.
    for bundle in [both.bundle("default"), both.docker.path().join("copy")] {
        fs::create_dir_all(&bundle).unwrap();
        fs::copy(
            both.podman.bundle().join("config.json"),
            bundle.join("config.json"),
        )
        .unwrap();
        let why = both.created(&bundle).unwrap_err();
        assert!(
            why.contains("neither Docker nor Podman") && why.contains("ctr"),
            "{why}"
        );
    }
}

#[test]
fn of_two_containers_of_one_id_none_is_started_and_nothing_is_run_in_either() {
    let launches = [
        Launch::Made { id: ID },
        Launch::Process {
            id: ID,
            process: b"{}",
        },
    ];
    let both = Both::new();
    for launch in &launches {
        let why = both.disk().launch(launch).unwrap_err();
        assert!(why.contains("Docker and Podman both"), "{why}");
    }
    assert!(both.disk().init_pid(ID).is_err());
    // One of them alone is found.
    fs::remove_dir_all(both.docker.path().join("task/moby").join(ID)).unwrap();
    let podman = both.disk().launch(&launches[0]).unwrap();
    assert_eq!(podman.id.runtime, RuntimeKind::Podman);
    // Until somebody has another, past both.
    both.bundle("de\u{1b}fault");
    let why = both.disk().launch(&launches[0]).unwrap_err();
    assert!(
        why.contains("in its namespace de") && !why.contains('\u{1b}'),
        "{why}"
    );
}
