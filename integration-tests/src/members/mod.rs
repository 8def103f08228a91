//! Three members as real processes, behind proxies that fail, under load: nothing that was acknowledged is lost, every read is current, and
//! writes go on soon.
//!
//! The faults: the leader is killed or frozen, a follower is, a member is cut off from all others, the leader hears the others and is not
//! heard, everything between members is late, and another is asked to lead. What holds is told by the history of all calls (see
//! `history`), by what is there at the end at every member (`evidence`), and by logins that were revoked: no member serves them after that was
//! acknowledged. Whoever follows the audit, the policy set or the findings goes from member to member, and is shown everything once and in
//! order (`followed`); so is what a host told that goes from member to member, too (`report`).

mod crowd;
mod evidence;
mod filler;
mod followed;
pub mod full;
mod history;
mod load;
pub mod power;
mod proxy;
mod real;
mod report;
pub mod upgrade;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::cluster::v1::{AuditRow, ListRequest};
use verger_proto::policy::v1::GetSetRequest;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;

use crate::access::Access;
use crate::dice::Dice;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Scene, Seat, free_port};
use crowd::{Crowd, LEAST_RATE};
use proxy::{Network, Way, own_address};

/// Members.
const MEMBERS: usize = 3;
/// Faults go on for so long at least in the long form.
const LONG: Duration = Duration::from_secs(30 * 60);
/// Between two faults there are this many answers, at least.
const BETWEEN: usize = 200;
/// A frozen member is so for this long, seconds; in the short form, and in the long one.
const FROZEN: (u64, u64) = (1, 5);
const FROZEN_LONG: (u64, u64) = (1, 30);
/// A way that is cut is so for this long, seconds.
const CUT: (u64, u64) = (1, 4);
/// Writes are available again within this after the leader is gone, in 99 of 100 cases.
const AVAILABLE: Duration = Duration::from_secs(2);
/// Answers come again within this after any fault, or the cluster is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillLeader,
    KillFollower,
    FreezeLeader,
    FreezeFollower,
    CutLeader,
    CutFollower,
    /// Nobody hears the leader, which hears everybody.
    MuteLeader,
    Late,
    HandOver,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::FreezeLeader,
        Self::FreezeFollower,
        Self::CutLeader,
        Self::CutFollower,
        Self::MuteLeader,
        Self::Late,
        Self::HandOver,
    ];

    /// Whether writes need another leader.
    const fn takes_the_leader(self) -> bool {
        matches!(
            self,
            Self::KillLeader | Self::FreezeLeader | Self::CutLeader | Self::MuteLeader
        )
    }
}

/// Runs each fault 20 times and all of them for half an hour at least, or each once in the short form, and goes on for so long at least.
///
/// # Errors
/// When the scene does not work. What was lost, stale or undecided is in the verdict.
pub fn run(long: bool, at_least: Duration) -> Result<Verdict> {
    let (each, at_least) = if long {
        (20, at_least.max(LONG))
    } else {
        (1, at_least)
    };
    let seed = Dice::seed()?;
    tell(&format!("members: seed {seed}"));
    let mut dice = Dice::new(seed);
    verger_transport::install_crypto_provider();
    let runtime = crowd::runtime()?;
    let network = Network::new();
    let scene = runtime.block_on(stage(&network))?;
    let crowd = Crowd::of(runtime, scene)?;
    let rate = crowd.is_busy()?;
    let mut rig = Rig {
        crowd,
        network: &network,
        frozen: if long { FROZEN_LONG } else { FROZEN },
        available: Vec::new(),
        done: BTreeMap::new(),
    };
    rig.tells_a_stale_read()?;
    let began = Instant::now();
    let mut rounds = 0;
    // One that did not do what it is there for is done again, for some time.
    while (rig.least() < each && rounds < 2 * each * Fault::ALL.len()) || began.elapsed() < at_least {
        let mut faults = Fault::ALL;
        shuffle(&mut faults, &mut dice);
        for fault in faults {
            rounds += 1;
            rig.round(fault, &mut dice)
                .with_context(|| format!("fault {rounds} ({fault:?}), seed {seed}"))?;
        }
    }
    let under_faults = began.elapsed();
    let book = rig.crowd.hush()?;
    let wrong = rig.crowd.wrong(&book)?;
    let least = rig.least();
    let (mut available, done) = (rig.available, rig.done);
    for sentence in wrong.iter().take(20) {
        tell(&format!("WRONG: {sentence}"));
    }
    available.sort();
    let p99 = available
        .get((available.len() * 99).div_ceil(100).saturating_sub(1))
        .copied()
        .unwrap_or_default();
    let is_whole = least >= each && under_faults >= at_least;
    let void = if is_whole { "" } else { "void: too few faults: " };
    let (revoked, refused) = {
        let open = book.open();
        (open.revoked, open.refused)
    };
    Ok(Verdict {
        figure: format!(
            "{void}{} lost, stale, undecided, passed over or shown twice: {}; {} faults in {} s, each {least} times at least (wanted: each {each} \
             times, in {} s at least); writes again {:.2} s (p99) after the leader was gone; {rate:.0} answers/s before the first fault, and \
             {LEAST_RATE} at least before each",
            wrong.len(),
            crowd::summary(&book),
            done.values().sum::<usize>(),
            under_faults.as_secs(),
            at_least.as_secs(),
            p99.as_secs_f64(),
        ),
        holds: wrong.is_empty() && is_whole && revoked > 0 && refused > 0 && p99 <= AVAILABLE,
    })
}

fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for place in (1..items.len()).rev() {
        let with = usize::try_from(dice.roll() % (place as u64 + 1)).unwrap_or(0);
        items.swap(place, with);
    }
}

/// A cluster whose members call each other through proxies.
async fn stage(network: &Network) -> Result<Scene> {
    let programs = Programs::find()?;
    let mut seats = Vec::new();
    for number in 1..=MEMBERS {
        let listen = SocketAddr::new(own_address(number), free_port()?);
        seats.push(Seat {
            listen,
            called: network.stand_before(number, listen).await?,
            data: None,
        });
    }
    // The scene's own steps block.
    tokio::task::block_in_place(|| Scene::of_members_at(&programs, &seats))
}

struct Rig<'a> {
    crowd: Crowd,
    network: &'a Network,
    frozen: (u64, u64),
    /// How long it took until a write that began after the leader was gone was acknowledged.
    available: Vec<Duration>,
    done: BTreeMap<Fault, usize>,
}

impl Rig<'_> {
    fn number(&self, name: &str) -> usize {
        self.crowd
            .names
            .iter()
            .position(|other| other == name)
            .map_or(0, |place| place + 1)
    }

    /// How often each was done at least.
    fn least(&self) -> usize {
        let times = Fault::ALL.map(|fault| self.done.get(&fault).copied().unwrap_or(0));
        times.into_iter().min().unwrap_or(0)
    }

    fn round(&mut self, fault: Fault, dice: &mut Dice) -> Result<()> {
        self.crowd.book()?.is_whole()?;
        let (leader, term) = self.crowd.leads()?;
        let followers: Vec<String> = self
            .crowd
            .names
            .iter()
            .filter(|name| **name != leader)
            .cloned()
            .collect();
        let follower = dice.pick(&followers).context("there are followers")?.clone();
        let seconds = |dice: &mut Dice, (least, most): (u64, u64)| {
            Duration::from_millis(least * 1_000 + dice.roll() % ((most - least) * 1_000))
        };
        let began = Instant::now();
        let mut took = Duration::ZERO;
        match fault {
            Fault::KillLeader | Fault::KillFollower => {
                let victim = if fault == Fault::KillLeader {
                    &leader
                } else {
                    &follower
                };
                self.crowd.scene.member(victim)?.kill()?;
                took = self.await_writes(began)?;
                self.crowd.scene.member(victim)?.start()?;
            }
            Fault::FreezeLeader | Fault::FreezeFollower => {
                let victim = if fault == Fault::FreezeLeader {
                    &leader
                } else {
                    &follower
                };
                self.crowd.scene.member(victim)?.freeze()?;
                took = self.await_writes(began)?;
                std::thread::sleep(seconds(dice, self.frozen).saturating_sub(began.elapsed()));
                self.crowd.scene.member(victim)?.thaw()?;
            }
            Fault::CutLeader | Fault::CutFollower => {
                let victim = self.number(if fault == Fault::CutLeader {
                    &leader
                } else {
                    &follower
                });
                for other in (1..=MEMBERS).filter(|other| *other != victim) {
                    self.network.set(victim, other, Way::Held);
                    self.network.set(other, victim, Way::Held);
                }
                took = self.await_writes(began)?;
                std::thread::sleep(seconds(dice, CUT).saturating_sub(began.elapsed()));
                self.network.heal();
            }
            Fault::MuteLeader => {
                let victim = self.number(&leader);
                for other in (1..=MEMBERS).filter(|other| *other != victim) {
                    self.network.set(victim, other, Way::Held);
                }
                took = self.await_writes(began)?;
                std::thread::sleep(seconds(dice, CUT).saturating_sub(began.elapsed()));
                self.network.heal();
            }
            Fault::Late => {
                for from in 1..=MEMBERS {
                    for to in (1..=MEMBERS).filter(|to| *to != from) {
                        let by = Duration::from_millis(5 + dice.roll() % 60);
                        self.network.set(from, to, Way::Late(by));
                    }
                }
                std::thread::sleep(seconds(dice, CUT));
                self.network.heal();
            }
            Fault::HandOver => {
                self.crowd.scene.say(&["cluster", "transfer-leader", &follower])?;
            }
        }
        self.crowd.go_on()?;
        if fault.takes_the_leader() {
            if self.crowd.leads()?.1 == term {
                // It led no more, or not yet.
                tell(&format!(
                    "members: {fault:?}: nobody else had to lead: it does not count"
                ));
                return Ok(());
            }
            tell(&format!(
                "members: {fault:?}: writes again after {:.2} s",
                took.as_secs_f64()
            ));
            self.available.push(took);
        }
        *self.done.entry(fault).or_default() += 1;
        Ok(())
    }

    /// Has a member that is cut off read as it stands there, which has to be told; all is as it was afterwards.
    fn tells_a_stale_read(&self) -> Result<()> {
        let (leader, _) = self.crowd.leads()?;
        let place = self.crowd.names.iter().position(|name| *name != leader);
        let place = place.context("there are followers")?;
        let victim = place + 1;
        for other in (1..=MEMBERS).filter(|other| *other != victim) {
            self.network.set(victim, other, Way::Held);
            self.network.set(other, victim, Way::Held);
        }
        let book = self.crowd.book()?;
        let (began, before) = (Instant::now(), book.open().history.last());
        // What is acknowledged from now on it does not know.
        while book.open().history.last() < before + 3 {
            book.is_whole()?;
            ensure!(
                began.elapsed() < STUCK,
                "no write is acknowledged within {STUCK:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let access = self.crowd.access.at(&self.crowd.addresses[place]);
        let read = self.crowd.runtime.block_on(real::stale_read(&access))?;
        let (honest, told) = {
            let mut history = book.open().history.clone();
            let honest = history.wrong().len();
            history.read(read);
            (honest, history.wrong().len())
        };
        self.network.heal();
        ensure!(
            told > honest,
            "a really stale read is not told: the rig proves nothing"
        );
        tell("members: a read of a member that was cut off is told to be stale");
        self.crowd.go_on()
    }

    /// Waits until a write is acknowledged that began after the fault, and says how long that took.
    fn await_writes(&self, began: Instant) -> Result<Duration> {
        loop {
            let first = {
                let book = self.crowd.book()?.open();
                let after = book.writes.iter().filter(|(asked, _)| *asked >= began);
                after.map(|(_, acknowledged)| *acknowledged).min()
            };
            if let Some(acknowledged) = first {
                return Ok(acknowledged.duration_since(began));
            }
            self.crowd.book()?.is_whole()?;
            if began.elapsed() > STUCK {
                bail!("no write is acknowledged within {STUCK:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The epoch that a member shows.
async fn epoch(access: &Access) -> Result<u64> {
    let answer = access
        .insist("the set", |channel| async move {
            let request = GetSetRequest { with_bodies: false };
            Ok(PolicyServiceClient::new(channel)
                .get_set(request)
                .await?
                .into_inner())
        })
        .await?;
    Ok(answer.epoch)
}

/// Every row of the audit, the oldest first.
async fn audit(access: &Access) -> Result<Vec<AuditRow>> {
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListRequest {
            filter: None,
            page_size: 1_000,
            page_token,
            newest_first: false,
        };
        let page = access
            .insist("the audit", |channel| {
                let request = request.clone();
                async move { Ok(AuditServiceClient::new(channel).list(request).await?.into_inner()) }
            })
            .await?;
        rows.extend(page.rows);
        if page.next_page_token.is_empty() {
            let first = rows.first().map(|row| row.number);
            ensure!(
                first == Some(1),
                "the audit has dropped rows: the run is too long for this rig"
            );
            return Ok(rows);
        }
        page_token = page.next_page_token;
    }
}
