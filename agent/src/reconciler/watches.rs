//! The watches of all runtimes as one.

use std::sync::Arc;

use futures::future::select_all;
use verger_agent_core::runtime::{Runtime, RuntimeEvent, Watch};

/// A watch for each runtime.
pub(super) struct Watches(Vec<Box<dyn Watch>>);

impl Watches {
    /// Starts them. There is at least one runtime.
    pub(super) fn of(runtimes: &[Arc<dyn Runtime>]) -> Self {
        Self(runtimes.iter().map(|runtime| runtime.watch()).collect())
    }

    /// The next event of any of them; None once one has ended for good. Cancellation safe, as each of them is.
    pub(super) async fn next(&mut self) -> Option<RuntimeEvent> {
        let (event, _, _) = select_all(self.0.iter_mut().map(|watch| watch.next())).await;
        event
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::FutureExt as _;
    use verger_agent_runtimes::fake::{FakeRuntime, instance};

    #[tokio::test]
    async fn what_any_of_them_tells_is_told_once() {
        let (one, other) = (FakeRuntime::new(), FakeRuntime::new());
        let runtimes: Vec<Arc<dyn Runtime>> = vec![Arc::new(one.clone()), Arc::new(other.clone())];
        let mut watches = Watches::of(&runtimes);
        for _ in 0..2 {
            assert_eq!(watches.next().await, Some(RuntimeEvent::Lost));
        }
        for (runtime, digit) in [(&other, "a"), (&one, "b")] {
            let event = RuntimeEvent::Started(instance(digit, "web").id);
            runtime.emit(&event);
            assert_eq!(watches.next().await, Some(event));
            assert_eq!(watches.next().now_or_never(), None);
        }
    }
}
