//! Which verbs on which resources, as bits.

use super::ask::{self, Single};
use crate::model::{Resource, RoleRule, Verb};

const _: () = assert!(
    Verb::ALL.len() <= u64::BITS as usize,
    "a verb has a bit of its own"
);

/// A verb on a resource that knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Power {
    row: usize,
    bit: u64,
}

impl Power {
    /// None where it would mean nothing.
    pub(super) fn of(verb: Verb, resource: Resource, single: Option<&Single>) -> Option<Self> {
        ask::check(verb, resource, single).ok()?;
        Some(Self {
            row: resource as usize,
            bit: 1 << verb as u64,
        })
    }
}

/// Verbs by resource. Pairs that mean nothing may be among them: nobody can ask for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Powers([u64; Resource::ALL.len()]);

impl Powers {
    /// Those that a rule names.
    pub(super) fn of(rule: &RoleRule) -> Self {
        let verbs = rule.verbs.iter().fold(0, |bits, verb| bits | 1 << *verb as u64);
        let mut powers = Self::default();
        for resource in &rule.resources {
            powers.0[*resource as usize] = verbs;
        }
        powers
    }

    pub(super) fn add(&mut self, Self(others): &Self) {
        for (own, other) in self.0.iter_mut().zip(others) {
            *own |= other;
        }
    }

    pub(super) const fn has(&self, Power { row, bit }: Power) -> bool {
        self.0[row] & bit != 0
    }
}
