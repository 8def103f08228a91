//! `hosts`: the machines with an agent.

mod decide;

use std::path::Path;

use serde_json::{Value, json};
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;

use super::instances::{hex, moment};
use crate::args::{Format, StaleArgs};
use crate::connect::Session;
use crate::exit::Exit;
use crate::output::{Column, Sheet, emit, for_people, print};

pub(super) use decide::decide;

const COLUMNS: &[Column] = &[
    Column::new("HOST"),
    Column::new("STATE"),
    Column::new("EPOCH"),
    Column::new("INSTANCES"),
    Column::new("LAST SEEN"),
    Column::new("LABELS"),
    Column::wide("FINDINGS"),
    Column::wide("VERSION"),
    Column::wide("ENROLLED"),
    Column::wide("ROOT"),
];

/// How many rows are asked for at once.
const PAGE: u32 = 1_000;

pub(super) async fn hosts(
    agent: Option<String>,
    stale: StaleArgs,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?.stale_ok(stale);
    match agent {
        Some(agent_id) => {
            let answer = session
                .ask(pb::GetHostRequest { agent_id }, async |session, request| {
                    session.cluster().get_host(request).await
                })
                .await?
                .into_inner();
            let host = answer.host.unwrap_or_default();
            let mut sheet = Sheet::one(COLUMNS);
            push(&mut sheet, &host);
            print(&sheet, format)?;
            if for_people(format) {
                emit(&particulars(&host))?;
            }
        }
        None => {
            let mut sheet = Sheet::list(
                COLUMNS,
                "no host has joined; make a token with `verger token create --agent NAME`",
            );
            for host in all(&session).await? {
                push(&mut sheet, &host);
            }
            print(&sheet, format)?;
        }
    }
    Ok(Exit::Clean)
}

/// Every host.
pub(super) async fn all(session: &Session) -> anyhow::Result<Vec<pb::Host>> {
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListHostsRequest {
            page_size: PAGE,
            page_token,
        };
        let pb::ListHostsResponse {
            hosts,
            next_page_token,
        } = session
            .ask(request, async |session, request| {
                session.cluster().list_hosts(request).await
            })
            .await?
            .into_inner();
        found.extend(hosts);
        if next_page_token.is_empty() {
            return Ok(found);
        }
        page_token = next_page_token;
    }
}

fn state(host: &pb::Host) -> &'static str {
    match host {
        _ if host.standing() == pb::Standing::Banned => "banned",
        _ if is_waiting(host) => "waiting",
        _ if host.standing() == pb::Standing::Evicted => "evicted",
        pb::Host { last_seen: None, .. } => "never seen",
        pb::Host { connected: false, .. } => "away",
        pb::Host { refusal, .. } if !refusal.is_empty() => "refuses",
        pb::Host { unreadable, .. } if !unreadable.is_empty() => "blind",
        _ => "connected",
    }
}

/// Whether somebody waits under this id, and can be let in.
fn is_waiting(host: &pb::Host) -> bool {
    let may_be = matches!(host.standing(), pb::Standing::Waiting | pb::Standing::Evicted);
    may_be && !host.waiting.is_empty()
}

/// The word for what a host may; empty where the controller does not say.
fn standing(host: &pb::Host) -> &'static str {
    match host.standing() {
        pb::Standing::Unspecified => "",
        pb::Standing::Enrolled => "enrolled",
        pb::Standing::Waiting => "waiting",
        pb::Standing::Evicted => "evicted",
        pb::Standing::Banned => "banned",
    }
}

/// As a person reads it: of a host that is away, since when.
fn told(host: &pb::Host) -> String {
    match (state(host), moment(host.last_seen)) {
        ("waiting", _) => "waits for approval".to_owned(),
        ("away", Some(since)) => format!("away since {since}"),
        (state, _) => state.to_owned(),
    }
}

/// Why nothing that was said of a runtime's instances counts any more; none where it does.
pub(super) fn silence(host: Option<&pb::Host>, runtime: &str) -> Option<String> {
    let Some(host) = host else {
        return Some("host not known".to_owned());
    };
    if matches!(host.standing(), pb::Standing::Evicted | pb::Standing::Banned) {
        return Some(format!("host {}", standing(host)));
    }
    if !host.connected {
        return Some(match moment(host.last_seen) {
            Some(since) => format!("host away since {since}"),
            None => "host not seen by this controller".to_owned(),
        });
    }
    host.unreadable
        .get(runtime)
        .map(|why| format!("runtime unreadable: {why}"))
}

