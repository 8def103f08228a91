//! Wished and effective modes: what a host cannot give is said and raised, never silently lowered.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::drift::{Check, Outcome};
use verger_policy::model::{Control, Mode, RuleId, Severity};

/// The rule that a wished mode is given.
pub const UNSUPPORTED_MODE: RuleId = RuleId::builtin("host/unsupported-mode");

/// What a host can do about one control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capability {
    /// The modes it can give; none where the control is not judged at all.
    pub gives: BTreeSet<Mode>,
    /// Why no others, in a sentence for a person.
    pub limit: String,
}

/// What a host can do, per control. A control that is not listed is not judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub BTreeMap<Control, Capability>);

impl Capabilities {
    /// What an agent of this version can do on any host: `config` and `privilege` are judged and reported.
    pub fn of_this_version() -> Self {
        let monitored = Capability {
            gives: [Mode::Monitor].into(),
            limit: "this version of the agent has no enforcer and no learner for this control; it judges and reports"
                .to_owned(),
        };
        Self(
            [Control::Config, Control::Privilege]
                .map(|control| (control, monitored.clone()))
                .into(),
        )
    }
}

impl Capabilities {
    /// The same, with what an enforcer can do about control `channels`.
    #[must_use]
    pub fn with_channels(mut self, capability: Capability) -> Self {
        self.0.insert(Control::Channels, capability);
        self
    }
}

/// What becomes of a wish on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveMode {
    /// The strictest wish.
    pub wanted: Mode,
    /// What the host really does; none where it does not judge the control.
    pub effective: Option<Mode>,
    /// Why it is not what was wished, where it is not.
    pub unsupported: Option<Unsupported>,
}

/// A wish that a host cannot fulfil.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{control} cannot be in mode {wanted} on this host: {reason}")]
pub struct Unsupported {
    /// The control.
    pub control: Control,
    /// The wish.
    pub wanted: Mode,
    /// Why not.
    pub reason: String,
}

/// What a host really does about each wish. A mode that it cannot give becomes the strictest it gives below that, and
/// where there is none below, monitoring, which touches nothing.
pub fn effective_modes(
    wanted: &BTreeMap<Control, Mode>,
    capabilities: &Capabilities,
) -> BTreeMap<Control, EffectiveMode> {
    let judge = |(&control, &wanted): (&Control, &Mode)| {
        let capability = capabilities.0.get(&control);
        let gives = |mode: &Mode| capability.is_some_and(|capability| capability.gives.contains(mode));
        let effective = Mode::ALL
            .iter()
            .copied()
            .filter(|mode| *mode <= wanted && gives(mode))
            .max();
        let effective = effective.or_else(|| Some(Mode::Monitor).filter(gives));
        let unsupported = (effective != Some(wanted)).then(|| Unsupported {
            control,
            wanted,
            reason: capability.map_or_else(
                || "this version of the agent does not judge this control".to_owned(),
                |capability| capability.limit.clone(),
            ),
        });
        (
            control,
            EffectiveMode {
                wanted,
                effective,
                unsupported,
            },
        )
    };
    wanted.iter().map(judge).collect()
}

/// The checks of the host itself that raise what it cannot give: a wish to enforce that is not fulfilled fails; any
/// other is not evaluated.
pub fn unsupported_checks(modes: &BTreeMap<Control, EffectiveMode>) -> Vec<Check> {
    let raise = |mode: &EffectiveMode| {
        let Unsupported {
            control,
            wanted,
            reason,
        } = mode.unsupported.clone()?;
        let result = match wanted {
            Mode::Enforce => Outcome::Fail,
            Mode::Learn | Mode::Monitor => Outcome::NotEvaluated,
        };
        Some(Check {
            control: Control::Host,
            rule: UNSUPPORTED_MODE,
            field: control.word().into(),
            result,
            expected: Some(wanted.to_string()),
            actual: Some(mode.effective.map_or("not judged", Mode::word).to_owned()),
            reason: reason.into(),
            severity: Severity::High,
            decided_by: None,
        })
    };
    modes.values().filter_map(raise).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn one(control: Control, mode: Mode) -> EffectiveMode {
        effective_modes(&[(control, mode)].into(), &Capabilities::of_this_version())
            .remove(&control)
            .unwrap()
    }

    #[test]
    fn a_wish_to_enforce_is_monitored_and_raised_never_lowered_in_silence() {
        let mode = one(Control::Privilege, Mode::Enforce);
        assert_eq!(
            (mode.wanted, mode.effective),
            (Mode::Enforce, Some(Mode::Monitor))
        );
        let checks = unsupported_checks(&[(Control::Privilege, mode)].into());
        let [check] = checks.as_slice() else {
            panic!("{checks:?}")
        };
        assert_eq!((check.result, check.field.as_ref()), (Outcome::Fail, "privilege"));
        assert_eq!(check.rule.as_str(), "host/unsupported-mode");
        assert_eq!(
            (check.expected.as_deref(), check.actual.as_deref()),
            (Some("enforce"), Some("monitor"))
        );
    }

    #[test]
    fn what_is_given_is_not_raised() {
        let mode = one(Control::Config, Mode::Monitor);
        assert_eq!((mode.effective, &mode.unsupported), (Some(Mode::Monitor), &None));
        assert!(unsupported_checks(&[(Control::Config, mode)].into()).is_empty());
    }

    #[test]
    fn a_control_that_is_not_judged_says_so() {
        let mode = one(Control::Malware, Mode::Monitor);
        assert_eq!(mode.effective, None);
        let checks = unsupported_checks(&[(Control::Malware, mode)].into());
        assert_eq!(
            (checks[0].result, checks[0].actual.as_deref()),
            (Outcome::NotEvaluated, Some("not judged"))
        );
    }

    #[test]
    fn a_wish_to_learn_is_monitored() {
        assert_eq!(one(Control::Config, Mode::Learn).effective, Some(Mode::Monitor));
        let enforcer = Capability {
            gives: [Mode::Enforce].into(),
            limit: String::new(),
        };
        let capabilities = Capabilities([(Control::Files, enforcer)].into());
        let modes = effective_modes(&[(Control::Files, Mode::Monitor)].into(), &capabilities);
        assert_eq!(
            modes[&Control::Files].effective,
            None,
            "never stricter than wished"
        );
    }
}
