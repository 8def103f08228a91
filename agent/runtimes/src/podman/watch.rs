//! Follows what Podman does: its folders are watched, and what a trace in them means is what two looks at the containers say.
//!
//! The order that loses nothing: folders are watched before the look that [`RuntimeEvent::Lost`] follows. Where nothing can be watched, or there is
//! no storage yet, a look now and then has to do. One thread does it, as all of it blocks.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc;
use verger_agent_core::runtime::{BoxFuture, RuntimeEvent, Watch};

use super::PodmanDisk;
use super::eyes::{Eyes, Traces, wait};
use super::sight::{Sights, changes, instance, look};

/// Events that wait for the reader. When a burst fills it, the burst becomes one `Lost`.
const WAITING: usize = 1024;
/// Podman leaves many traces of one thing that it does; they are answered by one look.
const SETTLING: Duration = Duration::from_millis(50);
/// Between two looks where no trace is seen.
const EVERY: Duration = Duration::from_secs(10);

/// Follows until dropped.
pub(super) struct PodmanWatch {
    events: mpsc::Receiver<RuntimeEvent>,
    follower: Follower,
}

enum Follower {
    /// This wakes the thread, which sees then that nobody listens.
    Thread(OwnedFd),
    /// There is none. The channel is kept open: a watch that has ended is one that has failed.
    None { _open: mpsc::Sender<RuntimeEvent> },
}

impl PodmanWatch {
    /// Starts the thread that follows. Where it cannot be started nothing is told but that everything may have changed.
    pub(super) fn start(disk: PodmanDisk) -> Self {
        let (sender, events) = mpsc::channel(WAITING);
        let follower = match begin(disk, sender.clone()) {
            Ok(bell) => Follower::Thread(bell),
            Err(error) => {
                tracing::warn!(%error, "Podman's folders cannot be watched; what changes there is seen at the next scan");
                // There is room: it is new.
                let _ = sender.try_send(RuntimeEvent::Lost);
                Follower::None { _open: sender }
            }
        };
        Self { events, follower }
    }
}

impl Watch for PodmanWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<RuntimeEvent>> {
        Box::pin(self.events.recv())
    }
}

impl Drop for PodmanWatch {
    fn drop(&mut self) {
        self.events.close();
        if let Follower::Thread(bell) = &self.follower {
            // Fails only when the counter is full, and then the bell rings already.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }
}

fn begin(disk: PodmanDisk, sender: mpsc::Sender<RuntimeEvent>) -> io::Result<OwnedFd> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let ring = bell.try_clone()?;
    std::thread::Builder::new()
        .name("podman-watch".to_owned())
        .spawn(move || follow(&disk, &sender, &bell))?;
    Ok(ring)
}

/// Follows until nobody listens.
fn follow(disk: &PodmanDisk, sender: &mpsc::Sender<RuntimeEvent>, bell: &OwnedFd) {
    let mut eyes = match Eyes::open() {
        Ok(eyes) => Some(eyes),
        Err(error) => {
            tracing::warn!(%error, "Podman's folders cannot be watched; what changes there is seen at the next look");
            None
        }
    };
    let mut before = looked(disk, eyes.as_mut());
    let mut lost = true;
    loop {
        if lost && sender.blocking_send(RuntimeEvent::Lost).is_err() {
            return;
        }
        let Traces { execs, overflowed } = traces(&mut eyes, bell);
        if sender.is_closed() {
            return;
        }
        let now = looked(disk, eyes.as_mut());
        let mut events = changes(&before, &now);
        events.extend(execs.iter().map(|id| RuntimeEvent::Exec(instance(id))));
        before = now;
        // What there is no room for is lost, or nobody listens: then the next one fails.
        lost = overflowed || events.into_iter().any(|event| sender.try_send(event).is_err());
    }
}

/// Traces of one burst; none where none was seen for a while.
fn traces(eyes: &mut Option<Eyes>, bell: &OwnedFd) -> Traces {
    match seen(eyes.as_mut(), bell) {
        Ok(traces) => traces,
        Err(error) => {
            tracing::warn!(%error, "Podman's folders are not watched any more; what changes there is seen at the next look");
            *eyes = None;
            std::thread::sleep(EVERY);
            Traces {
                overflowed: true,
                ..Traces::default()
            }
        }
    }
}

fn seen(eyes: Option<&mut Eyes>, bell: &OwnedFd) -> io::Result<Traces> {
    wait(eyes.as_deref(), bell, EVERY)?;
    let Some(eyes) = eyes else {
        return Ok(Traces::default());
    };
    let Some(mut all) = eyes.seen()? else {
        return Ok(Traces::default());
    };
    std::thread::sleep(SETTLING);
    if let Some(more) = eyes.seen()? {
        all.execs.extend(more.execs);
        all.overflowed |= more.overflowed;
    }
    Ok(all)
}

/// Looks, and watches the folders of all that is there. What is newly watched is looked at once more.
fn looked(disk: &PodmanDisk, eyes: Option<&mut Eyes>) -> Sights {
    let mut sights = look(disk);
    if let Some(eyes) = eyes
        && eyes.set(disk.roots(), sights.keys())
    {
        sights = look(disk);
        eyes.set(disk.roots(), sights.keys());
    }
    sights
}
