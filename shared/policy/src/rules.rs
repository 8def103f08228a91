//! The built-in rules: what each asks, why, and what to do when it does not hold.
//!
//! A rule's id never changes its meaning: exceptions and findings name it. A rule that comes to ask for something
//! else gets a new id. CIS numbers are those of the CIS Docker Benchmark 1.3.1, NIST numbers those of SP 800-190.

mod table;

pub use table::*;

use crate::model::{Control, Profile, RuleId, Severity};

/// One built-in rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `<control>/<name>`.
    pub id: &'static str,
    /// What it protects.
    pub control: Control,
    /// How bad a violation is.
    pub severity: Severity,
    /// Why the rule is there, in a sentence.
    pub reason: &'static str,
    /// What to do about a violation, in a sentence.
    pub remedy: &'static str,
    /// Paragraphs of public standards that ask for the same.
    pub standards: &'static [&'static str],
    /// The version of Verger that brought it.
    pub since: &'static str,
    /// The guardrail profiles that hold it; empty for rules that are no guardrail's.
    pub profiles: &'static [Profile],
}

impl Rule {
    /// Its id as the model's type.
    pub const fn rule_id(&self) -> RuleId {
        RuleId::builtin(self.id)
    }

    /// Whether a `Guardrail` may name it: only those are judged on behalf of guardrails.
    pub const fn is_guardrail(&self) -> bool {
        !self.profiles.is_empty()
    }
}

/// Finds a rule by id.
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

/// Whether only controllers raise the rule's findings: of themselves, and of what they know of hosts. No agent tells them.
pub fn is_of_controllers(rule: &RuleId) -> bool {
    [
        TOO_MANY_FINDINGS,
        CONTROLLER_CLOCK,
        SILENT,
        COPIED_IDENTITY,
        AHEAD_OF_SET,
        BREAK_GLASS,
    ]
    .iter()
    .any(|own| own.id == rule.as_str())
}

/// The rules of a profile.
pub fn of_profile(profile: Profile) -> impl Iterator<Item = &'static Rule> {
    ALL.iter()
        .copied()
        .filter(move |rule| rule.profiles.contains(&profile))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_valid_and_start_with_their_control() {
        let ids: BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for rule in ALL {
            assert!(rule.id.parse::<RuleId>().is_ok(), "{}", rule.id);
            assert_eq!(
                rule.id.split('/').next(),
                Some(rule.control.word()),
                "{}",
                rule.id
            );
            assert_eq!(find(rule.id), Some(*rule));
        }
    }

    #[test]
    fn every_rule_says_why_and_what_to_do() {
        for rule in ALL {
            assert!(
                rule.reason.len() > 20 && !rule.reason.ends_with('.'),
                "{}",
                rule.id
            );
            assert!(
                rule.remedy.len() > 10 && !rule.remedy.ends_with('.'),
                "{}",
                rule.id
            );
        }
    }

    #[test]
    fn restricted_holds_all_of_baseline() {
        for rule in of_profile(Profile::Baseline) {
            assert!(rule.profiles.contains(&Profile::Restricted), "{}", rule.id);
        }
        assert!(of_profile(Profile::Restricted).count() > of_profile(Profile::Baseline).count());
    }
}
