//! Findings that controllers raise themselves.

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome as Judged};
use verger_policy::finding::{FindingUid, Lifecycle, SubjectClass, Transition, fingerprint};
use verger_policy::model::{AgentId, Mode, RuleId};
use verger_policy::rules::{
    self, AHEAD_OF_SET, BREAK_GLASS, CONTROLLER_CLOCK, COPIED_IDENTITY, Rule, SILENT, TOO_MANY_FINDINGS,
};

use super::Outcome;
use crate::limits;
use crate::logins::break_glass_name;
use crate::response::{Refused, Response};
use crate::rows::RowChange;
use crate::state::{Host, State};

/// Under this name controllers tell of themselves. No agent has it: a name in a certificate has no slash.
pub(super) fn controllers() -> AgentId {
    "verger/controllers".parse().expect("two labels")
}

/// Whether only controllers raise this rule's findings.
pub(super) fn is_own(rule: &RuleId) -> bool {
    rules::is_of_controllers(rule)
}

/// Of what the finding is of a host that came further than the set.
const LEDGER: &str = "ledger";

/// Of what the finding of a copied identity is, where the key was used on another machine.
const MACHINE: &str = "machine";
/// The same, where it was not said on which: it may be the host itself, which lost its id, and must not stand in a copy's place.
const UNSAID: &str = "machine-unsaid";

const fn field_of(machine: Option<&Digest>) -> &'static str {
    match machine {
        Some(_) => MACHINE,
        None => UNSAID,
    }
}

/// What such a finding says.
struct Word<'a> {
    rule: Rule,
    field: &'a str,
    expected: String,
    actual: String,
    reason: &'static str,
    occurrences: u64,
}

impl State {
    fn own_uid(&self, rule: &Rule, field: &str) -> Option<FindingUid> {
        let cluster = self.cluster.as_ref()?.id;
        Some(fingerprint(
            &cluster,
            &rule.rule_id(),
            &SubjectClass::Host,
            None,
            field,
        ))
    }

    /// How many rows of controllers' own there are about this agent.
    pub(super) fn own_rows_of(&self, agent: &AgentId) -> usize {
        let own = [
            (TOO_MANY_FINDINGS, "findings"),
            (SILENT, "agent"),
            (AHEAD_OF_SET, LEDGER),
            (COPIED_IDENTITY, MACHINE),
            (COPIED_IDENTITY, UNSAID),
        ];
        own.iter()
            .filter_map(|(rule, field)| self.own_uid(rule, field))
            .filter(|uid| self.findings.row(uid, agent).is_some())
            .count()
    }

    /// Says that not all that an agent told is kept. It is said until the agent begins another life: that the host has room
    /// again is no evidence that what was not kept is over, and agents tell only what changes.
    pub(super) fn tell_not_kept(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) {
        let not_kept = self.hosts.get(agent).map_or(0, |host| host.not_kept);
        let word = Word {
            rule: TOO_MANY_FINDINGS,
            field: "findings",
            expected: format!(
                "at most {} findings that are not over",
                limits::FINDINGS_PER_AGENT
            ),
            actual: format!("{not_kept} changes of further ones were not kept"),
            reason: "the controllers keep no more findings of one host: what is known of it is not all there is",
            occurrences: not_kept,
        };
        self.tell(agent, word, Lifecycle::Open, changes);
    }

    /// Says whether a clock is far ahead of the replicated time, where that is not said yet.
    pub(super) fn tell_clock(&mut self, changes: &mut Vec<RowChange>) {
        let Some(uid) = self.own_uid(&CONTROLLER_CLOCK, "clock") else {
            return;
        };
        let controllers = controllers();
        let open = self
            .findings
            .row(&uid, &controllers)
            .is_some_and(|row| row.lifecycle == Lifecycle::Open);
        if self.clock.held_back.is_some() == open {
            return;
        }
        let (lifecycle, actual) = match &self.clock.held_back {
            Some(held) => (
                Lifecycle::Open,
                format!("{}, where the cluster's time is {}", held.offered, held.last),
            ),
            None => (
                Lifecycle::Resolved,
                "no such clock was heard of lately".to_owned(),
            ),
        };
        let word = Word {
            rule: CONTROLLER_CLOCK,
            field: "clock",
            expected: format!("at most {} s ahead of the cluster's time", limits::STEP_SECONDS),
            actual,
            reason: "a controller's clock is far ahead of the cluster's time, and is not believed",
            occurrences: 1,
        };
        self.tell(&controllers, word, lifecycle, changes);
    }

