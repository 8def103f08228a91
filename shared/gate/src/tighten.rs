//! What is taken away from a launch, where the policy lets that be done in place of refusing it.
//!
//! Agent and gate work out the same document by the same code: the agent judges it, and says its digest; the gate writes it where the
//! runtime reads, and nothing of another digest. Members that are not touched stay as they are written, byte for byte. A seccomp filter is
//! taken away from by putting another in its place, which comes with the answer: the gate knows none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use crate::Document;

/// The sets of capabilities of a process (OCI runtime-spec, "Linux Process").
const SETS: [&str; 5] = ["bounding", "effective", "inheritable", "permitted", "ambient"];

/// The longest seccomp filter that is put into a launch, bytes; Docker's own has some 5,000.
pub const FILTER_BYTES: usize = 128 << 10;

/// What is taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tightening {
    /// Capabilities that may stay, by name (`CAP_KILL`); all others are taken out of every set. Nothing said: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<BTreeSet<String>>,
    /// Whether NoNewPrivs is set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    /// Whether the root file system is mounted read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only_rootfs: bool,
    /// The seccomp filter that is put in the place of the launch's own, or of none: the JSON of `linux.seccomp`, at most [`FILTER_BYTES`].
    /// A process has no filter of its own beside its container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
}

/// How [`Tightening`] is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tightened {
    /// What is taken away.
    pub tightening: Tightening,
    /// The SHA-256 of the document that comes of it, in hex: what the agent judged.
    pub sha256: String,
}

/// Why a document is not tightened.
#[derive(Debug, thiserror::Error)]
pub enum Untightened {
    /// It has another shape.
    #[error("malformed at column {0}")]
    Malformed(usize),
    /// There is no document to change.
    #[error("there is nothing to take away from where nothing is made")]
    Nothing,
    /// What comes of it is not what was judged.
    #[error("what came of it is not what the agent judged")]
    Other,
    /// It cannot be written.
    #[error("it cannot be written: {0}")]
    Io(#[from] io::Error),
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

impl Tightening {
    /// What is taken away, for a log: of a filter its digest alone.
    pub fn told(&self) -> String {
        let told = Self {
            seccomp: self.seccomp.as_deref().map(|filter| digest(filter.as_bytes())),
            ..self.clone()
        };
        serde_json::to_string(&told).unwrap_or_default()
    }

    /// The document with that taken away.
    ///
    /// # Errors
    /// When it is no document of that sort.
    pub fn applied(&self, to: Document, bytes: &[u8]) -> Result<Vec<u8>, Untightened> {
        let mut members: Members<'_> = read(bytes)?;
        match to {
            Document::None => Err(Untightened::Nothing),
            Document::Process => self.process(bytes).map(|raw| raw.get().as_bytes().to_vec()),
            Document::Config => {
                let process = match members.get("process") {
                    Some(process) => Some(self.process(process.get().as_bytes())?),
                    None => None,
                };
                let root = match members.get("root") {
                    Some(root) if self.read_only_rootfs => Some(read_only(root)?),
                    _ => None,
                };
                let linux = match &self.seccomp {
                    Some(filter) => Some(confined(filter, members.get("linux").copied())?),
                    None => None,
                };
                let changed = [("process", &process), ("root", &root), ("linux", &linux)];
                for (name, raw) in changed {
                    if let Some(raw) = raw {
                        members.insert(name.to_owned(), raw);
                    }
                }
                serde_json::to_vec(&members).map_err(malformed)
            }
        }
    }

    fn process(&self, bytes: &[u8]) -> Result<Box<RawValue>, Untightened> {
        let mut members: Members<'_> = read(bytes)?;
        let capabilities = match (&self.capabilities, members.get("capabilities")) {
            (Some(keep), Some(sets)) => Some(kept(keep, sets)?),
            _ => None,
        };
        if let Some(raw) = &capabilities {
            members.insert("capabilities".to_owned(), raw);
        }
        let yes = to_raw_value(&true).map_err(malformed)?;
        if self.no_new_privileges {
            members.insert("noNewPrivileges".to_owned(), &yes);
        }
        to_raw_value(&members).map_err(malformed)
    }
}

/// The sets of capabilities without those that do not stay.
fn kept(keep: &BTreeSet<String>, sets: &RawValue) -> Result<Box<RawValue>, Untightened> {
    let sets: Option<BTreeMap<String, Option<Vec<String>>>> =
        serde_json::from_str(sets.get()).map_err(malformed)?;
    let Some(mut sets) = sets else {
        return to_raw_value(&()).map_err(malformed);
    };
    for name in SETS {
        if let Some(Some(set)) = sets.get_mut(name) {
            set.retain(|one| keep.contains(one));
        }
    }
    to_raw_value(&sets).map_err(malformed)
}

fn read_only(root: &RawValue) -> Result<Box<RawValue>, Untightened> {
    let mut members: Members<'_> = read(root.get().as_bytes())?;
    let yes = to_raw_value(&true).map_err(malformed)?;
    members.insert("readonly".to_owned(), &yes);
    to_raw_value(&members).map_err(malformed)
}

/// What a config has of Linux, under this filter.
fn confined(filter: &str, linux: Option<&RawValue>) -> Result<Box<RawValue>, Untightened> {
    let filter = to_raw_value(&read(filter.as_bytes())?).map_err(malformed)?;
    let mut members: Members<'_> = match linux {
        Some(linux) => read(linux.get().as_bytes())?,
        None => Members::new(),
    };
    members.insert("seccomp".to_owned(), &filter);
    to_raw_value(&members).map_err(malformed)
}

fn read(bytes: &[u8]) -> Result<Members<'_>, Untightened> {
    serde_json::from_slice(bytes).map_err(malformed)
}

