#![allow(clippy::unwrap_used)]
use std::fs::{self, File};
use std::path::Path;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const IMAGE: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const OCI: &str = r#"{"process":{"user":{"uid":0,"gid":0},"args":["/a"],"cwd":"/"},"linux":{}}"#;

/// A data root and a folder of bundles that hold one container.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new(config: &str, host: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let container = dir.path().join("containers").join(ID);
        fs::create_dir_all(&container).unwrap();
        fs::create_dir_all(dir.path().join(ID)).unwrap();
        fs::write(dir.path().join(ID).join("config.json"), OCI).unwrap();
        let kept = format!(
            r#"{{"ID":"{ID}","Name":"/web","Image":"{IMAGE}","Path":"/a","Args":null,"Config":{config},"Driver":"overlay2","MountPoints":{{}}}}"#
        );
        fs::write(container.join("config.v2.json"), kept).unwrap();
        fs::write(container.join("hostconfig.json"), host).unwrap();
        Self { dir }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("containers").join(ID).join(name)
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        disk(self.dir.path()).launch(launch)
    }

    fn created(&self) -> Result<Instance, String> {
        let config = OCI.as_bytes();
        self.launch(&Launch::Config {
            id: ID,
            bundle: Path::new(""),
            config,
        })
    }
}

fn disk(root: &Path) -> DockerDisk {
    DockerDisk::new(root.to_owned(), vec![root.to_owned()])
}

const PROCESS: &[u8] = br#"{"user":{"uid":7,"gid":7},"args":["/b"],"cwd":"/"}"#;

#[test]
fn a_container_is_what_its_files_say_however_it_is_launched() {
    let disk = Disk::new(
        r#"{"Image":"web","Labels":{"a":"b"}}"#,
        r#"{"NetworkMode":"default"}"#,
    );
    for launch in [
        Launch::Config {
            id: ID,
            bundle: Path::new(""),
            config: OCI.as_bytes(),
        },
        Launch::Made { id: ID },
        Launch::Process {
            id: ID,
            process: PROCESS,
        },
    ] {
        let instance = disk.launch(&launch).unwrap();
        assert_eq!(
            instance.image,
            Evidence::Seen(IMAGE.parse().unwrap()),
            "{launch:?}"
        );
        assert_eq!(instance.image_name.as_deref(), Some("web"));
        assert_eq!(instance.labels.0.get("a").map(String::as_str), Some("b"));
        assert_eq!(instance.config.ports, Evidence::Seen(Vec::new()));
        let uid = &instance.config.user.seen().unwrap().uid;
        let is_process = matches!(launch, Launch::Process { .. });
        assert_eq!(*uid, Evidence::Seen(if is_process { 7 } else { 0 }));
    }
}