/// How many transitions of findings have arrived, of how many made.
fn findings(host: &pb::Host) -> String {
    let (received, made) = (host.findings_received, host.findings_made);
    // Of a host that is away, what it has made meanwhile is not known.
    if made > received {
        format!("{received} of {made}")
    } else {
        received.to_string()
    }
}

fn push(sheet: &mut Sheet, host: &pb::Host) {
    let mut labels: Vec<String> = host
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.sort();
    let cells = vec![
        host.agent_id.clone(),
        told(host),
        host.epoch.to_string(),
        host.instances.to_string(),
        moment(host.last_seen).unwrap_or_else(|| "-".to_owned()),
        labels.join(","),
        findings(host),
        host.agent_version.clone(),
        moment(host.enrolled).unwrap_or_else(|| "-".to_owned()),
        hex(&host.root),
    ];
    let pb::Host {
        agent_id,
        enrolled,
        last_seen,
        connected,
        epoch,
        root,
        agent_version,
        instances,
        refusal,
        labels,
        controls,
        unreadable,
        findings_received,
        findings_made,
        standing: _,
        standing_by,
        standing_since,
        standing_reason,
        key,
        waiting,
    } = host;
    let waiting: Vec<Value> = waiting
        .iter()
        .map(|pb::WaitingHost { key, since }| json!({ "key": hex(key), "since": moment(*since) }))
        .collect();
    let controls: Vec<Value> = controls
        .iter()
        .map(
            |pb::ControlStatus {
                 control,
                 effective,
                 unsupported,
             }| {
                json!({ "control": control, "effective": effective, "unsupported": unsupported })
            },
        )
        .collect();
    let object = json!({
        "agent": agent_id,
        "state": state(host),
        "enrolled": moment(*enrolled),
        "lastSeen": moment(*last_seen),
        "connected": connected,
        "awaySince": if *connected { None } else { moment(*last_seen) },
        "epoch": epoch,
        "root": hex(root),
        "version": agent_version,
        "instances": instances,
        "refusal": refusal,
        "labels": labels,
        "controls": controls,
        "unreadable": unreadable,
        "findingsReceived": findings_received,
        "findingsMade": findings_made,
        "standing": standing(host),
        "standingBy": standing_by,
        "standingSince": moment(*standing_since),
        "standingReason": standing_reason,
        "key": hex(key),
        "waiting": waiting,
    });
    sheet.push(agent_id.clone(), cells, object);
}

/// What does not fit in a row: what was decided, who waits, refusals, controls, runtimes that cannot be read.
fn particulars(host: &pb::Host) -> String {
    let mut text = String::new();
    if !host.standing_by.is_empty() {
        let since = moment(host.standing_since).unwrap_or_default();
        let reason = match &*host.standing_reason {
            "" => String::new(),
            reason => format!(": {}", printable(reason)),
        };
        text.push_str(&format!(
            "\n{} by {} at {since}{reason}\n",
            standing(host),
            printable(&host.standing_by)
        ));
    }
    for pb::WaitingHost { key, since } in host.waiting.iter().filter(|_| is_waiting(host)) {
        let (key, since) = (hex(key), moment(*since).unwrap_or_default());
        text.push_str(&format!(
            "\nwaits since {since} with the key {key}\nif that is what the host shows: verger hosts {} --approve --key {key}\n",
            printable(&host.agent_id)
        ));
    }
    if !host.refusal.is_empty() {
        text.push_str(&format!(
            "\nrefused the last policy set: {}\n",
            printable(&host.refusal)
        ));
    }
    for (runtime, why) in &host.unreadable {
        text.push_str(&format!(
            "\ncannot read {}: {}\n",
            printable(runtime),
            printable(why)
        ));
    }
    for pb::ControlStatus {
        control,
        effective,
        unsupported,
    } in &host.controls
    {
        let effective = if effective.is_empty() {
            "not supported"
        } else {
            effective
        };
        text.push_str(&format!(
            "\ncontrol {}: {}",
            printable(control),
            printable(effective)
        ));
        if !unsupported.is_empty() {
            text.push_str(&format!(" ({})", printable(unsupported)));
        }
        text.push('\n');
    }
    text
}
