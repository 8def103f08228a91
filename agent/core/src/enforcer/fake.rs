//! An enforcer and the host it closes, in memory; and two that fail in their own ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use verger_policy::facts::InstanceId;

use super::{Attachment, Enforcer, EnforcerError, Observed, Port, Standing, Step, Subject};
use crate::mode::Capability;

/// A host in memory. Clones are the same host.
#[derive(Clone, Debug, Default)]
pub struct FakeHost(Arc<Mutex<Kernel>>);

#[derive(Debug, Default)]
struct Kernel {
    attachments: BTreeMap<u32, Attachment>,
    rules: Option<BTreeSet<Port>>,
    applied: Vec<Step>,
    wipes: bool,
    broken: Option<String>,
}

impl FakeHost {
    fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the process of this pid attached so.
    pub fn attach(&self, pid: u32, attachment: Attachment) {
        self.kernel().attachments.insert(pid, attachment);
    }

    /// The process is gone, and its links with it.
    pub fn end(&self, pid: u32) {
        self.kernel().attachments.remove(&pid);
    }

    /// Somebody takes the rules away.
    pub fn wipe(&self) {
        self.kernel().rules = None;
    }

    /// Somebody takes the rules away right after the next application.
    pub fn wipe_after_a_step(&self) {
        self.kernel().wipes = true;
    }

    /// Somebody takes this port out of those that are closed.
    pub fn take_out(&self, port: &Port) {
        if let Some(closed) = &mut self.kernel().rules {
            closed.remove(port);
        }
    }

    /// Every call fails for this reason from now on; with none, they succeed again.
    pub fn set_broken(&self, why: Option<&str>) {
        self.kernel().broken = why.map(str::to_owned);
    }

    /// Whether anything passes from or to a process.
    pub fn is_open(&self, pid: u32) -> bool {
        let kernel = self.kernel();
        match kernel.attachments.get(&pid) {
            Some(Attachment::Ports(ports)) => {
                let closed = kernel.rules.clone().unwrap_or_default();
                ports.iter().any(|port| !closed.contains(port))
            }
            _ => true,
        }
    }

    /// The steps that were taken.
    pub fn applied(&self) -> Vec<Step> {
        self.kernel().applied.clone()
    }
}

/// An enforcer on that host.
#[derive(Clone, Debug)]
pub struct FakeEnforcer {
    host: FakeHost,
    confirms: bool,
    /// Called before each application.
    delay: Option<fn()>,
}

impl FakeEnforcer {
    /// One that does as it is told.
    pub const fn new(host: FakeHost) -> Self {
        Self {
            host,
            confirms: true,
            delay: None,
        }
    }

    /// One that takes every step gladly and changes nothing.
    pub fn that_never_confirms(host: FakeHost) -> Self {
        Self {
            confirms: false,
            ..Self::new(host)
        }
    }

    /// One that waits for this before it does anything.
    pub fn that_waits(host: FakeHost, wait: fn()) -> Self {
        Self {
            delay: Some(wait),
            ..Self::new(host)
        }
    }

    fn works(&self) -> Result<(), EnforcerError> {
        match &self.host.kernel().broken {
            None => Ok(()),
            Some(why) => Err(EnforcerError {
                enforcer: self.name(),
                problem: why.clone(),
            }),
        }
    }
}

impl Enforcer for FakeEnforcer {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: BTreeSet::new(),
            limit: "it is a fake".to_owned(),
        }
    }

    fn observe(&mut self, subjects: &[Subject]) -> Result<Observed, EnforcerError> {
        self.works()?;
        let kernel = self.host.kernel();
        let seen = |subject: &Subject| -> (InstanceId, Attachment) {
            let attachment = kernel.attachments.get(&subject.pid).cloned();
            let attachment = attachment.unwrap_or_else(|| Attachment::Unseen("no such process".to_owned()));
            (subject.instance.clone(), attachment)
        };
        let links = kernel.attachments.values().flat_map(Attachment::ports);
        Ok(Observed {
            standing: match kernel.rules {
                None => Standing::Absent,
                Some(_) => Standing::Whole,
            },
            closed: kernel.rules.clone().unwrap_or_default(),
            links: links.cloned().collect(),
            attachments: subjects.iter().map(seen).collect(),
        })
    }

    fn apply(&mut self, steps: &[Step]) -> Result<(), EnforcerError> {
        if let Some(delay) = self.delay {
            delay();
        }
        self.works()?;
        if !self.confirms {
            return Ok(());
        }
        let mut kernel = self.host.kernel();
        let mut rules = kernel.rules.clone();
        for step in steps {
            let missing = || EnforcerError {
                enforcer: "fake",
                problem: "no rules stand".to_owned(),
            };
            match step {
                Step::Install(ports) => rules = Some(ports.clone()),
                Step::Close(ports) => rules.as_mut().ok_or_else(missing)?.extend(ports.iter().cloned()),
                Step::Release(ports) => rules
                    .as_mut()
                    .ok_or_else(missing)?
                    .retain(|port| !ports.contains(port)),
                Step::Remove => rules = None,
            }
        }
        kernel.rules = rules.filter(|_| !std::mem::take(&mut kernel.wipes));
        kernel.applied.extend(steps.iter().cloned());
        Ok(())
    }
}
