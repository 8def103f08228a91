//! The way to one member: a proxy that holds everything back until it is opened, counts what passes, and breaks whenever so much has.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way.
#[derive(Clone)]
pub(super) struct Way(Arc<Shared>);

struct Shared {
    is_open: watch::Sender<bool>,
    /// Bytes to the member.
    passed: AtomicU64,
    /// It breaks once as many have, and again after as many more.
    every: AtomicU64,
    breaks: watch::Sender<u64>,
    /// Nothing is broken any more.
    is_whole: AtomicBool,
}

impl Way {
    /// Closed, and breaking every so many bytes once it is open.
    pub(super) fn breaking_every(bytes: u64) -> Self {
        Self(Arc::new(Shared {
            is_open: watch::Sender::new(false),
            passed: AtomicU64::new(0),
            every: AtomicU64::new(bytes),
            breaks: watch::Sender::new(0),
            is_whole: AtomicBool::new(false),
        }))
    }

    /// Lets everything through that comes from now on, and what is held.
    pub(super) fn open(&self) {
        self.0.is_open.send_replace(true);
    }

    /// Breaks no more.
    pub(super) fn mend(&self) {
        self.0.is_whole.store(true, Ordering::SeqCst);
    }

    pub(super) fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::SeqCst)
    }

    pub(super) fn breaks(&self) -> u64 {
        *self.0.breaks.borrow()
    }

    /// Stands before a member that listens at `behind`; gives the address by which the others call it.
    pub(super) async fn stand_before(&self, behind: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a port for a proxy")?;
        let address = listener.local_addr()?;
        let way = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(way.clone().forward(stream, behind));
            }
        });
        Ok(address)
    }

    /// One connection, until either end has enough of it or it breaks.
    async fn forward(self, stream: TcpStream, behind: SocketAddr) {
        let mut is_open = self.0.is_open.subscribe();
        let mut breaks = self.0.breaks.subscribe();
        if is_open.wait_for(|is_open| *is_open).await.is_err() {
            return;
        }
        // The member hears whoever called it, as the proxy does.
        let Ok(inner) = TcpStream::connect(behind).await else {
            return;
        };
        let _ = (stream.set_nodelay(true), inner.set_nodelay(true));
        let ((read, write), (inner_read, inner_write)) = (stream.into_split(), inner.into_split());
        tokio::select! {
            () = self.pass(read, inner_write, true) => {}
            () = self.pass(inner_read, write, false) => {}
            _ = breaks.changed() => {}
        }
    }

    async fn pass(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_counted: bool) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            if is_counted {
                self.count(count as u64);
            }
        }
    }

    fn count(&self, bytes: u64) {
        let Shared {
            is_open: _,
            passed,
            every,
            breaks,
            is_whole,
        } = &*self.0;
        let before = passed.fetch_add(bytes, Ordering::SeqCst);
        let every = every.load(Ordering::SeqCst);
        if before / every != (before + bytes) / every && !is_whole.load(Ordering::SeqCst) {
            breaks.send_modify(|breaks| *breaks += 1);
        }
    }
}
