//! Whether the gate's own files are as they were put.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use verger_agent_core::doors::Fault;
use verger_gate_protocol::pin;
use verger_gate_protocol::settings::{self, MOVED, Runtime, Settings};

use super::install::PROGRAM;

const PUT_BACK: &str = "find out who changed it; `verger-agent install-gate` puts the gate back";
const UPGRADED: &str = "until then nothing is launched by it: if its package was upgraded, run `verger-agent install-gate` again, which takes it as it is now; otherwise find out who put another program there";

/// What was worked out of programs: a digest holds for a state of a file.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    digests: BTreeMap<PathBuf, (State, String)>,
}

/// Device, inode, size, times of change.
type State = (u64, u64, u64, (i64, i64), (i64, i64));

impl Standing {
    /// What is wrong with the gate in this folder.
    pub(crate) fn faults(&mut self, at: &Path) -> Vec<Fault> {
        let settings = match Settings::read(at) {
            Ok(settings) => settings,
            Err(error) => {
                return vec![Fault {
                    path: at.join(settings::FILE),
                    expected: "what `install-gate` left there".to_owned(),
                    actual: error.to_string(),
                    remedy: PUT_BACK,
                }];
            }
        };
        let mut faults = Vec::new();
        for path in [at.to_owned(), at.join(PROGRAM)] {
            if let Err(error) = fs::symlink_metadata(&path).and_then(|metadata| pin::owned_by_root(&metadata))
            {
                faults.push(Fault {
                    path,
                    expected: "root's alone".to_owned(),
                    actual: error.to_string(),
                    remedy: PUT_BACK,
                });
            }
        }
        for (name, runtime) in &settings.runtimes {
            faults.extend(link(&at.join(name), Path::new(PROGRAM)));
            if let Some(before) = moved_from(&runtime.path) {
                faults.extend(link(&before, &at.join(name)));
            }
            faults.extend(self.runtime(runtime));
        }
        faults
    }

    fn runtime(&mut self, runtime: &Runtime) -> Option<Fault> {
        let actual = match self.digest(&runtime.path) {
            Ok(found) if found == runtime.sha256 => return None,
            Ok(found) => format!("SHA-256 {found}"),
            Err(error) => error.to_string(),
        };
        Some(Fault {
            path: runtime.path.clone(),
            expected: format!("SHA-256 {}", runtime.sha256),
            actual,
            remedy: UPGRADED,
        })
    }

    fn digest(&mut self, path: &Path) -> io::Result<String> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let state = (
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        );
        match self.digests.get(path) {
            Some((held, digest)) if *held == state => Ok(digest.clone()),
            _ => {
                let digest = pin::digest(file)?;
                self.digests.insert(path.to_owned(), (state, digest.clone()));
                Ok(digest)
            }
        }
    }
}

/// Where a runtime was that was moved aside for the gate.
pub(crate) fn moved_from(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(MOVED)?;
    Some(path.with_file_name(name))
}

/// A name that does not lead where it should.
fn link(path: &Path, wanted: &Path) -> Option<Fault> {
    let actual = match fs::read_link(path) {
        Ok(to) if to == wanted => return None,
        Ok(to) => format!("it leads to {}", to.display()),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => "another file".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(Fault {
        path: path.to_owned(),
        expected: format!("a link to {}", wanted.display()),
        actual,
        remedy: PUT_BACK,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A gate in front of a runtime that was moved aside.
    fn put(at: &Path) -> PathBuf {
        let (gate, real) = (at.join("gate"), at.join(format!("runc{MOVED}")));
        fs::create_dir(&gate).unwrap();
        fs::write(&real, b"the runtime").unwrap();
        fs::write(gate.join(PROGRAM), b"the gate").unwrap();
        symlink(PROGRAM, gate.join("runc")).unwrap();
        symlink(gate.join("runc"), at.join("runc")).unwrap();
        let sha256 = pin::digest(File::open(&real).unwrap()).unwrap();
        let runtime = Runtime {
            path: real.clone(),
            sha256,
        };
        let settings = Settings {
            version: 1,
            socket: "/run/x".into(),
            agent_uid: 0,
            state: "/run/y".into(),
            runtimes: [("runc".to_owned(), runtime)].into(),
        };
        fs::write(gate.join(settings::FILE), serde_json::to_vec(&settings).unwrap()).unwrap();
        gate
    }

    #[test]
    fn each_part_that_was_changed_is_told_and_the_one_that_was_not_is_silent() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("gate/gate.json", |at| {
                fs::write(at.join("gate/gate.json"), b"{").unwrap()
            }),
            ("gate/gate.json", |at| {
                fs::remove_file(at.join("gate/gate.json")).unwrap()
            }),
            ("gate/runc", |at| fs::remove_file(at.join("gate/runc")).unwrap()),
            ("runc", |at| {
                fs::remove_file(at.join("runc")).unwrap();
                fs::write(at.join("runc"), b"an upgrade that knew of no diversion").unwrap();
            }),
            ("runc.verger-real", |at| {
                fs::write(at.join("runc.verger-real"), b"an upgrade").unwrap()
            }),
            ("gate/verger-gate", |at| {
                let open = fs::Permissions::from_mode(0o777);
                fs::set_permissions(at.join("gate").join(PROGRAM), open).unwrap();
            }),
        ];
        for (path, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            let gate = put(dir.path());
            let mut standing = Standing::default();
            assert_eq!(standing.faults(&gate), []);
            change(dir.path());
            let faults = standing.faults(&gate);
            let [fault] = faults.as_slice() else {
                panic!("{path}: {faults:?}")
            };
            assert_eq!(fault.path, dir.path().join(path));
            assert!(fault.remedy.contains("install-gate"), "{fault:?}");
        }
    }

    #[test]
    fn of_an_upgrade_both_digests_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let gate = put(dir.path());
        fs::write(dir.path().join("runc.verger-real"), b"an upgrade").unwrap();
        let faults = Standing::default().faults(&gate);
        let digest = |bytes: &[u8]| {
            let path = dir.path().join("bytes");
            fs::write(&path, bytes).unwrap();
            pin::digest(File::open(path).unwrap()).unwrap()
        };
        assert_eq!(faults[0].expected, format!("SHA-256 {}", digest(b"the runtime")));
        assert_eq!(faults[0].actual, format!("SHA-256 {}", digest(b"an upgrade")));
        assert_eq!(
            moved_from(Path::new("/usr/sbin/runc.verger-real")),
            Some("/usr/sbin/runc".into())
        );
        assert_eq!(moved_from(Path::new("/usr/sbin/runc")), None);
    }
}
