//! Scopes, ready to be asked what is within them.

use super::ask::Single;
use crate::model::{Effect, Labels, Name, Scope};

/// What a scope reaches. A name takes a search among its patterns, not a look at each.
#[derive(Clone, Debug)]
pub(super) enum Reach {
    Everything,
    Some(Box<Narrow>),
}

#[derive(Clone, Debug)]
pub(super) struct Narrow {
    /// None: any name.
    names: Option<Names>,
    labels: Labels,
}

#[derive(Clone, Debug)]
struct Names {
    /// Sorted.
    exact: Box<[Name]>,
    /// What names begin with, the slash included. Sorted, and none begins with another: so the one that a name begins with
    /// is the last that is not after the name.
    above: Box<[Box<str>]>,
}

impl Reach {
    pub(super) fn of(scope: &Scope) -> Self {
        let Scope { names, labels } = scope;
        if scope.is_everything() {
            return Self::Everything;
        }
        let exact = names.iter().filter(|pattern| !pattern.is_below());
        let below = names.iter().filter(|pattern| pattern.is_below());
        let mut all: Vec<String> = below.map(|pattern| format!("{}/", pattern.name())).collect();
        all.sort_unstable();
        let mut above: Vec<Box<str>> = Vec::new();
        for prefix in all {
            if above.last().is_none_or(|last| !prefix.starts_with(&**last)) {
                above.push(prefix.into());
            }
        }
        let mut exact: Vec<Name> = exact.map(|pattern| pattern.name().clone()).collect();
        exact.sort_unstable();
        Self::Some(Box::new(Narrow {
            names: (!names.is_empty()).then(|| Names {
                exact: exact.into(),
                above: above.into(),
            }),
            labels: labels.clone(),
        }))
    }

    /// Whether a rule of this effect reaches it. All at once is within no scope of an allow, and within every one of a deny.
    pub(super) fn covers(&self, effect: Effect, single: Option<&Single>) -> bool {
        match (self, single) {
            (Self::Everything, _) => true,
            (Self::Some(_), None) => effect == Effect::Deny,
            (Self::Some(narrow), Some(single)) => narrow.fits(single),
        }
    }
}

impl Narrow {
    fn fits(&self, Single { name, labels }: &Single) -> bool {
        let named = match (&self.names, name) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(names), Some(name)) => names.fit(name),
        };
        named && self.labels.select(labels)
    }
}

impl Names {
    fn fit(&self, name: &Name) -> bool {
        let after = self.above.partition_point(|prefix| **prefix <= *name.as_str());
        let below = after
            .checked_sub(1)
            .is_some_and(|last| name.as_str().starts_with(&*self.above[last]));
        below || self.exact.binary_search(name).is_ok()
    }
}
