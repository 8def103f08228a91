#![allow(clippy::unwrap_used)]
use std::fs::{self, File};
use std::os::unix::fs::symlink;

use super::*;

pub(crate) const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LAYER: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TOP: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// A storage that holds one container of one image of one layer.
pub(crate) struct Storage {
    dir: tempfile::TempDir,
    pub(crate) image: Digest,
}

fn image_config() -> String {
    format!(r#"{{"config":{{"Cmd":["/app"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{TOP}"]}}}}"#)
}

impl Storage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = Digest::of(image_config().as_bytes());
        let storage = Self { dir, image };
        let userdata = userdata(ID);
        let images = format!("overlay-images/{}", image.hex());
        for folder in [&userdata, &images, "overlay-layers"] {
            fs::create_dir_all(storage.graph().join(folder)).unwrap();
        }
        fs::create_dir_all(storage.run().join(&userdata)).unwrap();
        let hex = image.hex();
        storage.write("overlay-containers/containers.json", &format!(
            r#"[{{"id":"{ID}","names":["web"],"image":"{hex}","layer":"{LAYER}","metadata":"{{\"image-name\":\"shop/web:1\",\"image-id\":\"{hex}\"}}"}}]"#
        ));
        storage.write(
            "overlay-images/images.json",
            &format!(r#"[{{"id":"{hex}","layer":"{TOP}"}}]"#),
        );
        storage.write(
            "overlay-layers/layers.json",
            &format!(
                r#"[{{"id":"{TOP}","diff-digest":"sha256:{TOP}"}},{{"id":"{LAYER}","parent":"{TOP}"}}]"#
            ),
        );
        let name = podman::big_data_file(&image.to_string());
        storage.write(&format!("{images}/{name}"), &image_config());
        storage.write(&format!("{userdata}/config.json"), &storage.config());
        fs::write(storage.run().join(&userdata).join("pidfile"), "4194305").unwrap();
        storage
    }

    pub(crate) fn graph(&self) -> PathBuf {
        self.dir.path().join("graph")
    }

    fn run(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn config(&self) -> String {
        let root = fs::canonicalize(self.dir.path()).unwrap();
        format!(
            r#"{{"process":{{"user":{{"uid":0,"gid":0}},"args":["/app"],"cwd":"/"}},"root":{{"path":"{}/graph/overlay/{LAYER}/merged"}},"linux":{{"cgroupsPath":"/libpod_parent/libpod-{ID}","namespaces":[{{"type":"network"}}]}}}}"#,
            root.display()
        )
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.graph().join(path), text).unwrap();
    }

    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.graph().join(path)).unwrap();
        assert!(text.contains(from), "{text}");
        self.write(path, &text.replace(from, to));
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.graph().join(userdata(ID))
    }

    pub(crate) fn roots(&self) -> PodmanRoots {
        PodmanRoots {
            graph: self.graph(),
            run: self.run(),
        }
    }

    pub(crate) fn disk(&self) -> PodmanDisk {
        PodmanDisk::new(self.roots())
    }

    /// The path of the container's config below [`graph`](Self::graph).
    pub(crate) fn config_path(&self) -> String {
        format!("{}/config.json", userdata(ID))
    }

    /// The runtime leaves a pid.
    pub(crate) fn leave(&self, pid: &str) {
        fs::write(self.run().join(pidfile(ID)), pid).unwrap();
    }

    /// Nothing is kept of the container while the host is up.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.run().join(FOLDER)).unwrap();
    }

    /// The container is about to be started.
    pub(crate) fn leave_none(&self) {
        fs::remove_file(self.run().join(pidfile(ID))).unwrap();
    }

    fn created(&self) -> Result<Instance, String> {
        self.disk().launch(&Launch::Config {
            id: ID,
            bundle: &self.bundle(),
            config: self.config().as_bytes(),
        })
    }

    fn image(&self) -> Evidence<Digest> {
        self.created().unwrap().image
    }
}

#[test]
fn a_container_is_what_its_files_say_however_it_is_launched() {
    let storage = Storage::new();
    let process = br#"{"user":{"uid":7,"gid":7},"args":["/b"],"cwd":"/"}"#;
    let (bundle, config) = (storage.bundle(), storage.config());
    for launch in [
        Launch::Config {
            id: ID,
            bundle: &bundle,
            config: config.as_bytes(),
        },
        Launch::Made { id: ID },
        Launch::Process { id: ID, process },
    ] {
        let instance = storage.disk().launch(&launch).unwrap();
        assert_eq!(instance.image, Evidence::Seen(storage.image), "{launch:?}");
        assert_eq!(instance.image_name.as_deref(), Some("shop/web"));
        assert_eq!(instance.image_defaults.seen().unwrap().command, ["/app"]);
        let beyond = instance.config.beyond.seen().unwrap();
        assert_eq!(beyond.root.kept, Evidence::Seen(beyond.root.given.clone()));
        assert!(beyond.unread.is_empty());
        let is_process = matches!(launch, Launch::Process { .. });
        let uid = &instance.config.user.seen().unwrap().uid;
        assert_eq!(*uid, Evidence::Seen(if is_process { 7 } else { 0 }));
    }
    assert_eq!(storage.disk().init_pid(ID), Ok(4_194_305));
    assert!(storage.disk().has(ID) && !storage.disk().has(LAYER) && !storage.disk().has("../x"));
}

