//! What is done to a file.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::dice::Dice;

/// A page of a file.
const PAGE: usize = 4_096;
/// A choice that changes nothing is made again so often.
const TRIES: usize = 200;

/// What a member's folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Log,
    /// What tells an older program that it needs a newer one.
    Notice,
    Watermark,
    Rows,
    RowsConfig,
    RowsIndex,
    Snapshot,
    Seat,
    Authority,
    MemberKey,
}

impl Kind {
    pub(super) const ALL: [Self; 10] = [
        Self::Log,
        Self::Notice,
        Self::Watermark,
        Self::Rows,
        Self::RowsConfig,
        Self::RowsIndex,
        Self::Snapshot,
        Self::Seat,
        Self::Authority,
        Self::MemberKey,
    ];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Log => "log.chunks/*.wal",
            Self::Notice => "log.redb",
            Self::Watermark => "log.mark",
            Self::Rows => "state.sled/db",
            Self::RowsConfig => "state.sled/conf",
            Self::RowsIndex => "state.sled/snap.*",
            Self::Snapshot => "snapshots/*.vsnap",
            Self::Seat => "member.json",
            Self::Authority => "pki/ca-*.pem",
            Self::MemberKey => "member-key.pem",
        }
    }

    /// What a file is, by its path in the folder.
    ///
    /// # Errors
    /// When there is no such kind: the rig is to learn of it.
    pub(super) fn of(file: &Path) -> Result<Self> {
        let name = file.to_str().unwrap_or_default();
        Ok(match name {
            "raft/log.redb" => Self::Notice,
            "raft/log.mark" => Self::Watermark,
            "raft/state.sled/db" => Self::Rows,
            "raft/state.sled/conf" => Self::RowsConfig,
            "raft/member.json" => Self::Seat,
            "member-key.pem" => Self::MemberKey,
            _ if name.starts_with("raft/log.chunks/") => Self::Log,
            _ if name.starts_with("raft/state.sled/snap.") => Self::RowsIndex,
            _ if name.starts_with("raft/snapshots/") => Self::Snapshot,
            _ if name.starts_with("pki/ca-") => Self::Authority,
            _ => bail!("a member has a file {file:?} now, which this rig knows no kind of: add it"),
        })
    }
}

/// How a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Bit,
    Byte,
    Cut,
    ZeroPage,
}

impl Way {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Bit | Self::Byte => "flip",
            Self::Cut => "cut",
            Self::ZeroPage => "page",
        }
    }
}

/// One damage, so that it can be told and done.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) image: usize,
    pub(super) kind: Kind,
    /// In the member's folder.
    pub(super) file: PathBuf,
    way: Way,
    at: usize,
    before: u8,
    after: u8,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            image,
            file,
            at,
            before,
            after,
            ..
        } = self;
        write!(f, "image {image}, {}, ", file.display())?;
        match self.way {
            Way::Bit | Way::Byte => write!(f, "byte {at}: {before:02x} is {after:02x}"),
            Way::Cut => write!(f, "cut at {at}"),
            Way::ZeroPage => write!(f, "the page at {at} is zeroed"),
        }
    }
}

impl Damage {
    /// Chooses one of a file that holds these bytes. Half of them are where something is
    /// written: a store's files are mostly space.
    pub(super) fn choose(
        image: usize,
        kind: Kind,
        file: &Path,
        bytes: &[u8],
        way: Way,
        dice: &mut Dice,
    ) -> Result<Self> {
        let pages: Vec<&[u8]> = bytes.chunks(PAGE).collect();
        let written: Vec<usize> = (0..pages.len())
            .filter(|page| pages[*page].iter().any(|byte| *byte != 0))
            .collect();
        let below = |dice: &mut Dice, bound: usize| usize::try_from(dice.below(bound as u64)).unwrap_or(0);
        for _ in 0..TRIES {
            let mut at = below(dice, bytes.len());
            if dice.roll().is_multiple_of(2)
                && let Some(page) = dice.pick(&written)
            {
                at = page * PAGE + below(dice, pages[*page].len());
            }
            if way == Way::ZeroPage {
                at -= at % PAGE;
            }
            let Some(&before) = bytes.get(at) else { continue };
            let after = match way {
                Way::Bit => before ^ 1 << below(dice, 8),
                Way::Byte => before.wrapping_add(u8::try_from(1 + below(dice, 255)).unwrap_or(1)),
                Way::Cut | Way::ZeroPage => 0,
            };
            let damage = Self {
                image,
                kind,
                file: file.to_owned(),
                way,
                at,
                before,
                after,
            };
            if damage.done(bytes) != bytes {
                return Ok(damage);
            }
        }
        bail!("no {way:?} changes {file:?}")
    }

    fn done(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self.way {
            Way::Bit | Way::Byte => bytes[self.at] = self.after,
            Way::Cut => bytes.truncate(self.at),
            Way::ZeroPage => {
                let end = (self.at + PAGE).min(bytes.len());
                bytes[self.at..end].fill(0);
            }
        }
        bytes
    }

    /// Does it to the file in a member's folder.
    pub(super) fn inflict(&self, folder: &Path) -> Result<()> {
        let file = folder.join(&self.file);
        let bytes = fs::read(&file).with_context(|| format!("reading {file:?}"))?;
        fs::write(&file, self.done(&bytes)).with_context(|| format!("writing {file:?}"))
    }
}
