//! Changes that would leave nobody to change roles.

use verger_policy::model::{Effect, Kind, Name, Resource, RoleSubject, Verb};
use verger_policy::roles::Ask;
use verger_policy::set::{Entry, PolicySet};

use crate::roles::{CompileError, Roles};

/// Why a change of roles is refused, whoever wants it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// A binding would name a role that is not there: what that role denied would be denied no more.
    #[error("RoleBinding/{binding} would name role {role}, which is not built in and not in the set")]
    NoSuchRole {
        /// The binding.
        binding: Name,
        /// The role.
        role: Name,
    },
    /// Nobody could change roles any more.
    #[error(
        "no person named by a binding could apply, or propose and sign, a RoleBinding any more; bind one to `admin`, or delete all bindings"
    )]
    NobodyLeft,
    /// A role cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Checks a change that alters roles or bindings. One that alters neither is not checked, and one that leaves no binding is
/// fine: everybody with a local login may do everything again.
///
/// Only people count that a binding names: who is in a group is known when somebody logs in.
///
/// # Errors
/// When it would leave nobody to change roles, or a binding without its role.
pub fn check_change(before: &PolicySet, after: &PolicySet) -> Result<(), Unsafe> {
    if relevant(before).eq(relevant(after)) {
        return Ok(());
    }
    let roles = Roles::compile(after.objects().collect::<Vec<_>>())?;
    if let Some((binding, role)) = roles.dangling().first() {
        let (binding, role) = (binding.clone(), role.clone());
        return Err(Unsafe::NoSuchRole { binding, role });
    }
    if !roles.are_in_force() || can(&roles, Verb::Apply) {
        return Ok(());
    }
    if can(&roles, Verb::Propose) && can(&roles, Verb::Sign) {
        return Ok(());
    }
    Err(Unsafe::NobodyLeft)
}

fn relevant(set: &PolicySet) -> impl Iterator<Item = &Entry> {
    set.entries()
        .filter(|entry| matches!(entry.key.kind, Kind::Role | Kind::RoleBinding))
}

/// Whether some person may do it to every binding.
fn can(roles: &Roles, verb: Verb) -> bool {
    let ask = Ask::all(verb, Resource::RoleBinding);
    let people = roles
        .subjects()
        .filter(|subject| matches!(subject, RoleSubject::Person(_)));
    people
        .filter(|person| {
            roles.given_to(person).any(|given| {
                let rule = &given.rule.rule;
                given.scope.is_everything()
                    && rule.scope.is_everything()
                    && rule.effect == Effect::Allow
                    && rule.verbs.contains(&verb)
                    && rule.resources.contains(&Resource::RoleBinding)
            })
        })
        .any(|person| roles.decide(&person.into(), &ask).allowed)
}
