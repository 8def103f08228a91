//! The bindings of a set, each with the role it names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{BuiltinRole, find};
use crate::model::{Name, PolicyObject, Role, RoleBinding, Spec};

/// A binding and what it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound<'a> {
    /// The name of the `RoleBinding`.
    pub name: &'a Name,
    /// What it says.
    pub binding: &'a RoleBinding,
    /// The role it names. None: neither built in nor in the set, so it gives nothing.
    pub role: Option<Cow<'a, Role>>,
}

/// Finds the role of each binding among objects. In the order of the bindings.
pub fn bound<'a>(objects: impl IntoIterator<Item = &'a PolicyObject> + Clone) -> Vec<Bound<'a>> {
    let mut stated: BTreeMap<&Name, &'a Role> = BTreeMap::new();
    for object in objects.clone() {
        if let Spec::Role(role) = &object.spec {
            stated.insert(&object.metadata.name, role);
        }
    }
    let bindings = objects.into_iter().filter_map(|object| match &object.spec {
        Spec::RoleBinding(binding) => Some((&object.metadata.name, binding)),
        _ => None,
    });
    let with_role = bindings.map(|(name, binding)| {
        let built_in = find(binding.role.as_str()).map(BuiltinRole::role).map(Cow::Owned);
        let role = built_in.or_else(|| stated.get(&binding.role).copied().map(Cow::Borrowed));
        Bound { name, binding, role }
    });
    with_role.collect()
}
