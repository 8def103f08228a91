//! Clients that write, and what it costs the members meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Handle;

use super::processes;
use super::side::{Client, Side, Task};

/// Before a window begins.
const WARM: Duration = Duration::from_millis(250);
/// After a call that was refused.
const AGAIN: Duration = Duration::from_millis(10);
/// One call of so many may be refused, or the window is void.
const REFUSED: u64 = 1_000;

/// What came of a window of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Writes acknowledged within it, or other calls answered.
    pub(super) writes: u64,
    pub(super) took: Duration,
    /// Of all members.
    pub(super) cpu: Duration,
    /// From a write's begin to its answer, the shortest first.
    times: Vec<Duration>,
}

impl Window {
    pub(super) fn per_second(&self) -> f64 {
        self.writes as f64 / self.took.as_secs_f64()
    }

    /// Writes in a second of CPU time of the members.
    pub(super) fn per_cpu_second(&self) -> f64 {
        self.writes as f64 / self.cpu.as_secs_f64().max(f64::EPSILON)
    }

    /// Milliseconds within which so many of a hundred writes were answered.
    pub(super) fn percentile(&self, of_100: usize) -> f64 {
        let place = (self.times.len() * of_100).div_ceil(100).saturating_sub(1);
        self.times
            .get(place)
            .map_or(f64::MAX, |time| time.as_secs_f64() * 1e3)
    }
}

/// All that was answered, in and out of windows.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged(Arc<AtomicU64>);

impl Acknowledged {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Has these clients call one after the other each, all at a time, for so long; gives them back.
pub(super) fn window(
    handle: &Handle,
    side: &dyn Side,
    (clients, call): (Vec<Client>, Task),
    length: Duration,
    acknowledged: &Acknowledged,
) -> Result<(Vec<Client>, Window)> {
    let pids = side.pids()?;
    let stop = Arc::new(AtomicBool::new(false));
    let refused = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for mut client in clients {
        let (stop, refused, acknowledged) = (Arc::clone(&stop), Arc::clone(&refused), acknowledged.clone());
        tasks.push(handle.spawn(async move {
            let (mut times, mut last) = (Vec::new(), None);
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                match client.one(call).await {
                    Ok(()) => {
                        let ended = Instant::now();
                        times.push((ended, ended.duration_since(began)));
                        acknowledged.one_more();
                    }
                    Err(status) => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        last = Some(status);
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
            (client, times, last)
        }));
    }
    std::thread::sleep(WARM);
    let (began, cpu, count) = (Instant::now(), processes::cpu(&pids)?, acknowledged.count());
    std::thread::sleep(length);
    let (ended, cpu_after, count_after) = (Instant::now(), processes::cpu(&pids)?, acknowledged.count());
    stop.store(true, Ordering::Relaxed);
    let (mut clients, mut times, mut last) = (Vec::new(), Vec::new(), None);
    for task in tasks {
        let (client, its, status) = handle.block_on(task).context("a client was lost")?;
        clients.push(client);
        let within = its.into_iter().filter(|(at, _)| (began..ended).contains(at));
        times.extend(within.map(|(_, time)| time));
        last = last.or(status);
    }
    times.sort_unstable();
    let window = Window {
        writes: count_after - count,
        took: ended - began,
        cpu: cpu_after.saturating_sub(cpu),
        times,
    };
    let refused = refused.load(Ordering::Relaxed);
    match last {
        Some(status) if refused * REFUSED > window.writes => bail!(
            "{}: {refused} calls were refused beside {} answered: {status}",
            side.name(),
            window.writes
        ),
        _ => Ok((clients, window)),
    }
}
