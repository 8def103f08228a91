//! One start on files that may be damaged, and what it comes to.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::runtime::Runtime;

use super::damage::Damage;
use super::images::{Facts, Images};
use super::reading::{Reading, used};

/// Tokens are not tried after this: they are good for ten minutes.
const TOKENS: Duration = Duration::from_secs(540);
/// How remedies begin.
const REMEDIES: [&str; 5] = [
    "Remedy: ",
    "restore it",
    "run a newer program",
    "run that one",
    "join again",
];

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It did not start, or stopped, and named the file and a remedy.
    Named,
    /// It said what it found, made it anew, and everything reads as was acknowledged, after another start, too.
    Healed,
    /// Everything reads as was acknowledged.
    Same,
    /// Anything else.
    Wrong(String),
}

/// Who starts and reads.
pub(super) struct Rounds(Runtime);

impl Rounds {
    pub(super) fn begin() -> Result<Self> {
        Ok(Self(
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        ))
    }

    /// Images that nobody damaged read as before.
    ///
    /// # Errors
    /// When they do not: then nothing else means anything.
    pub(super) fn untouched(&self, images: &mut Images) -> Result<()> {
        for image in 0..images.count() {
            images.put(image)?;
            let facts = images.facts(image);
            let end = self.start(images, &facts, Path::new(""))?;
            ensure!(end == End::Same, "image {image} is untouched: {end:?}");
        }
        Ok(())
    }

    /// Damages a copy and starts on it.
    pub(super) fn round(&self, images: &mut Images, damage: &Damage) -> Result<End> {
        images.put(damage.image)?;
        damage.inflict(&images.place())?;
        let facts = images.facts(damage.image);
        self.start(images, &facts, &damage.file)
    }

    /// Starts the member on what is there, and compares it with what was acknowledged. `file` is what is damaged, in its folder.
    pub(super) fn start(&self, images: &mut Images, facts: &Facts, file: &Path) -> Result<End> {
        let mut healed = false;
        loop {
            match self.once(images, facts, file, healed)? {
                // What was made anew has to be there after the next start.
                End::Healed if !healed => healed = true,
                End::Same if healed => return Ok(End::Healed),
                end => return Ok(end),
            }
        }
    }

    fn once(&self, images: &mut Images, facts: &Facts, file: &Path, again: bool) -> Result<End> {
        let log = images.scene.controller.log();
        fs::write(&log, "")?;
        let place = images.place();
        let said = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        if let Err(error) = images.scene.controller.start() {
            let said = said();
            let last = said.lines().rfind(|line| line.starts_with("verger-controller: "));
            return Ok(match last {
                Some(line) if is_named(line, &place, file) && !has_panicked(&said) => End::Named,
                _ => End::Wrong(format!(
                    "it does not start, and does not say why: {error:#}\n{said}"
                )),
            });
        }
        let is_healing = !again && said().contains(" ERROR ");
        let outcome = self.read(images, facts, is_healing);
        let is_running = images.scene.controller.is_running()?;
        images.scene.controller.kill()?;
        let said = said();
        if has_panicked(&said) {
            return Ok(End::Wrong(format!("it panicked:\n{said}")));
        }
        Ok(match outcome {
            Ok(None) if is_healing => End::Healed,
            Ok(None) if is_running => End::Same,
            Ok(None) => End::Wrong(format!("it ended by itself:\n{said}")),
            Ok(Some(difference)) => End::Wrong(format!("{difference}\n{said}")),
            Err(error) => {
                let mut told = said
                    .lines()
                    .filter(|line| line.contains(" ERROR ") || line.starts_with("verger-controller: "));
                match told.any(|line| is_named(line, &place, file))
                    || is_named(&format!("{error:#}"), &place, file)
                {
                    true => End::Named,
                    false => End::Wrong(format!("it cannot be read: {error:#}\n{said}")),
                }
            }
        })
    }

    fn read(&self, images: &Images, facts: &Facts, is_healing: bool) -> Result<Option<String>> {
        let acknowledged = &facts.acknowledged;
        let reading = self
            .0
            .block_on(Reading::take(&images.access, &acknowledged.people))?;
        if let Some(difference) = facts.reading.differs(&reading) {
            return Ok(Some(difference));
        }
        let verified = images
            .scene
            .verger()
            .args(["audit", "verify", "--head", &facts.head])
            .output()?;
        if !verified.status.success() {
            let text = String::from_utf8_lossy(&verified.stderr).into_owned();
            return Ok(Some(format!(
                "the audit does not verify ({}): {text}",
                verified.status
            )));
        }
        if is_healing {
            return Ok(None);
        }
        self.0
            .block_on(used(&images.access, acknowledged, images.age() < TOKENS))
    }
}

/// Whether this names the damaged file, or a folder of the member's that it is in, and says what to do.
fn is_named(text: &str, place: &Path, file: &Path) -> bool {
    let named = file.ancestors().filter(|part| !part.as_os_str().is_empty());
    let mut named = named.map(|part| place.join(part).display().to_string());
    named.any(|path| text.contains(&path)) && REMEDIES.iter().any(|remedy| text.contains(remedy))
}

fn has_panicked(text: &str) -> bool {
    text.contains("panicked at") || text.contains("RUST_BACKTRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_or_its_folder_and_a_remedy() {
        let named = |text| is_named(text, Path::new("/d"), Path::new("raft/state.sled/db"));
        assert!(named("\"/d/raft/state.sled\": it is cut. Remedy: discard it"));
        assert!(named("\"/d/raft\": a gap; restore it from a backup"));
        assert!(!named("\"/d/raft/state.sled\": it is cut"));
        assert!(!named("\"/d/pki\": it is cut. Remedy: discard it"));
        assert!(!named("something is cut. Remedy: discard it"));
    }
}
