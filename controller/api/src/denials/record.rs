//! Writing them.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep_until};
use verger_controller_state::{Action, Command, Response};

use super::{Denial, Denials, Denied};
use crate::ports::{Ambient, Replicated};

/// Writes refused calls into the audit as they become due, until [`Denials::stop`]. Whoever ends it in another way loses what it
/// took and has not written.
pub async fn keep_record(denials: &Denials, replicated: &dyn Replicated, ambient: &dyn Ambient) {
    loop {
        for denied in denials.due(Instant::now()) {
            if !write(&denied, replicated, ambient).await {
                denials.put_back(denied);
            }
        }
        if denials.stopping.load(Ordering::Acquire) {
            return;
        }
        match denials.next() {
            None => denials.noted.notified().await,
            Some(at) => tokio::select! {
                () = denials.noted.notified() => {}
                () = sleep_until(at) => {}
            },
        }
    }
}

/// Writes all that is in no row yet, before a member stops.
pub async fn write_rest(denials: &Denials, replicated: &dyn Replicated, ambient: &dyn Ambient) {
    for denied in denials.rest() {
        if !write(&denied, replicated, ambient).await {
            return;
        }
    }
}

async fn write(denied: &Denied, replicated: &dyn Replicated, ambient: &dyn Ambient) -> bool {
    let Denied {
        key: _,
        first,
        attempts,
    } = denied;
    let Denial {
        actor,
        address,
        rpc,
        reason,
        policy,
        at,
        about,
    } = first.clone();
    let command = Command {
        stamp: ambient.now(),
        actor: actor.clone(),
        request_id: None,
        from: Some(address.to_string()),
        policies: policy.into_iter().collect(),
        counted: false,
        action: Action::NoteDenied {
            rpc: rpc.clone(),
            reason: reason.clone(),
            attempts: *attempts,
            since: at,
            about,
        },
    };
    match replicated.propose(command).await {
        Ok(Response::DeniedNoted) => {
            // As seldom as the row: whoever floods one log must not flood the other.
            tracing::info!(actor, %address, rpc, reason, attempts, "calls were refused");
            true
        }
        Ok(other) => {
            tracing::error!(?other, ?denied, "refused calls are not on record");
            // Nor would they be the next time.
            true
        }
        Err(error) => {
            tracing::warn!(%error, "refused calls are not on record yet");
            false
        }
    }
}
