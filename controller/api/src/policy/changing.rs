//! Changing the set.

use bytes::Bytes;
use tonic::Status;
use verger_controller_state::{Action, Refused, Response as Answer, limits};
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_wire::digest_bytes;

use super::Policy;
use crate::asking::Asker;
use crate::authorizer::{Caller, Change, Way};
use crate::status::{answered_otherwise, argument, refused};

/// The most bytes of one change, encoded: what a command holds, less who asked, when, and the request id.
const CHANGE_BYTES: usize = limits::COMMAND_BYTES - (1 << 10);

/// What `Apply` and `Delete` ask for.
pub(super) struct ChangeRequest {
    pub(super) request_id: String,
    pub(super) change: Change,
    pub(super) seal: Bytes,
    pub(super) dry_run: bool,
}

impl Policy {
    /// Makes a change, or says what it would make, if the caller may.
    pub(super) async fn change(
        &self,
        caller: Caller,
        request: ChangeRequest,
    ) -> Result<(u64, Bytes, u64), Status> {
        let ChangeRequest {
            request_id,
            change,
            seal,
            dry_run,
        } = request;
        fits(&change.upserts, &change.deletes, &seal)?;
        let permit = caller.may_change(Way::Apply, &change, &request_id).await?;
        let asker = permit.asker();
        let Change {
            expected_epoch,
            upserts,
            deletes,
        } = change;
        if dry_run {
            return self.rehearse(expected_epoch, &upserts, &deletes).await;
        }
        let action = Action::ApplySet {
            expected_epoch,
            upserts,
            deletes,
            seal,
        };
        self.make(asker, &request_id, action).await
    }

    /// Proposes what makes a set.
    pub(super) async fn make(
        &self,
        asker: Asker,
        id: &str,
        action: Action,
    ) -> Result<(u64, Bytes, u64), Status> {
        match asker
            .propose(&*self.replicated, &*self.ambient, id, action)
            .await?
        {
            Answer::SetApplied {
                epoch,
                root,
                revision,
            } => Ok((epoch, digest_bytes(&root), revision)),
            other => Err(answered_otherwise(&other)),
        }
    }

    // Everything but the seal: it can only be made once the root is known.
    async fn rehearse(
        &self,
        expected: u64,
        upserts: &[Bytes],
        deletes: &[ObjectKey],
    ) -> Result<(u64, Bytes, u64), Status> {
        let (founded, set, revision) =
            self.now(|state| (state.cluster().is_some(), state.set().clone(), state.revision()));
        if !founded {
            return Err(refused(&Refused::NotFounded));
        }
        if set.epoch() != expected {
            return Err(refused(&Refused::EpochConflict {
                expected,
                current: set.epoch(),
            }));
        }
        let no_set = |why: String| refused(&Refused::Set(why));
        let mut objects = Vec::with_capacity(upserts.len());
        for bytes in upserts {
            if bytes.len() > limits::OBJECT_BYTES {
                let (size, limit) = (bytes.len(), limits::OBJECT_BYTES);
                return Err(no_set(format!(
                    "an object of {size} bytes is over the limit of {limit}"
                )));
            }
            objects.push(PolicyObject::from_canonical(bytes).map_err(|error| no_set(error.to_string()))?);
        }
        let next = set
            .change(objects, deletes.iter().cloned())
            .map_err(|error| no_set(error.to_string()))?;
        if next.len() > limits::OBJECTS {
            return Err(no_set(format!("a set holds at most {} objects", limits::OBJECTS)));
        }
        if next.bytes() > limits::SET_BYTES {
            return Err(no_set(limits::set_too_large(&next)));
        }
        Ok((next.epoch(), digest_bytes(&next.root()), revision))
    }
}

/// Refuses what no command can hold, before it is written to the log.
pub(crate) fn fits(upserts: &[Bytes], deletes: &[ObjectKey], seal: &Bytes) -> Result<(), Status> {
    // Tags and lengths around each, at most.
    const AROUND: usize = 16;
    let bodies: usize = upserts.iter().map(|body| body.len() + AROUND).sum();
    let keys: usize = deletes
        .iter()
        .map(|key| key.name.as_str().len() + 2 * AROUND)
        .sum();
    let size = bodies + keys + seal.len();
    if size <= CHANGE_BYTES {
        return Ok(());
    }
    let what =
        format!("with the rest of the change take {size} bytes of {CHANGE_BYTES}: make several changes");
    Err(argument("upserts", what))
}
