//! `audit verify`: whether anything was done to rows, without taking a controller's word.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use verger_policy::model::printable;
use verger_seal::{ChainCheck, ChainHead, KeptHead, Verified};

use super::lines::{LINE_BYTES, NotWhole, Reading};
use super::walk;
use crate::args::Format;
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people};

pub(super) async fn verify(
    file: Option<PathBuf>,
    head: Option<String>,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let kept = head.map(|head| head.parse::<ChainHead>()).transpose();
    let kept = kept.map_err(|error| Failure::input(format!("--head: {error}")))?;
    let verified = match file {
        Some(file) => read(&file, kept)?,
        None => ask(&Session::open(context).await?, kept).await?,
    };
    if for_people(format) {
        emit(&told(&verified))?;
    } else if format == Format::Name {
        emit(&format!("{}\n", verified.head))?;
    } else {
        emit(&document(&object(&verified), format)?)?;
    }
    Ok(match verified.kept {
        KeptHead::None | KeptHead::Met => Exit::Clean,
        KeptHead::Dropped => Exit::NotEvaluated,
    })
}

async fn ask(session: &Session, kept: Option<ChainHead>) -> anyhow::Result<Verified> {
    const WHAT: &str = "the cluster's audit is not whole";
    let mut check = ChainCheck::begin(kept);
    let (head, dropped) = walk(session, |row| check.take(row.link()).context(WHAT)).await?;
    check.finish(head, dropped).context(WHAT)
}

fn read(file: &Path, kept: Option<ChainHead>) -> anyhow::Result<Verified> {
    let name = file.display().to_string();
    let name = printable(&name);
    let unreadable = |error| Failure::input(format!("{name}: cannot be read: {error}"));
    let mut source = BufReader::new(File::open(file).map_err(unreadable)?);
    let mut reading = Reading::begin(kept);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = LINE_BYTES as u64;
        let length = source.by_ref().take(limit).read_until(b'\n', &mut line);
        if length.map_err(unreadable)? == 0 {
            break;
        }
        reading.line(&line).map_err(|error| failure(&name, &error))?;
    }
    Ok(reading.finish().map_err(|error| failure(&name, &error))?)
}

fn failure(name: &str, error: &NotWhole) -> Failure {
    let exit = match error {
        NotWhole::Beginning => Exit::BadInput,
        _ => Exit::Violation,
    };
    Failure::new(exit, format!("{name}: the audit is not whole: {error}"))
}

fn told(verified: &Verified) -> String {
    let Verified {
        head,
        dropped,
        unchained,
        kept,
    } = verified;
    let mut text = format!(
        "Rows {} to {} follow from one another, and their head is {head}\n",
        dropped.saturating_add(1),
        head.count
    );
    if *dropped > 0 {
        text.push_str(&format!(
            "The first {dropped} rows are not here: the cluster keeps rows for 400 days, and a million at most\n"
        ));
    }
    if *unchained > 0 {
        text.push_str(&format!(
            "{unchained} of them are from before rows were chained: nothing vouches for those\n"
        ));
    }
    text.push_str(match kept {
        KeptHead::Met => "The head you kept is of these rows: nothing was done to those it is over\n",
        KeptHead::None => {
            "Compared with no head that was kept elsewhere: give --head, or all of it may have been made up\n"
        }
        KeptHead::Dropped => {
            "NOT COMPARED: every row that the head you kept is over was dropped since; keep a newer one\n"
        }
    });
    text
}

fn object(verified: &Verified) -> serde_json::Value {
    let Verified {
        head,
        dropped,
        unchained,
        kept,
    } = verified;
    let kept = match kept {
        KeptHead::Met => "met",
        KeptHead::None => "none",
        KeptHead::Dropped => "dropped",
    };
    json!({
        "head": head.to_string(),
        "written": head.count,
        "dropped": dropped,
        "unchained": unchained,
        "keptHead": kept,
    })
}
