//! The replicated state without replication: one log, applied at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use verger_controller_api::ports::{AuditRows, Replicated, Unavailable};
use verger_controller_state::{Command, Response, State, Tree};

/// A log of one member.
pub(crate) struct Log {
    inner: Mutex<Inner>,
    /// Gone once the member stops.
    revisions: Mutex<Option<watch::Sender<u64>>>,
    /// What is left when the sender is gone.
    last: watch::Receiver<u64>,
}

#[derive(Default)]
struct Inner {
    state: State,
    index: u64,
    /// Rows of the audit, as a store holds them.
    audit: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Every command that was proposed.
    proposed: Vec<Command>,
    /// What the next proposals are answered, in place of being applied.
    answers: VecDeque<Result<Response, Unavailable>>,
    behind: Option<Unavailable>,
    /// What is shown until it is brought up to date.
    shown: Option<State>,
    /// Nobody says whether what is shown is current.
    is_hung: bool,
    /// What is in the log and not applied, while that waits.
    held: Option<Vec<(Command, oneshot::Sender<Response>)>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let (sender, last) = watch::channel(0);
        Self {
            inner: Mutex::default(),
            revisions: Mutex::new(Some(sender)),
            last,
        }
    }

    /// Goes on from a state that one entry made, with its rows of the audit.
    pub(crate) fn begin(&self, state: State, audit: BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut inner = self.inner();
        assert_eq!((inner.index, state.revision()), (0, 1), "nothing was before");
        inner.index = 1;
        inner.state = state;
        inner.audit = audit;
        drop(inner);
        if let Some(revisions) = &*self.revisions.lock().unwrap() {
            revisions.send_replace(1);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The state as it is now.
    pub(crate) fn state(&self) -> State {
        self.inner().state.clone()
    }

    /// Applies commands as one entry of the log: they share a revision.
    pub(crate) fn run_together(&self, commands: &[Command]) -> Vec<Response> {
        let mut inner = self.inner();
        inner.index += 1;
        let index = inner.index;
        inner.state.pass(index);
        let responses = (0..)
            .zip(commands)
            .map(|(ordinal, command)| {
                let (response, changes) = inner.state.apply(index, ordinal, command.encode());
                for change in changes.into_iter().filter(|change| change.tree == Tree::Audit) {
                    match change.value {
                        Some(value) => inner.audit.insert(change.key, value),
                        None => inner.audit.remove(&change.key),
                    };
                }
                response
            })
            .collect();
        drop(inner);
        if let Some(revisions) = &*self.revisions.lock().unwrap() {
            revisions.send_replace(index);
        }
        responses
    }

    /// Applies one command that nobody sent through the API.
    pub(crate) fn run(&self, command: &Command) -> Response {
        self.run_together(std::slice::from_ref(command)).remove(0)
    }

    /// An entry that changes no state, as a new leader's first one.
    pub(crate) fn run_nothing(&self) {
        self.run_together(&[]);
    }

    /// Answers the next proposal so, in place of applying it.
    pub(crate) fn answer(&self, answer: Result<Response, Unavailable>) {
        self.inner().answers.push_back(answer);
    }

    /// From now on what is proposed is in the log and not applied, until it is released.
    pub(crate) fn hold(&self) {
        self.inner().held = Some(Vec::new());
    }

    /// Applies what waited. What was put into the log is carried out, whoever waits for it.
    pub(crate) fn release(&self) {
        let held = self.inner().held.take();
        for (command, answer) in held.into_iter().flatten() {
            let _ = answer.send(self.run(&command));
        }
    }

    /// From now on nothing current can be read.
    pub(crate) fn fall_behind(&self, why: Unavailable) {
        self.inner().behind = Some(why);
    }

    /// What is applied from now on is not shown before it is brought up to date.
    pub(crate) fn lag(&self) {
        let mut inner = self.inner();
        inner.shown = Some(inner.state.clone());
    }

    /// From now on nobody says whether what is here is current.
    pub(crate) fn hang(&self) {
        self.inner().is_hung = true;
    }

    /// Everything that was proposed through the API.
    pub(crate) fn proposed(&self) -> Vec<Command> {
        self.inner().proposed.clone()
    }

    /// How many tasks follow the revisions.
    pub(crate) fn followers(&self) -> usize {
        let revisions = self.revisions.lock().unwrap();
        revisions.as_ref().map_or(0, watch::Sender::receiver_count)
    }

    /// The store loses the last row of the audit.
    pub(crate) fn lose_audit_row(&self) {
        self.inner().audit.pop_last();
    }

    /// Nothing is applied any more.
    pub(crate) fn stop(&self) {
        self.revisions.lock().unwrap().take();
    }
}

#[async_trait]
impl Replicated for Log {
    async fn propose(&self, command: Command) -> Result<Response, Unavailable> {
        let (answer, applied) = {
            let mut inner = self.inner();
            inner.proposed.push(command.clone());
            let answer = inner.answers.pop_front();
            let applied = inner.held.as_mut().map(|held| {
                let (answer, applied) = oneshot::channel();
                held.push((command.clone(), answer));
                applied
            });
            (answer, applied)
        };
        if let Some(applied) = applied {
            return Ok(applied.await.expect("what is held is released"));
        }
        // Others come between, as they do while an entry is on its way to a disk.
        tokio::task::yield_now().await;
        answer.unwrap_or_else(|| Ok(self.run(&command)))
    }

    async fn catch_up(&self) -> Result<(), Unavailable> {
        tokio::task::yield_now().await;
        let is_hung = self.inner().is_hung;
        if is_hung {
            std::future::pending::<()>().await;
        }
        let mut inner = self.inner();
        match inner.behind.clone() {
            Some(why) => Err(why),
            None => {
                inner.shown = None;
                Ok(())
            }
        }
    }

    fn show(&self, look: &mut dyn FnMut(&State)) {
        let inner = self.inner();
        look(inner.shown.as_ref().unwrap_or(&inner.state));
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        let sender = self.revisions.lock().unwrap();
        sender
            .as_ref()
            .map_or_else(|| self.last.clone(), watch::Sender::subscribe)
    }

    fn is_leading(&self) -> bool {
        self.inner().behind.is_none()
    }
}

#[async_trait]
impl AuditRows for Log {
    async fn values(&self, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Bytes>>, Unavailable> {
        tokio::task::yield_now().await;
        let inner = self.inner();
        let value = |key: &Vec<u8>| inner.audit.get(key).cloned().map(Bytes::from);
        Ok(keys.iter().map(value).collect())
    }
}
