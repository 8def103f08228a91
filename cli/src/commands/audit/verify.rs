//! `audit verify`: whether anything was done to rows, without taking a controller's word.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use verger_policy::model::printable;
use verger_seal::{ChainHead, Keepsake, KeptHead, KeptRows, Verified};

use super::check::{Checked, Doubt, check};
use super::lines::{LINE_BYTES, NotWhole, Reading};
use super::signed::SignedHead;
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
    let under = kept.map(|kept| kept.head());
    let (checked, doubt) = match file {
        // What members sign of late is nothing to an export, which is of then.
        Some(file) => (read(&file, under)?, None),
        None => {
            let checked = check(&Session::open(context).await?, under, |_| {}).await?;
            let doubt = checked.doubt(Timestamp::now());
            (checked, doubt)
        }
    };
    let became = Became::of(&checked, kept.as_ref());
    if for_people(format) {
        emit(&told(&checked, kept.as_ref(), became, doubt))?;
    } else if format == Format::Name {
        emit(&format!("{}\n", checked.verified.head))?;
    } else {
        emit(&document(
            &object(&checked, kept.as_ref(), became, doubt),
            format,
        )?)?;
    }
    Ok(match (became, doubt) {
        (Became::TakenOut(_), _) => Exit::Violation,
        (Became::Shortened(_) | Became::NotCompared, _) => Exit::NotEvaluated,
        // A head that was kept vouches for the rows it is over, whatever members sign.
        (Became::AllHere, None | Some(Doubt::Unsigned | Doubt::Old(_))) => Exit::Clean,
        (Became::NoneKept | Became::AllHere, Some(_)) => Exit::NotEvaluated,
        (Became::NoneKept, None) => Exit::Clean,
    })
}

/// What became of the rows that the kept head is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    NoneKept,
    AllHere,
    /// So many are gone, and those that are here are the same.
    Shortened(u64),
    /// None of them is here, nor the one after them.
    NotCompared,
    /// So many are gone, and no bound has them dropped.
    TakenOut(u64),
}

impl Became {
    fn of(checked: &Checked, kept: Option<&Keepsake>) -> Self {
        let Some(kept) = kept else {
            return Self::NoneKept;
        };
        match (kept.rows(&checked.verified, checked.last), checked.verified.kept) {
            (KeptRows::TakenOut(rows), _) => Self::TakenOut(rows),
            (_, KeptHead::Dropped | KeptHead::None) => Self::NotCompared,
            (KeptRows::Gone(rows), KeptHead::Met) => Self::Shortened(rows),
            (KeptRows::AllHere, KeptHead::Met) => Self::AllHere,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::NoneKept => "none",
            Self::AllHere => "met",
            Self::Shortened(_) => "shortened",
            Self::NotCompared => "dropped",
            Self::TakenOut(_) => "takenOut",
        }
    }
}

/// A head that was kept: as it was printed, or in a file, signed.
fn kept(text: &str, context: Option<&Path>) -> anyhow::Result<Keepsake> {
    match text.parse() {
        Ok(head) => Ok(head),
        Err(_) if Path::new(text).exists() => {
            // Whose members may sign it, the context says.
            let cluster = Context::load(&context::place(context)?)?.cluster();
            SignedHead::read(Path::new(text), cluster)
        }
        Err(error) => Err(Failure::input(format!(
            "--head: {error}, or name a file of `verger audit head --out`"
        ))
        .into()),
    }
}

fn read(file: &Path, kept: Option<ChainHead>) -> anyhow::Result<Checked> {
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
    let last = reading.last();
    Ok(Checked {
        verified: reading.finish().map_err(|error| failure(&name, &error))?,
        last,
        signed: None,
        by_members: KeptHead::None,
    })
}

fn failure(name: &str, error: &NotWhole) -> Failure {
    let exit = match error {
        NotWhole::Beginning => Exit::BadInput,
        _ => Exit::Violation,
    };
    Failure::new(exit, format!("{name}: the audit is not whole: {error}"))
}

