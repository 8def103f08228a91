//! What the members would not do by themselves, and do where they are asked for it: really stale reads, streams that really pass something
//! over or show it again, and something that is really done twice. The rig has to tell each, by what it tells everything by.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tonic::Request;
use tonic::metadata::MetadataValue;
use verger_proto::policy::v1::GetSetRequest;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_transport::KeyPair;

use super::evidence::{self, Evidence};
use super::followed::{Followed, What};
use super::history::Read;
use super::load::Shared;
use super::watch::{Audit, Feed as _};
use crate::access::{Access, Line};

/// Says that an answer may be out of date.
const STALE_OK: &str = "verger-stale-ok";
/// Rows from the end of the audit, around which streams are made to begin.
const BACK: u64 = 3;

/// A read of a member that is cut off, which says what it knows.
pub(super) async fn stale_read(access: &Access) -> Result<Read> {
    let began = Instant::now();
    let answer = access
        .insist("the set as it is known there", |channel| async move {
            let mut request = Request::new(GetSetRequest { with_bodies: false });
            let said = MetadataValue::from_static("1");
            request.metadata_mut().insert(STALE_OK, said);
            let answer = PolicyServiceClient::new(channel).get_set(request).await?;
            Ok(answer.into_inner())
        })
        .await?;
    Ok(Read {
        began,
        ended: Instant::now(),
        epoch: answer.epoch,
        root: answer.root.to_vec(),
        at: "a member that is cut off".to_owned(),
    })
}

/// Has a stream of the audit begin too late and too early, and a login given twice that was asked for once, when nobody asks any more. How
/// much of it was told.
///
/// # Errors
/// When one of them is not, or what is as it should be is told as well.
pub(super) async fn are_told(access: &Access, addresses: &[String], book: &Shared) -> Result<usize> {
    let followed = {
        let open = book.open();
        let found = open.followed.iter().find(|followed| followed.what == What::Audit);
        found.context("somebody follows the audit")?.clone()
    };
    let back = followed.last.checked_sub(BACK).filter(|back| *back > 1);
    let back = back.context("the audit has rows")?;
    let as_it_should = told_after(access, &followed, back, back, book).await?;
    ensure!(
        as_it_should.is_none(),
        "{as_it_should:?} is told of what is as it should be"
    );
    for (what, after) in [("passes a row over", back + 1), ("shows a row again", back - 1)] {
        let told = told_after(access, &followed, back, after, book).await?;
        ensure!(
            told.is_some(),
            "a stream that {what} is not told: the rig proves nothing"
        );
    }
    let person = {
        let open = book.open();
        let once = open
            .logins
            .iter()
            .find(|(_, (asked, given))| *asked > 0 && asked == given);
        once.context("a login was given")?.0.clone()
    };
    let csr = KeyPair::generate()?.request()?;
    Line::new(access).give_login(&person, &csr).await?;
    let shown = evidence::shown(access, addresses).await?;
    let told = Evidence::of(&mut book.open(), shown).wrong();
    let doubled = format!("a login of {person} was given");
    ensure!(
        told.iter().any(|told| told.contains(&doubled)),
        "a login that was given twice is not told: the rig proves nothing"
    );
    Ok(3)
}

/// What is told of a stream that begins after a row, to somebody who was shown all up to another.
async fn told_after(
    access: &Access,
    followed: &Followed,
    last: u64,
    after: u64,
    book: &Shared,
) -> Result<Option<String>> {
    let end = followed.last;
    let mut followed = followed.clone();
    (followed.last, followed.complete) = (last, last);
    followed.begins();
    let mut stream = Audit.open(access.channel().await?, after).await?;
    while followed.last < end {
        let message = stream.message().await?.context("the audit goes on")?;
        if let Some(wrong) = Audit.take(message, &mut followed, book) {
            return Ok(Some(wrong));
        }
    }
    Ok(None)
}
