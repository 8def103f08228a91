//! Steps: what is to be done about drift, as data.

use verger_policy::drift::Check;
use verger_policy::facts::InstanceId;

use crate::mode::Unsupported;

/// One thing to do. In this version an agent reports; what it would have to prevent or correct, it cannot, and says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell: the check becomes, or stays, a finding.
    Report {
        /// Whose check it is.
        instance: InstanceId,
        /// What was found.
        check: Check,
    },
    /// Enforce, which this host cannot: no enforcer takes this step, and it is raised.
    Unsupported {
        /// Where it should have been enforced.
        instance: InstanceId,
        /// What, and why not.
        unsupported: Unsupported,
    },
}
