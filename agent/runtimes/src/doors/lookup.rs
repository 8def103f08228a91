//! What a name leads to for somebody with a PATH, as execvp(3) finds it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use verger_agent_core::doors::Leads;

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
        for folder in folders {
            if !folder.is_absolute() {
                return Leads::Elsewhere(format!(
                    "{name} in whatever folder it runs in: its PATH is not absolute"
                ));
            }
            let path = folder.join(name);
            let is_program = fs::metadata(&path)
                .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
            if is_program {
                return self.path(&path);
            }
        }
        Leads::Elsewhere(format!("{name}, which is in no folder of its PATH"))
    }

    fn path(&self, path: &Path) -> Leads {
        match (fs::canonicalize(path), &self.program) {
            (Ok(real), Some(program)) if real == *program => Leads::Gate,
            _ => Leads::Elsewhere(path.display().to_string()),
        }
    }
}

/// When the gate was first put under the name that is called. Putting it there again leaves a name that is right as it is.
pub(super) fn put(folder: &Path, called: &str) -> Option<SystemTime> {
    let name = Path::new(called).file_name()?;
    fs::symlink_metadata(folder.join(name)).ok()?.modified().ok()
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
}
