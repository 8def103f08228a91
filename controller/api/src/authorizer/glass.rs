//! What broken glass gives: every power of an admin, whatever roles there are and whatever they deny, but nothing that lasts
//! longer than it does. It seals nothing: that takes sealing keys, as ever.

use std::sync::LazyLock;

use tonic::Status;
use verger_controller_authz::{Roles, Subject};
use verger_policy::model::{
    Effect, Metadata, Name, PersonName, PolicyObject, Resource, Role, RoleBinding, RoleRule, RoleSubject,
    Scope, Spec, Verb,
};
use verger_policy::roles;

use crate::status::roles_unsafe;

/// The role, its binding, and the group that has it. They are in no policy set.
const NAME: &str = "break-glass";

static ROLES: LazyLock<Result<Roles, verger_controller_authz::CompileError>> = LazyLock::new(|| {
    let (role, binding) = stated();
    Roles::compile([&role, &binding])
});

fn name() -> Name {
    NAME.parse().expect("one label")
}

fn stated() -> (PolicyObject, PolicyObject) {
    let mut rules = roles::find("admin")
        .map(|admin| admin.role().rules)
        .unwrap_or_default();
    // A login made, or renewed, would outlive the emergency.
    rules.insert(RoleRule {
        effect: Effect::Deny,
        verbs: [Verb::Create, Verb::Renew].into(),
        resources: [Resource::Certificates].into(),
        scope: Scope::default(),
    });
    let object = |spec| PolicyObject {
        metadata: Metadata {
            name: name(),
            labels: Default::default(),
            annotations: Default::default(),
        },
        spec,
    };
    let binding = RoleBinding {
        role: name(),
        subjects: [RoleSubject::Group(name())].into(),
        scope: Scope::default(),
        hosts: Default::default(),
    };
    (
        object(Spec::Role(Role { rules })),
        object(Spec::RoleBinding(binding)),
    )
}

/// The roles that decide in place of those of the set.
///
/// # Errors
/// When they cannot be compiled, which a test shows they can.
pub(super) fn roles() -> Result<&'static Roles, Status> {
    ROLES
        .as_ref()
        .map_err(|error| roles_unsafe(&error.clone().into()))
}

/// Whoever broke the glass, as those roles know him.
pub(super) fn subject(person: Option<PersonName>) -> Subject {
    Subject {
        person,
        groups: [name()].into(),
        ..Subject::default()
    }
}