    /// Says that an agent has not been heard of, or is heard of again.
    pub(super) fn hear_silence(
        &mut self,
        agent: &AgentId,
        silent: bool,
        since: Option<Timestamp>,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        if !self.hosts.get(agent).is_some_and(Host::serves) {
            return Err(Refused::UnknownAgent);
        }
        let actual = match (silent, since) {
            (false, _) => "it is heard of".to_owned(),
            (true, Some(at)) => format!("last heard of at {at}"),
            (true, None) => "not heard of since the controllers were started".to_owned(),
        };
        let lifecycle = if silent {
            Lifecycle::Open
        } else {
            Lifecycle::Resolved
        };
        if silent || self.is_silent(agent) {
            self.tell_silence(agent, lifecycle, actual, changes);
        }
        Ok(Response::SilenceTold)
    }

    /// Nobody waits for a word of a host that was shut out.
    pub(super) fn expect_silence(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) {
        if self.is_silent(agent) {
            let actual = "it is shut out".to_owned();
            self.tell_silence(agent, Lifecycle::Resolved, actual, changes);
        }
    }

    fn tell_silence(
        &mut self,
        agent: &AgentId,
        lifecycle: Lifecycle,
        actual: String,
        changes: &mut Vec<RowChange>,
    ) {
        let word = Word {
            rule: SILENT,
            field: "agent",
            expected: "heard of every few seconds".to_owned(),
            actual,
            reason: "nothing is known of this host now: what was last heard of it may be over, or worse",
            occurrences: 1,
        };
        self.tell(agent, word, lifecycle, changes);
    }

    /// Says that an agent's ledger holds a newer set than the one in force, or not any more.
    pub(super) fn hear_ahead(
        &mut self,
        agent: &AgentId,
        epoch: u64,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        if !self.hosts.get(agent).is_some_and(Host::serves) {
            return Err(Refused::UnknownAgent);
        }
        let in_force = self.set.epoch();
        let (lifecycle, actual) = match epoch > in_force {
            true => (Lifecycle::Open, format!("epoch {epoch} is in its ledger")),
            false => (Lifecycle::Resolved, "it can take the set".to_owned()),
        };
        if lifecycle == Lifecycle::Open || self.is_told_ahead(agent) {
            let word = Word {
                rule: AHEAD_OF_SET,
                field: LEDGER,
                expected: format!("no epoch above {in_force}, which is in force"),
                actual,
                reason: "this host accepted a newer policy set than the cluster has, and refuses what is older: seal the set above that epoch",
                occurrences: 1,
            };
            self.tell(agent, word, lifecycle, changes);
        }
        Ok(Response::AheadTold)
    }

    /// Whether it is said of this agent that its ledger holds a newer set than the one in force.
    pub fn is_told_ahead(&self, agent: &AgentId) -> bool {
        self.told_ahead()(agent)
    }