#[allow(clippy::needless_pass_by_value)]
fn malformed(error: serde_json::Error) -> Untightened {
    Untightened::Malformed(error.column())
}

/// The digest of a document, as [`Tightened::sha256`] says it.
pub fn digest(document: &[u8]) -> String {
    hex::encode(Sha256::digest(document))
}

impl Tightened {
    /// Writes the document with that taken away in the place of the one at `path`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be made or written, or is not what was judged: nothing is changed then.
    pub fn write(&self, to: Document, path: &Path, bytes: &[u8]) -> Result<(), Untightened> {
        let document = self.tightening.applied(to, bytes)?;
        if digest(&document) != self.sha256 {
            return Err(Untightened::Other);
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mode = fs::symlink_metadata(path)?.mode() & 0o777;
        let (mut new, beside) = create(folder, mode)?;
        let written = new.write_all(&document).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        Ok(written?)
    }
}

/// A file of nobody else's in a folder that others may write, too: they may have made one of any name that they could foresee.
fn create(folder: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    let mut last = io::Error::other("no name is free");
    for _ in 0..8 {
        let mut random = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let path = folder.join(format!(".verger-{}.json", hex::encode(random)));
        let mut options = fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn all() -> Tightening {
        Tightening {
            capabilities: Some(BTreeSet::from(["CAP_KILL".to_owned()])),
            no_new_privileges: true,
            read_only_rootfs: true,
            seccomp: Some(FILTER.to_owned()),
        }
    }

    const FILTER: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[]}"#;

    fn config() -> Vec<u8> {
        br#"{"ociVersion":"1.0","root":{"path":"/r"},"process":{"args":["/a"],"noNewPrivileges":false,"capabilities":{"bounding":["CAP_KILL","CAP_SYS_ADMIN"],"ambient":null,"permitted":["CAP_CHOWN"]}},"linux":{"big":{"n": 18446744073709551615},"float":1.0}}"#.to_vec()
    }

    #[test]
    fn what_is_asked_is_taken_away_and_nothing_else_is_touched() {
        let bytes = all().applied(Document::Config, &config()).unwrap();
        let after: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            after["process"],
            json!({"args": ["/a"], "noNewPrivileges": true, "capabilities": {"bounding": ["CAP_KILL"], "ambient": null, "permitted": []}})
        );
        assert_eq!(after["root"], json!({"path": "/r", "readonly": true}));
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(
            text.contains(&format!(
                r#"{{"big":{{"n": 18446744073709551615}},"float":1.0,"seccomp":{FILTER}}}"#
            )),
            "{text}"
        );
        // Once is enough.
        assert_eq!(all().applied(Document::Config, &bytes).unwrap(), bytes);
    }

