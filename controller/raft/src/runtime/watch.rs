//! A value that is watched. Tokio's own, but that who waits is woken in the order in which he began to: tokio draws lots (`BigNotify`).

use std::sync::Arc;

use openraft::rt::watch::{RecvError, SendError};
use openraft::rt::{Watch, WatchReceiver, WatchSender};
use openraft::{OptionalSend, OptionalSync};
use tokio::sync::{Notify, watch};

/// The kind of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InOrder(());

/// Changes it.
pub(crate) struct Sender<T> {
    value: Option<watch::Sender<T>>,
    waiters: Arc<Notify>,
}

/// Looks at it.
pub(crate) struct Receiver<T> {
    value: watch::Receiver<T>,
    waiters: Arc<Notify>,
}

impl<T> Sender<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            value: Some(watch::Sender::new(value)),
            waiters: Arc::default(),
        }
    }

    const fn value(&self) -> &watch::Sender<T> {
        self.value.as_ref().expect("it is there until this is dropped")
    }

    pub(crate) fn replace(&self, value: T) {
        self.value().send_replace(value);
        self.waiters.notify_waiters();
    }

    /// For others, who may be woken in any order.
    pub(crate) fn watched(&self) -> watch::Receiver<T> {
        self.value().subscribe()
    }

    pub(crate) fn receiver(&self) -> Receiver<T> {
        Receiver {
            value: self.value().subscribe(),
            waiters: Arc::clone(&self.waiters),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            waiters: Arc::clone(&self.waiters),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        drop(self.value.take());
        // It may have been the last: who waits is told.
        self.waiters.notify_waiters();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            waiters: Arc::clone(&self.waiters),
        }
    }
}

impl<T> Receiver<T> {
    /// Waits until it is so.
    pub(crate) async fn until(&mut self, is_so: impl Fn(&T) -> bool) -> Result<(), RecvError>
    where
        T: Send + Sync,
    {
        while !is_so(&self.value.borrow_and_update()) {
            self.has_changed().await?;
        }
        Ok(())
    }

    async fn has_changed(&mut self) -> Result<(), RecvError> {
        loop {
            let mut woken = std::pin::pin!(self.waiters.notified());
            // From here on no change is missed.
            woken.as_mut().enable();
            match self.value.has_changed() {
                Ok(true) => {
                    self.value.mark_unchanged();
                    return Ok(());
                }
                Ok(false) => woken.await,
                Err(_) => return Err(RecvError(())),
            }
        }
    }
}

impl Watch for InOrder {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let sender = Sender::new(init);
        let receiver = sender.receiver();
        (sender, receiver)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<InOrder, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        let sent = self.value().send(value).map_err(|error| SendError(error.0));
        self.waiters.notify_waiters();
        sent
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let modified = self.value().send_if_modified(modify);
        if modified {
            self.waiters.notify_waiters();
        }
        modified
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.value().borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        self.receiver()
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<InOrder, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        self.has_changed().await
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.value.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.value.borrow_and_update()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_in_order_and_told_of_the_end() {
        let sender = Sender::new(0);
        let woken: Arc<Mutex<Vec<u32>>> = Arc::default();
        let waiting: Vec<_> = (0..32)
            .map(|number| {
                let (mut receiver, woken) = (sender.receiver(), Arc::clone(&woken));
                tokio::spawn(async move {
                    receiver.until(|value| *value == 7).await.unwrap();
                    woken.lock().unwrap().push(number);
                    receiver.changed().await
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for value in [3, 7] {
            sender.replace(value);
            tokio::task::yield_now().await;
        }
        drop(sender);
        for one in waiting {
            assert!(one.await.unwrap().is_err());
        }
        assert_eq!(*woken.lock().unwrap(), (0..32).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_before_anybody_waits_is_not_missed() {
        let sender = Sender::new(0);
        let mut receiver = sender.receiver();
        sender.replace(1);
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow_watched(), 1);
        assert!(!sender.send_if_modified(|_| false));
        let other = sender.clone();
        drop(sender);
        other.replace(2);
        receiver.changed().await.unwrap();
        drop(other);
        assert!(receiver.changed().await.is_err());
    }
}
