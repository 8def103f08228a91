//! What a name leads to for somebody with a PATH, as execvp(3) finds it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use verger_agent_core::doors::Leads;

/// The most links in a row that the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The gate's program, wherever it is called from.
pub(super) struct Gate {
    program: Option<PathBuf>,
}

impl Gate {
    pub(super) fn of(program: &Path) -> Self {
        Self {
            program: fs::canonicalize(program).ok(),
        }
    }

    /// What somebody calls who is told this name or path.
    pub(super) fn called(&self, called: &str, folders: &[PathBuf]) -> Leads {
        if called.contains('/') {
            return self.path(Path::new(called));
        }
        self.lookup(called, folders)
    }

    /// The first program of this name.
    pub(super) fn lookup(&self, name: &str, folders: &[PathBuf]) -> Leads {
        match first(name, folders) {
            Ok(path) => self.path(&path),
            Err(why) => Leads::Elsewhere(why),
        }
    }

    /// Since when what is called leads to the gate, as it does now: the latest time at which the program, its name in the gate's folder,
    /// or a link on the way there was changed. No system call sets that time back. None where nothing of it is there.
    pub(super) fn since(&self, folder: &Path, called: &str, folders: &[PathBuf]) -> Option<SystemTime> {
        let changed = |path: &Path| {
            let metadata = fs::symlink_metadata(path).ok()?;
            let (seconds, rest) = (u64::try_from(metadata.ctime()).ok()?, metadata.ctime_nsec());
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(rest).ok()?))
        };
        let mut times = Vec::new();
        let name = Path::new(called).file_name().map(|name| folder.join(name));
        times.extend(name.as_deref().and_then(changed));
        times.extend(self.program.as_deref().and_then(changed));
        let mut at = if called.contains('/') {
            Some(PathBuf::from(called))
        } else {
            first(called, folders).ok()
        };
        for _ in 0..MOST_LINKS {
            let Some(path) = at else { break };
            times.extend(changed(&path));
            // An absolute target takes the place of the whole path.
            at = fs::read_link(&path)
                .ok()
                .map(|to| path.parent().unwrap_or(&path).join(to));
        }
        times.into_iter().max()
    }

    fn path(&self, path: &Path) -> Leads {
        match (fs::canonicalize(path), &self.program) {
            (Ok(real), Some(program)) if real == *program => Leads::Gate,
            _ => Leads::Elsewhere(path.display().to_string()),
        }
    }
}

/// Where the first program of this name is.
fn first(name: &str, folders: &[PathBuf]) -> Result<PathBuf, String> {
    for folder in folders {
        if !folder.is_absolute() {
            return Err(format!(
                "{name} in whatever folder it runs in: its PATH is not absolute"
            ));
        }
        let path = folder.join(name);
        let is_program = fs::metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
        if is_program {
            return Ok(path);
        }
    }
    Err(format!("{name}, which is in no folder of its PATH"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_name_leads_where_the_first_folder_of_the_path_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["gate", "sbin", "empty"] {
            fs::create_dir(at(folder)).unwrap();
        }
        for program in ["gate/verger-gate", "sbin/runc"] {
            fs::write(at(program), b"").unwrap();
            fs::set_permissions(at(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("verger-gate", at("gate/runc")).unwrap();
        // No program, so nobody finds it.
        fs::write(at("empty/runc"), b"").unwrap();
        let gate = Gate::of(&at("gate/verger-gate"));
        let lookup = |folders: &[&str]| {
            let folders: Vec<PathBuf> = folders.iter().map(|folder| at(folder)).collect();
            gate.called("runc", &folders)
        };
        assert_eq!(lookup(&["empty", "gate", "sbin"]), Leads::Gate);
        let real = at("sbin/runc").display().to_string();
        assert_eq!(lookup(&["sbin", "gate"]), Leads::Elsewhere(real.clone()));
        assert!(matches!(lookup(&["empty"]), Leads::Elsewhere(_)));
        assert!(matches!(
            gate.lookup("runc", &["".into(), at("gate")]),
            Leads::Elsewhere(_)
        ));
        assert_eq!(
            gate.called(&at("gate/runc").display().to_string(), &[]),
            Leads::Gate
        );
        assert_eq!(gate.called(&real, &[at("gate")]), Leads::Elsewhere(real.clone()));
        // A diverted runtime: its own name is a link to the gate's.
        fs::rename(at("sbin/runc"), at("sbin/runc.verger-real")).unwrap();
        symlink(at("gate/runc"), at("sbin/runc")).unwrap();
        assert_eq!(lookup(&["sbin"]), Leads::Gate);
        // Where there is no gate, nothing leads to it.
        assert_eq!(Gate::of(&at("absent")).called(&real, &[]), Leads::Elsewhere(real));
    }

    #[test]
    fn a_gate_stands_since_the_last_of_its_parts_was_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["gate", "sbin"] {
            fs::create_dir(at(folder)).unwrap();
        }
        let program = || {
            fs::write(at("new"), b"the gate").unwrap();
            fs::set_permissions(at("new"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(at("new"), at("gate/verger-gate")).unwrap();
        };
        let link = |to: &Path, path: &Path| {
            let _ = fs::remove_file(path);
            symlink(to, path).unwrap();
        };
        let name = || link(Path::new("verger-gate"), &at("gate/runc"));
        let diverted = || link(&at("gate/runc"), &at("sbin/runc"));
        program();
        name();
        diverted();
        let gate = Gate::of(&at("gate/verger-gate"));
        let called = at("sbin/runc").display().to_string();
        let by_path = || gate.since(&at("gate"), &called, &[]).unwrap();
        let by_name = || gate.since(&at("gate"), "runc", &[at("sbin")]).unwrap();
        let changes: [&dyn Fn(); 3] = [&program, &name, &diverted];
        for change in changes {
            let before = (by_path(), by_name());
            assert_eq!(before.0, before.1);
            // The kernel's clock for files goes by ticks.
            while by_path() == before.0 {
                change();
            }
            assert!(by_path() > before.0 && by_name() > before.1);
        }
        // A link to itself ends.
        link(&at("sbin/runc"), &at("sbin/runc"));
        assert!(gate.since(&at("gate"), &called, &[]).is_some());
        assert_eq!(Gate::of(&at("absent")).since(&at("absent"), "x", &[]), None);
    }
}
