//! The hand-written matrix of roles and rpcs, held against the roles and the rpcs there are, and against what is answered.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tonic::transport::Channel;
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
        let channel = channel_of(scene, role).await?;
        for (rpc, columns) in &of_people {
            // `-` stands for who has no role.
            let may = columns.contains(column.unwrap_or('-'));
            let answer = probe::call_over(channel.clone(), rpc).await?;
            let denied = answer == Answer::Denied("ROLE_DENIED".to_owned());
            // Who may sign what is decided of what was proposed, and nothing was.
            if denied == may && !rpc.ends_with("/Sign") {
                wrong.push(format!("{rpc} by {role}: {answer:?}"));
            }
        }
    }
    wrong.extend(hold_sign(scene, &everybody).await?);
    let missing = unlisted_rpcs * everybody.len() + unlisted_roles * of_people.len();
    Ok(Held {
        rpcs: of_people.len(),
        roles: everybody.len(),
        unlisted: missing,
        wrong,
    })
}

/// How the signing of what is proposed, with a seal that says nothing, is answered to each: by what is wrong with the seal to whoever
/// may sign it.
const SIGN: &[(&str, &str)] = &[
    ("admin", "SEAL_REFUSED"),
    ("approver", "SEAL_REFUSED"),
    ("author", "ROLE_DENIED"),
    ("operator", "ROLE_DENIED"),
    ("viewer", "ROLE_DENIED"),
    ("none", "ROLE_DENIED"),
];

/// Has everybody sign what is not proposed, and then what is. Gives what is answered otherwise than it should be.
async fn hold_sign(scene: &Scene, everybody: &[(&str, Option<char>)]) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for proposed in [false, true] {
        if proposed {
            propose(scene)?;
        }
        for (role, column) in everybody {
            let answer = probe::call_over(channel_of(scene, role).await?, RPC_SIGN).await?;
            let said = SIGN.iter().find(|(listed, _)| listed == role);
            let (_, said) = said.with_context(|| format!("{role} is not in the table of who may sign"))?;
            let wanted = match (proposed, column) {
                // There is no such proposal: whoever may look is told that.
                (false, Some(_)) => Answer::Answered,
                (false, None) => Answer::Denied("ROLE_DENIED".to_owned()),
                (true, _) => Answer::Denied((*said).to_owned()),
            };
            if answer != wanted {
                let what = if proposed { "what is proposed" } else { "nothing" };
                wrong.push(format!(
                    "{RPC_SIGN} of {what} by {role}: {answer:?}, not {wanted:?}"
                ));
            }
        }
    }
    let waiting = scene.rows(&["proposals"])?;
    ensure!(waiting.len() == 1, "the proposal is there still: {waiting:?}");
    Ok(wrong)
}

const RPC_SIGN: &str = "verger.policy.v1.ProposalService/Sign";

/// Makes the cluster one of four eyes, and proposes something that wants a second signature.
fn propose(scene: &Scene) -> Result<()> {
    let path = |name: &str| {
        let path = scene.path(name);
        path.into_os_string()
            .into_string()
            .ok()
            .context("the folder is text")
    };
    let (first, second, file) = (
        path("sealing-key.pem")?,
        path("second.pem")?,
        path("rotation.json")?,
    );
    let made = scene.say(&["keys", "generate", "--out", &second, "--output", "json"])?;
    let made: Value = serde_json::from_str(&made)?;
    let public = made["publicKey"].as_str().context("a key has a public half")?;
    let add = format!("second={public}");
    scene.say(&[
        "trust",
        "rotate",
        "--add",
        &add,
        "--threshold",
        "2",
        "--out",
        &file,
    ])?;
    let shown = scene.say(&["trust", "show", "--file", &file, "--output", "json"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let digest = shown["digest"].as_str().context("a change has a digest")?;
    for key in [&first, &second] {
        scene.say(&["trust", "sign", "--file", &file, "--key", key, "--digest", digest])?;
    }
    scene.say(&["trust", "submit", "--file", &file])?;
    let change = path("proposed.yaml")?;
    let host = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: later }\nspec: { agent: later }\n";
    std::fs::write(&change, host)?;
    scene.say(&["apply", "--file", &change, "--propose"])?;
    Ok(())
}

/// A connection of who was bound to a role.
async fn channel_of(scene: &Scene, role: &str) -> Result<Channel> {
    let context = scene.path(&format!("of-{role}.json"));
    let access = Access::with(&context, verger_seal::SealingKey::from_seed([9; 32]))?;
    access.channel().await
}

fn binding(name: &str, role: &str, person: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: RoleBinding\nmetadata: {{ name: {name} }}\nspec: {{ role: {role}, subjects: [ person/{person} ] }}\n"
    )
}
