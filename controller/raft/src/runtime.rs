//! The runtime that openraft runs on: tokio, with lots that can be drawn the same way again.

pub(crate) mod watch;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use rand::rngs::StdRng;
use rand::{SeedableRng as _, TryRng};
use tokio::runtime::{Handle, RuntimeFlavor};

thread_local! {
    /// What lots are drawn with on this thread; none for what nobody can foretell.
    static LOTS: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on what members draw by lot on this thread (how long to wait before an election) follows from the seed: for simulations, which
/// run all members on one thread.
pub fn seed(seed: u64) {
    LOTS.with_borrow_mut(|lots| *lots = Some(StdRng::seed_from_u64(seed)));
}

/// Draws lots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lots(());

impl TryRng for Lots {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        with(TryRng::try_next_u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        with(TryRng::try_next_u64)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        with(|lots| lots.try_fill_bytes(bytes))
    }
}

fn with<T>(draw: impl FnOnce(&mut StdRng) -> T) -> T {
    LOTS.with_borrow_mut(|lots| match lots {
        Some(lots) => draw(lots),
        None => draw(&mut StdRng::from_rng(&mut rand::rng())),
    })
}

/// Does what takes long where nobody waits for it. On a runtime of one thread there is no such place: there it is done at once, and in one
/// order with everything else.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}

/// Something that goes on until it is ended, or dropped.
pub(crate) struct Background(tokio::task::JoinHandle<()>);

impl Background {
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    pub(crate) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tokio, and these lots.
#[derive(Debug, Default)]
pub(crate) struct Runtime(());

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = Lots;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = watch::InOrder;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Lots {
        Lots(())
    }

    fn new(_threads: usize) -> Self {
        Self(())
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        TokioRuntime::new(1).block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        off_thread(work)
    }
}
