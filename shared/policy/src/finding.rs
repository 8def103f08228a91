//! Findings: the deduplicated, long-lived records that a subject violates a rule (05-findings).
//!
//! An agent keeps one [`LocalFinding`] per fault on its host and sends *transitions* of them; the controller
//! replicates one row per (finding, host) and folds them into one [`Finding`] per fault for the cluster.

mod bounds;
mod capacity;
mod chain;
mod clearance;
mod fault;
mod fold;
mod reconcile;
mod standing;
#[cfg(test)]
mod tests;

pub use bounds::{MAX_FIELD_BYTES, MAX_SAMPLE_NAME_BYTES, MAX_TEXT_BYTES};
pub use capacity::{KEEP_RESOLVED, MAX_FINDINGS, ROOM};
pub use chain::Chain;
pub use fold::fold;
pub use reconcile::{Reconciled, Round, Table, reconcile};
pub use standing::{Standing, Told};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::digest::Digest;
use crate::drift::{Check, Outcome};
use crate::facts::InstanceId;
use crate::model::{AgentId, Control, Mode, Name, RuleId};

/// The most instances a record names.
pub const MAX_SAMPLES: usize = 16;

/// The stable identity of a fault: hash of (cluster, rule, subject class, image config digest, discriminator).
/// Never of a container id; never of the policy version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FindingUid(pub Digest);

impl fmt::Display for FindingUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl fmt::Debug for FindingUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a fault is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectClass {
    /// Instances of a workload.
    Workload(Name),
    /// Instances of no workload, by image config digest; none where even that is unknown.
    Unknown(Option<Digest>),
    /// The agent or its host itself.
    Host,
}

/// Where a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Lifecycle {
    /// Violated.
    Open,
    /// Violated, and a person has seen it.
    Acknowledged,
    /// Violated, and an exception lifts it.
    Suppressed,
    /// A fresh pass came from every affected instance, or they are gone.
    Resolved,
}

/// What an agent keeps of one fault on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalFinding {
    /// Identity.
    pub uid: FindingUid,
    /// What it is about.
    pub subject: SubjectClass,
    /// Image config digest, if the subject has one.
    pub image: Option<Digest>,
    /// One of the checks behind it, the worst of them, as it was last sent. Its texts are cut to [`MAX_TEXT_BYTES`] and
    /// [`MAX_FIELD_BYTES`].
    pub check: Check,
    /// `Open`, `Suppressed` or `Resolved`: acknowledgement is the controller's.
    pub lifecycle: Lifecycle,
    /// Wished mode of the control.
    pub wanted: Mode,
    /// What the host really does.
    pub effective: Mode,
    /// Epoch under which it was last seen violated.
    pub epoch: u64,
    /// Affected instances (all of them), those included of which it is not known whether they still are.
    pub affected: BTreeSet<InstanceId>,
    /// Names of up to [`MAX_SAMPLES`] affected instances, as they were last sent.
    pub samples: Vec<Sample>,
    /// Instances of the subject judged in the same round.
    pub evaluated: u64,
    /// Rounds in which it was seen violated.
    pub occurrences: u64,
    /// First seen.
    pub first_seen: Timestamp,
    /// When it was last sent: its last change of state, of counts or of samples.
    pub changed: Timestamp,
    /// How often it opened again, after it was resolved or suppressed.
    pub reopened: u32,
}

impl LocalFinding {
    /// The transition that tells its state as it is now.
    pub fn transition(&self) -> Transition {
        // By name, so that a new field cannot be forgotten here.
        let Self {
            uid,
            subject,
            image,
            check,
            lifecycle,
            wanted,
            effective,
            epoch,
            affected,
            samples,
            evaluated,
            occurrences,
            first_seen,
            changed,
            reopened,
        } = self;
        Transition {
            at: *changed,
            uid: *uid,
            subject: subject.clone(),
            image: *image,
            check: check.clone(),
            lifecycle: *lifecycle,
            wanted: *wanted,
            effective: *effective,
            epoch: *epoch,
            affected: match subject {
                // The host itself is what is affected.
                SubjectClass::Host => u64::from(*lifecycle != Lifecycle::Resolved),
                SubjectClass::Workload(_) | SubjectClass::Unknown(_) => affected.len() as u64,
            },
            samples: samples.clone(),
            evaluated: *evaluated,
            occurrences: *occurrences,
            first_seen: *first_seen,
            reopened: *reopened,
        }
    }
}