fn told(checked: &Checked, kept: Option<&Keepsake>, became: Became, doubt: Option<Doubt>) -> String {
    let Checked {
        verified,
        signed,
        by_members,
        last: _,
    } = checked;
    let Verified {
        head,
        dropped,
        unchained,
        kept: _,
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
        let by = by.join(", ");
        let by = printable(&by);
        text.push_str(&if *by_members == KeptHead::Dropped {
            format!("NOT COMPARED with what a majority of the members ({by}) signed at {at}: all it is over was dropped since\n")
        } else {
            format!("A majority of the members ({by}) signed at {at} that the head was {head}, and so it was\n")
        });
    }
    match doubt {
        Some(Doubt::Unsigned) => text.push_str(
            "NOT SURE: no majority of the members has signed where the audit stands: the trust root names none (`verger trust rotate \
             --add-member`), they do not run, or the controller withholds it. But for what a head you kept is over, rows may be made up, and \
             those at the end hidden\n",
        ),
        Some(Doubt::Old(at)) => text.push_str(&format!(
            "NOT SURE: members sign every minute, and no later than {at} here: rows that were written since may be hidden or made up, or the \
             members do not run\n"
        )),
        Some(Doubt::Dropped) | None => {}
    }
    text.push_str(&of_kept(kept, became));
    text
}

fn of_kept(kept: Option<&Keepsake>, became: Became) -> String {
    let mut text = match became {
        Became::AllHere => match kept.and_then(Keepsake::dropped) {
            Some(gone) if gone > 0 => format!(
                "The head you kept is of these rows: nothing was done to those it is over but to the first {gone}, which were gone when you kept it\n"
            ),
            _ => "The head you kept is of these rows: nothing was done to those it is over\n".to_owned(),
        },
        Became::NoneKept => {
            return "Compared with no head that was kept elsewhere: give --head, or all of it may have been made up\n"
                .to_owned();
        }
        Became::Shortened(rows) => format!(
            "NOT SURE: {rows} rows that the head you kept is over are gone since. They may have been dropped for their age (400 days) or \
             their number (a million are kept), or to hide them; an export of before shows them\n"
        ),
        Became::NotCompared => {
            "NOT COMPARED: every row that the head you kept is over was dropped since; keep a newer one\n"
                .to_owned()
        }
        Became::TakenOut(rows) => format!(
            "TAKEN OUT: {rows} rows that the head you kept is over are gone since, and no bound has them dropped: the oldest of them is of \
             {} or later, which is not 400 days before the last row, and fewer than a million rows are here\n",
            kept.and_then(Keepsake::oldest)
                .map_or_else(|| "-".to_owned(), |at: Timestamp| at.to_string())
        ),
    };
    if kept.is_some_and(|kept| kept.dropped().is_none()) && matches!(became, Became::Shortened(_)) {
        text.push_str(
            "The head you kept does not say how many were gone when you kept it: keep a new one (`verger audit head`)\n",
        );
    }
    text
}

fn object(
    checked: &Checked,
    kept: Option<&Keepsake>,
    became: Became,
    doubt: Option<Doubt>,
) -> serde_json::Value {
    let Checked {
        verified,
        signed,
        by_members,
        last: _,
    } = checked;
    let Verified {
        head,
        dropped,
        unchained,
        kept: _,
    } = verified;
    let gone = match became {
        Became::Shortened(rows) | Became::TakenOut(rows) => Some(rows),
        Became::AllHere => Some(0),
        Became::NoneKept | Became::NotCompared => None,
    };
    json!({
        "head": head.to_string(),
        "written": head.count,
        "dropped": dropped,
        "unchained": unchained,
        "keptHead": became.word(),
        "droppedWhenKept": kept.and_then(Keepsake::dropped),
        "goneSinceKept": gone,
        "signed": signed.as_ref().map(SignedHead::object),
        "signedIsCompared": signed.as_ref().map(|_| *by_members == KeptHead::Met),
        "doubt": doubt.map(Doubt::word),
    })
}
