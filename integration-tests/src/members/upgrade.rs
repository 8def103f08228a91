//! Three members are upgraded one by one under load, to a program of the next version, which writes a stored form otherwise.
//!
//! While one of them runs the program of before, the cluster stays at the version that all know, and whoever was upgraded can go back. When
//! the last one is upgraded the version goes up by itself. From then on the program of before is refused, by its own words: to start on what
//! a member has, and to join.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::cluster::v1::{ListMembersRequest, ListMembersResponse};

use super::load::Load;
use super::{BETWEEN, MEMBERS, STUCK, at_the_end, epoch};
use crate::access::Access;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Scene, Seat};

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
             went up when the last was upgraded, not before; back to the program of before: allowed until then, and then refused ({said})",
            wrong.len()
        ),
        holds: wrong.is_empty() && writes > 0 && reads > 0,
    })
}

/// Members, and who asks them.
struct Room {
    runtime: tokio::runtime::Runtime,
    scene: Scene,
    load: Load,
    access: Access,
    names: Vec<String>,
    addresses: Vec<String>,
}

impl Room {
    fn of(programs: &Programs) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let scene = Scene::of_members(programs, MEMBERS)?;
        let names = scene.member_names();
        let addresses = names
            .iter()
            .map(|name| scene.address(name))
            .collect::<Result<Vec<_>>>()?;
        let access = Access::of(&scene)?;
        let load = runtime.block_on(Load::start(&access, &names))?;
        Ok(Self {
            runtime,
            scene,
            load,
            access,
            names,
            addresses,
        })
    }

    /// Upgrades them all, and tries to go back. Gives what the program of before said.
    fn upgrade(&mut self, programs: &Programs) -> Result<String> {
        let (before, next) = (programs.path(BEFORE)?, programs.path(NEXT)?);
        self.go_on()?;
        let first = self.version()?;
        for (place, name) in self.names.clone().iter().enumerate() {
            self.restart(name, &next)?;
            if place == 0 {
                // Nobody has written anything that it does not know.
                self.restart(name, &before)?;
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
        self.go_on()?;
        self.is_refused_by_a_cluster()?;
        self.is_refused_by_its_files(&before, &next)
    }

    fn restart(&mut self, name: &str, program: &std::path::Path) -> Result<()> {
        let member = self.scene.member(name)?;
        member.stop()?;
        member.set_program(program);
        member.start()?;
        self.go_on()
    }

    /// The program of before does not start on what a member has by now, and says why; what it was given is as good as before.
    fn is_refused_by_its_files(
        &mut self,
        before: &std::path::Path,
        next: &std::path::Path,
    ) -> Result<String> {
        let name = self.names.last().context("there are members")?.clone();
        let member = self.scene.member(&name)?;
        member.stop()?;
        member.set_program(before);
        let refused = member.start().err().context("the program of before starts")?;
        let refused = format!("{refused:#}");
        let sentence = "the cluster is at version 2, and this program knows versions up to 1";
        ensure!(
            refused.contains(sentence) && refused.contains("run the program that was here before"),
            "the program of before says: {refused}"
        );
        member.set_program(next);
        member.start()?;
        self.go_on()?;
        Ok(sentence.to_owned())
    }

    /// The program of before does not join, and says why; its invitation is not used up by that.
    fn is_refused_by_a_cluster(&mut self) -> Result<()> {
        let name = "late";
        self.scene.draw_up_member(name, &Seat::anywhere()?)?;
        let mut join = self.scene.join_command(name)?;
        let output = join.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && said.contains("knows versions up to 1"),
            "the program of before joins, or says: {said}"
        );
        self.scene.say(&["cluster", "remove", name])?;
        Ok(())
    }

    fn standing(&self, address: &str) -> Result<ListMembersResponse> {
        let at = self.access.at(address);
        let request = ListMembersRequest { stale_ok: true };
        self.runtime
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
            for address in &self.addresses {
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
            let leader = self.scene.leader()?;
            let place = self.names.iter().position(|name| *name == leader);
            let address = place.and_then(|place| self.addresses.get(place));
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
            self.go_on()?;
        }
        Ok(())
    }

    /// Waits until everybody is answered, and every member is back.
    fn go_on(&self) -> Result<()> {
        let book = &self.load.book;
        let (began, before) = (Instant::now(), book.answered());
        while book.answered() < before + BETWEEN {
            book.is_whole()?;
            if began.elapsed() > STUCK {
                bail!("no {BETWEEN} answers within {STUCK:?}");
            }
            std::thread::sleep(LOOK);
        }
        for address in &self.addresses {
            self.runtime
                .block_on(epoch(&self.access.at(address)))
                .with_context(|| format!("the member at {address} does not come back"))?;
        }
        Ok(())
    }

    /// What is wrong, and how many writes and reads were answered.
    fn end(self) -> Result<(Vec<String>, (usize, usize))> {
        let book = self.runtime.block_on(self.load.end(&self.access))?;
        let mut wrong = self
            .runtime
            .block_on(at_the_end(&self.access, &self.addresses, &book))?;
        let open = book.open();
        wrong.extend(open.wrong.clone());
        wrong.extend(open.history.wrong());
        Ok((wrong, (open.writes.len(), open.history.reads())))
    }
}
