//! A member that was taken over, against a real agent: whatever it offers is refused with its own reason before the ledger, the
//! last good set stays, also over a restart, and a finding says so. After each attack the honest offer that it was made of is
//! accepted, so nothing but the attack was wrong with it.
//!
//! The member has all that a member has: the authorities of the cluster, the trust root, every set that people sealed. For some
//! attacks people help it: they sealed two sets under one number, or their keys were stolen after they had given them up.

mod attacks;
mod cluster;
mod disk;
mod member;
mod misuses;
mod stamps;
mod tally;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::store::LedgerStore as _;
use verger_policy::digest::Digest;
use verger_policy::model::printable;
use verger_proto::agent::v1 as pb;
use verger_proto::findings::v1::{Lifecycle, Transition};

use crate::access::Access;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{HOST, Scene};
use attacks::{Attack, Stage};
use cluster::{Cluster, Next, People, Trust};
use member::{Answer, Member, Session};
use tally::Tally;

/// The rule of the findings.
const RULE: &str = "host/refused-set";
/// Seeds of the people's keys.
const ADA: u8 = 11;
const BOB: u8 = 12;
/// So many attacks are followed by a kill and a start instead of another connection: one in so many.
const RESTART_EVERY: usize = 8;

/// Runs all attacks; the long form also those that take minutes because an agent is made to wait.
///
/// # Errors
/// When the scene does not work, or the agent takes what it must not.
pub fn run(long: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let people = People::new(&[("ada", ADA), ("bob", BOB)]);
    let (root, envelope) = people.found()?;
    let mut scene = Scene::found_on(&Programs::find()?, &envelope, people.keys()[0])?;
    let trust = Trust { root, people };
    let tally = runtime
        .block_on(campaign(&mut scene, trust, envelope, long))
        .with_context(|| format!("{}\n{}", scene.controller.log_tail(), scene.agent.log_tail()))?;
    for sentence in tally.wrong() {
        tell(&format!("WRONG: {sentence}"));
    }
    Ok(Verdict {
        figure: tally.to_string(),
        holds: tally.holds(),
    })
}

async fn campaign(scene: &mut Scene, trust: Trust, envelope: Vec<u8>, long: bool) -> Result<Tally> {
    let pki = scene.path("controller").join("pki");
    let mut member = Member::serve(&pki, &trust.root.cluster_id().hex()).await?;
    put_first(
        &scene.path("agent").join("cluster.json"),
        &member.address.to_string(),
    )?;
    let cluster = Cluster::new(&Access::of(scene)?, trust, envelope).await?;
    scene.agent.start()?;
    let session = member.next().await?;
    let mut campaign = Campaign {
        scene,
        cluster,
        member,
        session,
        nonce: 0,
        tally: Tally::default(),
    };
    ensure!(campaign.session.hello.epoch == 0, "the agent begins with nothing");
    // The positive control: honest offers through the same member are accepted.
    for _ in 0..3 {
        let next = campaign.cluster.publish().await?;
        campaign.accept(next).await?;
    }
    for attack in attacks::all() {
        campaign.attempt(&attack).await?;
    }
    campaign.forge_stamps().await?;
    campaign.spoil_the_disk().await?;
    campaign.misuse(long).await?;
    let heirs = People::new(&[("carol", 13), ("dave", 14)]);
    let next = campaign.cluster.rotate(heirs).await?;
    campaign.accept(next).await?;
    for attack in attacks::after_the_hand_over() {
        campaign.attempt(&attack).await?;
    }
    campaign.end().await
}

/// Makes `address` the first that the agent tries.
fn put_first(file: &Path, address: &str) -> Result<()> {
    let mut json: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let controllers = json["controllers"].as_array_mut();
    controllers
        .context("an enrolled agent knows controllers")?
        .insert(0, address.into());
    Ok(std::fs::write(file, serde_json::to_vec_pretty(&json)?)?)
}

/// What goes on.
struct Campaign<'a> {
    scene: &'a mut Scene,
    cluster: Cluster,
    member: Member,
    session: Session,
    nonce: u64,
    tally: Tally,
}

