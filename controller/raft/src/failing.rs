//! A member that cannot go on says why.

use std::sync::Arc;
use std::time::Duration;

use openraft::rt::WatchReceiver as _;

use crate::member::{Member, Raft};
use crate::runtime::off_thread;

/// Between two looks at whether rows are written.
const LOOK: Duration = Duration::from_secs(1);

impl Member {
    /// Waits until Raft has stopped by itself on this member, and says why. It takes nothing and gives nothing any more then: whatever runs
    /// it has to end.
    pub async fn failure(&self) -> String {
        tokio::select! {
            why = stopped(self.raft()) => why,
            why = self.rows_fail() => why,
        }
    }

    /// Rows are written behind the answers: that they cannot be written shows at the next command else, and there may be none for long.
    async fn rows_fail(&self) -> String {
        let mut every = tokio::time::interval(LOOK);
        loop {
            every.tick().await;
            // It waits while a snapshot takes the rows' place, which is long where it is large; whoever waits here has other things to do.
            let db = Arc::clone(self.db());
            if let Ok(Err(error)) = off_thread(move || db.applied()).await {
                return format!("its rows cannot be written: {error}");
            }
        }
    }
}

/// Waits until Raft has stopped, and says why.
pub(crate) async fn stopped(raft: &Raft) -> String {
    let wait = raft.wait(None);
    let failed = wait.metrics(|metrics| metrics.running_state.is_err(), "whether it has failed");
    let why = match failed.await {
        Ok(metrics) => metrics.running_state,
        // It ended before that was heard: what it said last is there still.
        Err(_) => raft.metrics().borrow_watched().running_state.clone(),
    };
    why.err()
        .map_or_else(|| "it has stopped".to_owned(), |fatal| fatal.to_string())
}