    #[test]
    fn a_filter_is_put_where_none_is_and_where_another_is_and_one_that_is_no_object_is_not() {
        let only = Tightening {
            seccomp: Some(FILTER.to_owned()),
            ..Tightening::default()
        };
        for (before, after) in [
            (
                "{}",
                json!({"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}}),
            ),
            (
                r#"{"seccomp":null,"sysctl":{"a":"1"}}"#,
                json!({"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}, "sysctl": {"a": "1"}}),
            ),
            (
                r#"{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}}"#,
                json!({"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}}),
            ),
        ] {
            let config = format!(r#"{{"linux":{before}}}"#);
            let bytes = only.applied(Document::Config, config.as_bytes()).unwrap();
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(read["linux"], after);
            // What is started in a container has its filter, and names none.
            let process = only.applied(Document::Process, br#"{"args":["/a"]}"#).unwrap();
            assert_eq!(process, br#"{"args":["/a"]}"#);
        }
        for wrong in ["", "null", "[]", "{} {}"] {
            let wrong = Tightening {
                seccomp: Some(wrong.to_owned()),
                ..Tightening::default()
            };
            assert!(matches!(
                wrong.applied(Document::Config, &config()),
                Err(Untightened::Malformed(_))
            ));
        }
        assert_eq!(
            only.told(),
            format!(r#"{{"seccomp":"{}"}}"#, digest(FILTER.as_bytes()))
        );
    }

    #[test]
    fn where_nothing_is_asked_everything_means_what_it_meant() {
        let bytes = Tightening::default()
            .applied(Document::Config, &config())
            .unwrap();
        let (before, after): (Value, Value) = (
            serde_json::from_slice(&config()).unwrap(),
            serde_json::from_slice(&bytes).unwrap(),
        );
        assert_eq!(before, after);
    }

    #[test]
    fn a_process_is_tightened_and_a_start_is_not() {
        let process = br#"{"args":["/a"],"capabilities":{"effective":["CAP_SYS_ADMIN"]}}"#;
        let bytes = all().applied(Document::Process, process).unwrap();
        let after: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            after,
            json!({"args": ["/a"], "noNewPrivileges": true, "capabilities": {"effective": []}})
        );
        assert!(matches!(
            all().applied(Document::None, b"{}"),
            Err(Untightened::Nothing)
        ));
        for other in [
            b"[]".as_slice(),
            b"",
            b"{\"capabilities\":[]}",
            b"{\"capabilities\":{\"effective\":[1]}}",
        ] {
            assert!(matches!(
                all().applied(Document::Process, other),
                Err(Untightened::Malformed(_))
            ));
        }
    }

    #[test]
    fn what_was_not_judged_is_not_written_and_what_was_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, config()).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut tightened = Tightened {
            tightening: all(),
            sha256: digest(&config()),
        };
        assert!(matches!(
            tightened.write(Document::Config, &path, &config()),
            Err(Untightened::Other)
        ));
        assert_eq!(fs::read(&path).unwrap(), config());
        let expected = all().applied(Document::Config, &config()).unwrap();
        tightened.sha256 = digest(&expected);
        tightened.write(Document::Config, &path, &config()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
