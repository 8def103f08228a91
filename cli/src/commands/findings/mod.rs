//! `findings`: what the cluster knows to be wrong.

mod filter;
#[cfg(test)]
mod fuzz;
mod record;
mod tell;
mod verify;
mod watch;

use std::path::Path;

use verger_policy::finding::Finding;
use verger_proto::findings::v1 as pb;
use verger_wire::FromWire as _;

use crate::args::{FindingsCommand, Format, StaleArgs};
use crate::connect::{Session, call, request_id};
use crate::exit::Exit;
use crate::output::{Sheet, emit, for_people, print};

/// How many findings are asked for at once.
const PAGE: u32 = 1_000;

pub(super) async fn findings(
    command: FindingsCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    match command {
        FindingsCommand::List { filter: args, stale } => {
            let filter = filter::parse(args, filter::UNRESOLVED)?;
            list(filter, stale, context, format).await
        }
        FindingsCommand::Watch {
            filter: args,
            after,
            only_new,
        } => {
            let filter = filter::parse(args, &[])?;
            watch::watch(Session::open(context).await?, filter, after, only_new, format).await
        }
        FindingsCommand::Show { uid, stale } => {
            let session = Session::open(context).await?.stale_ok(stale);
            let finding = fetch(&session, uid).await?;
            show(&finding, format)
        }
        FindingsCommand::Ack { uid, note } => {
            let mut session = Session::open(context).await?;
            let request = pb::AckRequest {
                request_id: request_id(),
                uid: filter::uid(uid)?,
                note,
            };
            let answer = session
                .insist(|session| {
                    let (mut client, request) = (session.findings(), call(request.clone()));
                    async move { client.ack(request).await }
                })
                .await?;
            show(
                &Finding::from_wire(answer.into_inner().finding.unwrap_or_default())?,
                format,
            )
        }
        FindingsCommand::Verify(args) => verify::verify(args, context, format).await,
        FindingsCommand::Explain { uid } => {
            let finding = fetch(&Session::open(context).await?, uid).await?;
            if for_people(format) {
                emit(&tell::explain(&finding))?;
                return Ok(Exit::Clean);
            }
            show(&finding, format)
        }
    }
}

async fn fetch(session: &Session, uid: String) -> anyhow::Result<Finding> {
    let request = pb::GetRequest {
        uid: filter::uid(uid)?,
    };
    let answer = session
        .ask(request, async |session, request| {
            session.findings().get(request).await
        })
        .await?
        .into_inner();
    Ok(Finding::from_wire(answer.finding.unwrap_or_default())?)
}

fn show(finding: &Finding, format: Format) -> anyhow::Result<Exit> {
    if for_people(format) {
        emit(&tell::show(finding))?;
    } else {
        let mut sheet = Sheet::one(record::COLUMNS);
        record::push(&mut sheet, finding);
        print(&sheet, format)?;
    }
    Ok(Exit::Clean)
}

async fn list(
    filter: pb::Filter,
    stale: StaleArgs,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?.stale_ok(stale);
    let mut sheet = Sheet::list(record::COLUMNS, "nothing is found wrong");
    each(&session, filter, |finding| record::push(&mut sheet, &finding)).await?;
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

/// Takes in what a controller lists, page by page.
pub(super) async fn each(
    session: &Session,
    filter: pb::Filter,
    mut take: impl FnMut(Finding),
) -> anyhow::Result<()> {
    let mut page_token = String::new();
    loop {
        let request = pb::ListRequest {
            filter: Some(filter.clone()),
            page_size: PAGE,
            page_token,
        };
        let pb::ListResponse {
            findings,
            next_page_token,
            revision: _,
        } = session
            .ask(request, async |session, request| {
                session.findings().list(request).await
            })
            .await?
            .into_inner();
        for finding in findings {
            take(Finding::from_wire(finding)?);
        }
        if next_page_token.is_empty() {
            return Ok(());
        }
        page_token = next_page_token;
    }
}
