//! Copies of a member's folder, and what was acknowledged by then.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::damage::{Damage, Kind, Way};
use super::load::Acknowledged;
use super::reading::Reading;
use crate::access::Access;
use crate::dice::Dice;
use crate::programs::Programs;
use crate::scene::{Scene, checked};

/// How a member ends before its folder is copied, and whether it has written a snapshot by then.
const LIVES: [(Last, bool); 4] = [
    (Last::Stopped, false),
    (Last::Killed, false),
    (Last::Stopped, true),
    (Last::Killed, true),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Stopped,
    /// Nothing is tidied up.
    Killed,
}

/// What a member had acknowledged.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) acknowledged: Acknowledged,
    pub(super) reading: Reading,
    /// The head of its audit, as `verger audit verify` takes it.
    pub(super) head: String,
}

struct Image {
    folder: PathBuf,
    facts: Facts,
    files: Vec<(Kind, PathBuf)>,
}

/// All of one cluster, which is stopped.
pub(super) struct Images {
    pub(super) scene: Scene,
    pub(super) access: Access,
    images: Vec<Image>,
    made: Instant,
}

impl Images {
    /// Founds a cluster and lets it live.
    pub(super) fn make(programs: &Programs) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut scene = Scene::of_members(programs, 1)?;
        let access = Access::of(&scene)?;
        let made = Instant::now();
        let mut acknowledged = runtime.block_on(Acknowledged::of_nothing(&access))?;
        let mut images: Vec<Image> = Vec::new();
        for (number, (last, with_snapshot)) in LIVES.into_iter().enumerate() {
            if number > 0 {
                if with_snapshot
                    && images
                        .iter()
                        .all(|image| image.files.iter().all(|(kind, _)| *kind != Kind::Snapshot))
                {
                    snapshot(programs, &scene)?;
                }
                scene.controller.start()?;
            }
            let reading = runtime.block_on(async {
                acknowledged.helping(&access).await?;
                Reading::take(&access, &acknowledged.people).await
            })?;
            reading.is_of(&acknowledged)?;
            let head = scene.say(&["audit", "head"])?.trim().to_owned();
            match last {
                Last::Stopped => scene.controller.stop()?,
                Last::Killed => scene.controller.kill()?,
            }
            let folder = scene.path(&format!("image-{number}"));
            copy(&scene.path("controller"), &folder)?;
            let mut files = Vec::new();
            list(&folder, &folder, &mut files)?;
            let facts = Facts {
                acknowledged: acknowledged.clone(),
                reading,
                head,
            };
            images.push(Image { folder, facts, files });
        }
        Ok(Self {
            scene,
            access,
            images,
            made,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.images.len()
    }

    pub(super) fn age(&self) -> Duration {
        self.made.elapsed()
    }

    /// Kinds of files that are there.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let kinds: BTreeSet<Kind> = self
            .images
            .iter()
            .flat_map(|image| &image.files)
            .map(|(kind, _)| *kind)
            .collect();
        kinds.into_iter().collect()
    }

    pub(super) fn facts(&self, image: usize) -> Facts {
        self.images[image].facts.clone()
    }

    /// Where the member looks for its files.
    pub(super) fn place(&self) -> PathBuf {
        self.scene.path("controller")
    }

    /// Puts a copy of an image where the member looks for its files.
    pub(super) fn put(&self, image: usize) -> Result<()> {
        let place = self.place();
        fs::remove_dir_all(&place).with_context(|| format!("removing {place:?}"))?;
        copy(&self.images[image].folder, &place)
    }

    /// Chooses a kind of file, one of its files, and a place in it.
    pub(super) fn damage(&self, way: Way, dice: &mut Dice) -> Result<Damage> {
        let kind = *dice.pick(&Kind::ALL).context("there are kinds")?;
        let mut files = Vec::new();
        for (number, image) in self.images.iter().enumerate() {
            let of_kind = image.files.iter().filter(|(of, _)| *of == kind);
            files.extend(of_kind.map(|(_, file)| (number, file)));
        }
        let (image, file) = *dice
            .pick(&files)
            .with_context(|| format!("there is no {}", kind.word()))?;
        let bytes = fs::read(self.images[image].folder.join(file))?;
        Damage::choose(image, kind, file, &bytes, way, dice)
    }
}

/// Has the member that is stopped write a snapshot, and take what it covers out of its log.
fn snapshot(programs: &Programs, scene: &Scene) -> Result<()> {
    let program = programs.path("verger-member-snapshot");
    let program =
        program.context("`cargo build -p verger-controller-raft --features rig --bins` makes it")?;
    let mut command = Command::new(program);
    command.arg(scene.path("controller").join("raft")).arg("1");
    checked(&mut command).map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    checked(Command::new("cp").arg("--archive").arg("--").arg(from).arg(to)).map(drop)
}

/// Keeps space for when the disk is full, and says nothing.
const SPACE: &str = "reserve";

/// Every file under a folder that holds something, by its path there.
fn list(root: &Path, folder: &Path, files: &mut Vec<(Kind, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("looking into {folder:?}"))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            list(root, &path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() > 0 && entry.file_name() != SPACE {
            let file = path.strip_prefix(root)?.to_owned();
            files.push((Kind::of(&file)?, file));
        }
    }
    Ok(())
}
