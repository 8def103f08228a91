//! A founding that fails leaves nothing that stands in the way of the next one.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt as _, symlink};

use verger_transport::install_crypto_provider;

use super::*;

pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Place {
    pub(crate) fn new() -> Self {
        install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        let text = format!(
            "data_dir = {:?}\nlisten = \"127.0.0.1:7400\"\nenrol_listen = \"127.0.0.1:7401\"\n",
            folder.path().join("data")
        );
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("root.json"), include_bytes!("trust-root.json")).unwrap();
        Self {
            config: Config::load(&file).unwrap(),
            folder,
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn init(&self, root: &str, context: &Path) -> Result<(), String> {
        let args = InitArgs {
            trust_root: self.path(root),
            admin: "ada".to_owned(),
            admin_context: context.to_owned(),
        };
        let done = self.runtime.block_on(init(&self.config, &args));
        done.map_err(|error| format!("{error:#}"))
    }

    /// Nothing that counts as a cluster is there.
    fn assert_untouched(&self) {
        let left: Vec<_> = std::fs::read_dir(&self.config.data_dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// A founding that nothing stands in the way of, and what it made works.
    fn assert_can_be_founded(&self) {
        let context = self.path("good.json");
        self.init("root.json", &context).unwrap();
        let mode = std::fs::metadata(&context).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let handed_over: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&context).unwrap()).unwrap();
        let wired = self.runtime.block_on(async {
            let opened = wire_up::open_member(&self.config).await.unwrap();
            opened.ready().await.unwrap();
            wire_up::wire_up(&self.config, &opened).await.unwrap()
        });
        let founded = wired.member.read(|state| state.cluster().map(|it| it.id.hex()));
        assert_eq!(handed_over["clusterId"], founded.unwrap());
        assert_eq!(handed_over["person"], "ada");
        assert!(!self.config.data_dir.join("founding").exists());
    }
}

#[test]
fn a_context_that_cannot_be_written_founds_nothing_and_the_next_attempt_works() {
    let place = Place::new();
    let at = |name: &str| place.path(name);
    std::fs::write(at("there.json"), "mine").unwrap();
    symlink(at("nowhere"), at("link.json")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("file"), "").unwrap();
    for (context, wanted) in [
        (at("there.json"), "it exists; remove it"),
        (at("link.json"), "it exists; remove it"),
        (at("folder"), "this is a folder"),
        (at("missing/ada.json"), "is no folder; make it first"),
        (at("file/ada.json"), "is no folder; make it first"),
        // Where not even root may write.
        (PathBuf::from("/sys/ada.json"), "that can be written"),
    ] {
        let error = place.init("root.json", &context).unwrap_err();
        let name = context.display().to_string();
        assert!(error.contains(wanted) && error.contains(&name), "{error}");
        place.assert_untouched();
    }
    assert_eq!(std::fs::read(at("there.json")).unwrap(), b"mine");
    assert!(!at("nowhere").exists());
    place.assert_can_be_founded();
}

#[test]
fn a_refused_trust_root_leaves_neither_a_cluster_nor_a_context() {
    let place = Place::new();
    std::fs::write(place.path("bad.json"), "{}").unwrap();
    for root in ["bad.json", "missing.json"] {
        let error = place.init(root, &place.path("ada.json")).unwrap_err();
        assert!(error.contains(root), "{error}");
        place.assert_untouched();
        assert!(!place.path("ada.json").exists());
    }
    place.assert_can_be_founded();
}

#[test]
fn authorities_that_cannot_be_put_in_place_take_everything_with_them() {
    let place = Place::new();
    // A file where the stores' folder belongs: found out at the very first look.
    std::fs::create_dir(&place.config.data_dir).unwrap();
    std::fs::write(place.config.raft_dir(), "").unwrap();
    assert!(place.init("root.json", &place.path("ada.json")).is_err());
    assert!(!place.path("ada.json").exists() && !place.config.pki_dir().exists());
    std::fs::remove_file(place.config.raft_dir()).unwrap();
    place.assert_untouched();

    // Found out at the very last step: the stores cannot be moved.
    let draft = Draft::begin(&place.config).unwrap();
    std::fs::create_dir(draft.config.pki_dir()).unwrap();
    let folder = File::open(&place.config.data_dir).unwrap();
    let error = draft.put_in_place(&place.config, &folder).unwrap_err();
    assert!(error.to_string().contains("cannot move"), "{error}");
    place.assert_untouched();
    place.assert_can_be_founded();
}

#[test]
fn what_an_attempt_cut_short_left_is_cleared_and_what_a_cluster_has_is_not() {
    let place = Place::new();
    // The power went between the two renames: authorities in place, stores still in the draft.
    for dir in ["pki", "founding/raft"] {
        std::fs::create_dir_all(place.config.data_dir.join(dir)).unwrap();
    }
    std::fs::write(place.config.pki_dir().join("members.pem"), "").unwrap();
    place.assert_can_be_founded();

    let held = std::fs::read(place.path("good.json")).unwrap();
    let error = place.init("root.json", &place.path("again.json")).unwrap_err();
    assert!(error.contains("founded once"), "{error}");
    assert!(!place.path("again.json").exists() && place.config.pki_dir().exists());
    assert_eq!(std::fs::read(place.path("good.json")).unwrap(), held);
}

#[test]
fn a_context_that_an_attempt_cut_short_left_blocks_nobody_and_anothers_file_stays() {
    for filled in [false, true] {
        let place = Place::new();
        let (context, draft) = (place.path("good.json"), place.path("good.json.unfinished"));
        // Killed: nothing is dropped, and no lock is held.
        std::fs::write(&draft, "").unwrap();
        if filled {
            std::fs::write(&draft, "{\"clusterId\":\"of no cluster\"}").unwrap();
            std::fs::hard_link(&draft, &context).unwrap();
        }
        place.assert_can_be_founded();
        assert!(!draft.exists());
    }
    // A file beside a draft that is not the draft's own is somebody's.
    let place = Place::new();
    std::fs::write(place.path("good.json.unfinished"), "").unwrap();
    std::fs::write(place.path("good.json"), "").unwrap();
    let error = place.init("root.json", &place.path("good.json")).unwrap_err();
    assert!(error.contains("it exists; remove it"), "{error}");
    assert!(place.path("good.json").exists());
    std::fs::remove_file(place.path("good.json")).unwrap();
    place.assert_can_be_founded();
}

#[test]
fn what_another_run_is_about_to_write_is_left_to_it() {
    let place = Place::new();
    let file = place.path("good.json");
    let mut at_work = Reserved::new("--context", &file).unwrap();
    at_work.fill(b"mine").unwrap();
    let error = place.init("root.json", &file).unwrap_err();
    assert!(error.contains("another run"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    at_work.keep();
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    assert!(!place.path("good.json.unfinished").exists());
    // One that gives up takes its file with it, and nobody else's.
    std::fs::remove_file(&file).unwrap();
    let mut gives_up = Reserved::new("--context", &file).unwrap();
    gives_up.fill(b"mine").unwrap();
    drop(gives_up);
    assert!(!file.exists());
    let mut late = Reserved::new("--context", &file).unwrap();
    std::fs::write(&file, "theirs").unwrap();
    assert!(late.fill(b"mine").is_err());
    drop(late);
    assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
}

#[test]
fn authorities_without_a_cluster_are_nobodys_to_remove() {
    let place = Place::new();
    std::fs::create_dir_all(place.config.pki_dir()).unwrap();
    std::fs::write(place.config.pki_dir().join("people.pem"), "key").unwrap();
    let error = place.init("root.json", &place.path("ada.json")).unwrap_err();
    assert!(error.contains("remove them by hand"), "{error}");
    assert!(place.config.pki_dir().join("people.pem").exists());
    assert!(!place.path("ada.json").exists());
}

#[test]
fn one_founding_at_a_time() {
    let place = Place::new();
    std::fs::create_dir(&place.config.data_dir).unwrap();
    let other = File::open(&place.config.data_dir).unwrap();
    other.lock().unwrap();
    let error = place.init("root.json", &place.path("ada.json")).unwrap_err();
    assert!(error.contains("another `init`"), "{error}");
    drop(other);
    place.assert_can_be_founded();
}
