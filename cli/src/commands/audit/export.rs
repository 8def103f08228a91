//! `audit export`: every row and the head, in a file of its own.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use verger_seal::ChainCheck;

use super::{Head, lines, walk};
use crate::args::Format;
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people};

pub(super) async fn export(session: &Session, out: &Path, format: Format) -> anyhow::Result<Exit> {
    let name = out.display().to_string();
    let file = create(out)?;
    let written = write(session, file).await;
    if written.is_err() {
        // What is not whole must not be taken for an export.
        let _ = std::fs::remove_file(out);
    }
    let (head, check) = written.with_context(|| format!("{name}: nothing was exported"))?;
    // The file stays: it shows what the cluster said.
    let verified = check.with_context(|| format!("{name} was written, and the audit is not whole"))?;
    if for_people(format) {
        let rows = verified.head.count.saturating_sub(verified.dropped);
        emit(&format!("{rows} rows written to {name}\nHead: {head}\n"))?;
    } else if format == Format::Name {
        emit(&format!("{head}\n"))?;
    } else {
        let object = json!({ "file": name, "head": head.to_string(), "dropped": verified.dropped });
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

fn create(out: &Path) -> anyhow::Result<File> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out);
    let name = out.display();
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::input(format!(
            "{name} is there already: move it away, or name another file"
        ))
        .into(),
        _ => anyhow::Error::from(error).context(format!("{name} cannot be made")),
    })
}

type Checked = Result<verger_seal::Verified, verger_seal::BrokenChain>;

async fn write(session: &Session, file: File) -> anyhow::Result<(verger_seal::ChainHead, Checked)> {
    let mut file = BufWriter::new(file);
    file.write_all(lines::begin()?.as_bytes())?;
    let (mut check, mut broken) = (ChainCheck::begin(None), None);
    let Head { head, dropped, .. } = walk(session, |row| {
        if broken.is_none() {
            broken = check.take(row.link()).err();
        }
        Ok(file.write_all(lines::row(&row)?.as_bytes())?)
    })
    .await?;
    file.write_all(lines::end(head, dropped)?.as_bytes())?;
    file.into_inner()?.sync_all()?;
    let checked = broken.map_or_else(|| check.finish(head, dropped), Err);
    Ok((head, checked))
}
