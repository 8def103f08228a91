//! Who asks: a writer of sets, writers of logins, readers, one whose login is revoked again and again, a host that reports, and who follows
//! what all of them do; each at whichever member answers, and of writers of logins and readers one at each member beside.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use verger_policy::draft;
use verger_policy::model::PolicyObject;
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::{HeadRequest, RevokeLoginRequest, WhoAmIRequest};
use verger_proto::policy::v1::GetSetRequest;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_transport::{Identity, KeyPair};

use super::followed::{Followed, What};
use super::history::{History, Read};
use super::report::{self, Reported};
use super::watch::{Audit, Feed, Findings, Policy, Wanderer, follow};
use crate::access::{Access, Line, SetChain};

/// People to whom each of those who give logins does so, in turn: a cluster has 10,000 at most, and each who is shut out is another.
const PEOPLE: usize = 1_200;
/// People who are shut out, at most.
const SHUT_OUT: usize = 3_500;
/// Who give logins at whichever member answers.
const GIVERS: usize = 2;
/// Who follow each of what can be followed.
const FOLLOWERS: usize = 3;
/// Objects that sets are about: each set changes the next of them, so that whoever follows the objects is shown every epoch that is not
/// overtaken by the one that changes the same object again.
pub(super) const OBJECTS: u64 = 32;
/// Who read at whichever member answers.
const READERS: usize = 3;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) history: History,
    /// By person: how often a login was asked for, and acknowledged.
    pub(super) logins: BTreeMap<String, (usize, usize)>,
    /// Answers of writes, and when: begun, and acknowledged.
    pub(super) writes: Vec<(Instant, Instant)>,
    /// Logins revoked, and calls with them afterwards that were refused.
    pub(super) revoked: u64,
    pub(super) refused: u64,
    pub(super) wrong: Vec<String>,
    /// What became of what the host reported.
    pub(super) report: Reported,
    /// What those saw who follow something.
    pub(super) followed: Vec<Followed>,
    /// Why somebody stopped asking.
    failed: Option<String>,
}

/// The book that all write into.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Book>>);

impl Shared {
    pub(super) fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and reads that were answered.
    pub(super) fn answered(&self) -> usize {
        let book = self.open();
        book.writes.len() + book.history.reads()
    }

    /// Whether all of them still ask.
    pub(super) fn is_whole(&self) -> Result<()> {
        match &self.open().failed {
            None => Ok(()),
            Some(why) => bail!("somebody who asks has failed: {why}"),
        }
    }

    fn asks_for(&self, person: &str) {
        self.open().logins.entry(person.to_owned()).or_default().0 += 1;
    }

    fn has_given(&self, person: &str) {
        self.open().logins.entry(person.to_owned()).or_default().1 += 1;
    }

    fn wrote(&self, began: Instant) {
        self.open().writes.push((began, Instant::now()));
    }
}

/// All who ask.
pub(super) struct Load {
    pub(super) book: Shared,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    /// What is the last to be shown of each that is followed, once that is known.
    last: BTreeMap<What, tokio::sync::watch::Sender<Option<u64>>>,
    followers: Vec<JoinHandle<()>>,
}

