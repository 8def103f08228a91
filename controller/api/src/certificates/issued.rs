//! What is issued to people is on record before anybody has it; and a certificate that is new is given again, not issued again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tonic::Status;
use verger_controller_state::{Action, Command, Response as Answer};
use verger_policy::digest::Digest;

use crate::asking::Asker;
use crate::ports::{Ambient, Issued, Replicated};
use crate::status::{unavailable, unexpected};

/// Puts a person's certificate on record, in a row of the audit. It may be given once this has come back.
///
/// # Errors
/// When the log cannot be reached: then the certificate is given to nobody.
pub(crate) async fn record(
    replicated: &dyn Replicated,
    ambient: &dyn Ambient,
    asker: Asker,
    person: &str,
    issued: &Issued,
) -> Result<(), Status> {
    let Asker {
        actor,
        from,
        policies,
    } = asker;
    let command = Command {
        stamp: ambient.now(),
        actor,
        request_id: None,
        from,
        policies,
        counted: false,
        action: Action::RecordCertificate {
            person: person.to_owned(),
            digest: Digest::of(issued.chain.first().map_or(&[], Vec::as_slice)),
            ends: issued.not_after,
        },
    };
    let answer = replicated.propose(command).await;
    match answer.map_err(|error| unavailable(&error))? {
        Answer::CertificateRecorded => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// The certificates that this member has renewed, by person.
#[derive(Debug, Default)]
pub(super) struct Renewed(Mutex<BTreeMap<String, Renewal>>);

#[derive(Debug)]
struct Renewal {
    key: Digest,
    at: Timestamp,
    issued: Issued,
}

impl Renewal {
    /// Whether less than a quarter of its life is over: who renews it again has lost the answer, or makes rows.
    fn is_new(&self, now: Timestamp) -> bool {
        let life = self.issued.not_after.duration_since(self.at);
        now.duration_since(self.at) < life / 4
    }
}

impl Renewed {
    fn renewals(&self) -> MutexGuard<'_, BTreeMap<String, Renewal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that a person was given for this key a short while ago.
    pub(super) fn find(&self, person: &str, key: &Digest, now: Timestamp) -> Option<Issued> {
        let renewals = self.renewals();
        let renewal = renewals.get(person)?;
        (renewal.key == *key && renewal.is_new(now)).then(|| renewal.issued.clone())
    }

    /// Keeps one that is on record. Those that are no longer new are let go of: as many are kept as people have logins.
    pub(super) fn keep(&self, person: String, key: Digest, at: Timestamp, issued: Issued) {
        let mut renewals = self.renewals();
        renewals.retain(|_, renewal| renewal.is_new(at));
        renewals.insert(person, Renewal { key, at, issued });
    }
}