#[test]
fn no_label_or_variable_makes_a_container_unreadable_or_another() {
    for value in ["1", "{", "{\\\"Image\\\":\\\"x\\\"}", "null", ""] {
        for key in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
            "",
            "Image",
        ] {
            let config = format!(
                r#"{{"Image":"web","Env":["{key}={value}"],"Labels":{{"{key}":"{value}","a":"b"}}}}"#
            );
            let instance = Disk::new(&config, "{}").created().unwrap();
            assert_eq!(instance.image, Evidence::Seen(IMAGE.parse().unwrap()), "{config}");
            assert_eq!(instance.image_name.as_deref(), Some("web"), "{config}");
            assert_eq!(
                instance.labels.0.get("a").map(String::as_str),
                Some("b"),
                "{config}"
            );
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_taken_for_a_stranger() {
    let config = r#"{"Image":"web"}"#;
    let big = Disk::new(config, "{}");
    let file = File::options()
        .write(true)
        .open(big.file("config.v2.json"))
        .unwrap();
    file.set_len(LIMIT as u64 + 1).unwrap();
    assert!(big.created().unwrap_err().contains("bigger than"));

    let gone = Disk::new(config, "{}");
    fs::remove_file(gone.file("hostconfig.json")).unwrap();
    assert!(gone.created().unwrap_err().contains("hostconfig.json"));

    let elsewhere = tempfile::tempdir().unwrap();
    let launch = Launch::Config {
        id: ID,
        bundle: Path::new(""),
        config: OCI.as_bytes(),
    };
    assert!(
        disk(elsewhere.path()).launch(&launch).is_err(),
        "another data root"
    );

    let other = Disk::new(config, "{}");
    let text = fs::read_to_string(other.file("config.v2.json")).unwrap();
    fs::write(other.file("config.v2.json"), text.replace(ID, &"1".repeat(64))).unwrap();
    assert!(other.created().unwrap_err().contains("of another container"));

    for launch in [
        Launch::Config {
            id: "web",
            bundle: Path::new(""),
            config: OCI.as_bytes(),
        },
        Launch::Made { id: "web" },
        Launch::Process {
            id: "web",
            process: PROCESS,
        },
    ] {
        let why = other.launch(&launch).unwrap_err();
        assert!(why.contains("no container of Docker"), "{launch:?}: {why}");
    }
}

#[test]
fn a_port_that_the_daemon_will_choose_is_not_none() {
    let exposed = r#"{"ExposedPorts":{"80/tcp":{}}}"#;
    for (config, host, anywhere) in [
        (exposed, r#"{}"#, false),
        (exposed, r#"{"PublishAllPorts":true}"#, true),
        ("{}", r#"{"PublishAllPorts":true}"#, false),
        (
            exposed,
            r#"{"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":""}]}}"#,
            true,
        ),
        (exposed, r#"{"PortBindings":{"80/tcp":[{"HostPort":"0"}]}}"#, true),
        (
            exposed,
            r#"{"PortBindings":{"80/tcp":[{"HostPort":"8000-8010"}]}}"#,
            true,
        ),
        (
            exposed,
            r#"{"PortBindings":{"80/tcp":[{"HostPort":"80"},{"HostPort":""}]}}"#,
            true,
        ),
        (
            exposed,
            r#"{"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}"#,
            false,
        ),
        (
            exposed,
            r#"{"PublishAllPorts":true,"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}"#,
            false,
        ),
        (
            exposed,
            r#"{"PublishAllPorts":true,"PortBindings":{"81/tcp":[{"HostPort":"8080"}]}}"#,
            true,
        ),
        (
            exposed,
            r#"{"PublishAllPorts":true,"PortBindings":{"80/tcp":[]}}"#,
            true,
        ),
        (exposed, r#"{"PortBindings":{"80/tcp":null}}"#, true),
        (exposed, r#"{"PortBindings":{"80/tcp":[]}}"#, true),
        (exposed, r#"{"NetworkMode":"host","PublishAllPorts":true}"#, false),
    ] {
        let ports = Disk::new(config, host).created().unwrap().config.ports;
        match ports {
            Evidence::Missing(why) => {
                assert!(anywhere, "{host}");
                assert!(why.contains("80/tcp is published"), "{why}");
            }
            Evidence::Seen(_) => assert!(!anywhere, "{host}"),
        }
    }
}

const MOUNT: &str = "89ab012345670123456789ab012345670123456789ab012345670123456789ab";

/// A config as Docker writes it for the container, with this root and this hook.
fn config(root: &str, pid: u32) -> String {
    format!(
        r#"{{"process":{{"user":{{"uid":0,"gid":0}},"args":["/a"],"cwd":"/"}},"root":{{"path":"{root}"}},"hooks":{{"prestart":[{{"path":"/proc/{pid}/exe","args":["libnetwork-setkey","-exec-root=/run/docker","{ID}","22154659a064"]}}]}},"linux":{{"cgroupsPath":"/docker/{ID}"}}}}"#
    )
}

fn beyond(instance: &Instance) -> &verger_policy::facts::BeyondFacts {
    instance.config.beyond.seen().unwrap()
}

#[test]
fn the_root_file_system_is_the_one_that_the_storage_keeps_for_the_container() {
    let disk = Disk::new(r#"{"Image":"web"}"#, "{}");
    let pid = std::process::id();
    let made = |config: &str| {
        let config = config.as_bytes();
        disk.launch(&Launch::Config {
            id: ID,
            bundle: Path::new(""),
            config,
        })
        .unwrap()
    };
    // While the storage does not say where it is, nothing is taken for it.
    let unknown = made(&config("/x", pid));
    assert!(matches!(beyond(&unknown).root.kept, Evidence::Missing(_)));
    let folder = disk.dir.path().join("image/overlay2/layerdb/mounts").join(ID);
    fs::create_dir_all(&folder).unwrap();
    for (mount, is_known) in [(MOUNT, true), ("../../../etc", false), ("", false)] {
        fs::write(folder.join("mount-id"), mount).unwrap();
        let data_root = fs::canonicalize(disk.dir.path()).unwrap();
        let root = format!("{}/overlay2/{mount}/merged", data_root.display());
        let read = made(&config(&root, pid));
        assert_eq!(beyond(&read).root.given, root);
        assert_eq!(beyond(&read).root.kept.seen() == Some(&root), is_known, "{mount}");
        assert!(beyond(&read).unread.is_empty(), "{:?}", beyond(&read).unread);
    }
}

#[test]
fn a_hook_of_another_process_than_the_daemon_is_somebody_elses() {
    let disk = Disk::new(r#"{"Image":"web"}"#, "{}");
    let text = config("/x", std::process::id());
    let config = text.as_bytes();
    let made = disk
        .launch(&Launch::Config {
            id: ID,
            bundle: Path::new(""),
            config,
        })
        .unwrap();
    let hooks = beyond(&made).hooks.seen().unwrap();
    assert!(
        hooks.iter().all(|hook| hook.contains("not Docker's daemon")),
        "{hooks:?}"
    );
    assert_eq!(hooks.len(), 1);
    // What is made already has run its hooks, of a daemon that may be gone by now.
    fs::write(disk.dir.path().join(ID).join("config.json"), &text).unwrap();
    let started = disk.launch(&Launch::Made { id: ID }).unwrap();
    assert_eq!(beyond(&started).hooks, Evidence::Seen(Default::default()));
}

#[test]
fn a_control_group_that_is_not_where_the_daemon_puts_all_is_not_passed_over() {
    let text = config("/x", std::process::id());
    let config = text.as_bytes();
    for (host, config, told) in [
        ("{}", config, false),
        (r#"{"CgroupParent":"/unlimited"}"#, config, true),
        ("{}", text.replace("/docker/0", "/docker/1").as_bytes(), true),
    ] {
        let disk = Disk::new(r#"{"Image":"web"}"#, host);
        let made = disk
            .launch(&Launch::Config {
                id: ID,
                bundle: Path::new(""),
                config,
            })
            .unwrap();
        assert_eq!(beyond(&made).unread.contains("linux.cgroupsPath"), told, "{host}");
    }
}

#[test]
fn the_first_process_is_the_one_that_the_shim_left_in_the_bundle() {
    let files = Disk::new("{}", "{}");
    let path = files.dir.path().join(ID).join("init.pid");
    let pid = || disk(files.dir.path()).init_pid(ID);
    assert!(pid().unwrap_err().contains("has no init.pid"));
    fs::write(&path, "4711\n").unwrap();
    assert_eq!(pid(), Ok(4711));
    for bad in [
        "",
        "0",
        "-1",
        "x",
        "4711 4712",
        "99999999999999999999",
        &"9".repeat(100),
    ] {
        fs::write(&path, bad).unwrap();
        assert!(pid().is_err(), "{bad}");
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/proc/self/stat", &path).unwrap();
    assert!(pid().unwrap_err().contains("symbolic link"));
    assert!(disk(files.dir.path()).init_pid("../x").is_err());
}
