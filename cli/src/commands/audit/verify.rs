//! `audit verify`: whether anything was done to rows, without taking a controller's word.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;
use verger_policy::model::printable;
use verger_seal::{ChainCheck, ChainHead, KeptHead, Verified};

use super::lines::{LINE_BYTES, NotWhole, Reading};
use super::signed::SignedHead;
use super::{head, walk};
use crate::args::Format;
use crate::connect::Session;
use crate::context::{self, Context};
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people};

pub(super) async fn verify(
    file: Option<PathBuf>,
    head: Option<String>,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let kept = head.map(|head| kept(&head, context)).transpose()?;
    let (verified, signed) = match file {
        Some(file) => (read(&file, kept)?, None),
        None => ask(&Session::open(context).await?, kept).await?,
    };
    if for_people(format) {
        emit(&told(&verified, signed.as_ref()))?;
    } else if format == Format::Name {
        emit(&format!("{}\n", verified.head))?;
    } else {
        emit(&document(&object(&verified, signed.as_ref()), format)?)?;
    }
    Ok(match verified.kept {
        KeptHead::None | KeptHead::Met => Exit::Clean,
        KeptHead::Dropped => Exit::NotEvaluated,
    })
}

/// A head that was kept: as it was printed, or in a file, signed.
fn kept(text: &str, context: Option<&Path>) -> anyhow::Result<ChainHead> {
    match text.parse() {
        Ok(head) => Ok(head),
        Err(_) if Path::new(text).exists() => {
            // Whose members may sign it, the context says.
            let cluster = Context::load(&context::place(context)?)?.cluster();
            Ok(SignedHead::read(Path::new(text), cluster)?.head)
        }
        Err(error) => Err(Failure::input(format!(
            "--head: {error}, or name a file of `verger audit head --out`"
        ))
        .into()),
    }
}

/// Compares with the head that was kept, and with what the members have signed; returns the latter, too.
async fn ask(session: &Session, kept: Option<ChainHead>) -> anyhow::Result<(Verified, Option<SignedHead>)> {
    const WHAT: &str = "the cluster's audit is not whole";
    const SIGNED: &str = "the cluster's audit is not what a majority of its members signed";
    let signed = head(session).await?.signed;
    let mut check = ChainCheck::begin(kept);
    let mut by_members = signed.as_ref().map(|signed| ChainCheck::begin(Some(signed.head)));
    let under = walk(session, |row| {
        if let Some(check) = &mut by_members {
            check.take(row.link()).context(SIGNED)?;
        }
        check.take(row.link()).context(WHAT)
    })
    .await?;
    if let Some(check) = by_members {
        check.finish(under.head, under.dropped).context(SIGNED)?;
    }
    let verified = check.finish(under.head, under.dropped).context(WHAT)?;
    Ok((verified, signed))
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

fn told(verified: &Verified, signed: Option<&SignedHead>) -> String {
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
    if let Some(SignedHead { head, at, by, .. }) = signed {
        text.push_str(&format!(
            "A majority of the members ({}) signed at {at} that the head was {head}, and so it was\n",
            printable(&by.join(", "))
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

fn object(verified: &Verified, signed: Option<&SignedHead>) -> serde_json::Value {
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
        "signed": signed.map(SignedHead::object),
    })
}