type Task = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Load {
    /// Has them begin.
    pub(super) async fn start(access: &Access, names: &[String]) -> Result<Self> {
        let (book, stop) = (Shared::default(), CancellationToken::new());
        let last = What::ALL.map(|what| (what, tokio::sync::watch::Sender::new(None)));
        let mut load = Self {
            book: book.clone(),
            stop: stop.clone(),
            tasks: Vec::new(),
            last: BTreeMap::from(last),
            followers: Vec::new(),
        };
        let mut sets = SetChain::fetch(access).await?;
        let (reporter, host) = report::enrol(access).await?;
        for number in 0..FOLLOWERS {
            load.has_follow(Audit, access, number)?;
            load.has_follow(Policy, access, number)?;
            load.has_follow(Findings(reporter.clone()), access, number)?;
        }
        let (own, of, until) = (access.clone(), book.clone(), stop.clone());
        load.has_ask(Box::pin(async move {
            let mut line = Line::new(&own);
            while !until.is_cancelled() {
                write(&mut sets, &mut line, &of).await?;
            }
            Ok(())
        }));
        for number in 0..GIVERS {
            let task = give_logins(access.beginning(number), number, book.clone(), stop.clone());
            load.has_ask(Box::pin(task));
        }
        // At each member somebody stays also to write: who goes where an answer is can come to be with all others at a leader that hangs, and
        // wait there for an answer while the other members have long taken writes again.
        for (place, address) in access.addresses().iter().enumerate() {
            let task = give_logins(access.at(address), GIVERS + place, book.clone(), stop.clone());
            load.has_ask(Box::pin(task));
        }
        for number in 0..READERS {
            let (own, at) = (access.beginning(number), names[number % names.len()].clone());
            load.has_ask(Box::pin(read(own, at, book.clone(), stop.clone())));
        }
        // At each member somebody stays, whatever becomes of it: who led and hung is asked the moment it goes on.
        for address in access.addresses() {
            let (own, at) = (access.at(address), address.clone());
            load.has_ask(Box::pin(read(own, at, book.clone(), stop.clone())));
        }
        load.has_ask(Box::pin(revoke(access.clone(), book.clone(), stop.clone())));
        let wanderer = Wanderer::new(host, 0)?;
        load.has_ask(Box::pin(reporter.report(wanderer, book, stop)));
        Ok(load)
    }

    fn has_ask(&mut self, task: Task) {
        self.tasks.push(spawn(self.book.clone(), task));
    }

    /// Has somebody follow, beginning at the member of this place.
    fn has_follow<F: Feed + Send + Sync + 'static>(
        &mut self,
        feed: F,
        access: &Access,
        at: usize,
    ) -> Result<()> {
        let wanderer = Wanderer::new(access.clone(), at)?;
        let last = self.last.get(&F::WHAT).context("it is followed")?.subscribe();
        let book = self.book.clone();
        let task = Box::pin(async move {
            let followed = follow(feed, wanderer, book.clone(), last).await?;
            book.open().followed.push(followed);
            Ok(())
        });
        self.followers.push(spawn(self.book.clone(), task));
        Ok(())
    }

    /// Has them end with what they are at; who follows something, when all of it was shown that is there then.
    pub(super) async fn end(self, access: &Access) -> Result<Shared> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.context("somebody who asks was lost")?;
        }
        let audit = access
            .insist("the audit's head", |channel| async move {
                let answer = AuditServiceClient::new(channel).head(HeadRequest {}).await?;
                Ok(answer.into_inner().written)
            })
            .await?;
        let (policy, findings) = {
            let book = self.book.open();
            (book.history.last(), book.report.acknowledged)
        };
        for (what, last) in &self.last {
            last.send_replace(Some(match what {
                What::Audit => audit,
                What::Policy => policy,
                What::Findings => findings,
            }));
        }
        for task in self.followers {
            task.await.context("somebody who follows was lost")?;
        }
        self.book.is_whole()?;
        Ok(self.book)
    }
}

/// Has somebody do this; why they stop before their end is in the book.
fn spawn(book: Shared, task: Task) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = task.await {
            book.open().failed.get_or_insert(format!("{error:#}"));
        }
    })
}

/// Puts the next set in force, with the next object changed in it.
async fn write(sets: &mut SetChain, line: &mut Line<'_>, book: &Shared) -> Result<()> {
    let began = Instant::now();
    let asks = |epoch, root| book.open().history.asked(epoch, root);
    let objects = vec![object(sets.epoch() + 1)?];
    let (epoch, wrong) = sets.go_on(line, objects, asks).await?;
    let mut open = book.open();
    open.wrong.extend(wrong);
    open.history.acknowledged(epoch);
    drop(open);
    book.wrote(began);
    Ok(())
}

