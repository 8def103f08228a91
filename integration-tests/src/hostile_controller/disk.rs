//! What may become of an agent's disk under it: what it accepted cannot be kept beside its ledger, and what was kept is gone or
//! damaged. Nothing is acknowledged that is not kept, and all of it is said.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use verger_proto::findings::v1::{Lifecycle, Transition};

use super::campaign::{Campaign, told_of};
use super::member::Answer;

const NOT_KEPT: &str = "host/not-kept";
const SET_BACK: &str = "host/ledger-set-back";
/// The field of what is kept beside the ledger.
const FLOOR: &str = "floor";

impl Campaign {
    pub(super) async fn spoil_the_disk(&mut self) -> Result<()> {
        self.what_cannot_be_kept().await?;
        self.what_is_gone("what is kept beside the ledger is gone", |file| {
            Ok(fs::remove_file(file)?)
        })
        .await?;
        self.what_is_gone("what is kept beside the ledger is damaged", |file| {
            Ok(fs::write(file, "{\"format\":")?)
        })
        .await
    }

    fn floor_file(&self) -> PathBuf {
        self.agent_data.join("floor.json")
    }

    /// A folder stands where the agent writes the next file: it can write its ledger, and nothing beside it.
    async fn what_cannot_be_kept(&mut self) -> Result<()> {
        let name = "what is accepted cannot be kept beside the ledger";
        let obstacle = self.agent_data.join("floor.json.new");
        let kept = fs::read(self.floor_file())?;
        fs::create_dir(&obstacle)?;
        let next = self.cluster.publish().await?;
        let mark = self.member.mark();
        self.is_nack(name, next.update.clone()).await?;
        self.finding(mark, name, NOT_KEPT, Lifecycle::Open).await?;
        // Neither another connection nor another run claims it.
        self.session = self.member.next_after(&mut self.session).await?;
        for _ in 0..2 {
            let said = self.session.hello.epoch;
            ensure!(said == 0, "{name}: the agent says that it holds epoch {said}");
            self.restart().await?;
        }
        self.is_nack(name, next.update.clone()).await?;
        ensure!(
            fs::read(self.floor_file())? == kept,
            "{name}: what was kept is another"
        );
        // The benign twin: the same offer, with room to keep it.
        fs::remove_dir(&obstacle)?;
        let mark = self.member.mark();
        self.accept(next)
            .await
            .with_context(|| format!("after: {name}"))?;
        self.finding(mark, name, NOT_KEPT, Lifecycle::Resolved).await?;
        self.reconnect(name, false).await?;
        self.tally.misused(name, None);
        Ok(())
    }

    async fn is_nack(&mut self, name: &str, update: verger_proto::agent::v1::SetUpdate) -> Result<()> {
        let nonce = self.nonce();
        match self.session.offer(nonce, update).await? {
            Answer::Nack(nack) if (nack.nonce, nack.reason.as_str()) == (nonce, FLOOR) => Ok(()),
            other => bail!("{name}: it is answered with {other:?}"),
        }
    }

    /// Somebody spoils it while the agent is down. It is said until a majority says that the set in the ledger is the newest.
    async fn what_is_gone(
        &mut self,
        name: &'static str,
        spoil: fn(&std::path::Path) -> Result<()>,
    ) -> Result<()> {
        self.starter.kill_agent()?;
        self.member.forget_sessions();
        spoil(&self.floor_file())?;
        let mark = self.member.mark();
        self.starter.start_agent()?;
        self.session = self.member.next().await?;
        self.finding(mark, name, SET_BACK, Lifecycle::Open).await?;
        // Another run knows it, too; and an older set is refused as before.
        self.restart().await?;
        let nonce = self.nonce();
        let older = self.cluster.accepted[0].clone();
        let problem = match self.session.offer(nonce, older).await? {
            Answer::Nack(nack) if nack.reason == "lower-epoch" => None,
            other => Some(format!("an older set is answered with {other:?}")),
        };
        self.tally.misused(name, problem);
        let mark = self.member.mark();
        self.say_newest().await?;
        self.finding(mark, name, SET_BACK, Lifecycle::Resolved).await?;
        self.reconnect(name, false).await?;
        let next = self.cluster.publish().await?;
        self.accept(next).await
    }

    async fn finding(
        &mut self,
        mark: usize,
        name: &str,
        rule: &'static str,
        lifecycle: Lifecycle,
    ) -> Result<Transition> {
        let what = format!("{name}: {rule} {lifecycle:?}");
        self.member
            .told(mark, &what, |told| told_of(told, rule, FLOOR, lifecycle))
            .await
    }
}
