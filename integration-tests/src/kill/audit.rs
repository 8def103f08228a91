//! Comparing what is there with what was promised.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use verger_agent_core::store::{LedgerStore as _, Numbered, SpoolStore as _};
use verger_policy::finding::{Finding, FindingUid, Lifecycle, LocalFinding, Transition};
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_proto::cluster::v1::{GetHostRequest, Host};
use verger_proto::findings::v1::findings_service_client::FindingsServiceClient;
use verger_proto::findings::v1::{GetRequest, ListRequest};
use verger_proto::policy::v1::GetSetRequest;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_wire::FromWire as _;

use super::history::Watcher;
use super::load::Promised;
use crate::access::Access;
use crate::scene::HOST;

/// More than any run makes.
const EVERYTHING: usize = 1 << 20;
/// The agent delivers what it has within this.
const QUIET: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Whether the controller has what it acknowledged before it was killed. Writers go on meanwhile.
pub(super) async fn promises(access: &Access, promised: &Promised) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let (epoch, root) = set(access).await?;
    if epoch < promised.epoch {
        wrong.push(format!(
            "epoch {} was acknowledged, and the set is of epoch {epoch}",
            promised.epoch
        ));
    }
    // Of a set asked for after the kill nothing is known here.
    if let Some(asked) = promised.roots.get(&epoch)
        && root != asked.as_bytes()
    {
        wrong.push(format!("epoch {epoch} has another root than was asked for"));
    }
    for (uid, (acknowledged, _)) in &promised.words {
        let held = word(access, uid).await?;
        if held < *acknowledged {
            wrong.push(format!(
                "word {acknowledged} on {uid} was acknowledged, and word {held} is there"
            ));
        }
    }
    Ok(wrong)
}

async fn set(access: &Access) -> Result<(u64, Vec<u8>)> {
    let answer = access
        .insist("the set", |channel| async move {
            let mut client = PolicyServiceClient::new(channel);
            Ok(client
                .get_set(GetSetRequest { with_bodies: false })
                .await?
                .into_inner())
        })
        .await?;
    Ok((answer.epoch, answer.root.to_vec()))
}

/// The number of the last word on a finding; 0 where there is none.
async fn word(access: &Access, uid: &str) -> Result<u64> {
    let answer = access
        .insist("a finding", |channel| {
            let uid = uid.to_owned();
            async move {
                let mut client = FindingsServiceClient::new(channel);
                Ok(client.get(GetRequest { uid }).await?.into_inner())
            }
        })
        .await?;
    let note = answer.finding.and_then(|finding| finding.acknowledged);
    let number = note.and_then(|ack| ack.note.strip_prefix("word ")?.parse().ok());
    Ok(number.unwrap_or(0))
}

/// What a dead agent has on its disk.
pub(super) struct Held {
    table: BTreeMap<FindingUid, LocalFinding>,
    waiting: Vec<Numbered>,
    acknowledged: u64,
    last: u64,
    epoch: u64,
}

impl Held {
    /// Reads a copy of its store, so that the agent finds its own untouched.
    pub(super) fn read(store: &Path) -> Result<Self> {
        let copy = tempfile::tempdir().context("making a folder for the copy")?;
        let place = copy.path().join("store");
        copy_folder(store, &place)?;
        let (ledger, spool) = verger_agent_store::open(&place, &verger_agent_store::Options::default())
            .context("the killed agent's store does not open")?;
        let usage = spool.usage()?;
        Ok(Self {
            table: spool.findings()?,
            waiting: spool.pending(usage.acknowledged + 1, EVERYTHING, usize::MAX)?,
            acknowledged: usage.acknowledged,
            last: usage.next_sequence - 1,
            epoch: ledger.load()?.highest_epoch,
        })
    }

    /// How many transitions it has made that nobody has acknowledged.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the controller's row of a finding must say when it has taken in everything up to `received`; `None` where the
    /// agent has told of it since, and no longer knows what it told before.
    fn told(&self, finding: &LocalFinding, received: u64) -> Option<Transition> {
        let of_it = || {
            let waiting = self.waiting.iter();
            waiting.filter(|numbered| numbered.transition.uid == finding.uid)
        };
        let arrived = of_it().rfind(|numbered| numbered.sequence <= received);
        match arrived {
            Some(numbered) => Some(numbered.transition.clone()),
            None if of_it().next().is_none() => Some(finding.transition()),
            None => None,
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        }
    }
    Ok(())
}

/// Whether the controller has of a dead agent's findings what the agent says it delivered, and no more.
pub(super) async fn findings(access: &Access, held: &Held) -> Result<Vec<String>> {
    let (received, rows) = received(access).await?;
    Ok(compare(held, received, &rows))
}

