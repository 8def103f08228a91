//! Answers what gates ask, one question a connection.
//!
//! Only root may ask: shims call the runtime, and with it the gate, as root. What is answered is worked out of the ledger as it is at
//! that moment and of what the runtime keeps on its disk; the runtime itself is not asked, since it waits for this very answer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use verger_agent_core::enforcer::{Hold, Subject, hold};
use verger_agent_core::freshness::Freshness;
use verger_agent_core::gate::{
    Bundles, Launch, Tightening, decide, is_made_for_more, is_on, takes_away, tightening,
};
use verger_agent_core::ledger::LedgerState;
use verger_gate_protocol::tighten::Tightened;
use verger_gate_protocol::{
    ANSWER_BYTES, Answer, DOCUMENT_BYTES, Document, HEAD_BYTES, Operation, Question, frame, question,
    tighten, within,
};
use verger_policy::compile::Compiled;
use verger_policy::facts::{Instance, oci};
use verger_policy::model::Seccomp;

use crate::clock::Clock;
use crate::enforcement::{Enforcement, HOLD};
use crate::gate::filters::{self, Filters};
use crate::in_force::InForce;
use crate::launches::{Exec, Launches};

/// Questions that are worked on at a time; more wait.
const AT_ONCE: usize = 32;
/// Room that is made for what a gate sends before it has come, bytes: a config is rarely longer.
const ROOM: u32 = 16 << 10;
/// How long a gate may take for its question: it has it ready when it connects.
const LIMIT: Duration = Duration::from_secs(5);

/// What answers are worked out of.
pub(crate) struct Answers {
    pub(crate) bundles: Arc<dyn Bundles>,
    pub(crate) ledger: watch::Receiver<Arc<LedgerState>>,
    pub(crate) freshness: watch::Receiver<Freshness>,
    pub(crate) clock: Clock,
    pub(crate) in_force: Mutex<Option<Arc<InForce>>>,
    pub(crate) enforcement: Enforcement,
    pub(crate) launches: Arc<Launches>,
    pub(crate) filters: Arc<Filters>,
}

