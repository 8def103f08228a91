//! Changes of roles that are refused whoever wants them.

use verger_controller_authz::{Unsafe, check_change};
use verger_policy::model::PolicyObject;

use crate::{bind, object, role, set};

#[track_caller]
fn check(before: &[PolicyObject], after: &[PolicyObject]) -> Result<(), Unsafe> {
    check_change(&set(before), &set(after))
}

fn admin() -> PolicyObject {
    bind("admins", "admin", "person/ada", "")
}

#[test]
fn somebody_must_be_left_who_can_change_roles() {
    let viewers = || bind("viewers", "viewer", "person/bob", "");
    assert_eq!(check(&[], &[viewers()]), Err(Unsafe::NobodyLeft));
    assert_eq!(check(&[], &[viewers(), admin()]), Ok(()));
    assert_eq!(
        check(&[viewers(), admin()], &[viewers()]),
        Err(Unsafe::NobodyLeft)
    );
    assert_eq!(check(&[viewers(), admin()], &[]), Ok(()), "then everybody can");
    let group = bind("admins", "admin", "group/staff", "");
    assert_eq!(
        check(&[], &[group]),
        Err(Unsafe::NobodyLeft),
        "a group may be empty"
    );
    let scoped = bind("admins", "admin", "person/ada", ", scope: { names: [ a/* ] }");
    assert_eq!(check(&[], &[scoped]), Err(Unsafe::NobodyLeft));
}

#[test]
fn a_deny_can_lock_the_last_one_out() {
    let rule = "{ effect: deny, verbs: [ apply ], resources: [ RoleBinding ], names: [ admins ] }";
    let denied = [role("never", rule), bind("x", "never", "person/ada", ""), admin()];
    // Ada can still propose and sign, if it takes two.
    assert_eq!(check(&[admin()], &denied), Ok(()));
    let rule = "{ effect: deny, verbs: [ apply, propose ], resources: [ RoleBinding ], names: [ admins ] }";
    let denied = [role("never", rule), bind("x", "never", "person/ada", ""), admin()];
    assert_eq!(check(&[admin()], &denied), Err(Unsafe::NobodyLeft));
}

#[test]
fn proposing_and_signing_by_different_people_will_do() {
    let rule = |verb: &str| format!("{{ effect: allow, verbs: [ {verb} ], resources: [ RoleBinding ] }}");
    let proposer = [role("p", &rule("propose")), bind("p", "p", "person/ada", "")];
    assert_eq!(check(&[], &proposer), Err(Unsafe::NobodyLeft));
    let signer = [role("s", &rule("sign")), bind("s", "s", "person/bob", "")];
    assert_eq!(check(&[], &[proposer, signer].concat()), Ok(()));
}

#[test]
fn a_role_that_is_bound_cannot_go() {
    let mine = role("mine", "{ effect: deny, verbs: [ get ], resources: [ status ] }");
    let bound = bind("b", "mine", "person/bob", "");
    let before = [admin(), mine, bound.clone()];
    let error = check(&before, &[admin(), bound]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "RoleBinding/b would name role mine, which is not built in and not in the set"
    );
    assert_eq!(check(&before, &[admin()]), Ok(()));
}

#[test]
fn a_change_of_other_things_is_not_checked() {
    let bad = bind("b", "gone", "person/bob", "");
    let host = object("Host", "h", "agent: h");
    assert_eq!(check(std::slice::from_ref(&bad), &[bad.clone(), host]), Ok(()));
}
