//! Who is let in by a controller that runs, over its real doors: every rpc there is, by every kind of caller that has no right to it.

mod callers;
#[path = "../../../controller/api/tests/it/access/matrix.rs"]
mod matrix;
mod probe;
mod roles;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use prost::Message as _;
use serde_json::{Value, json};

use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{Scene, free_port};

use callers::Callers;

/// Services that listen beside those of the protos. Whoever has no certificate of this cluster does not get that far.
const BESIDE: &[&str] = &[
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// What is served to members alone, at a door of their own.
const BETWEEN_MEMBERS: &str = "verger.peer.v1.";

/// Makes every call. There is one form.
///
/// # Errors
/// When the scene does not work. What was answered otherwise than it should be is in the verdict.
pub fn run(_: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let peers = format!("127.0.0.1:{}", free_port()?);
    let scene = Scene::without_agent(&Programs::find()?, &format!("peer_listen = \"{peers}\"\n"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(show(&scene, peers))
}

async fn show(scene: &Scene, peers: String) -> Result<Verdict> {
    let rpcs = rpcs()?;
    ensure!(!rpcs.is_empty(), "the protos name no rpc");
    let callers = Callers::new(scene, peers).await?;
    let mut wrong = Vec::new();

    // That a right lets in what is refused below.
    let mut let_in = 0;
    for rpc in &rpcs {
        for (who, answer) in callers.with_a_right(rpc).await? {
            if answer.is_let_in() {
                let_in += 1;
            } else {
                wrong.push(format!("{rpc} by {who}: {answer:?}"));
            }
        }
    }

    // A member speaks for itself alone.
    let [as_another, as_itself] = callers.as_another_and_itself().await?;
    if as_another || !as_itself {
        wrong.push(format!(
            "a member that speaks for another is let in: {as_another}, and for itself: {as_itself}"
        ));
    }

    let before = effects(scene)?;
    let (mut made, mut refused) = (0, 0);
    let mut kinds = BTreeSet::new();
    let beside: Vec<String> = BESIDE.iter().map(|rpc| (*rpc).to_owned()).collect();
    for rpc in rpcs.iter().chain(&beside) {
        for caller in callers.without_a_right(rpc) {
            let answer = caller.call(rpc).await?;
            kinds.insert(caller.who);
            made += 1;
            if caller.wanted == answer {
                refused += 1;
            } else {
                wrong.push(format!(
                    "{rpc} by {}: {answer:?}, not {:?}",
                    caller.who, caller.wanted
                ));
            }
        }
    }
    let after = effects(scene)?;
    let only = |these: &[Value], those: &[Value]| -> Vec<Value> {
        let only = these.iter().filter(|row| !those.contains(row));
        only.cloned().collect()
    };
    let (gone, made_anew) = (only(&before, &after), only(&after, &before));
    ensure!(
        gone.is_empty() && made_anew.is_empty(),
        "a call that was refused had an effect: {} became {}",
        json!(gone),
        json!(made_anew)
    );
    tell(&format!("{refused} calls refused, {let_in} let in"));

    // What members say to each other no role gives to anybody.
    let of_roles: Vec<String> = rpcs
        .iter()
        .filter(|rpc| !rpc.starts_with(BETWEEN_MEMBERS))
        .cloned()
        .collect();
    let matrix = roles::hold(scene, &of_roles).await?;
    wrong.extend(matrix.wrong);
    for sentence in &wrong {
        tell(&format!("WRONG: {sentence}"));
    }
    Ok(Verdict {
        figure: format!(
            "{} wrong: {} RPCs, {refused} of {made} calls by {} kinds of callers without a right refused, none with an effect, \
             {let_in} by those with one let in; role matrix: {} RPCs of people x {} roles (with none for one), {} unlisted",
            wrong.len(),
            rpcs.len(),
            kinds.len(),
            matrix.rpcs,
            matrix.roles,
            matrix.unlisted
        ),
        holds: wrong.is_empty() && matrix.unlisted == 0,
    })
}

/// Every rpc of every service that the protos have: `verger.policy.v1.PolicyService/Apply`.
fn rpcs() -> Result<Vec<String>> {
    let set = prost_types::FileDescriptorSet::decode(verger_proto::DESCRIPTORS)?;
    let mut rpcs = Vec::new();
    for file in &set.file {
        for service in &file.service {
            let path = format!("{}.{}", file.package(), service.name());
            rpcs.extend(
                service
                    .method
                    .iter()
                    .map(|method| format!("{path}/{}", method.name())),
            );
        }
    }
    rpcs.sort();
    Ok(rpcs)
}

/// What calls can have done: every row of the audit but those that count refused calls, and those of controllers about themselves.
fn effects(scene: &Scene) -> Result<Vec<Value>> {
    let mut rows = scene.rows(&["audit", "list", "--last", "0"])?;
    rows.retain(|row| {
        let by_controller = row["actor"]
            .as_str()
            .is_some_and(|actor| actor.starts_with("controller/"));
        row["action"] != "denied" && !by_controller
    });
    // When a host was last heard of is no effect of who is refused.
    let decided = |host: Value| {
        json!([
            host["agent"],
            host["standing"],
            host["key"],
            host["waiting"],
            host["enrolled"]
        ])
    };
    rows.extend(scene.rows(&["hosts"])?.into_iter().map(decided));
    rows.extend(scene.rows(&["list"])?);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::callers::Wanted;
    use super::probe::Answer;
    use super::*;

    #[test]
    fn every_rpc_is_found_once() {
        let rpcs = rpcs().unwrap();
        let once: BTreeSet<&String> = rpcs.iter().collect();
        assert_eq!(once.len(), rpcs.len());
        assert!(rpcs.contains(&"verger.agent.v1.EnrolmentService/Enrol".to_owned()));
    }

    #[test]
    fn only_what_passes_the_door_is_let_in() {
        let denied = Answer::Denied("NOT_A_PERSON".to_owned());
        assert!(Answer::Answered.is_let_in());
        for answer in [denied, Answer::NoHandshake, Answer::NotServed] {
            assert!(!answer.is_let_in());
        }
        assert_ne!(Wanted::Denied("ROLE_DENIED"), Answer::Answered);
        assert_ne!(
            Wanted::Denied("ROLE_DENIED"),
            Answer::Denied("NOT_A_PERSON".to_owned())
        );
    }
}
