//! The findings as they changed, for as long as the run lasts.
//!
//! Rows alone do not show a transition that was taken in twice: it tells a whole state, and leads to the same row. It shows
//! in the stream, where the row comes again although nothing was told and no word was said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use verger_policy::finding::{Finding, FindingUid, Lifecycle};
use verger_proto::findings::v1::findings_service_client::FindingsServiceClient;
use verger_proto::findings::v1::{WatchRequest, WatchResponse};
use verger_wire::FromWire as _;

use crate::access::Access;

/// What is there by the end is shown within this.
const SHOWN: Duration = Duration::from_secs(60);

/// What the stream has shown.
#[derive(Debug, Default)]
pub(super) struct History {
    last: BTreeMap<FindingUid, Finding>,
    /// Revisions shown since the stream was resumed; what comes before may be shown again then.
    resumed: BTreeMap<FindingUid, u64>,
    pub(super) changes: u64,
    pub(super) wrong: Vec<String>,
}

impl History {
    /// A new stream begins, from the last bookmark: what came after it is shown again.
    pub(super) fn resume(&mut self) {
        self.resumed.clear();
    }

    /// Takes in the next change.
    pub(super) fn take(&mut self, shown: Finding) {
        let (uid, revision) = (shown.uid, shown.revision);
        if self.resumed.insert(uid, revision) == Some(revision) {
            self.wrong
                .push(format!("finding {uid}: revision {revision} was shown twice"));
            return;
        }
        if let Some(before) = self.last.get(&uid) {
            if before == &shown {
                return;
            }
            self.wrong
                .extend(contradiction(before, &shown).map(|what| format!("finding {uid}: {what}")));
        }
        self.changes += 1;
        self.last.insert(uid, shown);
    }

    /// Whether the last that was shown of each finding is its row.
    pub(super) fn ends_with(&self, rows: &BTreeMap<FindingUid, Finding>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (uid, row) in rows {
            match self.last.get(uid) {
                None => wrong.push(format!("finding {uid} is there, and was never shown")),
                Some(shown) if shown != row => wrong.push(format!(
                    "finding {uid}: its row is of revision {}, the last one shown of revision {}, or says something else",
                    row.revision, shown.revision
                )),
                Some(_) => {}
            }
        }
        for uid in self.last.keys().filter(|uid| !rows.contains_key(uid)) {
            wrong.push(format!("finding {uid} was shown, and is not there"));
        }
        wrong
    }
}

/// Why one row cannot follow another.
fn contradiction(before: &Finding, after: &Finding) -> Option<String> {
    let (from, to) = (before.revision, after.revision);
    if to <= from {
        return Some(format!("revision {to} was shown after revision {from}"));
    }
    if after.changed < before.changed {
        return Some(format!(
            "what was told at {} came after what was told at {}",
            after.changed, before.changed
        ));
    }
    let same_life = after.first_seen == before.first_seen;
    if same_life && (after.reopened < before.reopened || after.occurrences < before.occurrences) {
        return Some(format!(
            "it had opened {} times and been seen {} times, and then {} and {}",
            before.reopened, before.occurrences, after.reopened, after.occurrences
        ));
    }
    let new_word = after.acknowledged.is_some() && after.acknowledged != before.acknowledged;
    if told(before) == told(after) && !new_word {
        return Some(format!(
            "what was told at {} was taken in at revision {from}, and again at revision {to}",
            after.changed
        ));
    }
    None
}

/// A row without what is not the agent's: its revision, and people's words.
fn told(row: &Finding) -> Finding {
    Finding {
        revision: 0,
        acknowledged: None,
        lifecycle: match row.lifecycle {
            Lifecycle::Acknowledged => Lifecycle::Open,
            other => other,
        },
        ..row.clone()
    }
}

/// Follows the stream through the controller's restarts.
pub(super) struct Watcher {
    stop: CancellationToken,
    /// Everything up to this revision was shown.
    upto: watch::Receiver<u64>,
    task: JoinHandle<Result<History>>,
}

impl Watcher {
    /// Starts; call it within the runtime.
    pub(super) fn start(access: &Access) -> Self {
        let stop = CancellationToken::new();
        let (told, upto) = watch::channel(0);
        let task = tokio::spawn(follow(Arc::new(access.clone()), told, stop.clone()));
        Self { stop, upto, task }
    }

    /// Ends when everything up to `revision` was shown.
    pub(super) async fn end(mut self, revision: u64) -> Result<History> {
        let shown = tokio::time::timeout(SHOWN, self.upto.wait_for(|upto| *upto >= revision));
        let shown = shown.await.map(|upto| upto.map(drop));
        self.stop.cancel();
        let history = self.task.await.context("the watcher panicked")??;
        ensure!(
            matches!(shown, Ok(Ok(()))),
            "revision {revision} was not shown within {SHOWN:?}"
        );
        Ok(history)
    }
}

async fn follow(access: Arc<Access>, told: watch::Sender<u64>, stop: CancellationToken) -> Result<History> {
    let mut history = History::default();
    loop {
        let after_revision = *told.borrow();
        let mut stream = tokio::select! {
            () = stop.cancelled() => return Ok(history),
            opened = access.insist("the findings as they change", |channel| async move {
                let request = WatchRequest { filter: None, after_revision, only_new: false };
                Ok(FindingsServiceClient::new(channel).watch(request).await?.into_inner())
            }) => opened?,
        };
        history.resume();
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => return Ok(history),
                next = stream.message() => next,
            };
            match next {
                // Nothing is removed in a run of some minutes: what is not a whole finding is an error.
                Ok(Some(WatchResponse {
                    finding: Some(finding),
                    ..
                })) => history.take(Finding::from_wire(finding)?),
                Ok(Some(WatchResponse { revision, .. })) => {
                    told.send_replace(revision);
                }
                Ok(None) => break,
                Err(status) if ended(&status) => break,
                Err(status) => return Err(status).context("the findings as they change"),
            }
        }
    }
}

/// Whether the controller went away, as it is made to.
fn ended(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}

#[cfg(test)]
mod tests;
