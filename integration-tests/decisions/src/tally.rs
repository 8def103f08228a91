//! What the requests of a run came to, so that one which hardly asks anything shows nothing.

use std::fmt;

use verger_controller_authz::Roles;
use verger_policy::model::{Effect, Scope};
use verger_policy::roles::{Ask, Because, Decision, Subject};

/// Shares below which a run is void, in percent.
const LEAST: u64 = 2;

/// How many requests there were of each sort.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) asked: u64,
    /// Sets whose form without one of its bindings was told from the whole.
    pub(crate) caught: u64,
    nothing_bound: u64,
    meaningless: u64,
    of: [u64; SORTS.len()],
}

/// What a run has enough of.
const SORTS: [&str; 9] = [
    "allowed",
    "denied by a rule",
    "allowed by nothing",
    "left out by scopes alone",
    "of all at once",
    "of a single one",
    "decided within names",
    "decided within labels",
    "decided through a group alone",
];

impl Tally {
    /// Counts a request that was decided like this.
    pub(crate) fn count(&mut self, roles: &Roles, subject: &Subject, ask: &Ask, decision: &Decision) {
        self.asked += 1;
        if decision.because.contains(&Because::NothingBound) {
            self.nothing_bound += 1;
            return;
        }
        if decision.because.contains(&Because::Meaningless) {
            self.meaningless += 1;
            return;
        }
        let nothing_allows = decision.because.contains(&Because::NothingAllows);
        let given = roles.given(subject);
        let names_it = |effect: Effect| {
            given.iter().any(|(given, _)| {
                let rule = &given.rule;
                rule.effect == effect
                    && rule.verbs.contains(&ask.verb)
                    && rule.resources.contains(&ask.resource)
            })
        };
        let deciding = |holds: &dyn Fn(&Scope) -> bool| {
            given.iter().any(|(given, scope)| {
                let decides = decision.because.contains(&Because::Rule((*given).clone()));
                decides && (holds(scope) || holds(&given.rule.scope))
            })
        };
        let own = Subject {
            groups: Default::default(),
            ..subject.clone()
        };
        let own: Vec<_> = roles.given(&own).into_iter().map(|(given, _)| given).collect();
        let through_group = |because: &Because| match because {
            Because::Rule(given) => !own.contains(&given),
            _ => false,
        };
        let is = [
            decision.allowed,
            !decision.allowed && !nothing_allows,
            nothing_allows,
            nothing_allows && names_it(Effect::Allow),
            ask.single.is_none(),
            ask.single.is_some(),
            deciding(&|scope| !scope.names.is_empty()),
            deciding(&|scope| !scope.labels.is_empty()),
            decision.because.iter().all(through_group),
        ];
        for (count, is) in self.of.iter_mut().zip(is) {
            *count += u64::from(is);
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            asked,
            caught,
            nothing_bound,
            meaningless,
            of,
        } = other;
        self.asked += asked;
        self.caught += caught;
        self.nothing_bound += nothing_bound;
        self.meaningless += meaningless;
        for (own, other) in self.of.iter_mut().zip(of) {
            *own += other;
        }
    }

    /// What there was too little of to show anything.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        let few = |(_, count): &(&&str, &u64)| *count * 100 < LEAST * self.asked.max(1);
        let sorts = SORTS.iter().zip(&self.of).filter(few).map(|(sort, _)| *sort);
        sorts.collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |count: u64| count * 100 / self.asked.max(1);
        for (sort, count) in SORTS.iter().zip(&self.of) {
            write!(f, "{sort} {} %, ", percent(*count))?;
        }
        write!(
            f,
            "of an open set {} %, meaningless {} %",
            percent(self.nothing_bound),
            percent(self.meaningless)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_asks_nothing_lacks_everything() {
        assert_eq!(Tally::default().missing(), SORTS);
        let even = Tally {
            asked: 100,
            of: [2; SORTS.len()],
            ..Tally::default()
        };
        assert_eq!(even.missing(), Vec::<&str>::new());
        let mut most = even;
        most.of[3] = 1;
        assert_eq!(most.missing(), [SORTS[3]]);
    }
}
