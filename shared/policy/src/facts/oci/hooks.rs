//! Programs that the runtime runs on the host for a container.
//!
//! Docker adds one of its own where a container has a network namespace that it made (moby `daemon/oci_linux.go`, libnetwork
//! `osl.processSetKeyReexec`): its own program, called by the name `libnetwork-setkey`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::super::shape;
use super::document::{Hook, Text};

/// The longest text of one hook that is kept, bytes.
const SHOWN: usize = 512;

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hooks {
    /// The process whose program is run as Docker's own hook. Whether it is the daemon is to be seen on its host.
    pub(super) daemon: Option<u32>,
    /// The others, as one line each.
    pub(super) foreign: BTreeSet<String>,
}

/// Reads them, of the container with this id.
pub(super) fn read(stages: BTreeMap<Cow<'_, str>, Option<Vec<Hook<'_>>>>, id: Option<&str>) -> Hooks {
    let mut hooks = Hooks::default();
    for (stage, list) in stages {
        for hook in list.into_iter().flatten() {
            match daemons_own(&stage, &hook, id) {
                // It adds no second one.
                Some(pid) if hooks.daemon.is_none() => hooks.daemon = Some(pid),
                _ => _ = hooks.foreign.insert(line(&stage, &hook)),
            }
        }
    }
    hooks
}

fn line(stage: &str, hook: &Hook<'_>) -> String {
    let words = hook.args.iter().flatten().map(|Text(word)| &**word);
    let text = words.fold(format!("{stage}: {}", hook.path), |text, word| {
        format!("{text} {word}")
    });
    text.chars().take(SHOWN).collect()
}

/// The pid that Docker's own hook names, if it is that one to the letter.
fn daemons_own(stage: &str, hook: &Hook<'_>, id: Option<&str>) -> Option<u32> {
    let args = hook.args.as_deref()?;
    let [Text(name), Text(root), Text(container), Text(controller)] = args else {
        return None;
    };
    let root = root.strip_prefix("-exec-root=")?;
    let is_plain = stage == "prestart"
        && name == "libnetwork-setkey"
        && root.starts_with('/')
        && root.split('/').all(|part| part != "..")
        && shape::is_id(container)
        && id.is_none_or(|id| id == container)
        && (1..=64).contains(&controller.len())
        && controller.bytes().all(|byte| byte.is_ascii_hexdigit())
        && hook.env.as_ref().is_none_or(Vec::is_empty)
        && hook.timeout.is_none();
    if !is_plain {
        return None;
    }
    let pid = hook.path.strip_prefix("/proc/")?.strip_suffix("/exe")?;
    let is_number = pid.bytes().all(|byte| byte.is_ascii_digit()) && !pid.starts_with('0');
    is_number.then(|| pid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "8457f64ca3e3dc832a19acb849e5be4056240a36b8c081a44d0070c545cd7353";

    fn hooks(text: &str) -> Hooks {
        read(serde_json::from_str(text).unwrap(), Some(ID))
    }

    fn own() -> String {
        format!(
            r#"{{"path":"/proc/14441/exe","args":["libnetwork-setkey","-exec-root=/var/run/docker","{ID}","22154659a064"]}}"#
        )
    }

    #[test]
    fn dockers_own_is_known_and_nothing_that_looks_like_it() {
        let own = own();
        let read = hooks(&format!(r#"{{"prestart":[{own}],"poststop":null}}"#));
        assert_eq!((read.daemon, read.foreign.len()), (Some(14441), 0));
        for (from, to) in [
            ("/proc/14441/exe", "/proc/self/exe"),
            ("/proc/14441/exe", "/proc/014441/exe"),
            ("/proc/14441/exe", "/proc/99999999999/exe"),
            ("/proc/14441/exe", "/proc/1/root/tmp/exe"),
            ("libnetwork-setkey", "libnetwork-setkey2"),
            ("/var/run/docker", "/var/run/../x"),
            ("/var/run/docker", "x"),
            ("8457f", "9457f"),
            ("22154659a064", "--x"),
            ("\"22154659a064\"", "\"22154659a064\",\"x\""),
            ("\"args\"", "\"env\":[\"LD_PRELOAD=/x\"],\"args\""),
            ("\"args\"", "\"timeout\":1,\"args\""),
        ] {
            let other = own.replace(from, to);
            assert_ne!(other, own);
            let read = hooks(&format!(r#"{{"prestart":[{other}]}}"#));
            assert_eq!((read.daemon, read.foreign.len()), (None, 1), "{other}");
        }
        for stage in [
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
            "later",
        ] {
            let read = hooks(&format!(r#"{{"{stage}":[{own}]}}"#));
            assert_eq!((read.daemon, read.foreign.len()), (None, 1), "{stage}");
        }
    }

    #[test]
    fn a_second_one_is_somebody_elses() {
        let (own, other) = (own(), own().replace("14441", "7"));
        let read = hooks(&format!(r#"{{"prestart":[{own},{other}]}}"#));
        assert_eq!(read.daemon, Some(14441));
        assert!(
            read.foreign
                .iter()
                .all(|line| line.starts_with("prestart: /proc/7/exe "))
        );
        assert_eq!(read.foreign.len(), 1);
    }
}
