//! `version`: of this program, and of the cluster where there is one.

use std::path::Path;

use serde_json::{Value, json};
use verger_proto::cluster::v1 as pb;

use crate::args::Format;
use crate::connect::Session;
use crate::context;
use crate::exit::{Exit, report};
use crate::output::{Column, Sheet, print};

const COLUMNS: &[Column] = &[
    Column::new("CLIENT"),
    Column::new("CONTROLLER"),
    Column::wide("MEMBER"),
    Column::wide("EPOCH"),
    Column::wide("CLUSTER"),
    Column::wide("ROLES"),
];

pub(super) async fn version(named: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let client = env!("CARGO_PKG_VERSION");
    // Without a context there is no cluster to ask; one that was named must be there.
    let is_named = named.is_some() || context::named_by("VERGER_CONTEXT").is_some();
    let asks = is_named || context::place(None).is_ok_and(|place| place.exists());
    let (status, exit) = if asks {
        match ask(named).await {
            Ok(status) => (Some(status), Exit::Clean),
            Err(error) => (None, report(&error)),
        }
    } else {
        (None, Exit::Clean)
    };
    let mut sheet = Sheet::one(COLUMNS);
    let controller = status.map_or(Value::Null, |status| {
        json!({ "version": status.version, "member": status.member_id, "epoch": status.epoch, "clusterId": status.cluster_id, "rolesInForce": status.roles_in_force })
    });
    let word = |field: &str| match &controller[field] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let roles = match &controller["rolesInForce"] {
        Value::Bool(true) => "in force",
        Value::Bool(false) => "none bound: every local login may do everything",
        _ => "-",
    };
    let cells = vec![
        client.to_owned(),
        word("version"),
        word("member"),
        word("epoch"),
        word("clusterId"),
        roles.to_owned(),
    ];
    sheet.push(
        client,
        cells,
        json!({ "client": { "version": client }, "controller": controller }),
    );
    print(&sheet, format)?;
    Ok(exit)
}

async fn ask(named: Option<&Path>) -> anyhow::Result<pb::GetStatusResponse> {
    let session = Session::open(named).await?;
    Ok(session
        .ask(pb::GetStatusRequest {}, async |session, request| {
            session.cluster().get_status(request).await
        })
        .await?
        .into_inner())
}
