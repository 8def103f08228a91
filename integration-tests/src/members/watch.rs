//! Somebody who follows what members show, wherever it goes on: whenever a stream ends, and now and then by themselves, they go to another
//! member and go on there from where they are.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use verger_proto::cluster::v1 as cluster;
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::findings::v1 as findings;
use verger_proto::findings::v1::findings_service_client::FindingsServiceClient;
use verger_proto::policy::v1 as policy;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;

use super::followed::{Followed, What};
use super::load::Shared;
use super::report::Reporter;
use crate::access::Access;
use crate::dice::Dice;

/// Who hears nothing for so long while others are answered is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// Between two attempts to follow again.
const AGAIN: Duration = Duration::from_millis(50);
/// Who opens no stream within this is not waited for.
pub(super) const OPEN: Duration = Duration::from_secs(2);
/// Who says nothing for so long is looked at for whether that was all.
const LOOK: Duration = Duration::from_secs(1);
/// How long somebody stays at a member that goes on, milliseconds: long enough that most faults end streams before.
const STAY: (u64, u64) = (500, 8_000);

/// Whoever goes from member to member.
pub(super) struct Wanderer {
    access: Access,
    dice: Dice,
    /// The place of the member asked next, of the one asked now, and of the one that served last.
    next: usize,
    now: usize,
    served: Option<usize>,
}

impl Wanderer {
    /// Begins at the member of this place.
    pub(super) fn new(access: Access, at: usize) -> Result<Self> {
        Ok(Self {
            access,
            dice: Dice::new(Dice::seed()?),
            next: at,
            now: at,
            served: None,
        })
    }

    /// Goes to the next member but the one that served last; says how long to stay.
    pub(super) fn goes(&mut self) -> (Access, Duration) {
        let addresses = self.access.addresses();
        let count = addresses.len().max(1);
        if self.served == Some(self.next % count) {
            self.next += 1;
        }
        self.now = self.next % count;
        self.next = self.now + 1;
        let at = self.access.at(&addresses[self.now]);
        let stay = STAY.0 + self.dice.below(STAY.1 - STAY.0);
        (at, Duration::from_millis(stay))
    }

    /// It is served there.
    pub(super) const fn is_served(&mut self) {
        self.served = Some(self.now);
    }
}

/// Something that members show as it changes.
pub(super) trait Feed {
    type Message: Send;
    const WHAT: What;

    /// Asks for what came after a revision.
    fn open(
        &self,
        channel: Channel,
        after: u64,
    ) -> impl Future<Output = Result<Streaming<Self::Message>, Status>> + Send;

    /// Takes in what is shown. What is wrong with it, if anything is.
    fn take(&self, message: Self::Message, followed: &mut Followed, book: &Shared) -> Option<String>;
}

/// The audit.
pub(super) struct Audit;

impl Feed for Audit {
    type Message = cluster::WatchResponse;
    const WHAT: What = What::Audit;

    async fn open(&self, channel: Channel, after: u64) -> Result<Streaming<Self::Message>, Status> {
        let request = cluster::WatchRequest {
            after,
            ..Default::default()
        };
        let answer = AuditServiceClient::new(channel).watch(request).await?;
        Ok(answer.into_inner())
    }

    fn take(&self, message: Self::Message, followed: &mut Followed, _: &Shared) -> Option<String> {
        let number = message.row?.number;
        // It goes on after a row.
        let wrong = followed.takes(number, number);
        wrong.or_else(|| followed.completes(number, number))
    }
}

/// The policy set.
pub(super) struct Policy;

impl Feed for Policy {
    type Message = policy::WatchResponse;
    const WHAT: What = What::Policy;

    async fn open(&self, channel: Channel, after_revision: u64) -> Result<Streaming<Self::Message>, Status> {
        let request = policy::WatchRequest { after_revision };
        let answer = PolicyServiceClient::new(channel).watch(request).await?;
        Ok(answer.into_inner())
    }

