//! This member's word on the cluster's freshness: which set is the newest, where the audit stands, what time it is.
//!
//! The member that leads begins a stamp, each minute and with each new set; the others sign it when it is of what they have applied
//! themselves. It goes through the log, so that a member that is cut off stamps nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{MissedTickBehavior, interval};
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::Member;
use verger_controller_state::{Action, Command, Response, State};
use verger_seal::{Envelope, MemberKey};

use crate::adapters::SystemAmbient;

/// Between two stamps of one set.
const EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Between two looks; no two stamps have the same second.
const LOOK: Duration = Duration::from_secs(1);

/// Stamps for ever.
pub(crate) async fn keep_fresh(member: Arc<Member>, key: MemberKey, name: String) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = false;
    loop {
        look.tick().await;
        let named = member.read(|state| is_named(state, &key));
        if named == Some(false) && !told {
            told = true;
            tracing::warn!(
                key = %key.public(),
                "the trust root does not name this member's key: it says nothing of freshness (verger trust rotate --add-member)"
            );
        }
        if named != Some(true) {
            continue;
        }
        told = false;
        let wall = SystemAmbient.now();
        let leads = member.is_leading();
        let Some(envelope) = member.read(|state| signature(state, &key, leads, wall)) else {
            continue;
        };
        let command = Command::of_member(
            &name,
            wall,
            Action::Stamp {
                envelope: envelope.to_json().into(),
            },
        );
        // The next look is the retry.
        match member.propose(&command).await {
            Ok(Response::Stamped { .. }) => {}
            // The set went on meanwhile.
            Ok(other) => tracing::debug!(?other, "a stamp was not taken"),
            Err(error) => tracing::warn!(%error, "freshness was not stamped"),
        }
    }
}

/// Whether the trust root names this key; `None` before there is one.
fn is_named(state: &State, key: &MemberKey) -> Option<bool> {
    let members = state.cluster()?.trust_root.members();
    Some(members.iter().any(|member| member.public == key.public()))
}

/// What this member is to sign now, signed.
fn signature(state: &State, key: &MemberKey, leads: bool, wall: jiff::Timestamp) -> Option<Envelope> {
    let waiting = state.partial_stamp().filter(|waiting| {
        waiting.envelope.signers([key.public()]).is_empty() && state.may_sign(&waiting.stamp, wall)
    });
    let stamp = match waiting {
        Some(waiting) => waiting.stamp.clone(),
        None if leads => state.due_stamp(wall, EVERY)?,
        None => return None,
    };
    Some(key.stamp(&stamp))
}
