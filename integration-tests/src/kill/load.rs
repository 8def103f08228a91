//! The writers, and what was promised to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verger_policy::digest::Digest;
use verger_proto::findings::v1::findings_service_client::FindingsServiceClient;
use verger_proto::findings::v1::{self as findings, AckRequest};

use super::policy;
use crate::access::{Access, Line, SetChain};

/// People who say words on findings while sets are applied.
const WORDS: usize = 2;
/// A write that takes longer than this is stuck.
const STUCK: Duration = Duration::from_secs(90);

/// What was acknowledged, and what was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Promised {
    /// The last epoch acknowledged.
    pub(super) epoch: u64,
    /// Roots of all epochs asked for.
    pub(super) roots: BTreeMap<u64, Digest>,
    /// By finding: the number of the last word acknowledged, and of the last asked for.
    pub(super) words: BTreeMap<String, (u64, u64)>,
    /// Writes acknowledged, of both kinds.
    pub(super) acknowledged: u64,
    wrong: Vec<String>,
}

/// What came of it all.
pub(super) struct Done {
    /// Sets acknowledged.
    pub(super) writes: u64,
    /// Writes acknowledged, words included.
    pub(super) acknowledged: u64,
    pub(super) wrong: Vec<String>,
}

/// The running writers.
pub(super) struct Load {
    promised: Arc<Mutex<Promised>>,
    count: watch::Receiver<u64>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Result<()>>>,
}

#[derive(Clone)]
struct Book {
    promised: Arc<Mutex<Promised>>,
    count: watch::Sender<u64>,
    stop: CancellationToken,
}

impl Book {
    fn open(&self) -> MutexGuard<'_, Promised> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledged(&self, note: impl FnOnce(&mut Promised)) {
        let mut promised = self.open();
        promised.acknowledged += 1;
        note(&mut promised);
        self.count.send_replace(promised.acknowledged);
    }

    fn wrong(&self, what: String) {
        self.open().wrong.push(what);
    }
}

impl Load {
    /// Starts the writers; comes back when each has written once.
    pub(super) async fn start(access: &Access, image: &str) -> Result<Self> {
        let promised = Arc::new(Mutex::new(Promised::default()));
        let (count, counted) = watch::channel(0);
        let book = Book {
            promised: Arc::clone(&promised),
            count,
            stop: CancellationToken::new(),
        };
        let access = Arc::new(access.clone());
        let (mut sets, image) = (SetChain::fetch(&access).await?, image.to_owned());
        write(&mut sets, &mut Line::new(&access), &image, &book).await?;
        let lasting = lasting_findings(&access).await?;
        let mut tasks = Vec::new();
        for uid in lasting {
            tasks.push(tokio::spawn(say_words(Arc::clone(&access), uid, book.clone())));
        }
        let stop = book.stop.clone();
        tasks.push(tokio::spawn(async move {
            let mut line = Line::new(&access);
            while !book.stop.is_cancelled() {
                write(&mut sets, &mut line, &image, &book).await?;
            }
            Ok(())
        }));
        Ok(Self {
            promised,
            count: counted,
            stop,
            tasks,
        })
    }

    /// What is promised by now.
    pub(super) fn promised(&self) -> Promised {
        self.promised
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Comes back when so many more writes were acknowledged.
    pub(super) async fn writes_more(&self, more: u64) -> Result<()> {
        let mut count = self.count.clone();
        let wanted = *count.borrow() + more;
        let reached = tokio::time::timeout(STUCK, count.wait_for(|count| *count >= wanted)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => bail!("no {more} writes within {STUCK:?}; a writer is stuck or has failed"),
        }
    }

    /// Ends the writers after the write they are at.
    pub(super) async fn end(self) -> Result<Done> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.context("a writer was lost")??;
        }
        let promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Done {
            writes: promised.epoch,
            acknowledged: promised.acknowledged,
            wrong: promised.wrong.clone(),
        })
    }
}

/// Puts the next set in force: requirements that flip findings.
async fn write(sets: &mut SetChain, line: &mut Line<'_>, image: &str, book: &Book) -> Result<()> {
    let object = policy::object(image, sets.epoch())?;
    let asks = |epoch, root| {
        book.open().roots.insert(epoch, root);
    };
    let (epoch, wrong) = sets.go_on(line, vec![object], asks).await?;
    if let Some(wrong) = wrong {
        book.wrong(wrong);
    }
    book.acknowledged(|promised| promised.epoch = epoch);
    Ok(())
}

/// Findings that stay open whatever is applied: a person's word on them stays too.
async fn lasting_findings(access: &Access) -> Result<Vec<String>> {
    let deadline = tokio::time::Instant::now() + STUCK;
    loop {
        let found: Vec<String> = open(access)
            .await?
            .into_iter()
            .filter(|(_, rule)| matches!(rule.as_str(), "config/no-new-privileges" | "config/capabilities"))
            .map(|(uid, _)| uid)
            .take(WORDS)
            .collect();
        if found.len() == WORDS {
            return Ok(found);
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "the findings that last did not come"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn open(access: &Access) -> Result<Vec<(String, String)>> {
    let listed = access
        .insist("the findings", |channel| async move {
            let mut client = FindingsServiceClient::new(channel);
            let request = findings::ListRequest {
                page_size: 1_000,
                ..Default::default()
            };
            Ok(client.list(request).await?.into_inner())
        })
        .await?;
    let open = listed
        .findings
        .into_iter()
        .filter(|finding| finding.lifecycle() == findings::Lifecycle::Open);
    Ok(open
        .map(|finding| (hex::encode(&finding.uid), finding.check.unwrap_or_default().rule))
        .collect())
}

async fn say_words(access: Arc<Access>, uid: String, book: Book) -> Result<()> {
    let mut line = Line::new(&access);
    for number in 1.. {
        if book.stop.is_cancelled() {
            break;
        }
        book.open().words.entry(uid.clone()).or_default().1 = number;
        let request = AckRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            uid: uid.clone(),
            note: format!("word {number}"),
        };
        line.insist("a word", |channel| {
            let request = request.clone();
            async move { FindingsServiceClient::new(channel).ack(request).await.map(drop) }
        })
        .await?;
        book.acknowledged(|promised| promised.words.entry(uid.clone()).or_default().0 = number);
    }
    Ok(())
}
