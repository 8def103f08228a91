//! `instances`: what runs on the hosts, and what the agents say of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tonic::Code;
use verger_policy::model::Name;
use verger_proto::cluster::v1 as pb;
use verger_wire::instant;

use super::hosts;
use crate::args::{Format, InstancesArgs};
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, emit, for_people, print};

const COLUMNS: &[Column] = &[
    Column::new("HOST"),
    Column::new("NAME"),
    Column::new("ID"),
    Column::new("WORKLOAD"),
    Column::new("RESULT"),
    Column::new("IMAGE"),
    Column::wide("PASSED"),
    Column::wide("JUDGED"),
    Column::wide("EPOCH"),
    Column::wide("DIGEST"),
];

const CHECKS: &[Column] = &[
    Column::new("RESULT"),
    Column::new("RULE"),
    Column::new("FIELD"),
    Column::new("EXPECTED"),
    Column::new("ACTUAL"),
    Column::wide("REASON"),
];

/// How many rows are asked for at once.
const PAGE: u32 = 1_000;

pub(super) async fn instances(
    args: InstancesArgs,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let InstancesArgs {
        instance,
        host,
        workload,
        stale,
    } = args;
    if let Some(name) = workload.as_deref().filter(|name| *name != "-") {
        name.parse::<Name>()
            .map_err(|error| Failure::input(format!("--workload `{name}`: {error}")))?;
    }
    let session = Session::open(context).await?.stale_ok(stale);
    let agent_id = host.unwrap_or_default();
    if let Some(instance) = instance {
        let request = pb::GetInstanceRequest { agent_id, instance };
        let answer = session
            .ask(request, async |session, request| {
                session.cluster().get_instance(request).await
            })
            .await?
            .into_inner();
        let instance = answer.instance.unwrap_or_default();
        let hosts = hosts_of(&session, &instance.agent_id).await?;
        return one(&instance, silence_of(&hosts, &instance), format);
    }
    let instances = list(&session, &agent_id, &workload.unwrap_or_default()).await?;
    // Asked for afterwards: a host that goes away between the two is one that is away.
    let hosts = match instances.is_empty() {
        true => BTreeMap::new(),
        false => hosts_of(&session, &agent_id).await?,
    };
    let mut sheet = Sheet::list(COLUMNS, "nothing runs that an agent knows of");
    let mut exit = Exit::Clean;
    for instance in &instances {
        let silence = silence_of(&hosts, instance);
        if silence.is_some() {
            exit = Exit::NotEvaluated;
        }
        push(&mut sheet, instance, silence, None);
    }
    print(&sheet, format)?;
    Ok(exit)
}

/// The host named, or every host.
async fn hosts_of(session: &Session, agent_id: &str) -> anyhow::Result<BTreeMap<String, pb::Host>> {
    let found = if agent_id.is_empty() {
        hosts::all(session).await?
    } else {
        let request = pb::GetHostRequest {
            agent_id: agent_id.to_owned(),
        };
        match session
            .ask(request, async |session, request| {
                session.cluster().get_host(request).await
            })
            .await
        {
            Ok(answer) => answer.into_inner().host.into_iter().collect(),
            Err(status) if status.code() == Code::NotFound => Vec::new(),
            Err(status) => return Err(status.into()),
        }
    };
    Ok(found
        .into_iter()
        .map(|host| (host.agent_id.clone(), host))
        .collect())
}

/// Why what was said of an instance no longer counts. Silence is no pass.
fn silence_of(hosts: &BTreeMap<String, pb::Host>, instance: &pb::Instance) -> Option<String> {
    hosts::silence(hosts.get(&instance.agent_id), &instance.runtime)
}

/// Everything that runs, as far as agents know.
pub(super) async fn all(session: &Session) -> anyhow::Result<Vec<pb::Instance>> {
    list(session, "", "").await
}

async fn list(session: &Session, agent_id: &str, workload: &str) -> anyhow::Result<Vec<pb::Instance>> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListInstancesRequest {
            agent_id: agent_id.to_owned(),
            workload: workload.to_owned(),
            page_size: PAGE,
            page_token,
        };
        let pb::ListInstancesResponse {
            instances,
            next_page_token,
        } = session
            .ask(request, async |session, request| {
                session.cluster().list_instances(request).await
            })
            .await?
            .into_inner();
        found.extend(instances);
        if next_page_token.is_empty() {
            return Ok(found);
        }
        page_token = next_page_token;
    }
}