/// The object that an epoch changes: a host that nobody has.
fn object(epoch: u64) -> Result<PolicyObject> {
    let name = format!("followed-{}", epoch % OBJECTS);
    let text = format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {name}, labels: {{ write: \"{epoch}\" }} }}\n"
    );
    let mut objects = draft::read("followed.yaml", text.as_bytes())
        .map_err(|problems| anyhow::anyhow!("the policy is wrong: {problems:?}"))?;
    objects.pop().context("one document is one object")
}

async fn give_logins(access: Access, giver: usize, book: Shared, stop: CancellationToken) -> Result<()> {
    let mut line = Line::new(&access);
    let csr = KeyPair::generate()?.request()?;
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let person = format!("g{giver}-{}", number % PEOPLE);
        book.asks_for(&person);
        let began = Instant::now();
        line.give_login(&person, &csr).await?;
        book.has_given(&person);
        book.wrote(began);
    }
    Ok(())
}

async fn read(access: Access, at: String, book: Shared, stop: CancellationToken) -> Result<()> {
    let mut line = Line::new(&access);
    while !stop.is_cancelled() {
        // When the attempt that was answered began: one that was not says nothing.
        let (began, answer) = line
            .insist("the set", |channel| async move {
                let began = Instant::now();
                let request = GetSetRequest { with_bodies: false };
                let answer = PolicyServiceClient::new(channel).get_set(request).await?;
                Ok((began, answer.into_inner()))
            })
            .await?;
        book.open().history.read(Read {
            began,
            ended: Instant::now(),
            epoch: answer.epoch,
            root: answer.root.to_vec(),
            at: at.clone(),
        });
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Gives a login, uses it, revokes it, and tries it at every member from then on.
async fn revoke(access: Access, book: Shared, stop: CancellationToken) -> Result<()> {
    let mut line = Line::new(&access);
    for number in 0..SHUT_OUT {
        if stop.is_cancelled() {
            break;
        }
        let person = format!("shut-out-{number}");
        let key = KeyPair::generate()?;
        book.asks_for(&person);
        let answer = line.give_login(&person, &key.request()?).await?;
        book.has_given(&person);
        let chain = answer.chain.into_iter().map(Into::into).collect();
        let theirs = access.as_somebody(&Identity::new(chain, &key))?;
        // It serves at every member before it is revoked.
        for address in access.addresses() {
            let called = theirs.at(address).insist("who they are", who_am_i).await;
            if let Err(error) = called {
                book.open()
                    .wrong
                    .push(format!("{person} is not let in at {address}: {error:#}"));
            }
        }
        let request = RevokeLoginRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            person: person.clone(),
            reason: "the test".to_owned(),
            lift: false,
        };
        line.insist("a revocation", |channel| {
            let request = request.clone();
            async move {
                CertificateServiceClient::new(channel)
                    .revoke_login(request)
                    .await
                    .map(drop)
            }
        })
        .await?;
        book.open().revoked += 1;
        for address in access.addresses() {
            match theirs.at(address).insist("who they are", refusal).await {
                Ok(true) => book.open().refused += 1,
                Ok(false) => {
                    let wrong = format!("{person} was revoked, and is let in at {address}");
                    book.open().wrong.push(wrong);
                }
                Err(error) => book
                    .open()
                    .wrong
                    .push(format!("{person} at {address}: {error:#}")),
            }
        }
    }
    Ok(())
}

async fn who_am_i(channel: tonic::transport::Channel) -> Result<(), tonic::Status> {
    CertificateServiceClient::new(channel)
        .who_am_i(WhoAmIRequest {})
        .await
        .map(drop)
}

/// Whether a call is refused because the login serves no more.
async fn refusal(channel: tonic::transport::Channel) -> Result<bool, tonic::Status> {
    match who_am_i(channel).await {
        Ok(()) => Ok(false),
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => Ok(true),
        Err(status) => Err(status),
    }
}
