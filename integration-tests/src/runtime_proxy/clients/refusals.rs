//! That the proxy is in the way of all of it: who may not is refused by Verger's words, and nothing comes of it.

use std::process::Command;

use anyhow::{Result, ensure};

use super::said::{Said, ends};
use super::{Client, Way, compose};
use crate::point::tell;
use crate::runtime_proxy::Front;
use crate::runtime_proxy::front::{RUNNER, STRANGER};

/// What is tried, by whom, and how the refusal begins; `{}` is the container of the workload, `{other}` that of none, `{made}` a name of
/// nothing.
const TRIES: &[(u32, &[&str])] = &[
    (STRANGER, &["exec", "{}", "sh", "-c", "exit 3"]),
    (STRANGER, &["exec", "--interactive", "{}", "cat"]),
    (STRANGER, &["run", "--rm", "verger-test/app", "true"]),
    (
        STRANGER,
        &["run", "--detach", "--name", "{made}", "verger-test/app"],
    ),
    (STRANGER, &["logs", "--follow", "{}"]),
    (STRANGER, &["cp", "{}:/etc/hostname", "-"]),
    (STRANGER, &["cp", "/etc/hostname", "{}:/tmp/copied"]),
    (STRANGER, &["inspect", "{}"]),
    (STRANGER, &["build", "--tag", "{made}", "{context}"]),
    // Who may do all of that, to what is of the workload alone.
    (RUNNER, &["exec", "{other}", "true"]),
    (RUNNER, &["cp", "{other}:/etc/hostname", "-"]),
    (RUNNER, &["cp", "/etc/hostname", "{other}:/tmp/copied"]),
    (RUNNER, &["build", "--tag", "{made}", "{context}"]),
];

/// How many tries there were, and how many of them were refused so.
pub(super) fn tried(front: &Front) -> Result<(usize, usize)> {
    let made = front.docker.name("never");
    let folder = compose::folder()?;
    std::fs::write(folder.path().join("Dockerfile"), "FROM verger-test/busybox\n")?;
    let context = folder.path().display().to_string();
    let mut refused = 0;
    for (uid, words) in TRIES {
        let mut command = front.cli(*uid);
        command.args(words.iter().map(|word| {
            word.replace("{}", &front.web)
                .replace("{other}", &front.other)
                .replace("{made}", &made)
                .replace("{context}", &context)
        }));
        refused += usize::from(is_refused(*uid, command)?);
    }
    let stranger = Client {
        front,
        way: Way::Through(STRANGER),
    };
    for words in [&["up", "-d"][..], &["ps"], &["down"]] {
        let mut command = compose::compose(&stranger, folder.path());
        command.args(words);
        refused += usize::from(is_refused(STRANGER, command)?);
    }
    ensure!(!front.is_there(&made)?, "refused, and yet it is there");
    let images = front.say(&["image", "ls", "--quiet", &made])?;
    ensure!(images.is_empty(), "refused, and yet it was built");
    Ok((TRIES.len() + 3, refused))
}

fn is_refused(uid: u32, command: Command) -> Result<bool> {
    let words = format!("{command:?}");
    let said: Said = ends(command, b"")?;
    let is_refused = said.code != 0 && said.err.contains(&format!("verger: local/{uid} may not"));
    if !is_refused {
        tell(&format!("{words}: {said:?}"));
    }
    Ok(is_refused)
}