    /// The same, for who asks of many agents.
    pub fn told_ahead(&self) -> impl Fn(&AgentId) -> bool + use<'_> {
        self.told(&AHEAD_OF_SET, LEDGER)
    }

    /// Says that an agent's key was used on another machine, or by who does not say on which, where that is not said yet.
    pub(super) fn tell_copy(
        &mut self,
        agent: &AgentId,
        machine: Option<&Digest>,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        if !self.hosts.get(agent).is_some_and(Host::serves) {
            return Err(Refused::UnknownAgent);
        }
        if !self.is_told_of_copy(agent, machine) {
            let actual = match machine {
                Some(_) => "it was used on another one, too",
                None => "it was used by an agent that does not say on which",
            };
            self.tell_machine(agent, field_of(machine), Lifecycle::Open, actual, changes);
        }
        Ok(Response::CopyTold)
    }

    /// The identity is bound anew.
    pub(super) fn forget_copy(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) {
        for field in [MACHINE, UNSAID] {
            if self.told(&COPIED_IDENTITY, field)(agent) {
                self.tell_machine(agent, field, Lifecycle::Resolved, "it was enrolled anew", changes);
            }
        }
    }

    fn tell_machine(
        &mut self,
        agent: &AgentId,
        field: &str,
        lifecycle: Lifecycle,
        actual: &str,
        changes: &mut Vec<RowChange>,
    ) {
        let word = Word {
            rule: COPIED_IDENTITY,
            field,
            expected: "used on the machine it was enrolled on".to_owned(),
            actual: actual.to_owned(),
            reason: "the agent's key was used elsewhere than on its machine: the controller refuses that agent, and what was told under this name before may be of either",
            occurrences: 1,
        };
        self.tell(agent, word, lifecycle, changes);
    }

    /// Whether it is said of this agent that its key was used on another machine; or, of no machine, that it was used by who does not say
    /// on which. Neither says the other.
    pub fn is_told_of_copy(&self, agent: &AgentId, machine: Option<&Digest>) -> bool {
        self.told(&COPIED_IDENTITY, field_of(machine))(agent)
    }

    fn told(&self, rule: &Rule, field: &str) -> impl Fn(&AgentId) -> bool + use<'_> {
        let uid = self.own_uid(rule, field);
        move |agent| {
            uid.and_then(|uid| self.findings.row(&uid, agent))
                .is_some_and(|row| row.lifecycle == Lifecycle::Open)
        }
    }

    /// Says that somebody broke the glass, until when and why; or, with nothing, that it is over.
    pub(super) fn tell_break_glass(
        &mut self,
        person: &str,
        broken: Option<(Timestamp, &str)>,
        changes: &mut Vec<RowChange>,
    ) {
        let (lifecycle, actual) = match broken {
            Some((ends, reason)) => (
                Lifecycle::Open,
                format!("person/{} until {ends}: {reason}", break_glass_name(person)),
            ),
            None => (Lifecycle::Resolved, "it is over".to_owned()),
        };
        let word = Word {
            rule: BREAK_GLASS,
            field: person,
            expected: "nobody has powers past the roles".to_owned(),
            actual,
            reason: "somebody on a member's own host broke the glass: what that login did is in the audit under its name",
            occurrences: 1,
        };
        self.tell(&controllers(), word, lifecycle, changes);
    }

    /// Whether it is said of this agent that it is silent.
    pub fn is_silent(&self, agent: &AgentId) -> bool {
        self.silent()(agent)
    }

    /// The same, for who asks of many agents.
    pub fn silent(&self) -> impl Fn(&AgentId) -> bool + use<'_> {
        self.told(&SILENT, "agent")
    }

    fn tell(&mut self, agent: &AgentId, word: Word<'_>, lifecycle: Lifecycle, changes: &mut Vec<RowChange>) {
        let Word {
            rule,
            field,
            expected,
            actual,
            reason,
            occurrences,
        } = word;
        let Some(uid) = self.own_uid(&rule, field) else {
            return;
        };
        let before = self.findings.row(&uid, agent);
        let first_seen = before.map_or(self.clock.now, |row| row.first_seen);
        let opens_again =
            lifecycle == Lifecycle::Open && before.is_some_and(|row| row.lifecycle == Lifecycle::Resolved);
        let reopened = before.map_or(0, |row| row.reopened);
        let is_open = lifecycle == Lifecycle::Open;
        let transition = Transition {
            at: self.clock.now,
            uid,
            subject: SubjectClass::Host,
            image: None,
            check: Check {
                control: rule.control,
                rule: rule.rule_id(),
                field: field.to_owned().into(),
                result: if is_open { Judged::Fail } else { Judged::Pass },
                expected: Some(expected),
                actual: Some(actual),
                reason: reason.into(),
                severity: rule.severity,
                decided_by: None,
            },
            lifecycle,
            wanted: Mode::Monitor,
            effective: Mode::Monitor,
            epoch: self.set.epoch(),
            affected: u64::from(is_open),
            samples: Vec::new(),
            evaluated: 1,
            occurrences,
            first_seen,
            reopened: reopened.saturating_add(u32::from(opens_again)),
        };
        self.put_row(agent, &transition, changes);
    }
}
