//! The disks of one member, of whoever leads, of two and of all three are filled to the last block under load, and emptied again.
//!
//! Where others have space, writes go on with them; where no quorum has, each is refused at once with a word that names the disk, and reads
//! go on. A snapshot for somebody's file is refused there, too: it would take what the log may need. In every other round whatever a member
//! gives up of what it kept back is taken as well, so that there is nothing at all: it may stop then. A member that stops is started again,
//! as its unit does, and nothing else is done: when there is space, all is well again, and as much as before is kept back.

mod calls;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::calls::{attempt, full_of, read, save};
use super::crowd::{self, Crowd, Place};
use super::filler::{Filler, more};
use super::{BETWEEN, MEMBERS, STUCK, shuffle};
use crate::dice::Dice;
use crate::point::{Verdict, tell};
use crate::power_cut;
use crate::programs::Programs;
use crate::scene::Scene;

/// How long disks stay full.
const FULL: Duration = Duration::from_secs(2);
/// Writes go on elsewhere within this after disks are full.
const ANSWERED: Duration = Duration::from_secs(10);
/// A unit starts what has stopped after this long.
const RESTART: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// What a member keeps back, in its folder.
const RESERVE: &str = "data/raft/reserve";
/// What a refusal names.
const NAMED: &str = "the disk is full";

/// Whose disks are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Follower,
    Leader,
    Two,
    All,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Follower, Self::Leader, Self::Two, Self::All];

    /// Whether those who have space are a quorum.
    const fn leaves_a_quorum(self) -> bool {
        matches!(self, Self::Follower | Self::Leader)
    }
}

/// What a member without space refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Write,
    /// Everything, for somebody's file.
    Snapshot,
}

/// What happens to what members give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// They have it.
    Left,
    /// Somebody else takes it at once, as a program that writes without end.
    Taken,
}

/// Runs each kind 20 times, or once in the short form, each both ways.
///
/// # Errors
/// When the rig does not work, or a member needs a hand. What was lost is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    power_cut::check()?;
    power_cut::enter()?;
    verger_transport::install_crypto_provider();
    let each = if long { 20 } else { 1 };
    let seed = Dice::seed()?;
    tell(&format!("disk-full: seed {seed}"));
    let mut dice = Dice::new(seed);
    let mut room = Room::of(&Programs::find()?)?;
    let rate = room.crowd.is_busy()?;
    for round in 0..each {
        let mut kinds = Kind::ALL;
        shuffle(&mut kinds, &mut dice);
        for (kind, rest) in kinds
            .into_iter()
            .flat_map(|kind| [(kind, Rest::Left), (kind, Rest::Taken)])
        {
            room.now = format!("round {}, {kind:?}, {rest:?}", round + 1);
            room.round(kind, rest, &mut dice)
                .with_context(|| format!("{}, seed {seed}", room.now))?;
        }
    }
    let (stopped, with_rest) = (room.stopped, room.with_rest);
    let (refused, unsaved, longest) = (room.refused, room.unsaved, room.longest);
    let (wrong, summary) = room.end()?;
    for sentence in wrong.iter().take(20) {
        tell(&format!("WRONG: {sentence}"));
    }
    Ok(Verdict {
        figure: format!(
            "{} lost or stale: {summary}; the disks of one follower, of the leader, of two and of all were full {each} times each, and as often left with nothing: {refused} \
             writes and {unsaved} snapshots refused with a word that names the disk, writes elsewhere again within {:.1} s, {stopped} times a member stopped, {with_rest} of them with what it had kept back, and was \
             started by its unit, 0 needed a hand; {rate:.0} answers/s before the first disk was full",
            wrong.len(),
            longest.as_secs_f64(),
        ),
        // Whatever else is not as it should be ends the rounds.
        holds: wrong.is_empty(),
    })
}

/// Members with a file system each, and who asks them.
struct Room {
    crowd: Crowd,
    disks: Vec<Place>,
    /// Since when a member does not run.
    away: Vec<Option<Instant>>,
    stopped: usize,
    /// Of those, who had what it kept back.
    with_rest: usize,
    refused: usize,
    /// Snapshots that were refused.
    unsaved: usize,
    /// The longest that it took until a write went on elsewhere.
    longest: Duration,
    /// Which round it is, for what is told of it.
    now: String,
    rest: Rest,
}

impl Room {
    fn of(programs: &Programs) -> Result<Self> {
        let (seats, disks) = crowd::seats()?;
        let scene = Scene::of_members_at(programs, &seats)?;
        Ok(Self {
            crowd: Crowd::of(crowd::runtime()?, scene)?,
            away: vec![None; disks.len()],
            disks,
            stopped: 0,
            with_rest: 0,
            refused: 0,
            unsaved: 0,
            longest: Duration::ZERO,
            now: String::new(),
            rest: Rest::Left,
        })
    }

