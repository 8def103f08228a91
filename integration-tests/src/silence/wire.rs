//! What is between an agent and its controller: it forwards bytes, and can stop without closing anything.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use anyhow::{Context as _, Result};

/// Whether it forwards.
#[derive(Debug, Default)]
struct Gate {
    cut: Mutex<bool>,
    mended: Condvar,
}

impl Gate {
    fn pass(&self) {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = self.mended.wait_while(cut, |cut| *cut);
        drop(passed.unwrap_or_else(PoisonError::into_inner));
    }

    fn set(&self, cut: bool) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = cut;
        self.mended.notify_all();
    }
}

/// It. Its threads end with the process.
#[derive(Debug)]
pub(super) struct Wire {
    address: SocketAddr,
    gate: Arc<Gate>,
}

impl Wire {
    /// Listens on loopback, and forwards what comes.
    pub(super) fn to(controller: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("finding a free port")?;
        let (address, gate) = (listener.local_addr()?, Arc::new(Gate::default()));
        let accepting = Arc::clone(&gate);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Also who comes meanwhile waits: nobody closes the door on him.
                accepting.pass();
                let Ok(far) = TcpStream::connect(controller) else {
                    continue;
                };
                let halves = near.try_clone().and_then(|near| Ok((near, far.try_clone()?)));
                let Ok((near_again, far_again)) = halves else {
                    continue;
                };
                forward(near, far, &accepting);
                forward(far_again, near_again, &accepting);
            }
        });
        Ok(Self { address, gate })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it forwards nothing, and closes nothing.
    pub(super) fn cut(&self) {
        self.gate.set(true);
    }

    /// It forwards again, and what waited first.
    pub(super) fn mend(&self) {
        self.gate.set(false);
    }
}

/// Forwards one way, until either side has ended.
fn forward(mut from: TcpStream, mut to: TcpStream, gate: &Arc<Gate>) {
    let gate = Arc::clone(gate);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            gate.pass();
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        // The end is forwarded, too, once anything is.
        gate.pass();
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = from.shutdown(std::net::Shutdown::Both);
    });
}
