//! What each built-in role may call: the matrix, held against every rpc, every role, and what is answered.

use std::collections::BTreeSet;

use tonic::Code;
use verger_policy::roles;

use super::calls::Prepared;
use super::matrix::{
    MATRIX,
    Who::{Agents, Roles, TokenHolders},
};
use super::{Row, TABLE, rpcs};
use crate::world::{binding, reason, start};

/// A person of each built-in role, by the letter of its column, and one without any.
const PEOPLE: [(char, &str, &str); 6] = [
    ('-', "noah", ""),
    ('v', "vera", "viewer"),
    ('o', "otto", "operator"),
    ('a', "aude", "author"),
    ('p', "abel", "approver"),
    ('x', "ada", "admin"),
];

async fn prepared() -> Prepared {
    let bound = PEOPLE.iter().filter(|(_, _, role)| !role.is_empty());
    let bindings: Vec<_> = bound
        .map(|(_, person, role)| binding(&format!("{role}s"), role, person, ""))
        .collect();
    let prepared = Prepared::with(&bindings).await;
    // All with one key: a certificate is renewed with its own.
    for (_, person, _) in PEOPLE {
        prepared.world.give_login(person, "ada");
    }
    prepared
}

fn row(rpc: &str) -> &'static Row {
    TABLE.iter().find(|row| row.rpc == rpc).unwrap()
}

#[test]
fn every_rpc_and_every_built_in_role_is_in_the_matrix() {
    let listed: BTreeSet<String> = MATRIX.iter().map(|(rpc, _)| (*rpc).to_owned()).collect();
    assert_eq!(listed.len(), MATRIX.len(), "no rpc has two rows");
    assert_eq!(listed, rpcs(), "say in the matrix which roles may call a new rpc");
    let columns: BTreeSet<&str> = PEOPLE.iter().map(|(_, _, role)| *role).collect();
    let wanted = roles::ALL.iter().map(|role| role.name).chain([""]);
    assert_eq!(columns, wanted.collect(), "a column for every role");
}

#[tokio::test(start_paused = true)]
async fn people_get_what_the_matrix_says_of_their_roles_and_whoever_is_denied_changes_nothing() {
    for (rpc, who) in MATRIX {
        let row = row(rpc);
        for (column, person, role) in PEOPLE {
            let prepared = prepared().await;
            let world = &prepared.world;
            let (before, proposed) = (world.log.state(), world.log.proposed().len());
            let end = start().as_second() + 86_400;
            let caller = world.caller_with(&format!("person/{person}"), "ada", end);
            let called = (row.call)(&prepared, caller).await;
            let wanted = match who {
                Roles(columns) if columns.contains(column) => None,
                Roles(_) => Some("ROLE_DENIED"),
                Agents => Some("NOT_AN_AGENT"),
                TokenHolders => None,
            };
            match (wanted, called) {
                (None, called) => {
                    assert_eq!(
                        called.map_err(|status| status.to_string()),
                        Ok(()),
                        "{rpc} by {role:?}"
                    );
                    let changed = world.log.state() != before;
                    assert_eq!(changed, row.changes, "{rpc} by {role:?}");
                }
                (Some(wanted), called) => {
                    let status = called.expect_err(rpc);
                    assert_eq!(
                        (status.code(), reason(&status).as_str()),
                        (Code::PermissionDenied, wanted),
                        "{rpc} by {role:?}: {status:?}"
                    );
                    assert!(world.log.state() == before, "{rpc} by {role:?}");
                    assert_eq!(world.log.proposed().len(), proposed, "{rpc} by {role:?}");
                }
            }
        }
    }
}
