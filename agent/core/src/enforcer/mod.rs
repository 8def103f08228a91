//! The port to what enforces in the kernel, and the plan for it.
//!
//! What is wanted is said by instances, what there is by ports: the host's ends of the links by which an instance reaches any network.
//! An enforcer says which ports an instance has and which of them it has closed, as the kernel has it at that moment; it keeps nothing
//! that would have to be believed. [`plan`] says what to change, and [`confirm`] whether an instance is closed.

pub mod conformance;
pub mod fake;
mod hold;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use verger_policy::facts::InstanceId;

use crate::mode::Capability;

pub use hold::{Hold, hold, is_held_here};
pub use plan::{Open, confirm, plan};

/// What takes steps, and reads back what holds.
///
/// It blocks, and may do so for as long as its own limits let it: callers bound what they wait for.
pub trait Enforcer: Send {
    /// What it is called in sentences and logs.
    fn name(&self) -> &'static str;

    /// The modes of control `channels` that it gives by itself, and why not more.
    fn capability(&self) -> Capability;

    /// What the kernel has now, and how these instances are attached. An instance that cannot be looked at is told in its
    /// [`Attachment`]: one hostile instance never hides the others.
    ///
    /// # Errors
    /// When it cannot be read at all.
    fn observe(&mut self, subjects: &[Subject]) -> Result<Observed, EnforcerError>;

    /// Takes all steps, in one transaction: all of them or none. Taking one again changes nothing. [`Step::Release`] takes back a
    /// [`Step::Close`], [`Step::Remove`] a [`Step::Install`].
    ///
    /// That it succeeds confirms nothing: [`observe`](Self::observe) does.
    ///
    /// # Errors
    /// When nothing was changed.
    fn apply(&mut self, steps: &[Step]) -> Result<(), EnforcerError>;
}

/// An instance, and a process by which its network is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Which.
    pub instance: InstanceId,
    /// The pid of its first process, on the host.
    pub pid: u32,
}

/// The name of a network interface of the host, of the letters that every tool takes for themselves: `A-Z a-z 0-9 . _ -`, at
/// most 15 of them (`IFNAMSIZ`, netdevice(7)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(String);

impl Port {
    /// None where the name has other letters: to some tools they mean more than themselves.
    pub fn new(name: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=15).contains(&name.len()) && name.bytes().all(is_plain);
        fits.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an instance reaches networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// Through these ports and in no other way. None: it has nothing but loopback.
    Ports(BTreeSet<Port>),
    /// Also in a way that cannot be closed.
    Beyond {
        /// Which: a sentence for a person.
        why: String,
        /// Those of its ports that can be closed all the same.
        ports: BTreeSet<Port>,
    },
    /// It could not be seen, and why.
    Unseen(String),
}

impl Attachment {
    /// The ports that can be closed to it.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        let ports = match self {
            Self::Ports(ports) | Self::Beyond { ports, .. } => Some(ports),
            Self::Unseen(_) => None,
        };
        ports.into_iter().flatten()
    }
}

/// Whether the rules stand in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is nothing.
    Absent,
    /// There is something, and not what was put there.
    Altered,
    /// All of it is there.
    Whole,
}

/// What the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whether the rules stand.
    pub standing: Standing,
    /// The ports that they close.
    pub closed: BTreeSet<Port>,
    /// The interfaces that the host has.
    pub links: BTreeSet<Port>,
    /// How each instance that was asked about is attached.
    pub attachments: BTreeMap<InstanceId, Attachment>,
}

impl Observed {
    /// The ports of these instances.
    pub fn ports(&self, of: &BTreeSet<InstanceId>) -> BTreeSet<Port> {
        let attached = of.iter().filter_map(|id| self.attachments.get(id));
        attached.flat_map(Attachment::ports).cloned().collect()
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the rules there anew, with these ports closed, in the place of whatever stands there.
    Install(BTreeSet<Port>),
    /// Close these ports: nothing passes from or to them.
    Close(BTreeSet<Port>),
    /// Open these ports again.
    Release(BTreeSet<Port>),
    /// Take the rules away.
    Remove,
}

/// Why an enforcer could not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{enforcer}: {problem}")]
pub struct EnforcerError {
    /// Which.
    pub enforcer: &'static str,
    /// What went wrong, and the remedy where there is one; safe to show.
    pub problem: String,
}

#[cfg(test)]
mod tests;