impl Campaign<'_> {
    const fn nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    /// What the agent holds.
    fn held(&self) -> (u64, Digest) {
        (self.cluster.set.epoch(), self.cluster.set.root())
    }

    /// An honest offer, accepted.
    async fn accept(&mut self, next: Next) -> Result<()> {
        let nonce = self.nonce();
        let (epoch, root) = (next.set.epoch(), next.set.root());
        match self.session.offer(nonce, next.update.clone()).await? {
            Answer::Ack(ack) => ensure!(
                (ack.nonce, ack.epoch, &*ack.root) == (nonce, epoch, root.as_bytes().as_slice()),
                "the agent acknowledges something else than epoch {epoch}: {ack:?}"
            ),
            Answer::Nack(nack) => bail!("an honest offer of epoch {epoch} is refused: {nack:?}"),
        }
        self.cluster.accepted(next);
        Ok(())
    }

    async fn attempt(&mut self, attack: &Attack) -> Result<()> {
        let Attack { name, word, .. } = attack;
        let next = self.cluster.publish().await?;
        let stage = Stage {
            cluster: &self.cluster,
            honest: &next,
        };
        let update = attack.offer(&stage)?;
        let (nonce, mark) = (self.nonce(), self.member.mark());
        match self
            .session
            .offer(nonce, update)
            .await
            .with_context(|| (*name).to_owned())?
        {
            Answer::Ack(ack) => bail!("{name}: ACCEPTED: {ack:?}"),
            Answer::Nack(pb::Nack {
                nonce: answered,
                reason,
                detail,
            }) => self.tally.refused(
                name,
                (answered, reason.as_str()) == (nonce, word),
                &format!("{reason}: {detail}"),
            ),
        }
        let found = self
            .member
            .told(mark, &format!("{name}: the finding {word}"), |told| {
                is(told, word, Lifecycle::Open)
            })
            .await?;
        self.tally.found(name, &found);
        self.reconnect(name, *word == "missing-body").await?;
        // The same offer without the attack.
        let mark = self.member.mark();
        self.accept(next)
            .await
            .with_context(|| format!("after: {name}"))?;
        let over = format!("the end of the finding {word} after {name}");
        self.member
            .told(mark, &over, |told| is(told, word, Lifecycle::Resolved))
            .await?;
        Ok(())
    }

    /// Ends the session, or kills the agent, and looks what the next Hello says is in the ledger.
    async fn reconnect(&mut self, name: &str, asks_for_all: bool) -> Result<()> {
        if self.tally.attacks().is_multiple_of(RESTART_EVERY) {
            self.restart().await?;
        } else {
            self.session = self.member.next_after(&mut self.session).await?;
        }
        if asks_for_all && self.session.hello.epoch == 0 {
            // It asks for all bodies, and does not say what it holds. After a restart it does.
            self.restart().await?;
        }
        let (epoch, root) = self.held();
        let pb::Hello {
            epoch: said,
            root: said_root,
            ..
        } = &self.session.hello;
        let kept = (*said, &**said_root) == (epoch, root.as_bytes().as_slice());
        self.tally.kept(name, kept, *said);
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.scene.agent.kill()?;
        self.member.forget_sessions();
        self.scene.agent.start()?;
        self.session = self.member.next().await?;
        Ok(())
    }

    /// One attack is left standing, and the member is gone: the honest one learns of it all.
    async fn end(mut self) -> Result<Tally> {
        let forged = self.cluster.change(4_000_002)?;
        let forged = self.cluster.update(&forged, self.cluster.first.seal(&forged));
        let (nonce, mark) = (self.nonce(), self.member.mark());
        ensure!(
            matches!(self.session.offer(nonce, forged).await?, Answer::Nack(_)),
            "what was refused before is taken"
        );
        self.member
            .told(mark, "the last finding", |told| {
                is(told, "wrong-key", Lifecycle::Open)
            })
            .await?;
        let Self {
            scene,
            mut cluster,
            member,
            session,
            tally,
            ..
        } = self;
        drop(session);
        member.stop().await;
        // The honest controller has nothing newer, so nothing ends the finding before it is seen there.
        tokio::task::block_in_place(|| {
            scene.wait_for("the finding at the honest controller", || {
                let open = scene.open_findings()?;
                Ok(open
                    .into_iter()
                    .find(|one| one["rule"] == RULE && one["field"] == "wrong-key"))
            })
        })?;
        let last = cluster.publish().await?;
        let (epoch, root) = (last.set.epoch(), last.set.root());
        tokio::task::block_in_place(|| {
            scene.wait_for("the host to accept what is honest", || {
                let open = scene.open_findings()?;
                let level = scene.rows(&["hosts"])?.iter().any(|host| host["epoch"] == epoch);
                Ok((level && open.iter().all(|one| one["rule"] != RULE)).then_some(()))
            })?;
            let shown = scene.say(&["findings", "list"])?;
            ensure!(
                shown.lines().all(|line| printable(line) == line),
                "something raw reaches the terminal"
            );
            scene.agent.stop()
        })?;
        let (ledger, _) = verger_agent_store::open(
            &scene.path("agent").join("store"),
            &verger_agent_store::Options::default(),
        )?;
        let state = LedgerState::restore(HOST.parse()?, ledger.load()?)?;
        ensure!(
            state.position() == Some((epoch, root)),
            "the disk holds {:?}, not epoch {epoch}",
            state.position()
        );
        Ok(tally)
    }
}

fn is(told: &Transition, word: &str, lifecycle: Lifecycle) -> bool {
    told_of(told, RULE, word, lifecycle)
}

fn told_of(told: &Transition, rule: &str, field: &str, lifecycle: Lifecycle) -> bool {
    let check = told.check.as_ref();
    told.lifecycle() == lifecycle && check.is_some_and(|check| check.rule == rule && check.field == field)
}

/// Longer than an agent waits before it connects again after a break.
const SOON: Duration = Duration::from_secs(20);