    fn take(&self, message: Self::Message, followed: &mut Followed, book: &Shared) -> Option<String> {
        let Some(object) = message.object else {
            // An object that changed again meanwhile is shown as it is then.
            return followed.completes(message.revision, message.epoch);
        };
        let Some(entry) = object.entry else {
            return Some("an object of the policy set was shown without its entry".to_owned());
        };
        if !book.open().history.was_asked(entry.epoch) {
            return Some(format!(
                "epoch {} was shown, for which nobody had asked",
                entry.epoch
            ));
        }
        followed.takes(entry.epoch, message.revision)
    }
}

/// What the reporter tells.
pub(super) struct Findings(pub(super) Reporter);

impl Feed for Findings {
    type Message = findings::WatchResponse;
    const WHAT: What = What::Findings;

    async fn open(&self, channel: Channel, after_revision: u64) -> Result<Streaming<Self::Message>, Status> {
        let request = findings::WatchRequest {
            filter: None,
            after_revision,
            only_new: false,
        };
        let answer = FindingsServiceClient::new(channel).watch(request).await?;
        Ok(answer.into_inner())
    }

    fn take(&self, message: Self::Message, followed: &mut Followed, book: &Shared) -> Option<String> {
        let revision = message.revision;
        let Some(finding) = message.finding else {
            return followed.completes(revision, 0);
        };
        if message.r#type == i32::from(findings::watch_response::Type::Deleted) {
            return Some(format!(
                "a finding was shown as gone, of revision {revision}: none goes"
            ));
        }
        match self.0.number_of(&finding)? {
            Err(wrong) => Some(wrong),
            Ok(number) if number > book.open().report.reported => {
                Some(format!("transition {number} was shown, and never reported"))
            }
            Ok(number) => followed.takes(number, revision),
        }
    }
}

/// Follows until everything was shown up to the number that is to be the last, once that is told.
pub(super) async fn follow<F: Feed>(
    feed: F,
    mut wanderer: Wanderer,
    book: Shared,
    last: watch::Receiver<Option<u64>>,
) -> Result<Followed> {
    let mut followed = Followed::new(F::WHAT);
    let mut heard = Instant::now();
    let is_over = |followed: &Followed| last.borrow().is_some_and(|last| followed.last >= last);
    while !is_over(&followed) {
        if heard.elapsed() > STUCK {
            bail!(
                "{:?}: nothing was shown for {STUCK:?}, after {}",
                followed.what,
                followed.last
            );
        }
        let (at, stay) = wanderer.goes();
        let opened = timeout(OPEN, async {
            let channel = at
                .channel()
                .await
                .map_err(|error| Status::unavailable(format!("{error:#}")))?;
            feed.open(channel, followed.complete).await
        });
        let mut stream = match opened.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(status)) => {
                is_remembered(&followed, &status)?;
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(_) => continue,
        };
        wanderer.is_served();
        followed.begins();
        let began = Instant::now();
        while began.elapsed() < stay {
            match timeout(LOOK.min(stay), stream.message()).await {
                Ok(Ok(Some(message))) => {
                    heard = Instant::now();
                    let wrong = feed.take(message, &mut followed, &book);
                    book.open().wrong.extend(wrong);
                }
                Ok(Ok(None)) => break,
                Ok(Err(status)) => {
                    is_remembered(&followed, &status)?;
                    break;
                }
                Err(_) => {}
            }
            if is_over(&followed) {
                return Ok(followed);
            }
        }
    }
    Ok(followed)
}

/// Fails where somebody is told that the place from which to go on is none: it was reached, and not long ago.
fn is_remembered(followed: &Followed, status: &Status) -> Result<()> {
    if status.code() == Code::OutOfRange {
        bail!(
            "{:?}: revision {} is no place to go on from: {status}",
            followed.what,
            followed.complete
        );
    }
    Ok(())
}
