//! `cluster snapshot`: keeping everything that the cluster holds, and what to do with that.

mod contents;
#[cfg(test)]
mod fuzz;
mod restore;
mod save;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::json;

use crate::args::{Format, SnapshotCommand};
use crate::exit::Exit;
use crate::output::{Column, Sheet, print};

use contents::Contents;

const COLUMNS: &[Column] = &[
    Column::new("CLUSTER"),
    Column::new("AS OF"),
    Column::new("EPOCH"),
    Column::new("OBJECTS"),
    Column::new("HOSTS"),
    Column::new("LOGINS"),
    Column::new("FINDINGS"),
    Column::new("AUDIT"),
    Column::new("BYTES"),
    Column::wide("MEMBERS"),
    Column::wide("TRUST ROOT"),
    Column::wide("ENTRY"),
    Column::wide("TERM"),
    Column::wide("FORMAT"),
    Column::wide("DIGEST"),
];

pub(super) async fn snapshot(
    command: SnapshotCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    match command {
        SnapshotCommand::Save { file, force } => save::save(context, &file, force, format).await,
        SnapshotCommand::Inspect { file } => inspect(&file, format),
        SnapshotCommand::Restore { file, roots } => restore::restore(&file, roots.as_deref(), format),
    }
}

fn inspect(file: &Path, format: Format) -> anyhow::Result<Exit> {
    show(&contents::read(file)?, format)?;
    Ok(Exit::Clean)
}

fn show(contents: &Contents, format: Format) -> anyhow::Result<()> {
    let Contents {
        size,
        digest,
        format: version,
        index,
        term,
        members,
        cluster,
        trust_root,
        epoch,
        time,
        objects,
        hosts,
        logins,
        findings,
        audit,
        restored,
    } = contents;
    let mut sheet = Sheet::one(COLUMNS);
    let cells = vec![
        cluster.clone(),
        time.to_string(),
        epoch.to_string(),
        objects.to_string(),
        hosts.to_string(),
        logins.to_string(),
        findings.to_string(),
        audit.to_string(),
        size.to_string(),
        members.join(", "),
        trust_root.to_string(),
        index.to_string(),
        term.to_string(),
        version.to_string(),
        digest.to_string(),
    ];
    let object = json!({
        "clusterId": cluster,
        "asOf": time.to_string(),
        "epoch": epoch,
        "trustRootVersion": trust_root,
        "objects": objects,
        "hosts": hosts,
        "logins": logins,
        "findings": findings,
        "auditRows": audit,
        "members": members,
        "index": index,
        "term": term,
        "format": version,
        "size": size,
        "digest": digest.to_string(),
        "restoredFrom": restored.map(|digest| digest.to_string()),
    });
    sheet.push(digest.to_string(), cells, object);
    print(&sheet, format)
}
