//! Breaking the glass: root's word that containers may be launched for a while although the agent gives no answer.
//!
//! The word lies beside the gate's settings, in a folder that root alone writes. It says why, is of one boot and ends by the time
//! since that boot, which nobody sets back. What is launched by it is noted first: what cannot be noted is not launched. It is for an
//! agent that is away, and overrules none that answers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{Operation, file, pin};

/// The file's name, in the folder of the gate's program.
pub const FILE: &str = "break-glass.json";
/// The longest time that it is for, seconds.
pub const MOST_SECONDS: u64 = 4 * 3_600;
/// The longest reason, characters.
pub const MOST_REASON: usize = 500;
/// The most bytes of the file, and of a line of the record.
const LIMIT: u64 = 8 << 10;
/// The most bytes of the record. When it is full nothing more is launched: break the glass again, which puts it aside.
const RECORD_LIMIT: u64 = 1 << 20;

/// The word: format 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Glass {
    /// The format.
    pub version: u32,
    /// Why.
    pub reason: String,
    /// Whose word it is: the user who logged in, as far as the kernel knows it.
    pub who: String,
    /// The boot it is of (`/proc/sys/kernel/random/boot_id`, random(4)).
    pub boot: String,
    /// From when, seconds since that boot (`CLOCK_BOOTTIME`, clock_gettime(2)).
    pub from: u64,
    /// Until when, likewise.
    pub until: u64,
    /// Where what is launched by it is noted.
    pub record: PathBuf,
}

/// What was launched by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Launched {
    /// When, seconds since 1970 by the host's clock.
    pub at: i64,
    /// What the runtime was called to do.
    pub operation: Operation,
    /// Of which container.
    pub id: String,
}

/// A word that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {what}; break the glass again: `verger-agent break-glass`", path = .path.display())]
pub struct InvalidGlass {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub what: String,
}

/// Which boot this is, and how many seconds ago it was.
///
/// # Errors
/// When the kernel does not say.
pub fn now() -> io::Result<(String, u64)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let since = clock_gettime(ClockId::Boottime).tv_sec;
    Ok((boot.trim().to_owned(), u64::try_from(since).unwrap_or(0)))
}

impl Glass {
    /// Reads the word in the gate's folder, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, belongs to somebody else than root or may be written by others, or is not understood.
    pub fn read(folder: &Path) -> Result<Option<Self>, InvalidGlass> {
        let path = folder.join(FILE);
        let failed = |what: String| InvalidGlass {
            path: path.clone(),
            what,
        };
        let bytes = match file::read(&path, LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let owned = fs::symlink_metadata(&path).and_then(|metadata| pin::owned_by_root(&metadata));
        owned.map_err(|error| failed(error.to_string()))?;
        Self::parse(&bytes).map(Some).map_err(failed)
    }

    /// Reads its bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let glass: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("damaged at line {} column {}", error.line(), error.column()))?;
        let is_told = |text: &str| !text.trim().is_empty() && text.chars().count() <= MOST_REASON;
        if glass.version != 1 {
            return Err(format!("format {} where 1 is known", glass.version));
        }
        if !is_told(&glass.reason) || !is_told(&glass.who) {
            return Err("it does not say who broke it and why".to_owned());
        }
        if glass.until.saturating_sub(glass.from) > MOST_SECONDS {
            return Err(format!("it is for longer than {MOST_SECONDS} s"));
        }
        if !glass.record.is_absolute() {
            return Err("its record is no absolute path".to_owned());
        }
        Ok(glass)
    }

    /// Whether it holds: in its own boot, and in its time.
    pub fn holds(&self, boot: &str, since_boot: u64) -> bool {
        self.boot == boot && (self.from..self.until).contains(&since_boot)
    }

    /// Notes what is about to be launched by it.
    ///
    /// # Errors
    /// When that cannot be kept: then nothing is launched.
    pub fn note(&self, launched: &Launched) -> io::Result<()> {
        let mut line = serde_json::to_vec(launched)?;
        line.push(b'\n');
        if line.len() as u64 > LIMIT {
            return Err(io::Error::other("its id is too long"));
        }
        let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);
        let mut record = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
            .open(&self.record)?;
        let metadata = record.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("the record is not a regular file"));
        }
        if metadata.len() + line.len() as u64 > RECORD_LIMIT {
            return Err(io::Error::other("the record is full"));
        }
        record.write_all(&line)?;
        record.sync_all()
    }

    /// What was launched by it, the earliest first. What a crash left half written is left out.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn launched(&self) -> io::Result<Vec<Launched>> {
        match file::read(&self.record, RECORD_LIMIT) {
            Ok(bytes) => Ok(lines(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Puts it in the gate's folder, in the place of another. The record goes on; one that has little room left is put aside first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, folder: &Path) -> io::Result<()> {
        let size = match fs::symlink_metadata(&self.record) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if size > RECORD_LIMIT / 2 {
            fs::rename(&self.record, self.record.with_extension("older"))?;
        }
        self.write(folder)
    }

    /// Ends it before its time; its record stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(self, folder: &Path) -> io::Result<()> {
        let ended = Self {
            until: self.from,
            ..self
        };
        ended.write(folder)
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(FILE);
        let draft = folder.join(format!(".{FILE}.new"));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(folder)?.sync_all()
    }
}

