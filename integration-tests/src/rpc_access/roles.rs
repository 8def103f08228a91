//! The hand-written matrix of roles and rpcs, held against the roles and the rpcs there are, and against what is answered.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use verger_policy::roles;

use super::matrix::{MATRIX, Who};
use super::probe::{self, Answer};
use crate::access::Access;
use crate::scene::Scene;

/// The column of each role.
const COLUMNS: &[(&str, char)] = &[
    ("admin", 'x'),
    ("approver", 'p'),
    ("author", 'a'),
    ("operator", 'o'),
    ("viewer", 'v'),
];

/// How it holds.
pub(super) struct Held {
    /// Rpcs of people.
    pub(super) rpcs: usize,
    /// Roles, and having none.
    pub(super) roles: usize,
    /// Pairs that the matrix says nothing of.
    pub(super) unlisted: usize,
    /// What is answered otherwise than the matrix says.
    pub(super) wrong: Vec<String>,
}

/// Binds a person to every built-in role, and has each call every rpc of people.
pub(super) async fn hold(scene: &Scene, rpcs: &[String]) -> Result<Held> {
    let listed: BTreeSet<&str> = MATRIX.iter().map(|(rpc, _)| *rpc).collect();
    let unlisted_rpcs = rpcs.iter().filter(|rpc| !listed.contains(rpc.as_str())).count();
    let columns: BTreeSet<&str> = COLUMNS.iter().map(|(role, _)| *role).collect();
    let unlisted_roles = roles::ALL
        .iter()
        .filter(|role| !columns.contains(role.name))
        .count();
    let of_people: Vec<(&str, &str)> = MATRIX
        .iter()
        .filter_map(|(rpc, who)| match who {
            Who::Roles(columns) => Some((*rpc, *columns)),
            Who::Agents | Who::TokenHolders => None,
        })
        .collect();
    let everybody = COLUMNS.iter().map(|(role, column)| (*role, Some(*column)));
    let everybody: Vec<_> = everybody.chain([("none", None)]).collect();

    // Whoever founded the cluster stays an admin.
    let mut policy = binding("admins", "admin", "you");
    for (role, column) in &everybody {
        let context = scene.path(&format!("of-{role}.json"));
        let context = context.to_str().context("the scene's folder is text")?;
        scene.say(&[
            "context",
            "create",
            "--person",
            &format!("of-{role}"),
            "--out",
            context,
        ])?;
        if column.is_some() {
            write!(
                policy,
                "---\n{}",
                binding(&format!("{role}-1"), role, &format!("of-{role}"))
            )?;
        }
    }
    scene.apply(&policy)?;

    let mut wrong = Vec::new();
    for (role, column) in &everybody {
        let access = Access::with(
            &scene.path(&format!("of-{role}.json")),
            verger_seal::SealingKey::from_seed([9; 32]),
        )?;
        let channel = access.channel().await?;
        for (rpc, columns) in &of_people {
            // `-` stands for who has no role.
            let may = columns.contains(column.unwrap_or('-'));
            let answer = probe::call_over(channel.clone(), rpc).await?;
            let denied = answer == Answer::Denied("ROLE_DENIED".to_owned());
            // Who may sign what is decided of what was proposed, and nothing was: to who may look that is all that is said.
            let nothing_to_sign = rpc.ends_with("/Sign") && column.is_some() && answer.is_let_in();
            if denied == may && !nothing_to_sign {
                wrong.push(format!("{rpc} by {role}: {answer:?}"));
            }
        }
    }
    let missing = unlisted_rpcs * everybody.len() + unlisted_roles * of_people.len();
    Ok(Held {
        rpcs: of_people.len(),
        roles: everybody.len(),
        unlisted: missing,
        wrong,
    })
}

fn binding(name: &str, role: &str, person: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: RoleBinding\nmetadata: {{ name: {name} }}\nspec: {{ role: {role}, subjects: [ person/{person} ] }}\n"
    )
}