    fn round(&mut self, kind: Kind, rest: Rest, dice: &mut Dice) -> Result<()> {
        self.rest = rest;
        self.crowd.book()?.is_whole()?;
        let leader = self.crowd.scene.leader()?;
        let leader = self.crowd.names.iter().position(|name| *name == leader);
        let leader = leader.context("the leader is one of the members")?;
        let mut followers: Vec<usize> = (0..MEMBERS).filter(|place| *place != leader).collect();
        shuffle(&mut followers, dice);
        let places = match kind {
            Kind::Follower => vec![followers[0]],
            Kind::Leader => vec![leader],
            Kind::Two => vec![leader, followers[0]],
            Kind::All => (0..MEMBERS).collect(),
        };
        for place in 0..MEMBERS {
            self.keeps_back(place)?;
        }
        let began = Instant::now();
        let mut fillers = places
            .iter()
            .map(|place| Filler::fill(self.disks[*place].mounted.store().join("filler")))
            .collect::<Result<Vec<_>>>()?;
        match rest {
            Rest::Left => {
                for (place, filler) in places.iter().zip(&mut fillers) {
                    filler.leave_to(&self.reserve(*place))?;
                }
                self.says_so(kind, &places, began)?;
            }
            // Who has stopped says nothing.
            Rest::Taken if kind.leaves_a_quorum() => self.writes_go_on(began, &mut fillers)?,
            Rest::Taken => {}
        }
        while began.elapsed() < FULL {
            if rest == Rest::Taken {
                more(&mut fillers)?;
            }
            self.restart()?;
            std::thread::sleep(LOOK);
        }
        drop(fillers);
        self.go_on()
    }

    fn reserve(&self, place: usize) -> PathBuf {
        self.disks[place].mounted.store().join(RESERVE)
    }

