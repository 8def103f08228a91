//! The power of one member, of two, and of all of them is cut under load, as `power_cut` cuts it: each keeps its files on a file system of
//! its own that drops all that is not on the disk. Killing a process shows less: the page cache survives it.
//!
//! The rig proves itself on members that leave out every sync: what they lose must be seen.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use verger_controller_store::open_log;
use verger_proto::cluster::v1::ListMembersRequest;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::stored::v1 as stored;

use super::crowd::{self, Crowd, Place};
use super::{MEMBERS, shuffle};
use crate::dice::Dice;
use crate::point::{Verdict, tell};
use crate::power_cut::{self, Disk, Mounted};
use crate::programs::Programs;
use crate::scene::Scene;

/// A cut comes so long after it was decided on, at most.
const AFTER: Duration = Duration::from_millis(300);
/// Rounds in which members that leave out their syncs are given the chance to lose something.
const PATIENCE: usize = 20;
/// The library that leaves out every sync.
const UNSYNCED: &str = "libverger_unsynced.so";

/// Runs 200 rounds, or 10.
///
/// # Errors
/// When the rig does not work. What was lost is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    power_cut::check()?;
    power_cut::enter()?;
    verger_transport::install_crypto_provider();
    let rounds = if long { 200 } else { 10 };
    let seed = Dice::seed()?;
    tell(&format!("members-power: seed {seed}"));
    let mut dice = Dice::new(seed);
    let programs = Programs::find()?;
    let planted = planted(&programs, &mut dice)?;
    tell(&format!("members-power: {planted}"));
    let mut room = Room::of(&programs, false)?;
    let rate = room.crowd.is_busy()?;
    let mut victims: Vec<usize> = (0..rounds).map(|round| round % MEMBERS + 1).collect();
    shuffle(&mut victims, &mut dice);
    let mut cuts = [0_usize; MEMBERS];
    for (round, count) in victims.into_iter().enumerate() {
        room.cut(count, &mut dice)
            .with_context(|| format!("round {}, the power of {count}, seed {seed}", round + 1))?;
        cuts[count - 1] += 1;
        if (round + 1) % 20 == 0 {
            tell(&format!("members-power: {} rounds", round + 1));
        }
    }
    let (wrong, summary) = room.end()?;
    for sentence in wrong.iter().take(20) {
        tell(&format!("WRONG: {sentence}"));
    }
    Ok(Verdict {
        figure: format!(
            "{} lost, stale or going back in {rounds} cuts of power (of one member {}, of two {}, of all three {}), 0 members that needed a \
             hand: {summary}; {rate:.0} answers/s before the first cut; {planted}",
            wrong.len(),
            cuts[0],
            cuts[1],
            cuts[2]
        ),
        holds: wrong.is_empty() && cuts.iter().all(|count| *count > 0),
    })
}

/// What is told of members that do not come back, and of answers that are not what they can be.
const CAUGHT: [&str; 3] = [
    "needs a hand",
    "does not come back",
    "somebody who asks has failed",
];

/// What members lose that leave out every sync: writes that were acknowledged, and votes that they said they had given.
fn planted(programs: &Programs, dice: &mut Dice) -> Result<String> {
    let (mut lost, mut voted) = (None, None);
    let mut room = Room::of(programs, true)?;
    for round in 1..=PATIENCE {
        // That they do not come back, or that what they have is not what was acknowledged.
        let cut = room.cut(MEMBERS, dice);
        if let Some(vote) = room.votes.first() {
            voted.get_or_insert_with(|| format!("without syncs a vote lost in cut {round} ({vote})"));
        }
        let is_over = cut.is_err();
        if let Err(error) = cut {
            let why = format!("{error:#}");
            // Anything else is a rig that does not work.
            if !CAUGHT.iter().any(|told| why.contains(told)) {
                return Err(error.context("the members that leave out every sync"));
            }
            let why = first_line(&why);
            lost.get_or_insert_with(|| format!("without syncs caught in cut {round} ({why})"));
        } else {
            let wrong = room.wrong()?.len();
            if wrong > 0 {
                lost.get_or_insert_with(|| format!("without syncs {wrong} lost in cut {round}"));
            }
        }
        match (&lost, &voted) {
            (Some(lost), Some(voted)) => return Ok(format!("{lost}; {voted}")),
            _ if is_over => room = Room::of(programs, true)?,
            _ => {}
        }
    }
    bail!(
        "members that leave out every sync lost {} acknowledged writes and {} votes in {PATIENCE} cuts: the rig proves nothing",
        if lost.is_some() { "some" } else { "no" },
        if voted.is_some() { "some" } else { "no" }
    )
}

