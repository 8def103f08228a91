//! Positive evidence: when an instance no longer counts as affected.

use std::collections::{BTreeMap, BTreeSet};

use super::{LocalFinding, Round, SubjectClass};
use crate::drift::{Check, Judgement, Outcome};
use crate::facts::InstanceId;

/// The field of the check that stands for all members of a rule beyond those listed.
const MORE: &str = "(more)";
/// How such a field ends where it stands for those of one set: `users[(more)]`.
const MORE_OF_SET: &str = "[(more)]";

/// What a round has to say of the instances it saw.
pub(super) struct Evidence<'a> {
    judged: BTreeMap<&'a InstanceId, &'a Judgement>,
    round: &'a Round<'a>,
}

impl<'a> Evidence<'a> {
    pub(super) fn of(round: &'a Round<'a>) -> Self {
        let judged = round
            .judgements
            .iter()
            .map(|judgement| (&judgement.instance, judgement))
            .collect();
        Self { judged, round }
    }

    /// The name an instance goes by in this round.
    pub(super) fn name(&self, instance: &InstanceId) -> Option<&'a str> {
        self.judged.get(instance).map(|judgement| judgement.name.as_str())
    }

    /// The instances of a finding that are not among `affected` now, and of which nothing proves that they no longer are.
    pub(super) fn doubtful(
        &self,
        finding: &LocalFinding,
        affected: impl Fn(&InstanceId) -> bool,
    ) -> BTreeSet<InstanceId> {
        let doubtful = |instance: &&InstanceId| !affected(instance) && !self.clears(finding, instance);
        finding.affected.iter().filter(doubtful).cloned().collect()
    }

    /// Whether an instance that is not seen violating is known not to: it is gone, or it was judged afresh, and neither
    /// the rule on this field nor the image was left in the dark.
    fn clears(&self, finding: &LocalFinding, instance: &InstanceId) -> bool {
        let Round {
            unreadable, unjudged, ..
        } = self.round;
        let Some(judgement) = self.judged.get(instance) else {
            return !unreadable.contains(&instance.runtime) && !unjudged.contains(instance);
        };
        // An image never changes; where it is not known now, neither is whose the instance is.
        let known = judgement.image.is_some() || finding.image.is_none();
        known
            && !judgement
                .checks
                .iter()
                .any(|check| obscures(check, &finding.check))
    }

    /// Whether a fault of the host itself, not seen now, is known to be over.
    pub(super) fn clears_host(&self, finding: &LocalFinding) -> bool {
        debug_assert_eq!(finding.subject, SubjectClass::Host);
        !self
            .round
            .host
            .iter()
            .any(|check| obscures(check, &finding.check))
    }
}

/// Whether a check leaves open how it stands with `fault`.
fn obscures(check: &Check, fault: &Check) -> bool {
    if check.rule != fault.rule {
        return false;
    }
    match check.result {
        Outcome::NotEvaluated | Outcome::Error => {
            concerns(&check.field, &fault.field) || leaves_out(&check.field, &fault.field)
        }
        Outcome::Fail | Outcome::Excepted => leaves_out(&check.field, &fault.field),
        Outcome::Pass | Outcome::NotApplicable => false,
    }
}

/// Whether a field stands for members that are not listed, of which another may be one.
fn leaves_out(more: &str, field: &str) -> bool {
    let of_set = more.strip_suffix(MORE_OF_SET);
    let is_member = |set| field.strip_prefix(set).is_some_and(|rest| rest.starts_with('['));
    more == MORE || of_set.is_some_and(is_member)
}

/// Whether a word on one field path is also one on another: the same, or one within the other. `mounts[/a]/*` is on
/// everything below `/a`.
fn concerns(one: &str, other: &str) -> bool {
    let within = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let below = one
        .strip_suffix("]/*")
        .and_then(|stem| other.strip_prefix(stem))
        .is_some_and(|rest| rest.starts_with(['/', ']']));
    below || within(one, other) || within(other, one)
}

#[cfg(test)]
mod tests {
    use super::{concerns, leaves_out};

    #[test]
    fn what_is_left_out_of_a_set_may_be_any_member_of_it() {
        for (more, field, wanted) in [
            ("(more)", "users[bob]", true),
            ("users[(more)]", "users[bob]", true),
            ("users[(more)]", "users[bob].name", true),
            ("users[(more)]", "users", false),
            ("users[(more)]", "usersx[bob]", false),
            ("users[(more)]", "tcp[0.0.0.0:2375]", false),
            ("users[bob]", "users[eve]", false),
        ] {
            assert_eq!(leaves_out(more, field), wanted, "{more} {field}");
        }
    }

    #[test]
    fn a_word_on_a_field_is_one_on_what_is_in_it() {
        for (one, other, wanted) in [
            ("user", "user", true),
            ("env", "env[HOME]", true),
            ("user.groups", "user", true),
            ("mounts[/a]", "mounts[/a].access", true),
            ("mounts[/a]", "mounts[/ab]", false),
            ("mounts[/a].access", "mounts[/a].source", false),
            ("live.mounts[/a]/*", "live.mounts[/a/b]", true),
            ("live.mounts[/a]/*", "live.mounts[/a]", true),
            ("live.mounts[/a]/*", "live.mounts[/ab]", false),
            ("setuid", "capabilities[CAP_SYS_ADMIN]", false),
            ("user", "username", false),
        ] {
            assert_eq!(concerns(one, other), wanted, "{one} {other}");
        }
    }
}