    /// Waits until a member keeps space back, by itself.
    fn keeps_back(&mut self, place: usize) -> Result<()> {
        let began = Instant::now();
        while !self.reserve(place).exists() {
            ensure!(
                began.elapsed() < STUCK,
                "{} keeps nothing back within {STUCK:?} after there was space again\n{}",
                self.crowd.names[place],
                self.holds(place)?,
            );
            self.restart()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Members that have a little left say that their disks are full, and go on as far as that goes.
    fn says_so(&mut self, kind: Kind, places: &[usize], began: Instant) -> Result<()> {
        if kind.leaves_a_quorum() {
            self.writes_go_on(began, &mut [])?;
            // Whoever else has space.
            self.is_refused(Call::Write, places[0])?;
            self.is_shown(places[0])?;
        } else {
            // At every member, whether or not its own disk is full.
            for place in 0..MEMBERS {
                self.is_refused(Call::Write, place)?;
            }
        }
        self.is_refused(Call::Snapshot, places[0])?;
        self.reads_go_on(kind, places)
    }

    /// Starts whoever has stopped, when its unit would.
    fn restart(&mut self) -> Result<()> {
        for (name, away) in self.crowd.names.clone().into_iter().zip(0..) {
            let member = self.crowd.scene.member(&name)?;
            match self.away[away] {
                None if !member.is_running()? => {
                    self.stopped += 1;
                    self.with_rest += usize::from(self.rest == Rest::Left);
                    tell(&format!(
                        "disk-full: {}: {name} has stopped: {}",
                        self.now,
                        last_line(&member.log_tail())
                    ));
                    self.away[away] = Some(Instant::now());
                }
                Some(since) if since.elapsed() >= RESTART => {
                    // It may stop again: then it is started again.
                    drop(member.begin()?);
                    self.away[away] = None;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until a write is acknowledged that began after the disks were full.
    fn writes_go_on(&mut self, began: Instant, fillers: &mut [Filler]) -> Result<()> {
        loop {
            more(fillers)?;
            let first = {
                let book = self.crowd.book()?.open();
                let after = book.writes.iter().filter(|(asked, _)| *asked >= began);
                after.map(|(_, acknowledged)| *acknowledged).min()
            };
            if let Some(acknowledged) = first {
                self.longest = self.longest.max(acknowledged.duration_since(began));
                return Ok(());
            }
            ensure!(
                began.elapsed() < ANSWERED,
                "no write is acknowledged within {ANSWERED:?}, though a quorum has space"
            );
            self.crowd.book()?.is_whole()?;
            self.restart()?;
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until a call at a member is refused for its disk, or for those of others.
    fn is_refused(&mut self, call: Call, place: usize) -> Result<()> {
        let (began, at) = (Instant::now(), self.crowd.access.at(&self.crowd.addresses[place]));
        let mut number = 0;
        loop {
            number += 1;
            let answer = self.crowd.runtime.block_on(async {
                match call {
                    Call::Write => attempt(&at, &format!("full-{place}-{number}")).await,
                    Call::Snapshot => save(&at).await,
                }
            });
            let last = match answer {
                Ok(()) => "it was done".to_owned(),
                Err(why) if why.contains(NAMED) => {
                    match call {
                        Call::Write => self.refused += 1,
                        Call::Snapshot => self.unsaved += 1,
                    }
                    return Ok(());
                }
                Err(why) => why,
            };
            if began.elapsed() > STUCK {
                let name = self.crowd.names[place].clone();
                let (log, holds) = (self.crowd.scene.member(&name)?.log_tail(), self.holds(place)?);
                bail!(
                    "{call:?} at {name} is not refused for a full disk within {STUCK:?}: {last}\n{holds}\n{log}"
                );
            }
            self.restart()?;
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until another member, which has space, shows whose disk is full.
    fn is_shown(&mut self, full: usize) -> Result<()> {
        let names = self.crowd.names.clone();
        let asked = (full + 1) % MEMBERS;
        let (began, at) = (Instant::now(), self.crowd.access.at(&self.crowd.addresses[asked]));
        loop {
            let shown = match self.crowd.runtime.block_on(full_of(&at)) {
                Ok(shown) => shown,
                Err(why) => vec![(String::new(), why)],
            };
            if let [(name, why)] = &shown[..]
                && *name == names[full]
                && why.contains(NAMED)
            {
                return Ok(());
            }
            ensure!(
                began.elapsed() < STUCK,
                "{} does not show within {STUCK:?} that the disk of {} alone is full: {shown:?}",
                names[asked],
                names[full],
            );
            self.restart()?;
            std::thread::sleep(LOOK);
        }
    }

    /// Reads at every member that has all that there is: at each where nothing is written any more, and at who has space.
    fn reads_go_on(&mut self, kind: Kind, full: &[usize]) -> Result<()> {
        for place in 0..MEMBERS {
            if kind != Kind::All && full.contains(&place) {
                continue;
            }
            let (began, at) = (Instant::now(), self.crowd.access.at(&self.crowd.addresses[place]));
            while let Err(why) = self.crowd.runtime.block_on(read(&at)) {
                if began.elapsed() > STUCK {
                    let name = self.crowd.names[place].clone();
                    let log = self.crowd.scene.member(&name)?.log_tail();
                    bail!("no read at {name} within {STUCK:?}: {why}\n{log}");
                }
                self.restart()?;
                std::thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Waits until everybody is answered, and every member is back.
    fn go_on(&mut self) -> Result<()> {
        let (began, before) = (Instant::now(), self.crowd.book()?.answered());
        let writes = self.crowd.book()?.open().writes.len();
        loop {
            self.restart()?;
            let book = self.crowd.book()?;
            book.is_whole()?;
            let is_written = book.open().writes.len() > writes + BETWEEN / 10;
            if is_written && book.answered() >= before + BETWEEN && self.away.iter().all(Option::is_none) {
                break;
            }
            if began.elapsed() > STUCK {
                bail!("no {BETWEEN} answers within {STUCK:?} after there was space again");
            }
            std::thread::sleep(LOOK);
        }
        // Each takes writes again, and knows all of them. One that had failed before may stop only now.
        for place in 0..MEMBERS {
            self.is_back(place)?;
        }
        Ok(())
    }

    fn is_back(&mut self, place: usize) -> Result<()> {
        let (began, at) = (Instant::now(), self.crowd.access.at(&self.crowd.addresses[place]));
        loop {
            self.restart()?;
            let asked = async {
                attempt(&at, &format!("room-{place}")).await?;
                read(&at).await
            };
            match self.crowd.runtime.block_on(asked) {
                Ok(()) => return Ok(()),
                Err(why) if began.elapsed() > STUCK => {
                    let name = self.crowd.names[place].clone();
                    bail!(
                        "{name} needs a hand: {why}\n{}\n{}",
                        self.holds(place)?,
                        self.crowd.scene.member(&name)?.log_tail()
                    )
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }

    /// What takes the space of a member's disk: a line for each file.
    fn holds(&self, place: usize) -> Result<String> {
        let root = self.disks[place].mounted.store();
        let mut lines = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).context("a member's folder")? {
                let entry = entry.context("a member's folder")?;
                // A member that runs takes files away.
                let Ok(found) = entry.metadata() else { continue };
                let path = entry.path();
                if found.is_dir() {
                    folders.push(path);
                    continue;
                }
                let path = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
                lines.push(format!("{:>9} KiB  {path}", found.blocks() / 2));
            }
        }
        lines.sort();
        Ok(lines.join("\n"))
    }

    fn end(mut self) -> Result<(Vec<String>, String)> {
        let book = self.crowd.hush()?;
        Ok((self.crowd.wrong(&book)?, crowd::summary(&book)))
    }
}

fn last_line(text: &str) -> String {
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or_default().chars().take(300).collect()
}