fn one(instance: &pb::Instance, silence: Option<String>, format: Format) -> anyhow::Result<Exit> {
    let exit = match silence {
        Some(_) => Exit::NotEvaluated,
        None => Exit::Clean,
    };
    let checks = checks(&instance.checks_json);
    let mut sheet = Sheet::one(COLUMNS);
    push(&mut sheet, instance, silence, Some(&checks));
    print(&sheet, format)?;
    if for_people(format) {
        let mut table = Sheet::list(CHECKS, "every check passed, or does not apply");
        for check in &checks {
            let cell = |field: &str| check[field].as_str().unwrap_or("-").to_owned();
            let cells = ["result", "rule", "field", "expected", "actual", "reason"].map(cell);
            table.push("", cells.into(), Value::Null);
        }
        emit("\n")?;
        print(&table, format)?;
    }
    Ok(exit)
}

/// The checks of an answer: a list, or a document that holds one.
pub(super) fn checks(bytes: &[u8]) -> Vec<Value> {
    match verger_policy::json::parse(bytes) {
        Ok(Value::Array(checks)) => checks,
        Ok(Value::Object(mut document)) => match document.remove("checks") {
            Some(Value::Array(checks)) => checks,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn result(instance: &pb::Instance, silence: Option<&str>) -> String {
    let counts = [
        (instance.failed, "failed"),
        (instance.errors, "errors"),
        (instance.not_evaluated, "not evaluated"),
        (instance.excepted, "excepted"),
    ];
    let said: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if let Some(why) = silence {
        let before = match said.is_empty() {
            true => String::new(),
            false => format!("; before: {}", said.join(", ")),
        };
        return format!("not evaluated ({why}){before}");
    }
    match (said.is_empty(), instance.judged) {
        (_, None) => "not judged".to_owned(),
        (true, Some(_)) => "clean".to_owned(),
        (false, Some(_)) => said.join(", "),
    }
}

fn push(sheet: &mut Sheet, instance: &pb::Instance, silence: Option<String>, checks: Option<&[Value]>) {
    let result = result(instance, silence.as_deref());
    let pb::Instance {
        agent_id,
        runtime,
        id,
        name,
        image,
        image_name,
        workloads,
        entitled,
        passed,
        failed,
        excepted,
        not_evaluated,
        errors,
        judged,
        epoch,
        checks_json: _,
    } = instance;
    let claim = match workloads.as_slice() {
        [] => "-".to_owned(),
        [only] if *entitled => only.clone(),
        [only] => format!("{only} (by hints)"),
        several => format!("ambiguous: {}", several.join(",")),
    };
    let cells = vec![
        agent_id.clone(),
        name.clone(),
        id.chars().take(12).collect(),
        claim,
        result.clone(),
        if image_name.is_empty() {
            image.chars().take(19).collect()
        } else {
            image_name.clone()
        },
        passed.to_string(),
        moment(*judged).unwrap_or_else(|| "-".to_owned()),
        epoch.to_string(),
        image.clone(),
    ];
    let mut object = json!({
        "host": agent_id,
        "runtime": runtime,
        "id": id,
        "name": name,
        "state": result,
        // What follows was said before that.
        "silence": silence,
        "image": image,
        "imageName": image_name,
        "workloads": workloads,
        "entitled": entitled,
        "passed": passed,
        "failed": failed,
        "excepted": excepted,
        "notEvaluated": not_evaluated,
        "errors": errors,
        "judged": moment(*judged),
        "epoch": epoch,
    });
    if let Some(checks) = checks {
        object["checks"] = Value::from(checks);
    }
    sheet.push(id.clone(), cells, object);
}

/// An instant as text; none where there is none.
pub(super) fn moment(at: Option<prost_types::Timestamp>) -> Option<String> {
    at.and_then(|at| instant("at", at).ok()).map(|at| at.to_string())
}

/// A digest's bytes as text; empty where there are none.
pub(super) fn hex(bytes: &[u8]) -> String {
    verger_wire::digest("root", bytes)
        .map(|digest| digest.to_string())
        .unwrap_or_default()
}
