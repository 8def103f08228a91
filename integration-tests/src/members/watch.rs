//! Somebody who follows the audit, wherever it goes on: rows are numbered, so that a gap and a repeat are seen at once.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::watch;
use verger_proto::cluster::v1::WatchRequest;
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;

use super::load::Shared;
use crate::access::Access;

/// Who hears nothing for so long while others are answered is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Between two attempts to follow again.
const AGAIN: Duration = Duration::from_millis(50);
/// A stream that is silent for so long is looked at by who holds it, not by us: the audit moves all the time.
const LOOK: Duration = Duration::from_secs(1);

/// What was followed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Followed {
    /// The number of the last row seen.
    pub(super) last: u64,
    /// Streams opened.
    pub(super) streams: u64,
}

impl Followed {
    /// Takes in the number of a row. What is wrong with it, if anything is.
    pub(super) fn takes(&mut self, number: u64) -> Option<String> {
        let before = std::mem::replace(&mut self.last, number);
        (number != before + 1).then(|| format!("row {number} of the audit was shown after row {before}"))
    }
}

/// Follows until it has been shown the row that is to be the last, once that is told.
pub(super) async fn follow(
    access: Access,
    book: Shared,
    last: watch::Receiver<Option<u64>>,
) -> Result<Followed> {
    let mut followed = Followed::default();
    let mut turn = 0;
    let mut heard = Instant::now();
    let is_over = |followed: &Followed| last.borrow().is_some_and(|last| followed.last >= last);
    while !is_over(&followed) {
        if heard.elapsed() > STUCK {
            bail!(
                "nothing of the audit was shown for {STUCK:?}, up to row {}",
                followed.last
            );
        }
        let at = access.beginning(turn);
        turn += 1;
        let Ok(channel) = at.channel().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        let request = WatchRequest {
            filter: None,
            after: followed.last,
        };
        let Ok(stream) = AuditServiceClient::new(channel).watch(request).await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        followed.streams += 1;
        let mut stream = stream.into_inner();
        loop {
            match tokio::time::timeout(LOOK, stream.message()).await {
                Ok(Ok(Some(message))) => {
                    let Some(row) = message.row else { continue };
                    heard = Instant::now();
                    let wrong = followed.takes(row.number);
                    book.open().wrong.extend(wrong);
                }
                Ok(_) => break,
                Err(_) if is_over(&followed) => return Ok(followed),
                // Where that is so for long, nobody ended a stream that goes nowhere.
                Err(_) if heard.elapsed() > STUCK => break,
                Err(_) => {}
            }
        }
    }
    Ok(followed)
}
