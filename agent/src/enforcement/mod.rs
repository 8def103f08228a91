//! Keeping instances closed: one thread that has the enforcer, and those who ask it.
//!
//! Launches are held here, and the reconciler brings what runs in line with the policy. All that waits when the thread turns to it is
//! served by one transaction, so that many launches at once cost little more than one. What is answered is what was read back from the
//! kernel after it.

mod thread;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use verger_agent_core::enforcer::{Enforcer, Subject};
use verger_agent_core::mode::Capability;
use verger_policy::facts::InstanceId;

/// How long a launch is held. The gate waits for ten seconds.
pub(crate) const HOLD: Duration = Duration::from_secs(8);
/// How long the reconciler waits: for as long as launches do, and what is done before.
const ROUND: Duration = Duration::from_secs(20);
/// Requests that may wait. The gate asks 32 questions at a time.
const WAITING: usize = 64;

/// What the thread is asked.
enum Request {
    Hold(Held),
    Round(Round),
}

/// A launch that waits.
struct Held {
    subject: Subject,
    epoch: u64,
    until: Instant,
    answer: SyncSender<Result<(), String>>,
}

/// What the policy has of everything that runs.
struct Round {
    wanted: Wanted,
    answer: SyncSender<Outcome>,
}

/// Who is to have no network, of those who run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The policy that says so.
    pub(crate) epoch: u64,
    /// They are to have none.
    pub(crate) closed: Vec<Subject>,
    /// They are let be.
    pub(crate) free: Vec<Subject>,
    /// Whether anything of the policy may need rules.
    pub(crate) stand: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Those of the closed that are not, and why.
    pub(crate) open: BTreeMap<InstanceId, String>,
    /// The rules were not as they had been left.
    pub(crate) restored: bool,
    /// The last look found no rules of the agent's: nothing of them is left.
    pub(crate) is_absent: bool,
    /// What is wrong with all of it, where it could not be carried out.
    pub(crate) trouble: Option<String>,
}

/// Those who ask.
#[derive(Clone)]
pub(crate) struct Enforcement {
    requests: SyncSender<Request>,
    name: &'static str,
    capability: Capability,
}

impl Enforcement {
    /// Starts the thread, in which the enforcer is made and stays.
    ///
    /// # Errors
    /// When there is no thread to be had, or the enforcer cannot be made.
    pub(crate) fn start<E: Enforcer + 'static>(
        make: impl FnOnce() -> anyhow::Result<E> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (requests, waiting) = mpsc::sync_channel(WAITING);
        let (made, is_made) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("enforcer".to_owned())
            .spawn(move || match make() {
                Ok(enforcer) => {
                    // Whoever started it waits for this; it never waits here.
                    let _ = made.send(Ok((enforcer.name(), enforcer.capability())));
                    thread::run(enforcer, &waiting);
                }
                Err(error) => drop(made.send(Err(error))),
            })
            .context("cannot start a thread for the enforcer")?;
        let (name, capability) = is_made.recv().context("the enforcer's thread is gone")??;
        Ok(Self {
            requests,
            name,
            capability,
        })
    }

    /// What it can do about control `channels`.
    pub(crate) fn capability(&self) -> Capability {
        self.capability.clone()
    }

    /// Waits until an instance has no network, for at most `limit`. Blocks.
    ///
    /// # Errors
    /// Why that is not seen to be so: a sentence for a person.
    pub(crate) fn hold(&self, subject: Subject, epoch: u64, limit: Duration) -> Result<(), String> {
        let name = self.name;
        let until = Instant::now() + limit;
        let (answer, answered) = mpsc::sync_channel(1);
        let request = Request::Hold(Held {
            subject,
            epoch,
            until,
            answer,
        });
        match self.requests.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(format!(
                    "{name}: more launches wait than can be served; try again"
                ));
            }
            Err(TrySendError::Disconnected(_)) => return Err(gone(name)),
        }
        match answered.recv_timeout(limit) {
            Ok(answer) => answer.map_err(|why| format!("{name}: {why}")),
            Err(RecvTimeoutError::Disconnected) => Err(gone(name)),
            Err(RecvTimeoutError::Timeout) => Err(format!(
                "{name} did not confirm within {} s that its network is closed",
                limit.as_secs_f32()
            )),
        }
    }

    /// Brings what runs in line with what is wanted. Blocks.
    pub(crate) fn round(&self, wanted: Wanted) -> Outcome {
        let (answer, answered) = mpsc::sync_channel(1);
        let everybody: Vec<InstanceId> = wanted
            .closed
            .iter()
            .map(|subject| subject.instance.clone())
            .collect();
        let trouble = |why: String| Outcome {
            open: everybody.into_iter().map(|id| (id, why.clone())).collect(),
            restored: false,
            is_absent: false,
            trouble: Some(why),
        };
        match self.requests.try_send(Request::Round(Round { wanted, answer })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return trouble(format!("{}: too much waits", self.name)),
            Err(TrySendError::Disconnected(_)) => return trouble(gone(self.name)),
        }
        match answered.recv_timeout(ROUND) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => trouble(gone(self.name)),
            Err(RecvTimeoutError::Timeout) => {
                trouble(format!("{} said nothing within {} s", self.name, ROUND.as_secs()))
            }
        }
    }
}

fn gone(name: &str) -> String {
    format!("{name}: its thread is gone; start the agent again")
}

#[cfg(test)]
mod tests;
