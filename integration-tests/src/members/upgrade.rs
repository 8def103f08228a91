//! Three members are upgraded one by one under load, to a program of the next version, which writes a stored form otherwise.
//!
//! While one of them runs the program of before, the cluster stays at the version that all know, and whoever was upgraded can go back. When
//! the last one is upgraded the version goes up by itself. From then on the program of before is refused, by its own words: to start on what
//! a member has, and to join. What a member has is looked at, too: it is in the new form, and the member starts on it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use verger_controller_state::Tree;
use verger_controller_store::{SledState, StateDb as _};
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::cluster::v1::{ListMembersRequest, ListMembersResponse};
use verger_proto::stored::v1::ClusterRow;

use super::crowd::{self, Crowd};
use super::{MEMBERS, STUCK, epoch};
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{FIRST, Scene, Seat};

/// The programs: of this version, and of the next.
const BEFORE: &str = "verger-controller";
const NEXT: &str = "verger-controller-next";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Runs 10 upgrades of a cluster of its own each, or one.
///
/// # Errors
/// When the scene does not work. What was lost is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let rounds = if long { 10 } else { 1 };
    let programs = Programs::find()?;
    let (mut wrong, mut writes, mut reads) = (Vec::new(), 0, 0);
    let mut said = String::new();
    for round in 1..=rounds {
        let mut room = Room::of(&programs)?;
        said = room
            .upgrade(&programs)
            .with_context(|| format!("upgrade {round}"))?;
        let (of_round, answered) = room.end()?;
        wrong.extend(of_round);
        writes += answered.0;
        reads += answered.1;
        tell(&format!("rolling-upgrade: {round} of {rounds}"));
    }
    for sentence in wrong.iter().take(20) {
        tell(&format!("WRONG: {sentence}"));
    }
    Ok(Verdict {
        figure: format!(
            "{} lost, stale or undecided of {writes} writes and {reads} reads in {rounds} upgrades of three members one by one; the version \
             went up when the last was upgraded, not before, and rows are in the new form; back to the program of before: allowed until then, \
             and then refused ({said})",
            wrong.len()
        ),
        holds: wrong.is_empty() && writes > 0 && reads > 0,
    })
}

/// Members, and who asks them.
struct Room {
    crowd: Crowd,
}

impl Room {
    fn of(programs: &Programs) -> Result<Self> {
        let scene = Scene::of_members(programs, MEMBERS)?;
        Ok(Self {
            crowd: Crowd::of(crowd::runtime()?, scene)?,
        })
    }

    /// Upgrades them all, and tries to go back. Gives what the program of before said.
    fn upgrade(&mut self, programs: &Programs) -> Result<String> {
        let (before, next) = (programs.path(BEFORE)?, programs.path(NEXT)?);
        let rate = self.crowd.is_busy()?;
        tell(&format!(
            "rolling-upgrade: {rate:.0} answers/s before the first member stops"
        ));
        self.crowd.go_on()?;
        let first = self.version()?;
        for (place, name) in self.crowd.names.clone().iter().enumerate() {
            self.restart(name, &next)?;
            if place == 0 {
                // Nobody has written anything that it does not know.
                self.a_set_is_applied()?;
                let written = self.restart(name, &before)?;
                written
                    .are_in_the_form_of_before()
                    .with_context(|| format!("{name}, upgraded first"))?;
                self.restart(name, &next)?;
            }
            if place + 1 < MEMBERS {
                // Long enough that all of them have said what they know.
                self.all_are_known()?;
                let version = self.version()?;
                ensure!(
                    version == first,
                    "the cluster went to version {version} while a member knows only {first}"
                );
            }
        }
        let began = Instant::now();
        while self.version()? == first {
            ensure!(
                began.elapsed() < STUCK,
                "the version is still {first}, though every member knows the next"
            );
            std::thread::sleep(LOOK);
        }
        // What is written in the new form comes after that.
        self.a_set_is_applied()?;
        self.crowd.go_on()?;
        self.is_refused_by_a_cluster()?;
        self.is_refused_by_its_files(&before, &next)
    }

