//! Whether the gate's own files are as they were put.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use verger_agent_core::doors::Fault;
use verger_gate_protocol::pin;
use verger_gate_protocol::settings::{self, MOVED, Runtime, Settings};
use verger_policy::facts::Evidence;

use super::install::PROGRAM;

const PUT_BACK: &str = "find out who changed it; `verger-agent install-gate` puts the gate back";
const UPGRADED: &str = "until then nothing is launched by it: if its package was upgraded, run `verger-agent install-gate` again, which takes it as it is now; otherwise find out who put another program there";

const OTHER_PROGRAM: &str = "what it stands in front of may be launched without being judged: if Verger was upgraded, run `verger-agent install-gate` again; otherwise find out who put another program there";
const OTHER_SETTINGS: &str = "the gate asks somebody else than this agent: find out who changed it, or the agent's configuration; `verger-agent install-gate` writes it anew";

/// What this agent would have put there.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The gate's program beside the agent's own.
    pub(crate) program: Evidence<PathBuf>,
    /// Where the agent answers. None: it is configured to answer nowhere, and nothing is said of it.
    pub(crate) socket: Option<PathBuf>,
    /// Who the agent runs as.
    pub(crate) agent_uid: Evidence<u32>,
}

impl Wanted {
    /// For the gates that ask at this socket an agent of this user.
    pub(crate) fn of(socket: Option<&Path>, agent_uid: Evidence<u32>) -> Self {
        Self {
            program: match std::env::current_exe() {
                Ok(own) => Evidence::Seen(own.with_file_name(PROGRAM)),
                Err(error) => Evidence::Missing(format!("where the agent's own program is: {error}")),
            },
            socket: socket.map(Path::to_owned),
            agent_uid,
        }
    }
}

/// What was worked out of programs: a digest holds for a state of a file.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    digests: BTreeMap<PathBuf, (State, String)>,
}

/// Device, inode, size, times of change.
type State = (u64, u64, u64, (i64, i64), (i64, i64));

impl Standing {
    /// What is wrong with the gate in this folder.
    pub(crate) fn faults(&mut self, at: &Path, wanted: &Wanted) -> Vec<Fault> {
        let settings = match Settings::read(at) {
            Ok(settings) => settings,
            Err(error) => {
                return vec![Fault {
                    path: at.join(settings::FILE),
                    expected: "what `install-gate` left there".to_owned(),
                    actual: Evidence::Seen(error.to_string()),
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
                    actual: Evidence::Seen(error.to_string()),
                    remedy: PUT_BACK,
                });
            }
        }
        faults.extend(asks(&at.join(settings::FILE), &settings, wanted));
        faults.extend(self.program(&at.join(PROGRAM), &wanted.program));
        for (name, runtime) in &settings.runtimes {
            faults.extend(link(&at.join(name), Path::new(PROGRAM)));
            if let Some(before) = moved_from(&runtime.path) {
                faults.extend(link(&before, &at.join(name)));
            }
            faults.extend(self.runtime(runtime));
        }
        faults
    }

    /// Whether the gate's program is the one that the agent came with.
    fn program(&mut self, path: &Path, beside: &Evidence<PathBuf>) -> Option<Fault> {
        let wanted = match beside {
            Evidence::Missing(why) => Err(why.clone()),
            Evidence::Seen(beside) => self.digest(beside).map_err(|error| {
                format!(
                    "there is none to compare it with beside the agent's program ({}: {error})",
                    beside.display()
                )
            }),
        };
        let (expected, actual) = match (wanted, self.digest(path)) {
            (Ok(wanted), Ok(found)) if found == wanted => return None,
            (Ok(wanted), Ok(found)) => (
                format!("SHA-256 {wanted}, as beside the agent's program"),
                Evidence::Seen(format!("SHA-256 {found}")),
            ),
            (_, Err(error)) => ("the gate's program".to_owned(), Evidence::Seen(error.to_string())),
            (Err(why), Ok(_)) => (String::new(), Evidence::Missing(why)),
        };
        Some(Fault {
            path: path.to_owned(),
            expected,
            actual,
            remedy: OTHER_PROGRAM,
        })
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
            actual: Evidence::Seen(actual),
            remedy: UPGRADED,
        })
    }

    fn digest(&mut self, path: &Path) -> io::Result<String> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
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