/// The lines of a record that are whole.
pub(crate) fn lines(bytes: &[u8]) -> Vec<Launched> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let whole = lines.filter_map(|line| line.strip_suffix(b"\n"));
    whole
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn glass(folder: &Path) -> Glass {
        Glass {
            version: 1,
            reason: "the agent does not start".to_owned(),
            who: "uid 0 (login uid 1000)".to_owned(),
            boot: "b".to_owned(),
            from: 100,
            until: 400,
            record: folder.join("launched.jsonl"),
        }
    }

    fn launched(id: &str) -> Launched {
        Launched {
            at: 7,
            operation: Operation::Create,
            id: id.to_owned(),
        }
    }

    #[test]
    fn format_1_never_changes() {
        let frozen = r#"{"version":1,"reason":"the agent does not start","who":"uid 0 (login uid 1000)","boot":"b","from":100,"until":400,"record":"/x/launched.jsonl"}"#;
        let written = serde_json::to_string(&glass(Path::new("/x"))).unwrap();
        assert_eq!(written, frozen);
        assert_eq!(Glass::parse(frozen.as_bytes()).unwrap(), glass(Path::new("/x")));
        let line = r#"{"at":7,"operation":"create","id":"abc"}"#;
        assert_eq!(serde_json::to_string(&launched("abc")).unwrap(), line);
        assert_eq!(lines(format!("{line}\n{line}").as_bytes()), [launched("abc")]);
    }

    #[test]
    fn it_holds_in_its_own_boot_and_time_and_until_it_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let put = glass(folder.path());
        put.put(folder.path()).unwrap();
        let read = || Glass::read(folder.path()).unwrap().unwrap();
        assert_eq!(read(), put);
        for (boot, since, holds) in [
            ("b", 99, false),
            ("b", 100, true),
            ("b", 399, true),
            ("b", 400, false),
            ("c", 200, false),
        ] {
            assert_eq!(read().holds(boot, since), holds, "{boot} {since}");
        }
        read().note(&launched("one")).unwrap();
        read().end(folder.path()).unwrap();
        assert!(!read().holds("b", 200));
        assert_eq!(read().launched().unwrap(), [launched("one")]);
        // Another goes on with the record, as long as there is room.
        put.put(folder.path()).unwrap();
        assert_eq!(read().launched().unwrap(), [launched("one")]);
        let full = vec![b'\n'; usize::try_from(RECORD_LIMIT).unwrap()];
        fs::write(&put.record, full).unwrap();
        put.put(folder.path()).unwrap();
        assert!(read().launched().unwrap().is_empty());
        assert!(folder.path().join("launched.older").is_file());
    }

    #[test]
    fn one_without_a_reason_or_for_too_long_or_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let good = glass(folder.path());
        let wrong = [
            Glass {
                reason: " ".to_owned(),
                ..good.clone()
            },
            Glass {
                reason: "x".repeat(MOST_REASON + 1),
                ..good.clone()
            },
            Glass {
                until: good.from + MOST_SECONDS + 1,
                ..good.clone()
            },
            Glass {
                version: 2,
                ..good.clone()
            },
            Glass {
                record: "launched.jsonl".into(),
                ..good.clone()
            },
        ];
        for wrong in wrong {
            wrong.write(folder.path()).unwrap();
            let error = Glass::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("break-glass.json: "), "{error}");
        }
        good.write(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let error = Glass::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("others than root may write it"), "{error}");
    }

    #[test]
    fn what_cannot_be_noted_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let glass = glass(folder.path());
        fs::write(&glass.record, vec![b'x'; usize::try_from(RECORD_LIMIT).unwrap()]).unwrap();
        assert!(
            glass
                .note(&launched("one"))
                .unwrap_err()
                .to_string()
                .contains("full")
        );
        fs::remove_file(&glass.record).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &glass.record).unwrap();
        glass.note(&launched("one")).unwrap_err();
        assert!(!folder.path().join("elsewhere").exists());
    }
}
