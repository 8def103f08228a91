//! What every implementation of the ports keeps, as suites for tests: run one over a rig per implementation.
//!
//! Each suite has fixed cases (`check_all`), and compares a sequence of operations with a model (`check_ops`; feed
//! it from a property test). Both answer with a sentence instead of panicking, so that a test can also assert that
//! a planted defect is caught.

pub mod log;
pub mod state;

use crate::StoreError;

/// A rule that an implementation broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {what}")]
pub struct ConformanceFailure {
    /// The case that failed.
    pub case: &'static str,
    /// What was seen.
    pub what: String,
}

pub(crate) type Outcome = Result<(), Broken>;

/// Why a case stopped.
#[derive(Debug)]
pub(crate) struct Broken(String);

impl Broken {
    fn of(self, case: &'static str) -> ConformanceFailure {
        ConformanceFailure { case, what: self.0 }
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Outcome {
    if got == want {
        Ok(())
    } else {
        Err(Broken(format!("{what}: got {got:?}, want {want:?}")))
    }
}

fn holds(what: &str, condition: bool) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(Broken(what.to_owned()))
    }
}
