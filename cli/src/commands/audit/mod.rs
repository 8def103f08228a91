//! `audit`: what was done, by whom, from where, and what was refused; and whether anybody bent the record of it.
//!
//! What is shown and checked is read here from the bytes that the chain is over, never taken from what a controller says of them.

pub(in crate::commands) mod check;
mod export;
mod filter;
#[cfg(test)]
mod fuzz;
mod head;
mod lines;
pub(in crate::commands) mod row;
mod signed;
#[cfg(test)]
mod tests;
mod verify;
mod watch;

use std::path::Path;

use verger_proto::cluster::v1 as pb;
use verger_seal::ChainHead;
use verger_wire::digest;

use crate::args::{AuditCommand, Format};
use crate::connect::Session;
use crate::exit::Exit;
use crate::output::{Sheet, print};
use crate::sealed::distrust;
use row::Row;
use signed::SignedHead;

/// How many rows are asked for at once.
const PAGE: u32 = 1_000;
/// How often is begun again when rows are dropped meanwhile.
const ATTEMPTS: u32 = 3;

pub(super) async fn audit(
    command: AuditCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    match command {
        AuditCommand::List { filter, last } => {
            let filter = filter::parse(filter)?;
            list(&Session::open(context).await?, filter, last, format).await
        }
        AuditCommand::Watch { filter, after } => {
            let filter = filter::parse(filter)?;
            watch::watch(Session::open(context).await?, filter, after, format).await
        }
        AuditCommand::Head { out } => {
            head::head(&Session::open(context).await?, out.as_deref(), format).await
        }
        AuditCommand::Export { out } => export::export(&Session::open(context).await?, &out, format).await,
        AuditCommand::Verify { file, head } => verify::verify(file, head, context, format).await,
    }
}

/// What the audit says of itself.
struct Head {
    /// Over every row there ever was.
    head: ChainHead,
    /// How many of the oldest rows are dropped.
    dropped: u64,
    /// What members signed of it, a little before.
    signed: Option<SignedHead>,
}

async fn said(session: &Session) -> anyhow::Result<Head> {
    let pb::HeadResponse {
        written,
        dropped,
        head,
        stamp,
        trust_roots,
    } = session
        .ask(pb::HeadRequest {}, async |session, request| {
            session.audit().head(request).await
        })
        .await?
        .into_inner();
    let head = ChainHead {
        count: written,
        digest: digest("head", &head)?,
    };
    let signed = SignedHead::of_wire(trust_roots, stamp, session.context().cluster()).map_err(|refusal| {
        distrust(&format!(
            "what it says that its members signed of the audit: {refusal}"
        ))
    })?;
    Ok(Head {
        head,
        dropped,
        signed,
    })
}

async fn page(session: &Session, request: pb::ListRequest) -> anyhow::Result<(Vec<Row>, String)> {
    let pb::ListResponse {
        rows,
        next_page_token,
    } = session
        .ask(request, async |session, request| {
            session.audit().list(request).await
        })
        .await?
        .into_inner();
    let rows = rows.into_iter().map(Row::from_wire).collect::<Result<_, _>>()?;
    Ok((rows, next_page_token))
}

/// Visits every row under a head, oldest first; returns what the audit said of itself before.
async fn walk(session: &Session, mut visit: impl FnMut(Row) -> anyhow::Result<()>) -> anyhow::Result<Head> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let under = said(session).await?;
        let mut request = pb::ListRequest {
            page_size: PAGE,
            ..Default::default()
        };
        let (mut first, mut reached) = (true, 0);
        loop {
            let (rows, next) = page(session, request.clone()).await?;
            // Or there would be no end of it.
            let end = rows.last().map_or(reached, |row| row.number);
            if !next.is_empty() && end <= reached {
                let what =
                    format!("it says that there are rows behind row {reached} of its audit, and shows none");
                return Err(distrust(&what).into());
            }
            reached = end;
            if let Some(row) = rows.first().filter(|_| first) {
                first = false;
                // Old rows were dropped since the head was asked for.
                if row.number > under.dropped.saturating_add(1) && attempt < ATTEMPTS {
                    break;
                }
            }
            let behind = rows.last().is_some_and(|row| row.number >= under.head.count);
            for row in rows.into_iter().filter(|row| row.number <= under.head.count) {
                visit(row)?;
            }
            if next.is_empty() || behind {
                return Ok(under);
            }
            request.page_token = next;
        }
    }
}

async fn list(
    session: &Session,
    filter: pb::AuditFilter,
    last: usize,
    format: Format,
) -> anyhow::Result<Exit> {
    let newest_first = last > 0;
    let mut request = pb::ListRequest {
        filter: Some(filter),
        page_size: if newest_first {
            PAGE.min(u32::try_from(last).unwrap_or(PAGE))
        } else {
            PAGE
        },
        page_token: String::new(),
        newest_first,
    };
    let mut found = Vec::new();
    loop {
        let (rows, next) = page(session, request.clone()).await?;
        found.extend(rows);
        if next.is_empty() || (newest_first && found.len() >= last) {
            break;
        }
        request.page_token = next;
    }
    if newest_first {
        found.truncate(last);
        found.reverse();
    }
    let mut sheet = Sheet::list(row::COLUMNS, "nothing is on record");
    for row in &found {
        row.push(&mut sheet);
    }
    print(&sheet, format)?;
    Ok(Exit::Clean)
}