#[test]
fn a_network_that_is_named_by_a_path_is_its_own_where_nobody_else_is_in_it() {
    let storage = Storage::new();
    let own = format!("/proc/{}/ns/net", std::process::id());
    let config = storage.config().replace(
        r#"{"type":"network"}"#,
        &format!(r#"{{"type":"network","path":"{own}"}}"#),
    );
    let launch = Launch::Config {
        id: ID,
        bundle: &storage.bundle(),
        config: config.as_bytes(),
    };
    let instance = storage.disk().launch(&launch).unwrap();
    let network = instance.config.namespaces.network;
    assert_eq!(network, Evidence::Seen(NamespaceOwner::Instance(own)));
}

#[test]
fn what_is_not_seen_to_be_of_its_image_is_of_none() {
    let same = |_: &Storage| {};
    assert!(matches!(
        {
            let s = Storage::new();
            same(&s);
            s.image()
        },
        Evidence::Seen(_)
    ));
    type Change = fn(&Storage);
    let changes: &[(&str, Change)] = &[
        ("another config of the image", |storage| {
            let name = podman::big_data_file(&storage.image.to_string());
            let path = format!("overlay-images/{}/{name}", storage.image.hex());
            storage.replace(&path, "/app", "/evil");
        }),
        ("a config that says its digest itself", |storage| {
            let name = podman::big_data_file(&storage.image.to_string());
            let path = format!("overlay-images/{}/{name}", storage.image.hex());
            storage.write(&path, &format!(r#"{{"Id":"{}","Config":{{}}}}"#, storage.image));
        }),
        ("no config of the image", |storage| {
            fs::remove_dir_all(
                storage
                    .graph()
                    .join(format!("overlay-images/{}", storage.image.hex())),
            )
            .unwrap();
        }),
        ("another layer below it", |storage| {
            storage.replace(
                "overlay-layers/layers.json",
                &format!(r#""parent":"{TOP}""#),
                r#""parent":"""#,
            );
        }),
        ("another content of the layer below it", |storage| {
            storage.replace(
                "overlay-layers/layers.json",
                &format!("sha256:{TOP}"),
                &format!("sha256:{LAYER}"),
            );
        }),
        ("another top layer of the image", |storage| {
            storage.replace("overlay-images/images.json", TOP, LAYER);
        }),
        ("an image that is in no list", |storage| {
            storage.write("overlay-images/images.json", "[]")
        }),
        ("no image", |storage| {
            storage.replace(
                "overlay-containers/containers.json",
                &format!(r#""image":"{}""#, storage.image.hex()),
                r#""image":"""#,
            );
        }),
        ("two images", |storage| {
            storage.replace(
                "overlay-containers/containers.json",
                &format!(r#""image":"{}""#, storage.image.hex()),
                &format!(r#""image":"{LAYER}""#),
            );
        }),
    ];
    for (what, change) in changes {
        let storage = Storage::new();
        change(&storage);
        assert!(matches!(storage.image(), Evidence::Missing(_)), "{what}");
    }
    // A container that is in a list of its own, and a layer that is, are found there.
    let storage = Storage::new();
    let text = fs::read_to_string(storage.graph().join("overlay-containers/containers.json")).unwrap();
    storage.write("overlay-containers/containers.json", "[]");
    storage.write("overlay-containers/volatile-containers.json", &text);
    storage.replace(
        "overlay-layers/layers.json",
        &format!(r#",{{"id":"{LAYER}","parent":"{TOP}"}}"#),
        "",
    );
    let layer = format!(r#"[{{"id":"{LAYER}","parent":"{TOP}"}}]"#);
    storage.write("overlay-layers/volatile-layers.json", &layer);
    assert!(matches!(storage.image(), Evidence::Seen(_)));
}

#[test]
fn what_cannot_be_read_is_not_taken_for_a_stranger() {
    type Change = fn(&Storage);
    let changes: &[(&str, Change)] = &[
        ("containers.json", |storage| {
            storage.write("overlay-containers/containers.json", "[]")
        }),
        ("containers.json", |storage| {
            storage.write("overlay-containers/containers.json", "{")
        }),
        ("bigger than", |storage| {
            let file = File::options()
                .write(true)
                .open(storage.graph().join("overlay-containers/containers.json"))
                .unwrap();
            file.set_len(LIMIT as u64 + 1).unwrap();
        }),
        ("symbolic link", |storage| {
            let path = storage.graph().join("overlay-containers/containers.json");
            fs::rename(&path, storage.graph().join("real")).unwrap();
            symlink(storage.graph().join("real"), &path).unwrap();
        }),
    ];
    for (says, change) in changes {
        let storage = Storage::new();
        change(&storage);
        let why = storage.created().unwrap_err();
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn a_bundle_is_known_by_the_folder_and_not_by_its_name() {
    let storage = Storage::new();
    let disk = storage.disk();
    assert!(disk.is_bundle(&storage.bundle(), ID));
    // However it is written.
    let link = storage.dir.path().join("link");
    symlink(storage.graph(), &link).unwrap();
    assert!(disk.is_bundle(&link.join(userdata(ID)), ID));
    assert!(!disk.is_bundle(&storage.bundle(), LAYER));
    assert!(!disk.is_bundle(Path::new(""), ID) && !disk.is_bundle(Path::new("/"), ID));
    let copy = storage.dir.path().join("copy").join(userdata(ID));
    fs::create_dir_all(&copy).unwrap();
    assert!(!disk.is_bundle(&copy, ID));
}
