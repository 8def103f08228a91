//! Exceptions: what they lift is still evaluated, and shows as excepted.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::claim::Held;
use super::{Check, Outcome};
use crate::compile::{Compiled, CompiledException};
use crate::facts::Instance;
use crate::model::Name;

/// Lifts failing checks; returns the exceptions in force for this instance that lifted nothing.
pub(super) fn apply(
    compiled: &Compiled,
    held: &[Held],
    instance: &Instance,
    at: Timestamp,
    checks: &mut [Check],
) -> Vec<Name> {
    let covers = |exception: &CompiledException| {
        exception.spec.holds_at(at) && grants(compiled, held, instance, exception)
    };
    let mut used = BTreeSet::new();
    for check in checks.iter_mut().filter(|check| check.result == Outcome::Fail) {
        for (place, exception) in compiled.exceptions_from(&check.rule) {
            let fits = exception.spec.covers_value(check.actual.as_deref());
            if fits && covers(exception) {
                used.insert(place);
                // The first by name is the one that is told; all that fit are used.
                if check.result == Outcome::Fail {
                    check.result = Outcome::Excepted;
                    check.decided_by = Some(exception.key.clone());
                    check.reason = Cow::Owned(format!(
                        "lifted until {}: {}",
                        exception.spec.not_after,
                        crate::model::printable_within(&exception.spec.reason, 256)
                    ));
                }
            }
        }
    }
    let idle = compiled
        .exceptions()
        .iter()
        .enumerate()
        .filter(|(place, exception)| !used.contains(place) && covers(exception));
    idle.map(|(_, exception)| exception.key.name.clone()).collect()
}

/// Whether the exception grants anything to this instance: by digest only, never by a hint.
fn grants(compiled: &Compiled, held: &[Held], instance: &Instance, exception: &CompiledException) -> bool {
    let scope = &exception.spec.scope;
    let workload = scope.workload.as_ref().is_none_or(|name| {
        held.iter()
            .any(|held| held.entitled && compiled.workloads()[held.place].key.name == *name)
    });
    let image = scope
        .image
        .as_ref()
        .is_none_or(|image| instance.image.seen() == Some(image));
    // A scope of neither covers nothing: it would grant to everybody.
    let bound = scope.workload.is_some() || scope.image.is_some();
    bound && workload && image
}
