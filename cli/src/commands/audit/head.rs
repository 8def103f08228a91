//! `audit head`: what is to be kept where no controller can reach it.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use verger_proto::cluster::v1 as pb;
use verger_seal::Keepsake;

use super::row::Row;
use super::signed::SignedHead;
use super::{ATTEMPTS, Head, page, said};
use crate::args::Format;
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people, note};
use crate::sealed::distrust;

/// Why there is no signed head to be had.
const UNSIGNED: &str = "no majority of members has signed the head: the trust root names none (`verger trust rotate --add-member`), or they do not run";

pub(super) async fn head(session: &Session, out: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let (said, oldest) = standing(session).await?;
    let Head {
        head,
        dropped,
        signed,
    } = said;
    match (&signed, out) {
        (Some(signed), Some(out)) => signed.keep(out, dropped, oldest)?,
        (None, Some(_)) => return Err(Failure::input(UNSIGNED).into()),
        (None, None) => note(UNSIGNED),
        (Some(_), None) => {}
    }
    if dropped > 0 {
        note(&format!(
            "the first {dropped} rows are gone already, by the cluster: no head of this says who dropped those"
        ));
    }
    let keepsake = Keepsake::new(head, dropped, oldest);
    if for_people(format) || format == Format::Name {
        emit(&format!("{keepsake}\n"))?;
    } else {
        let object = json!({
            "keep": keepsake.to_string(),
            "head": head.to_string(),
            "written": head.count,
            "dropped": dropped,
            "oldest": keepsake.oldest(),
            "signed": signed.as_ref().map(SignedHead::object),
        });
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

/// What the audit says of itself, and of when the oldest row is that it shows: which must be the one after those that it says are
/// dropped, or rows that are shown to everybody could be said to be gone before they are taken out.
async fn standing(session: &Session) -> anyhow::Result<(Head, Option<Timestamp>)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let said = said(session).await?;
        let request = pb::ListRequest {
            page_size: 1,
            ..Default::default()
        };
        let (rows, _) = page(session, request).await?;
        let first = said.dropped.saturating_add(1);
        match rows.first() {
            Some(row) if row.number == first => return Ok((said, Some(row.entry.at))),
            // Nothing is written, or not where it can be read from.
            None if said.dropped == 0 => return Ok((said, None)),
            // Dropped since.
            Some(row) if row.number > first && attempt < ATTEMPTS => {}
            Some(Row { number, .. }) => {
                let dropped = said.dropped;
                let what = format!(
                    "it says that the first {dropped} rows are dropped, and the oldest it shows is row {number}"
                );
                return Err(distrust(&what).into());
            }
            None => {
                let what = format!(
                    "it says that the first {} rows are dropped, and shows none behind them",
                    said.dropped
                );
                return Err(distrust(&what).into());
            }
        }
    }
}