    /// Gives the rows as they were in between.
    fn restart(&mut self, name: &str, program: &Path) -> Result<SetRows> {
        self.crowd.scene.member(name)?.stop()?;
        let rows = self.rows(name)?;
        let member = self.crowd.scene.member(name)?;
        member.set_program(program);
        member.start()?;
        self.crowd.go_on()?;
        Ok(rows)
    }

    /// The rows of a member that does not run.
    fn rows(&self, name: &str) -> Result<SetRows> {
        let folder = if name == FIRST { "controller" } else { name };
        SetRows::of(&self.crowd.scene.path(folder)).with_context(|| format!("the rows of {name}"))
    }

    /// The epoch in the rows of a member that does not run, which are in the next form.
    fn epoch_in_the_next_form(&self, name: &str) -> Result<u64> {
        let rows = self.rows(name)?;
        let epoch = rows.epoch;
        rows.are_in_the_next_form()
            .with_context(|| format!("the rows of {name}"))?;
        Ok(epoch)
    }

    /// Waits until a set is in force that was asked for after this was called.
    fn a_set_is_applied(&self) -> Result<()> {
        let (book, began) = (self.crowd.book()?, Instant::now());
        while !book.open().writes.iter().any(|(asked, _)| *asked >= began) {
            book.is_whole()?;
            ensure!(began.elapsed() < STUCK, "no set is acknowledged within {STUCK:?}");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// The program of before does not start on what a member has by now, which is in the new form, and says why; what it was given is as
    /// good as before.
    fn is_refused_by_its_files(&mut self, before: &Path, next: &Path) -> Result<String> {
        let name = self.crowd.names.last().context("there are members")?.clone();
        let member = self.crowd.scene.member(&name)?;
        member.stop()?;
        let held = self.epoch_in_the_next_form(&name)?;
        let member = self.crowd.scene.member(&name)?;
        member.set_program(before);
        let refused = member.start().err().context("the program of before starts")?;
        let refused = format!("{refused:#}");
        let sentence = "the cluster is at version 2, and this program knows versions up to 1";
        ensure!(
            refused.contains(sentence) && refused.contains("run the program that was here before"),
            "the program of before says: {refused}"
        );
        let left = self.epoch_in_the_next_form(&name)?;
        ensure!(
            left == held,
            "the program of before left epoch {left} of {held} in the rows of {name}"
        );
        let member = self.crowd.scene.member(&name)?;
        member.set_program(next);
        member.start()?;
        self.crowd.go_on()?;
        let served = self.epoch_at(&name)?;
        ensure!(
            served >= held,
            "{name} had epoch {held} in its rows, and serves {served}"
        );
        Ok(sentence.to_owned())
    }

    /// A member that starts on rows in the new form serves the set that is in them. Nobody writes any more.
    fn is_served_from_its_files(&mut self) -> Result<()> {
        let name = self.crowd.names.last().context("there are members")?.clone();
        let before = self.epoch_at(&name)?;
        self.crowd.scene.member(&name)?.stop()?;
        let held = self.epoch_in_the_next_form(&name)?;
        self.crowd.scene.member(&name)?.start()?;
        let served = self.epoch_at(&name)?;
        ensure!(
            before == held && held == served,
            "{name} served epoch {before} before it stopped, had {held} in its rows, and serves {served} after its start"
        );
        Ok(())
    }

    /// The epoch that a member serves.
    fn epoch_at(&self, name: &str) -> Result<u64> {
        let place = self.crowd.names.iter().position(|other| other == name);
        let address = place.and_then(|place| self.crowd.addresses.get(place));
        let at = self
            .crowd
            .access
            .at(address.context("a member is called somewhere")?);
        self.crowd.runtime.block_on(epoch(&at))
    }

    /// The program of before does not join, and says why; its invitation is not used up by that.
    fn is_refused_by_a_cluster(&mut self) -> Result<()> {
        let name = "late";
        self.crowd.scene.draw_up_member(name, &Seat::anywhere()?)?;
        let mut join = self.crowd.scene.join_command(name)?;
        let output = join.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains("knows versions up to 1"),
            "the program of before joins, or says: {said}"
        );
        self.crowd.scene.say(&["cluster", "remove", name])?;
        Ok(())
    }

    fn standing(&self, address: &str) -> Result<ListMembersResponse> {
        let at = self.crowd.access.at(address);
        let request = ListMembersRequest { stale_ok: true };
        self.crowd
            .runtime
            .block_on(at.insist("the members", |channel| async move {
                Ok(MemberServiceClient::new(channel)
                    .list_members(request)
                    .await?
                    .into_inner())
            }))
    }

    /// The version that the members say the cluster is at, as soon as they say the same.
    fn version(&self) -> Result<u32> {
        let began = Instant::now();
        loop {
            let mut versions = Vec::new();
            for address in &self.crowd.addresses {
                versions.push(self.standing(address)?.cluster_version);
            }
            versions.dedup();
            if let [version] = versions[..] {
                return Ok(version);
            }
            ensure!(began.elapsed() < STUCK, "members are at versions {versions:?}");
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the leader has heard of each what it knows, and looks once more at who raises the version.
    fn all_are_known(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let leader = self.crowd.scene.leader()?;
            let place = self.crowd.names.iter().position(|name| *name == leader);
            let address = place.and_then(|place| self.crowd.addresses.get(place));
            let standing = self.standing(address.context("the leader is called somewhere")?)?;
            let known = standing.members.iter().all(|member| member.newest_version > 0);
            if known && standing.answered_by == standing.leader {
                break;
            }
            ensure!(
                began.elapsed() < STUCK,
                "the leader does not hear what the others know"
            );
            std::thread::sleep(LOOK);
        }
        // It decides every 2 s; what it decided by what it knows now is there after one more.
        self.go_on_for(Duration::from_secs(3))
    }

    fn go_on_for(&self, time: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.crowd.go_on()?;
        }
        Ok(())
    }

    /// What is wrong, and how many writes and reads were answered.
    fn end(mut self) -> Result<(Vec<String>, (usize, usize))> {
        let book = self.crowd.hush()?;
        self.is_served_from_its_files()?;
        let wrong = self.crowd.wrong(&book)?;
        let open = book.open();
        Ok((wrong, (open.writes.len(), open.history.reads())))
    }
}

/// What the rows of a member that does not run say of the set in force and its seal.
struct SetRows {
    epoch: u64,
    format: u32,
    /// Bytes of the seal in the row of the cluster.
    within: usize,
    /// Bytes of it in a row of its own, where there is one.
    apart: Option<usize>,
}

impl SetRows {
    fn of(data: &Path) -> Result<Self> {
        let state = SledState::open(&data.join("raft"))?;
        let get = |key: &str| state.get(Tree::Cluster.name(), key.as_bytes());
        let row = get("cluster")?.with_context(|| format!("there is no row of the cluster in {data:?}"))?;
        let row = ClusterRow::decode(row).with_context(|| format!("the row of the cluster in {data:?}"))?;
        Ok(Self {
            epoch: row.epoch,
            format: row.format,
            within: row.seal.len(),
            apart: get("seal")?.map(|seal| seal.len()),
        })
    }

    /// Requires the form that the program of before knows.
    fn are_in_the_form_of_before(&self) -> Result<()> {
        self.are(1, self.within > 0 && self.apart.is_none())
    }

    /// Requires the form of the next version.
    fn are_in_the_next_form(&self) -> Result<()> {
        self.are(2, self.within == 0 && self.apart.is_some_and(|bytes| bytes > 0))
    }

    fn are(&self, wanted: u32, is_sealed_so: bool) -> Result<()> {
        let Self {
            format,
            within,
            apart,
            ..
        } = self;
        ensure!(
            *format == wanted && is_sealed_so,
            "the row of the cluster has format {format} and {within} bytes of a seal, and the row of the seal has {apart:?}: that is not \
             format {wanted}"
        );
        Ok(())
    }
}
