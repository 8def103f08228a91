//! What a controller may try with an offer. Each is made of an honest one, which the agent accepts right after it.

mod contents;
mod epochs;
mod seals;
mod trust_roots;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use verger_agent_core::ledger::{LedgerState, offer};
use verger_proto::agent::v1 as pb;

use super::cluster::{Cluster, Next, parsed};

/// One attack.
pub(super) struct Attack {
    /// What is tried.
    pub(super) name: &'static str,
    /// The word it is to be refused with.
    pub(super) word: &'static str,
    /// Makes the offer.
    pub(super) make: fn(&Stage<'_>) -> Result<pb::SetUpdate>,
    pub(super) control: Control,
}

/// What shows that nothing but the attack is wrong with the offer.
pub(super) enum Control {
    /// The honest offer it differs from in the attack alone: the agent accepts it afterwards.
    Repaired,
    /// An agent that does not know what speaks against it, at a time, takes it whole.
    TakenBy(fn(&Stage<'_>) -> Result<(LedgerState, Timestamp)>),
}

/// What an attack is made of.
pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    /// The next set, which the agent will accept.
    pub(super) honest: &'a Next,
}

impl Stage<'_> {
    /// The honest offer, to be damaged.
    fn honest(&self) -> pb::SetUpdate {
        self.honest.update.clone()
    }

    /// The honest offer under another seal.
    fn under(&self, seal: Vec<u8>) -> pb::SetUpdate {
        pb::SetUpdate {
            seal: Some(super::cluster::envelope(seal)),
            ..self.honest()
        }
    }
}

impl Attack {
    const fn repaired(
        name: &'static str,
        word: &'static str,
        make: fn(&Stage<'_>) -> Result<pb::SetUpdate>,
    ) -> Self {
        Self {
            name,
            word,
            make,
            control: Control::Repaired,
        }
    }

    const fn taken_by(
        name: &'static str,
        word: &'static str,
        make: fn(&Stage<'_>) -> Result<pb::SetUpdate>,
        taker: fn(&Stage<'_>) -> Result<(LedgerState, Timestamp)>,
    ) -> Self {
        Self {
            name,
            word,
            make,
            control: Control::TakenBy(taker),
        }
    }

    /// Makes the offer, and checks that it is an attack and nothing else: another message than the honest one; and, where
    /// somebody is to take it, that he does.
    pub(super) fn offer(&self, stage: &Stage<'_>) -> Result<pb::SetUpdate> {
        let update = (self.make)(stage).with_context(|| format!("making {}", self.name))?;
        ensure!(
            update != stage.honest.update,
            "{}: nothing is wrong with it",
            self.name
        );
        if let Control::TakenBy(taker) = self.control {
            let (ledger, at) = taker(stage)?;
            let accepted = offer(&ledger, &parsed(&update)?, at)
                .with_context(|| format!("{}: its control refuses it too", self.name))?;
            ensure!(
                accepted.delta.is_some(),
                "{}: its control holds it already",
                self.name
            );
        }
        Ok(update)
    }
}

/// Those on an agent that knows the first version of the trust root.
pub(super) fn all() -> Vec<Attack> {
    [
        seals::attacks(),
        contents::attacks(),
        epochs::attacks(),
        trust_roots::attacks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Those on an agent whose people have handed the trust root over.
pub(super) fn after_the_hand_over() -> Vec<Attack> {
    trust_roots::attacks_after()
}
