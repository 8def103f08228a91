//! The ways between members: a proxy before each, which loses, holds back and slows down what one says to another.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What becomes of what one member says to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// It arrives.
    #[default]
    Open,
    /// Nothing arrives, and nobody is told: it is held until the way is open again.
    Held,
    /// It arrives so much later.
    Late(Duration),
}

type Ways = BTreeMap<(usize, usize), Way>;

/// All of them.
#[derive(Clone)]
pub(super) struct Network(Arc<watch::Sender<Ways>>);

/// The address by which member `number` is told apart: it listens there, and calls from there.
pub(super) fn own_address(number: usize) -> IpAddr {
    let last = u8::try_from(number).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(127, 0, 2, last))
}

fn number_of(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(address) => address.octets()[3].into(),
        IpAddr::V6(_) => 0,
    }
}

impl Network {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Ways::new())))
    }

    /// What becomes of what `from` says to `to`, from now on.
    pub(super) fn set(&self, from: usize, to: usize, way: Way) {
        self.0.send_modify(|ways| {
            ways.insert((from, to), way);
        });
    }

    /// Opens everything.
    pub(super) fn heal(&self) {
        self.0.send_modify(Ways::clear);
    }

    /// Stands before member `to`, which listens at `behind`; gives the address by which the others call it.
    pub(super) async fn stand_before(&self, to: usize, behind: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("a port for a proxy")?;
        let address = listener.local_addr()?;
        let ways = self.0.subscribe();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, peer)) = listener.accept().await {
                let from = number_of(peer.ip());
                connections.spawn(forward(stream, behind, (from, to), ways.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(address)
    }
}

/// One connection, until either end has enough of it.
async fn forward(
    stream: TcpStream,
    behind: SocketAddr,
    (from, to): (usize, usize),
    ways: watch::Receiver<Ways>,
) {
    // The member hears whoever called it, as the proxy does.
    let Ok(inner) = TcpStream::connect(behind).await else {
        return;
    };
    let _ = (stream.set_nodelay(true), inner.set_nodelay(true));
    let ((read, write), (inner_read, inner_write)) = (stream.into_split(), inner.into_split());
    tokio::select! {
        () = pass(read, inner_write, (from, to), ways.clone()) => {}
        () = pass(inner_read, write, (to, from), ways) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    of: (usize, usize),
    mut ways: watch::Receiver<Ways>,
) {
    let mut buffer = vec![0; 64 << 10];
    let of_it = |ways: &Ways| ways.get(&of).copied().unwrap_or_default();
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let way = of_it(&ways.borrow());
        if let Way::Late(by) = way {
            tokio::time::sleep(by).await;
        }
        if ways.wait_for(|ways| of_it(ways) != Way::Held).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
