//! How fast one agent's session is listened to. Whoever says more waits: its messages stay on the wire, and then with it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What may be heard in one go.
const BURST: u32 = 512;
/// How long it takes until one more may be. An agent sends its status four times a second at most, and answers every set.
const EVERY: Duration = Duration::from_millis(5);
/// What a status costs: it is long, and a lock is held while it is noted.
pub(crate) const STATUS: u32 = 25;
/// What anything else costs.
pub(crate) const ANSWER: u32 = 1;

/// The pace of one session.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When all that was heard will have been paid for.
    paid: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { paid: Instant::now() }
    }

    /// Takes note of something heard, and waits where that is too much.
    pub(crate) async fn heard(&mut self, cost: u32) {
        let now = Instant::now();
        self.paid = self.paid.max(now) + EVERY * cost;
        let allowed = EVERY * BURST;
        if self.paid > now + allowed {
            sleep_until(self.paid - allowed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waits(pace: &mut Pace, cost: u32) -> Duration {
        let before = Instant::now();
        pace.heard(cost).await;
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_heard_at_once_and_what_follows_it_at_a_pace() {
        let mut pace = Pace::new();
        for _ in 0..BURST {
            assert_eq!(waits(&mut pace, 1).await, Duration::ZERO);
        }
        let mut waited = Duration::ZERO;
        for _ in 0..40 {
            waited += waits(&mut pace, STATUS).await;
        }
        assert!(waited >= EVERY * STATUS * 39, "{waited:?}");
        tokio::time::advance(EVERY * BURST).await;
        assert_eq!(waits(&mut pace, STATUS).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_says_what_agents_say_never_waits() {
        let mut pace = Pace::new();
        for _ in 0..1_000 {
            tokio::time::advance(Duration::from_millis(250)).await;
            let mut waited = waits(&mut pace, STATUS).await;
            for _ in 0..20 {
                waited += waits(&mut pace, ANSWER).await;
            }
            assert_eq!(waited, Duration::ZERO);
        }
    }
}