fn compare(held: &Held, received: u64, rows: &BTreeMap<FindingUid, Finding>) -> Vec<String> {
    let mut wrong = Vec::new();
    if received < held.acknowledged {
        wrong.push(format!(
            "the agent has forgotten the transitions up to {}, and the controller has {received}",
            held.acknowledged
        ));
    }
    if received > held.last {
        wrong.push(format!(
            "the controller has {received} transitions, and the agent made {}",
            held.last
        ));
    }
    for finding in held.table.values() {
        let Some(told) = held.told(finding, received) else {
            continue;
        };
        match rows.get(&finding.uid) {
            None => wrong.push(format!(
                "finding {} was told, and the controller has no row of it",
                finding.uid
            )),
            Some(row) => {
                let open = |lifecycle| match lifecycle {
                    Lifecycle::Acknowledged => Lifecycle::Open,
                    other => other,
                };
                // Moments travel in milliseconds.
                let there = (open(row.lifecycle), row.reopened, row.changed.as_millisecond());
                let due = (told.lifecycle, told.reopened, told.at.as_millisecond());
                if there != due {
                    wrong.push(format!(
                        "finding {}: {due:?} was told, and {there:?} is there",
                        finding.uid
                    ));
                }
                // The agent counts on without telling, so that it may have more, and never less.
                if row.occurrences > told.occurrences {
                    wrong.push(format!(
                        "finding {} was seen {} times, and {} are there",
                        finding.uid, told.occurrences, row.occurrences
                    ));
                }
            }
        }
    }
    wrong
}

/// How many transitions the controller has, and its rows at just that number. The dead agent's last bytes may still be
/// on their way.
async fn received(access: &Access) -> Result<(u64, BTreeMap<FindingUid, Finding>)> {
    let mut before = count(access).await?;
    loop {
        let rows = rows(access).await?;
        let after = count(access).await?;
        if before == after {
            return Ok((after, rows));
        }
        before = after;
    }
}

async fn count(access: &Access) -> Result<u64> {
    Ok(host(access).await?.findings_received)
}

async fn host(access: &Access) -> Result<Host> {
    let answer = access
        .insist("the host", |channel| async move {
            let agent_id = HOST.to_owned();
            let mut client = ClusterServiceClient::new(channel);
            Ok(client.get_host(GetHostRequest { agent_id }).await?.into_inner())
        })
        .await?;
    answer.host.context("the host is there")
}

async fn rows(access: &Access) -> Result<BTreeMap<FindingUid, Finding>> {
    let mut rows = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListRequest {
            filter: None,
            page_size: 1_000,
            page_token,
        };
        let page = access
            .insist("the findings", |channel| {
                let request = request.clone();
                async move {
                    Ok(FindingsServiceClient::new(channel)
                        .list(request)
                        .await?
                        .into_inner())
                }
            })
            .await?;
        for finding in page.findings {
            let finding = Finding::from_wire(finding)?;
            rows.insert(finding.uid, finding);
        }
        if page.next_page_token.is_empty() {
            return Ok(rows);
        }
        page_token = page.next_page_token;
    }
}

/// Waits until the agent holds the last set, all that it says it has made has arrived, and nothing new comes.
pub(super) async fn quiet(access: &Access, epoch: u64) -> Result<()> {
    let deadline = tokio::time::Instant::now() + QUIET;
    let mut same = 0;
    let mut before = count(access).await?;
    while same < 20 {
        tokio::time::sleep(LOOK).await;
        let host = host(access).await?;
        let now = host.findings_received;
        same = if now == before && host.findings_made == now && host.epoch == epoch {
            same + 1
        } else {
            0
        };
        before = now;
        if tokio::time::Instant::now() >= deadline {
            bail!("the agent is not up to date {QUIET:?} after the last write");
        }
    }
    Ok(())
}

/// What the end came to.
pub(super) struct Last {
    pub(super) transitions: u64,
    /// Changes of findings that the stream showed.
    pub(super) changes: u64,
    pub(super) wrong: Vec<String>,
}

/// After an orderly end: everything has arrived, once, and was shown as it did.
pub(super) async fn last(access: &Access, held: &Held, writes: u64, watcher: Watcher) -> Result<Last> {
    let (received, rows) = received(access).await?;
    let mut wrong = compare(held, received, &rows);
    let newest = rows.values().map(|row| row.revision).max().unwrap_or(0);
    let history = watcher.end(newest).await?;
    wrong.extend(history.ends_with(&rows));
    wrong.extend(history.wrong);
    if received != held.last || held.acknowledged != held.last {
        wrong.push(format!(
            "the agent made {} transitions, the controller has {received} and acknowledged {}",
            held.last, held.acknowledged
        ));
    }
    let (epoch, _) = set(access).await?;
    if epoch != writes {
        wrong.push(format!(
            "{writes} sets were acknowledged, and the set is of epoch {epoch}"
        ));
    }
    if held.epoch != epoch {
        wrong.push(format!(
            "the agent's ledger is at epoch {}, the set at {epoch}",
            held.epoch
        ));
    }
    Ok(Last {
        transitions: held.last,
        changes: history.changes,
        wrong,
    })
}

#[cfg(test)]
pub(super) mod tests;