/// The term of the vote that a member has on its disk, which does not run.
fn vote_on(store: &Path) -> Result<u64> {
    let log = open_log(&store.join("data").join("raft"))?;
    let vote = log.vote()?.context("there is none")?;
    Ok(stored::RaftVote::decode(vote)?.term)
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(120).collect()
}

/// Members with a file system each, and who asks them.
struct Room {
    crowd: Crowd,
    disks: Vec<(&'static Disk, Option<Mounted<'static>>)>,
    /// Votes that went back.
    votes: Vec<String>,
    _folders: Vec<tempfile::TempDir>,
}

impl Room {
    fn of(programs: &Programs, is_unsynced: bool) -> Result<Self> {
        let (seats, places) = crowd::seats()?;
        let mut scene = Scene::of_members_at(programs, &seats)?;
        if is_unsynced {
            let library = programs.path(UNSYNCED)?;
            for name in scene.member_names() {
                let member = scene.member(&name)?;
                member.stop()?;
                member.set_env("LD_PRELOAD", &library);
                member.start()?;
            }
        }
        let (mut disks, mut folders) = (Vec::new(), Vec::new());
        for Place {
            disk,
            mounted,
            folder,
        } in places
        {
            disks.push((disk, Some(mounted)));
            folders.push(folder);
        }
        Ok(Self {
            crowd: Crowd::of(crowd::runtime()?, scene)?,
            disks,
            votes: Vec::new(),
            _folders: folders,
        })
    }

    /// Cuts the power of so many members at one moment, and has them start again.
    fn cut(&mut self, count: usize, dice: &mut Dice) -> Result<()> {
        self.crowd.book()?.is_whole()?;
        let mut places: Vec<usize> = (0..MEMBERS).collect();
        shuffle(&mut places, dice);
        places.truncate(count);
        // A vote that was given just now is the one that may not be on the disk.
        let next = &self.crowd.names[usize::try_from(dice.roll() % MEMBERS as u64)?];
        let moved = self.crowd.scene.say(&["cluster", "transfer-leader", next]);
        moved.context("having another lead before the cut")?;
        let before = self.terms()?;
        let moment = Instant::now() + dice.pause(AFTER);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        // All of them stop before any disk does: what they acknowledge after that would be no promise of theirs.
        for place in &places {
            self.crowd.scene.member(&self.crowd.names[*place])?.freeze()?;
        }
        for place in &places {
            let (_, mounted) = &self.disks[*place];
            mounted.as_ref().context("a disk is mounted")?.cut()?;
        }
        for place in &places {
            self.crowd.scene.member(&self.crowd.names[*place])?.kill()?;
            let (disk, mounted) = &mut self.disks[*place];
            mounted.take().context("a disk is mounted")?.unmount()?;
            let name = &self.crowd.names[*place];
            let again = disk.mount()?;
            match vote_on(&again.store()) {
                Ok(term) if term >= before[*place] => {}
                Ok(term) => self.votes.push(format!(
                    "{name} said that it was in term {}, and the vote on its disk is of term {term}",
                    before[*place]
                )),
                Err(why) => self.votes.push(format!("{name} has no vote on its disk: {why}")),
            }
            *mounted = Some(again);
        }
        // Whoever needs the others to serve says that it is ready all the same, once it knows its cluster.
        for place in &places {
            let name = self.crowd.names[*place].clone();
            self.crowd
                .scene
                .member(&name)?
                .start()
                .with_context(|| format!("{name} needs a hand"))?;
        }
        self.crowd.go_on()
    }

    /// The term that each member is in, by its own word.
    fn terms(&self) -> Result<Vec<u64>> {
        let ask = |address: &String| {
            let at = self.crowd.access.at(address);
            let request = ListMembersRequest { stale_ok: true };
            self.crowd
                .runtime
                .block_on(at.insist("the term", |channel| async move {
                    let answer = MemberServiceClient::new(channel).list_members(request).await?;
                    Ok(answer.into_inner().term)
                }))
        };
        self.crowd.addresses.iter().map(ask).collect()
    }

    /// What is wrong so far, by the history alone.
    fn wrong(&self) -> Result<Vec<String>> {
        let book = self.crowd.book()?.open();
        Ok(book.wrong.iter().cloned().chain(book.history.wrong()).collect())
    }

    fn end(mut self) -> Result<(Vec<String>, String)> {
        let book = self.crowd.hush()?;
        let mut wrong = std::mem::take(&mut self.votes);
        wrong.extend(self.crowd.wrong(&book)?);
        Ok((wrong, crowd::summary(&book)))
    }
}