/// Answers until stopped.
pub(crate) async fn serve(listener: UnixListener, answers: Answers, stop: CancellationToken) {
    let answers = Arc::new(answers);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut open = JoinSet::new();
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                open.spawn(async move {
                    let _turn = turn;
                    if let Err(error) = attend(stream, answers).await {
                        tracing::warn!(error = format!("{error:#}"), "a gate was not answered");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "a gate could not be let in");
                // Out of descriptors, most likely: others give theirs back.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn attend(mut stream: UnixStream, answers: Arc<Answers>) -> anyhow::Result<()> {
    let uid = stream.peer_cred()?.uid();
    anyhow::ensure!(uid == 0, "uid {uid} asked, and only root may");
    let (question, document) = tokio::time::timeout(LIMIT, hear(&mut stream))
        .await
        .context("its question did not come in time")??;
    let launches = Arc::clone(&answers.launches);
    let (answer, exec) = tokio::task::spawn_blocking(move || answers.answer(&question, &document)).await?;
    let frame = frame(&answer, ANSWER_BYTES)?;
    tokio::time::timeout(LIMIT, stream.write_all(&frame))
        .await
        .context("the answer was not taken in time")??;
    if let Some(exec) = exec {
        tokio::spawn(async move { launches.follow(&exec).await });
    }
    Ok(())
}

async fn hear(stream: &mut UnixStream) -> anyhow::Result<(Question, Vec<u8>)> {
    let head = bytes(stream, HEAD_BYTES).await?;
    let question = question(&head)?;
    let document = bytes(stream, DOCUMENT_BYTES).await?;
    Ok((question, document))
}

async fn bytes(stream: &mut UnixStream, limit: u32) -> anyhow::Result<Vec<u8>> {
    let length = stream.read_u32_le().await?;
    within(length, limit)?;
    // Beyond that room is made for what comes, not for what is announced.
    let mut bytes = Vec::with_capacity(length.min(ROOM) as usize);
    stream.take(length.into()).read_to_end(&mut bytes).await?;
    anyhow::ensure!(bytes.len() == length as usize, "it ended within a frame");
    Ok(bytes)
}

/// What is asked about, with this document.
fn launch<'a>(question: &'a Question, document: &'a [u8]) -> Launch<'a> {
    let id = question.id.as_str();
    match question.operation.document() {
        Document::Config => Launch::Config {
            id,
            bundle: Path::new(&question.bundle),
            config: document,
        },
        Document::Process => Launch::Process {
            id,
            process: document,
        },
        Document::None => Launch::Made { id },
    }
}

impl Answers {
    /// The answer, and the exec that is launched with it.
    fn answer(&self, question: &Question, document: &[u8]) -> (Answer, Option<Exec>) {
        let id = question.id.as_str();
        let launch = launch(question, document);
        let operation = question.operation.word();
        if let Some(floor) = self.ledger.borrow().set_back() {
            let why = format!(
                "the policy that this host holds is older than what it had accepted (epoch {}): its ledger was lost or set back. Nothing is launched until a controller has sent what is newer",
                floor.epoch
            );
            tracing::warn!(container = id, operation, why, "a launch is refused");
            return (Answer::Refuse(why), None);
        }
        let known = match question.operation {
            Operation::Restore => Err("what a checkpoint holds is run, and that is not looked at".to_owned()),
            _ => self.seen(&launch),
        };
        let in_force = self.in_force();
        let at = self.freshness.borrow().time(self.clock.now());
        let mut known = known.as_ref().map_err(String::as_str);
        let mut decided =
            decide(&in_force.compiled, &launch, known, at).map_err(|refusal| refusal.to_string());
        let tightened = match known {
            Ok(instance) if decided.is_err() => {
                self.tightened(&in_force.compiled, question, document, instance, at)
            }
            _ => Err(None),
        };
        match &tightened {
            Ok((_, instance)) => (known, decided) = (Ok(instance), Ok(())),
            Err(Some(why)) => decided = decided.map_err(|said| format!("{said}; {why}")),
            Err(None) => {}
        }
        let exec = match question.operation {
            Operation::Exec => self.launches.named(id, Path::new(&question.pid_file)),
            _ => None,
        };
        let by = exec.as_ref().and_then(|exec| exec.caller.as_deref());
        let held = decided.and_then(|()| self.held(&in_force, question.operation, &launch, known));
        match held {
            Ok(()) => {
                if let Some(exec) = &exec {
                    tracing::info!(container = id, exec = exec.id, by, "an exec is launched");
                }
                tracing::debug!(
                    container = id,
                    operation,
                    unjudged = known.err(),
                    "a launch is allowed"
                );
                if let Some(exec) = &exec {
                    self.launches.launched(id, exec);
                }
                let answer = match tightened {
                    Err(_) => {
                        if let (Ok(instance), Document::Config) = (known, question.operation.document()) {
                            self.learn(&in_force.compiled, instance, document);
                        }
                        Answer::Allow
                    }
                    Ok((tightened, _)) => {
                        let taken = tightened.tightening.told();
                        tracing::warn!(container = id, operation, by, taken, "a launch is tightened");
                        Answer::Tighten(tightened)
                    }
                };
                (answer, exec)
            }
            Err(why) => {
                tracing::warn!(container = id, operation, by, why, "a launch is refused");
                (Answer::Refuse(why), None)
            }
        }
    }

    /// The instance as it is launched, with what this host knows of its seccomp filter.
    fn seen(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        let mut instance = self.bundles.launch(launch)?;
        if self.filters.may_be_default(&instance) {
            // A process may have other capabilities than its container, whose filter it has all the same.
            let given = match launch {
                Launch::Process { id, .. } => {
                    filters::capabilities(&self.bundles.launch(&Launch::Made { id })?)
                }
                Launch::Config { .. } | Launch::Made { .. } => filters::capabilities(&instance),
            };
            self.filters.recognise(&mut instance, given);
        }
        Ok(instance)
    }

    /// Keeps the seccomp filter of what is launched as it is, where its workload has one put into other launches.
    fn learn(&self, compiled: &Compiled, instance: &Instance, document: &[u8]) {
        if let Some(seccomp) = tightening(compiled, instance).and_then(|taken| taken.seccomp) {
            self.filters.keep(&seccomp, instance, document);
        }
    }

    /// What is taken away from a launch that is refused as it is, and the instance it is of then.
    ///
    /// # Errors
    /// When that would be refused, too, or the policy lets nothing be taken away; and, in a sentence, what this host lacks for it.
    fn tightened(
        &self,
        compiled: &Compiled,
        question: &Question,
        document: &[u8],
        instance: &Instance,
        at: jiff::Timestamp,
    ) -> Result<(Tightened, Instance), Option<String>> {
        let Tightening {
            capabilities,
            no_new_privileges,
            read_only_rootfs,
            seccomp,
        } = tightening(compiled, instance).ok_or(None)?;
        let mut tightening = tighten::Tightening {
            capabilities: capabilities.map(|names| names.into_iter().map(str::to_owned).collect()),
            no_new_privileges,
            read_only_rootfs,
            seccomp: None,
        };
        let kind = question.operation.document();
        let applied = |tightening: &tighten::Tightening| {
            let made = tightening.applied(kind, document).map_err(|_| None)?;
            let instance = self.seen(&launch(question, &made)).map_err(|_| None)?;
            Ok::<_, Option<String>>((made, instance))
        };
        let asked = filters::capabilities(instance);
        let (mut made, mut instance) = applied(&tightening)?;
        // Which filter is the runtime's default depends on the capabilities that are left: the one that is on was made for those that were asked for.
        let is_laxer = kind == Document::Config
            && is_on(&Seccomp::Default, &instance.config.seccomp)
            && is_made_for_more(asked, filters::capabilities(&instance));
        match (&seccomp, kind) {
            (Some(seccomp), Document::Config)
                if !is_on(seccomp, &instance.config.seccomp) || is_laxer && *seccomp == Seccomp::Default =>
            {
                tightening.seccomp = Some(self.filter(seccomp, &instance, document)?);
                (made, instance) = applied(&tightening)?;
            }
            (None, _) if is_laxer => {
                return Err(Some(
                    "capabilities would be taken away from it for which its runtime made its default seccomp profile laxer: let the policy say \
                     `tighten: [ seccomp ]`, too, or launch it without them"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        decide(compiled, &launch(question, &made), Ok(&instance), at).map_err(|_| None)?;
        let sha256 = tighten::digest(&made);
        Ok((Tightened { tightening, sha256 }, instance))
    }

    /// The filter that is put in the place of what a launch asks for.
    ///
    /// # Errors
    /// Why none is.
    fn filter(&self, seccomp: &Seccomp, instance: &Instance, document: &[u8]) -> Result<String, String> {
        let filter = self.filters.of(seccomp, instance)?;
        let asked = oci::filter(document).map_err(|error| error.to_string())?;
        if !takes_away(&filter, asked.as_deref()) {
            return Err(
                "its own seccomp profile is not seen to let more through than the blessed one, which is not put in its place then: launch it \
                 with the blessed one, or without one of its own"
                    .to_owned(),
            );
        }
        String::from_utf8(filter).map_err(|error| error.to_string())
    }

    /// Waits until the instance has no network, where it is to have none.
    fn held(
        &self,
        in_force: &InForce,
        operation: Operation,
        launch: &Launch<'_>,
        known: Result<&Instance, &str>,
    ) -> Result<(), String> {
        let peer = |id: &str| self.bundles.launch(&Launch::Made { id });
        match hold(&in_force.compiled, known, peer) {
            Hold::Free => return Ok(()),
            Hold::Refused(why) => return Err(why),
            Hold::Closed => {}
        }
        let instance = known.map_err(str::to_owned)?;
        let (Launch::Config { id, .. } | Launch::Made { id } | Launch::Process { id, .. }) = launch;
        match operation {
            // Nothing of it runs before it is started, and that is asked about, too.
            Operation::Create => return Ok(()),
            Operation::Start | Operation::Exec => {}
            Operation::Run | Operation::Restore => {
                return Err(format!(
                    "its network is to be closed before it runs, and `{}` makes and starts it at once; make it first, then start it",
                    operation.word()
                ));
            }
        }
        let epoch = in_force.compiled.epoch();
        let refused = |why: String| {
            format!(
                "its network is to be closed before it runs, and {why}; policy of epoch {epoch} enforces `channels`"
            )
        };
        let pid = self.bundles.init_pid(id).map_err(refused)?;
        let subject = Subject {
            instance: instance.id.clone(),
            pid,
        };
        self.enforcement.hold(subject, epoch, HOLD).map_err(refused)
    }

    fn in_force(&self) -> Arc<InForce> {
        let ledger = Arc::clone(&self.ledger.borrow());
        let mut held = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(in_force) if in_force.is_of(&ledger) => Arc::clone(in_force),
            _ => Arc::clone(held.insert(Arc::new(InForce::of(&ledger)))),
        }
    }
}

#[cfg(test)]
mod tests;