/// Whether the gate asks this agent.
fn asks(path: &Path, settings: &Settings, wanted: &Wanted) -> Option<Fault> {
    let said = |socket: &Path, uid: u32| format!("socket {}, agentUid {uid}", socket.display());
    let socket = wanted.socket.as_deref().unwrap_or(&settings.socket);
    let (uid, unknown) = match &wanted.agent_uid {
        Evidence::Seen(uid) => (*uid, None),
        Evidence::Missing(why) => (settings.agent_uid, Some(why)),
    };
    let actual = if (socket, uid) != (settings.socket.as_path(), settings.agent_uid) {
        Evidence::Seen(said(&settings.socket, settings.agent_uid))
    } else {
        Evidence::Missing(unknown?.clone())
    };
    Some(Fault {
        path: path.to_owned(),
        expected: said(socket, uid),
        actual,
        remedy: OTHER_SETTINGS,
    })
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
        actual: Evidence::Seen(actual),
        remedy: PUT_BACK,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// What the agent would have put there.
    fn wanted(at: &Path) -> Wanted {
        Wanted {
            program: Evidence::Seen(at.join("agents-own")),
            socket: Some("/run/x".into()),
            agent_uid: Evidence::Seen(0),
        }
    }

    /// A gate in front of a runtime that was moved aside.
    fn put(at: &Path) -> PathBuf {
        let (gate, real) = (at.join("gate"), at.join(format!("runc{MOVED}")));
        fs::create_dir(&gate).unwrap();
        fs::write(&real, b"the runtime").unwrap();
        fs::write(gate.join(PROGRAM), b"the gate").unwrap();
        fs::write(at.join("agents-own"), b"the gate").unwrap();
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

    fn change_settings(at: &Path, change: fn(&mut Settings)) {
        let mut settings = Settings::read(&at.join("gate")).unwrap();
        change(&mut settings);
        let bytes = serde_json::to_vec(&settings).unwrap();
        fs::write(at.join("gate/gate.json"), bytes).unwrap();
    }

    #[test]
    fn where_there_is_nothing_to_compare_with_nothing_is_said_to_be_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let gate = put(dir.path());
        fs::remove_file(dir.path().join("agents-own")).unwrap();
        let unknown = Wanted {
            agent_uid: Evidence::missing("nobody knows"),
            ..wanted(dir.path())
        };
        let faults = Standing::default().faults(&gate, &unknown);
        let paths: Vec<&Path> = faults.iter().map(|fault| fault.path.as_path()).collect();
        assert_eq!(paths, [gate.join("gate.json"), gate.join(PROGRAM)]);
        for fault in faults {
            assert!(matches!(fault.actual, Evidence::Missing(_)), "{fault:?}");
        }
    }

    #[test]
    fn each_part_that_was_changed_is_told_and_the_one_that_was_not_is_silent() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 9] = [
            ("gate/verger-gate", |at| {
                fs::write(at.join("gate").join(PROGRAM), b"the runtime").unwrap()
            }),
            ("gate/gate.json", |at| {
                change_settings(at, |settings| settings.socket = "/run/y".into())
            }),
            ("gate/gate.json", |at| {
                change_settings(at, |settings| settings.agent_uid = 1000)
            }),
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
            let wanted = wanted(dir.path());
            assert_eq!(standing.faults(&gate, &wanted), []);
            change(dir.path());
            let faults = standing.faults(&gate, &wanted);
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
        let faults = Standing::default().faults(&gate, &wanted(dir.path()));
        let digest = |bytes: &[u8]| {
            let path = dir.path().join("bytes");
            fs::write(&path, bytes).unwrap();
            pin::digest(File::open(path).unwrap()).unwrap()
        };
        assert_eq!(faults[0].expected, format!("SHA-256 {}", digest(b"the runtime")));
        let actual = Evidence::Seen(format!("SHA-256 {}", digest(b"an upgrade")));
        assert_eq!(faults[0].actual, actual);
        assert_eq!(
            moved_from(Path::new("/usr/sbin/runc.verger-real")),
            Some("/usr/sbin/runc".into())
        );
        assert_eq!(moved_from(Path::new("/usr/sbin/runc")), None);
    }
}