/// An affected instance, for a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Its id.
    pub instance: InstanceId,
    /// Its name; hostile bytes.
    pub name: String,
}

/// One change of a fault on one host: the whole new state, so that the last one wins. The affected instances travel as
/// a count and samples; the agent owns the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// Identity.
    pub uid: FindingUid,
    /// What it is about.
    pub subject: SubjectClass,
    /// Image config digest, if the subject has one.
    pub image: Option<Digest>,
    /// The check behind it.
    pub check: Check,
    /// `Open`, `Suppressed` or `Resolved`.
    pub lifecycle: Lifecycle,
    /// Wished mode of the control.
    pub wanted: Mode,
    /// What the host really does.
    pub effective: Mode,
    /// Epoch it was judged under.
    pub epoch: u64,
    /// How many instances are affected.
    pub affected: u64,
    /// Up to [`MAX_SAMPLES`] of them.
    pub samples: Vec<Sample>,
    /// Instances of the subject judged in the same round.
    pub evaluated: u64,
    /// Rounds in which it was seen violated.
    pub occurrences: u64,
    /// First seen.
    pub first_seen: Timestamp,
    /// How often it opened again.
    pub reopened: u32,
}

impl Transition {
    /// Whether the uid is the one its subject, image, rule and field have. One that is not would speak about another
    /// fault, of which other hosts may have rows.
    pub fn is_consistent(&self, cluster: &Digest) -> bool {
        self.uid
            == fingerprint(
                cluster,
                &self.check.rule,
                &self.subject,
                self.image.as_ref(),
                &self.check.field,
            )
    }
}

/// One fault in the whole cluster, folded from the rows of its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Identity.
    pub uid: FindingUid,
    /// Revision (Raft log index) of its last change.
    pub revision: u64,
    /// The control.
    pub control: Control,
    /// The rule.
    pub rule: RuleId,
    /// What it is about.
    pub subject: SubjectClass,
    /// Image config digest.
    pub image: Option<Digest>,
    /// Field, expected, actual, reason, severity, deciding object: of the worst host's row.
    pub check: Check,
    /// Where it stands: open on one host is open.
    pub lifecycle: Lifecycle,
    /// Who acknowledged it, and the note.
    pub acknowledged: Option<Acknowledgement>,
    /// The strictest wish of the hosts where it is not resolved.
    pub wanted: Mode,
    /// What these hosts really do: the least of them.
    pub effective: Mode,
    /// Affected and evaluated instances per host.
    pub hosts: BTreeMap<AgentId, HostCount>,
    /// Up to [`MAX_SAMPLES`] affected instances.
    pub samples: Vec<Sample>,
    /// First seen on any host.
    pub first_seen: Timestamp,
    /// Last change on any host.
    pub changed: Timestamp,
    /// How often it opened again, over all hosts.
    pub reopened: u32,
    /// Rounds in which it was seen violated, over all hosts.
    pub occurrences: u64,
}

/// A person's word on a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// Who.
    pub person: String,
    /// Why.
    pub note: String,
    /// When.
    pub at: Timestamp,
}

/// Counts of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostCount {
    /// Instances that violate.
    pub affected: u64,
    /// Instances judged.
    pub evaluated: u64,
}

/// Computes the identity of a fault.
pub fn fingerprint(
    cluster: &Digest,
    rule: &RuleId,
    subject: &SubjectClass,
    image: Option<&Digest>,
    discriminator: &str,
) -> FindingUid {
    let subject = match subject {
        SubjectClass::Workload(name) => format!("workload/{name}"),
        SubjectClass::Unknown(Some(digest)) => format!("unknown/{digest}"),
        SubjectClass::Unknown(None) => "unknown".to_owned(),
        SubjectClass::Host => "host".to_owned(),
    };
    let mut bytes = b"verger/v1/finding\0".to_vec();
    for part in [
        cluster.as_bytes().as_slice(),
        rule.as_str().as_bytes(),
        subject.as_bytes(),
        image.map_or(b"".as_slice(), |digest| digest.as_bytes()),
        discriminator.as_bytes(),
    ] {
        bytes.extend(u64::try_from(part.len()).expect("lengths fit").to_be_bytes());
        bytes.extend(part);
    }
    FindingUid(Digest::of(&bytes))
}

/// Whether a check with this result is a fault to keep a record of.
pub const fn is_fault(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Fail | Outcome::Excepted | Outcome::Error)
}
