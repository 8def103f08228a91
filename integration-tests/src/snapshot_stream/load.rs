//! Who writes meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verger_transport::KeyPair;

use crate::access::{Access, Line};

/// Who writes at a time.
const WRITERS: usize = 4;
/// People to whom each gives logins, in turn.
const PEOPLE: usize = 100;

/// When each write was acknowledged.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<Vec<Instant>>>);

/// The writers.
pub(super) struct Load {
    book: Book,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<Result<()>>>,
}

/// What was acknowledged within a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) writes: usize,
    /// Each second.
    pub(super) rate: f64,
    /// The longest time in which none was.
    pub(super) gap: Duration,
}

impl Load {
    pub(super) fn start(access: &Access) -> Self {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let tasks = (0..WRITERS).map(|number| {
            let (access, book, stop) = (access.clone(), book.clone(), stop.clone());
            tokio::spawn(write(access, number, book, stop))
        });
        Self {
            tasks: tasks.collect(),
            book,
            stop,
        }
    }

    /// What was acknowledged from `begin` to `end`.
    pub(super) fn window(&self, begin: Instant, end: Instant) -> Window {
        let mut times = self.book.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        times.retain(|at| (begin..end).contains(at));
        times.sort_unstable();
        let ends = std::iter::once(begin).chain(times.iter().copied());
        let gaps = ends.zip(times.iter().copied().chain([end]));
        Window {
            writes: times.len(),
            rate: times.len() as f64 / (end - begin).as_secs_f64(),
            gap: gaps.map(|(one, next)| next - one).max().unwrap_or_default(),
        }
    }

    /// Has them end with what they are at.
    pub(super) async fn end(self) -> Result<()> {
        self.stop.cancel();
        for task in self.tasks {
            task.await.context("somebody who writes was lost")??;
        }
        Ok(())
    }
}

async fn write(access: Access, writer: usize, book: Book, stop: CancellationToken) -> Result<()> {
    let mut line = Line::new(&access);
    let csr = KeyPair::generate()?.request()?;
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        line.give_login(&format!("w{writer}-{}", number % PEOPLE), &csr)
            .await?;
        let mut book = book.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.push(Instant::now());
    }
    Ok(())
}
