//! What the daemon's configs mean on this host: whose program a hook is, and whether AppArmor confines anything here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use verger_policy::facts::Evidence;

/// The daemon's program.
const PROGRAM: &str = "dockerd";
/// Says `Y` where AppArmor is on (Linux `security/apparmor/lsm.c`).
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// The hooks that are not the daemon's own. `pid` is the process whose program a hook runs that has the shape of the daemon's.
pub(super) fn own_hook(pid: u32, foreign: &Evidence<BTreeSet<String>>) -> Evidence<BTreeSet<String>> {
    own_hook_of(Path::new(&format!("/proc/{pid}/exe")), foreign)
}

fn own_hook_of(link: &Path, foreign: &Evidence<BTreeSet<String>>) -> Evidence<BTreeSet<String>> {
    let Evidence::Seen(foreign) = foreign else {
        return foreign.clone();
    };
    let seen = fs::read_link(link).and_then(|program| Ok((program, fs::metadata(link)?)));
    let (program, metadata) = match seen {
        Ok(seen) => seen,
        Err(error) => {
            return Evidence::Missing(format!(
                "the program of its hook cannot be looked at ({}: {error}); the agent needs CAP_SYS_PTRACE",
                link.display()
            ));
        }
    };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // A daemon whose package was upgraded goes on running the program that was there.
    let is_daemon = name.strip_suffix(" (deleted)").unwrap_or(&name) == PROGRAM;
    let is_roots = metadata.uid() == 0 && metadata.mode() & 0o022 == 0;
    let mut foreign = foreign.clone();
    if !is_daemon || !is_roots {
        foreign.insert(format!(
            "prestart: {} ({}), which is not Docker's daemon",
            link.display(),
            program.display()
        ));
    }
    Evidence::Seen(foreign)
}

/// Where AppArmor is on, what is given no profile is unconfined.
pub(crate) fn confine(profile: &mut Evidence<Option<String>>) {
    if matches!(profile, Evidence::Seen(None))
        && fs::read_to_string(APPARMOR).is_ok_and(|word| word.trim() == "Y")
    {
        *profile = Evidence::Seen(Some("unconfined".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_hook_is_the_daemons_where_its_program_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let none = Evidence::Seen(BTreeSet::new());
        for (name, mode, foreign) in [
            ("dockerd", 0o755, 0),
            ("dockerd (deleted)", 0o755, 0),
            ("sh", 0o755, 1),
            ("dockerd2", 0o755, 1),
            ("dockerd", 0o777, 1),
        ] {
            let (program, link) = (at(name), at("exe"));
            let _ = fs::remove_file(&link);
            fs::write(&program, b"").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            symlink(&program, &link).unwrap();
            let found = own_hook_of(&link, &none);
            assert_eq!(found.seen().map(BTreeSet::len), Some(foreign), "{name} {mode:o}");
        }
        assert!(matches!(own_hook_of(&at("absent"), &none), Evidence::Missing(_)));
        let unread = Evidence::missing("x");
        assert_eq!(own_hook_of(&at("exe"), &unread), unread);
    }
}
