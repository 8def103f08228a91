//! What bindings give one person or one group.

use std::collections::BTreeMap;

use super::{CompiledRoles, Held, Index, Why, Wish};
use crate::model::{Effect, Name, Scope};
use crate::roles::ask::Single;
use crate::roles::powers::Powers;

/// Bindings beyond which they are looked up by name.
const MANY: usize = 16;
/// The most names of a scope that make it be found by name: beyond, the index would outgrow the policy.
const FEW_NAMES: usize = 8;

/// The bindings of one subject.
#[derive(Clone, Debug)]
pub(super) struct Holdings {
    /// Those to look at whatever is asked for.
    always: Places,
    /// The rest, where there are many.
    named: Option<Box<Named>>,
}

/// Bindings that reach nothing but what their scope names.
#[derive(Clone, Debug)]
struct Named {
    /// By each name that the scope states, or what is above the names, with its slash.
    by_name: Index<Box<str>, Places>,
    /// All of them, and what they deny: most of what is asked of all at once, none of them denies.
    all: Places,
    denies: Powers,
}

/// Places of bindings, those that deny anything first.
#[derive(Clone, Debug)]
struct Places {
    all: Box<[usize]>,
    denying: usize,
}

impl Places {
    fn of(mut places: Vec<usize>, compiled: &CompiledRoles) -> Self {
        places.sort_by_key(|place| (!compiled.denies(*place), *place));
        let denying = places.iter().take_while(|place| compiled.denies(**place)).count();
        Self {
            all: places.into(),
            denying,
        }
    }

    fn find<'a>(&self, compiled: &'a CompiledRoles, effect: Effect, wish: Wish<'_>) -> Option<Why<'a>> {
        let places = match effect {
            Effect::Allow => &self.all[..],
            Effect::Deny => &self.all[..self.denying],
        };
        let mut found = places
            .iter()
            .flat_map(|place| compiled.reaching(*place, effect, wish));
        found.next()
    }
}

impl Holdings {
    pub(super) fn of(held: &[Held<'_>], compiled: &CompiledRoles) -> Self {
        let is_named = |held: &Held<'_>| (1..=FEW_NAMES).contains(&held.scope.names.len());
        let (named, always): (Vec<Held<'_>>, Vec<Held<'_>>) = if held.len() > MANY {
            held.iter().copied().partition(is_named)
        } else {
            (Vec::new(), held.to_vec())
        };
        let places = |held: &[Held<'_>]| {
            let places = held.iter().map(|held| held.place).collect();
            Places::of(places, compiled)
        };
        let mut by_name: BTreeMap<Box<str>, Vec<usize>> = BTreeMap::new();
        for held in &named {
            for key in keys_of(held.scope) {
                by_name.entry(key).or_default().push(held.place);
            }
        }
        let mut denies = Powers::default();
        for held in &named {
            denies.add(&compiled.role_of(held.place).denies);
        }
        let by_name = by_name
            .into_iter()
            .map(|(key, places)| (key, Places::of(places, compiled)));
        Self {
            always: places(&always),
            named: (!named.is_empty()).then(|| {
                Box::new(Named {
                    by_name: by_name.collect(),
                    all: places(&named),
                    denies,
                })
            }),
        }
    }

    /// A rule of this effect that reaches it.
    pub(super) fn find<'a>(
        &self,
        compiled: &'a CompiledRoles,
        effect: Effect,
        wish: Wish<'_>,
    ) -> Option<Why<'a>> {
        let found = self.always.find(compiled, effect, wish);
        let (None, Some(named)) = (found, &self.named) else {
            return found;
        };
        match (wish.single, effect) {
            // All at once is within every scope of a deny, and within none of an allow.
            (None, Effect::Deny) if named.denies.has(wish.power) => named.all.find(compiled, effect, wish),
            (Some(Single { name: Some(name), .. }), _) => keys(name)
                .filter_map(|key| named.by_name.get(key))
                .find_map(|places| places.find(compiled, effect, wish)),
            (None, _) | (Some(Single { name: None, .. }), _) => None,
        }
    }

    /// The places of all.
    pub(super) fn all(&self) -> impl Iterator<Item = usize> {
        let named = self.named.iter().flat_map(|named| &named.all.all);
        self.always.all.iter().chain(named).copied()
    }
}

fn keys_of(scope: &Scope) -> impl Iterator<Item = Box<str>> {
    scope.names.iter().map(|pattern| {
        if pattern.is_below() {
            format!("{}/", pattern.name()).into()
        } else {
            pattern.name().as_str().into()
        }
    })
}

/// What scopes that a name is within may state: all that is above it, and the name.
fn keys(name: &Name) -> impl Iterator<Item = &str> {
    let text = name.as_str();
    let above = text.match_indices('/').map(|(at, _)| &text[..=at]);
    above.chain(std::iter::once(text))
}
