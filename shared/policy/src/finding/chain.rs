//! The chain over the transitions that one agent tells, and the digest of a transition that it is made of.
//!
//! Each transition moves the chain: `SHA-256(verger/v1/findings, a zero byte, the digest before, the number, the transition's
//! digest)`. Agent and controllers work it out by themselves, so that two who are at the same number and have told each other
//! different things are told apart by one digest.

use super::{Sample, SubjectClass, Transition};
use crate::digest::Digest;
use crate::drift::{Check, Outcome};
use crate::facts::InstanceId;
use crate::finding::Lifecycle;

/// Domain separation of links.
const LINK: &[u8] = b"verger/v1/findings\0";
/// Domain separation of transitions.
const TRANSITION: &[u8] = b"verger/v1/transition\0";

/// How far an agent's transitions reach, and the digest over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The number of the last one.
    pub sequence: u64,
    /// Over all of them.
    pub digest: Digest,
}

impl Chain {
    /// Before the first transition.
    pub const START: Self = Self {
        sequence: 0,
        digest: Digest::from_bytes([0; 32]),
    };

    /// After one more transition, given by its digest.
    #[must_use]
    pub fn then(&self, transition: &Digest) -> Self {
        let sequence = self.sequence.saturating_add(1);
        let bytes = [
            LINK,
            self.digest.as_bytes(),
            &sequence.to_be_bytes(),
            transition.as_bytes(),
        ];
        Self {
            sequence,
            digest: Digest::of(&bytes.concat()),
        }
    }
}

impl Transition {
    /// The digest of all that it says, as it is after it was sent and stored: instants to the millisecond, texts as
    /// [records have them](super::MAX_TEXT_BYTES). Every part has its length before it, so that no two transitions have the
    /// same bytes.
    pub fn digest(&self) -> Digest {
        let Self {
            at,
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
            reopened,
        } = self;
        let mut parts = Parts(TRANSITION.to_vec());
        parts.instant(*at);
        parts.bytes(uid.0.as_bytes());
        match subject {
            SubjectClass::Workload(name) => parts.text("workload").text(name.as_str()),
            SubjectClass::Unknown(image) => parts.text("unknown").digest(image.as_ref()),
            SubjectClass::Host => parts.text("host"),
        };
        parts.digest(image.as_ref());
        parts.check(check);
        parts.text(match lifecycle {
            Lifecycle::Open => "open",
            Lifecycle::Acknowledged => "acknowledged",
            Lifecycle::Suppressed => "suppressed",
            Lifecycle::Resolved => "resolved",
        });
        parts.text(wanted.word()).text(effective.word());
        parts.number(*epoch).number(*affected);
        parts.number(samples.len() as u64);
        for Sample {
            instance: InstanceId { runtime, id },
            name,
        } in samples
        {
            parts.text(runtime.word()).text(id).text(name);
        }
        parts.number(*evaluated).number(*occurrences);
        parts.instant(*first_seen);
        parts.number((*reopened).into());
        Digest::of(&parts.0)
    }
}

/// Bytes that are made of parts, each with its length before it.
struct Parts(Vec<u8>);

impl Parts {
    fn bytes(&mut self, part: &[u8]) -> &mut Self {
        self.0.extend((part.len() as u64).to_be_bytes());
        self.0.extend(part);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Milliseconds since 1970, of an instant before it too.
    fn instant(&mut self, at: jiff::Timestamp) -> &mut Self {
        self.bytes(&at.as_nanosecond().div_euclid(1_000_000).to_be_bytes())
    }

    /// What is absent has no part of its own length: a digest has 32 bytes.
    fn digest(&mut self, digest: Option<&Digest>) -> &mut Self {
        self.bytes(digest.map_or(&[], |digest| digest.as_bytes().as_slice()))
    }

    fn optional(&mut self, text: Option<&str>) -> &mut Self {
        self.number(text.is_some().into()).text(text.unwrap_or_default())
    }

    fn check(&mut self, check: &Check) {
        let Check {
            control,
            rule,
            field,
            result,
            expected,
            actual,
            reason,
            severity,
            decided_by,
        } = check;
        self.text(control.word()).text(rule.as_str()).text(field);
        self.text(match result {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Excepted => "excepted",
            Outcome::NotApplicable => "notApplicable",
            Outcome::NotEvaluated => "notEvaluated",
            Outcome::Error => "error",
        });
        self.optional(expected.as_deref()).optional(actual.as_deref());
        self.text(reason).text(severity.word());
        let decided_by = decided_by.as_ref().map(ToString::to_string);
        self.optional(decided_by.as_deref());
    }
}
