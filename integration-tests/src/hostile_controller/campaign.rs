//! The member that was taken over, at work: every attack on the agent that comes to it, one by one, and after each the honest offer
//! that it was made of.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use verger_policy::digest::Digest;
use verger_proto::agent::v1 as pb;
use verger_proto::findings::v1::{Lifecycle, Transition};
use verger_seal::{SealingKey, TrustRoot};

use super::attacks::{self, Attack, Stage};
use super::cluster::{Cluster, Next, People, Trust};
use super::member::{Answer, Member, Session};
use super::starter::Starter;
use super::tally::Tally;
use super::{ADA, BOB, Process, REFUSED_SET};
use crate::access::Access;
use crate::point::{Verdict, tell};

/// So many attacks are followed by a kill and a start instead of another connection: one in so many.
const RESTART_EVERY: usize = 8;

/// Is the member, until all was tried.
///
/// # Errors
/// When what it is given does not work, or the agent takes what it must not.
pub fn serve(process: &Process) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let tally = runtime.block_on(carry_out(process))?;
    for sentence in tally.wrong() {
        tell(&format!("WRONG: {sentence}"));
    }
    Ok(Verdict {
        figure: tally.to_string(),
        holds: tally.holds(),
    })
}

async fn carry_out(process: &Process) -> Result<Tally> {
    let Process {
        pki,
        trust_root,
        context,
        agent_data,
        long,
    } = process;
    let envelope = std::fs::read(trust_root)?;
    let trust = Trust {
        root: TrustRoot::open_first(&envelope)?,
        people: People::new(&[("ada", ADA), ("bob", BOB)]),
    };
    let mut member = Member::serve(pki, &trust.root.cluster_id().hex()).await?;
    let access = Access::with(context, SealingKey::from_seed([ADA; 32]))?;
    let cluster = Cluster::new(&access, trust, envelope).await?;
    let starter = Starter::new(member.address)?;
    starter.start_agent()?;
    let session = member.next().await?;
    let mut campaign = Campaign {
        agent_data: agent_data.clone(),
        starter,
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
    campaign.misuse(*long).await?;
    let heirs = People::new(&[("carol", 13), ("dave", 14)]);
    let next = campaign.cluster.rotate(heirs).await?;
    campaign.accept(next).await?;
    for attack in attacks::after_the_hand_over() {
        campaign.attempt(&attack).await?;
    }
    campaign.end().await
}

/// What goes on.
pub(super) struct Campaign {
    /// The folder of the agent's.
    pub(super) agent_data: PathBuf,
    pub(super) starter: Starter,
    pub(super) cluster: Cluster,
    pub(super) member: Member,
    pub(super) session: Session,
    pub(super) nonce: u64,
    pub(super) tally: Tally,
}

impl Campaign {
    pub(super) const fn nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    /// What the agent holds.
    fn held(&self) -> (u64, Digest) {
        (self.cluster.set.epoch(), self.cluster.set.root())
    }

    /// An honest offer, accepted.
    pub(super) async fn accept(&mut self, next: Next) -> Result<()> {
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
            }) => {
                tell(&format!("{name}: {reason}"));
                self.tally.refused(
                    name,
                    (answered, reason.as_str()) == (nonce, word),
                    &format!("{reason}: {detail}"),
                );
            }
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
    pub(super) async fn reconnect(&mut self, name: &str, asks_for_all: bool) -> Result<()> {
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

    pub(super) async fn restart(&mut self) -> Result<()> {
        self.starter.kill_agent()?;
        self.member.forget_sessions();
        self.starter.start_agent()?;
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
        let word = "wrong-key";
        self.member
            .told(mark, "the last finding", |told| is(told, word, Lifecycle::Open))
            .await?;
        let Self {
            starter,
            mut cluster,
            member,
            session,
            tally,
            ..
        } = self;
        drop(session);
        member.stop().await;
        // The honest controller has nothing newer, so nothing ends the finding before it is seen there.
        starter.left_standing(word)?;
        let last = cluster.publish().await?;
        starter.published(last.set.epoch(), &last.set.root())?;
        Ok(tally)
    }
}

pub(super) fn is(told: &Transition, word: &str, lifecycle: Lifecycle) -> bool {
    told_of(told, REFUSED_SET, word, lifecycle)
}

pub(super) fn told_of(told: &Transition, rule: &str, field: &str, lifecycle: Lifecycle) -> bool {
    let check = told.check.as_ref();
    told.lifecycle() == lifecycle && check.is_some_and(|check| check.rule == rule && check.field == field)
}

/// Longer than an agent waits before it connects again after a break.
pub(super) const SOON: Duration = Duration::from_secs(20);
