//! Bad input of every kind against a running cluster: each is answered clearly and in bounded time and memory, nothing
//! changes, nothing hostile reaches a terminal raw, and everybody else is served as before.

mod container;
mod files;
mod frames;
pub(crate) mod raw;

use anyhow::{Result, ensure};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Docker, Scene};

/// The workload that hostile containers are held to.
const WORKLOAD: &str = "hostile/web";

/// Runs everything; the long form feeds more frames.
///
/// # Errors
/// When the scene does not work. What was answered otherwise than it should be is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let docker = Docker::find()?;
    let mut scene = Scene::found(&Programs::find()?, &docker)?;
    let image = docker.name("hostile-benign");
    docker.run(&image, &["verger-test/app"])?;
    scene.apply(&scene.bless(&docker, &image, WORKLOAD)?)?;
    scene.judged(&image, |row| {
        row["workloads"][0] == WORKLOAD && row["failed"] == 0
    })?;
    let before = Before::of(&scene)?;

    let files = files::feed(&scene)?;
    tell(&files.to_string());
    let frames = frames::feed(&scene, if long { 20_000 } else { 2_000 })?;
    tell(&frames.to_string());
    ensure!(scene.controller.is_running()?, "the controller ended");
    before.is_unchanged(&scene)?;
    let containers = container::feed(&scene, &docker, &image)?;
    tell(&containers.to_string());
    before.is_unchanged(&scene)?;
    ensure!(
        scene.controller.is_running()? && scene.agent.is_running()?,
        "a program ended"
    );

    for log in [scene.agent.log(), scene.controller.log()] {
        // A handler that panics ends one call only; nobody would notice.
        ensure!(
            !std::fs::read_to_string(&log)?.contains("panicked at"),
            "{} tells of a panic",
            log.display()
        );
    }

    let all = [files, frames, containers];
    let wrong: usize = all.iter().map(|tally| tally.wrong.len()).sum();
    for sentence in all.iter().flat_map(|tally| &tally.wrong) {
        tell(&format!("WRONG: {sentence}"));
    }
    let said: Vec<String> = all.iter().map(ToString::to_string).collect();
    Ok(Verdict {
        figure: format!("{wrong} wrong: {}", said.join("; ")),
        holds: wrong == 0,
    })
}

/// What must be the same afterwards.
struct Before {
    epoch: u64,
    objects: String,
    pid: u32,
}

impl Before {
    fn of(scene: &Scene) -> Result<Self> {
        Ok(Self {
            epoch: scene.epoch()?,
            objects: scene.say(&["list", "--output", "json"])?,
            pid: scene.controller.pid()?,
        })
    }

    fn is_unchanged(&self, scene: &Scene) -> Result<()> {
        ensure!(scene.epoch()? == self.epoch, "the epoch moved");
        ensure!(
            scene.say(&["list", "--output", "json"])? == self.objects,
            "the objects changed"
        );
        ensure!(
            scene.controller.pid()? == self.pid,
            "the controller is another process"
        );
        Ok(())
    }
}

/// What one part came to.
struct Tally {
    what: &'static str,
    fed: usize,
    note: String,
    wrong: Vec<String>,
}

impl Tally {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            fed: 0,
            note: String::new(),
            wrong: Vec::new(),
        }
    }

    /// One more; `problem` says what was not as it should be.
    fn count(&mut self, problem: Option<String>) {
        self.fed += 1;
        self.wrong.extend(problem);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{}", self.fed, self.what, self.note)
    }
}

/// What no terminal may get: control characters beside the line's end, and characters that change the direction of text.
fn raw_in(text: &str) -> Option<char> {
    text.chars().find(|character| {
        (character.is_control() && *character != '\n')
            || matches!(*character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_terminal_or_turns_text_is_raw() {
        for hostile in [
            "\u{1b}[2J",
            "a\rb",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\tb",
            "\u{9b}31m",
        ] {
            assert!(raw_in(hostile).is_some(), "{hostile:?}");
        }
        assert_eq!(raw_in("plain \\u{1b}[2J text\nsecond line"), None);
    }
}
