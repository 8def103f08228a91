//! People who come from afar: by TLS, under the certificates they have for the cluster.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use verger_agent_proxy::Caller;
use verger_policy::model::PersonName;
use verger_transport::{Peer, PeerCertificate, PeopleDoor};

use super::people::{FRESH, NotServed, People};
use super::{Crowd, Place, Proxy, attend, turn_away};
use crate::controller::Controllers;

/// A handshake, and the question whether the login serves, may take so long.
const ADMISSION: Duration = Duration::from_secs(10);
/// Connections of one address at a time of which it is not known yet whose they are.
const STRANGERS: usize = 16;
/// The same of all addresses.
const ALL_STRANGERS: usize = 256;
/// One of those who show no certificate that counts is told, in so long.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Who was let in stays so for this long when no controller can be asked any more.
const UNASKED: Duration = Duration::from_secs(30);

/// The door, listened at.
pub(crate) struct Remote {
    listener: TcpListener,
    door: Arc<PeopleDoor>,
    people: Arc<People>,
}

impl Remote {
    /// Listens where people from afar find the runtime.
    ///
    /// # Errors
    /// When that cannot be listened at.
    pub(crate) async fn listen(
        address: SocketAddr,
        door: Arc<PeopleDoor>,
        controllers: Arc<Controllers>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await;
        Ok(Self {
            listener: listener.with_context(|| format!("`[proxy] remote`: cannot listen at {address}"))?,
            door,
            people: Arc::new(People::new(controllers)),
        })
    }

    /// Serves until stopped.
    pub(super) async fn serve(self, proxy: Arc<Proxy>, crowd: Arc<Crowd>, stop: CancellationToken) {
        let strangers = Arc::new(Crowd::new(STRANGERS, ALL_STRANGERS));
        let strays = Arc::<Strays>::default();
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            while open.try_join_next().is_some() {}
            match accepted {
                Ok((stream, address)) => {
                    let Some(stranger) = strangers.place(block(address.ip())) else {
                        tracing::debug!(%address, "there are too many strangers at the runtime's door; one more is refused");
                        continue;
                    };
                    let guest = Guest {
                        door: Arc::clone(&self.door),
                        people: Arc::clone(&self.people),
                        crowd: Arc::clone(&crowd),
                        proxy: Arc::clone(&proxy),
                        strays: Arc::clone(&strays),
                        address,
                    };
                    if let Err(error) = is_to_be_missed(&stream) {
                        tracing::debug!(%address, %error, "nobody would miss somebody at the runtime's door");
                        continue;
                    }
                    open.spawn(guest.serve(stream, stranger));
                }
                Err(error) => {
                    tracing::error!(%error, "nobody could be let in at the runtime's door");
                    // Out of descriptors, most likely: others give theirs back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Who has one address of IP version 6 has a network of them.
fn block(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Somebody who has connected.
struct Guest {
    door: Arc<PeopleDoor>,
    people: Arc<People>,
    crowd: Arc<Crowd>,
    proxy: Arc<Proxy>,
    strays: Arc<Strays>,
    address: SocketAddr,
}

/// Those who showed no certificate that counts. Anybody may come, as often as he likes: the log is not his to fill.
#[derive(Debug, Default)]
struct Strays(Mutex<(Option<Instant>, u64)>);

impl Strays {
    /// How many others have come since the last was told, where one is to be told now.
    fn tell(&self) -> Option<u64> {
        let mut strays = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, others) = &mut *strays;
        if told.is_some_and(|at| at.elapsed() < TOLD_EVERY) {
            *others += 1;
            return None;
        }
        *told = Some(Instant::now());
        Some(std::mem::take(others))
    }
}

/// Has the kernel see that the other side is there (tcp(7)), also where nothing is said for long: what is open there has a place here.
fn is_to_be_missed(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 3)
}

impl Guest {
    async fn serve(self, stream: TcpStream, stranger: Place) {
        let address = self.address;
        let began = Instant::now();
        let (stream, certificate) = match tokio::time::timeout(ADMISSION, self.door.admit(stream)).await {
            Ok(Ok(admitted)) => admitted,
            Ok(Err(error)) => {
                if let Some(others) = self.strays.tell() {
                    tracing::warn!(%address, %error, others, "somebody at the runtime's door is refused");
                }
                return;
            }
            Err(_) => {
                tracing::info!(%address, "a handshake at the runtime's door took too long");
                return;
            }
        };
        let PeerCertificate { peer, key, not_after } = certificate;
        let Peer::Person(name) = peer else {
            return;
        };
        let Ok(person) = name.to_string().parse::<PersonName>() else {
            return;
        };
        let left = ADMISSION.saturating_sub(began.elapsed());
        let asked = tokio::time::timeout(left, self.people.caller(&person, key)).await;
        let caller = match asked {
            Ok(Ok((_, caller))) => caller,
            Ok(Err(why)) => {
                let why = why.sentence().to_owned();
                tracing::warn!(%address, why, "somebody at the runtime's door is refused");
                return turn_away(stream, why, stranger).await;
            }
            Err(_) => {
                let why =
                    format!("whether the login of person/{person} still serves was not answered in time");
                return turn_away(stream, why, stranger).await;
            }
        };
        drop(stranger);
        let Some(place) = self.crowd.place(caller.to_string()) else {
            tracing::debug!(%caller, "there are too many connections to the runtime; one more is refused");
            return;
        };
        tracing::info!(%address, %caller, "somebody from afar is let in");
        let place = Arc::new(place);
        let (say, said) = watch::channel(caller);
        let still = Still {
            people: self.people,
            person,
            key,
            not_after,
        };
        tokio::spawn(still.watch(say, Arc::downgrade(&place)));
        attend(stream, said, place, self.proxy).await;
    }
}

/// Whether somebody who was let in still serves.
struct Still {
    people: Arc<People>,
    person: PersonName,
    key: [u8; 32],
    not_after: i64,
}

impl Still {
    /// Ends all that became of a connection once its login serves no more: also a stream that is open.
    async fn watch(self, say: watch::Sender<Caller>, place: std::sync::Weak<Place>) {
        let mut asked = Instant::now();
        loop {
            tokio::time::sleep(FRESH).await;
            let Some(place) = place.upgrade() else {
                return;
            };
            let left = UNASKED.saturating_sub(asked.elapsed());
            let answer = tokio::time::timeout(left, self.people.caller(&self.person, self.key)).await;
            let unanswered = |_| {
                Err(NotServed::Away(format!(
                    "whether the login of person/{} still serves was not answered for {} s",
                    self.person,
                    UNASKED.as_secs()
                )))
            };
            let why = match answer.unwrap_or_else(unanswered) {
                _ if self.not_after <= jiff::Timestamp::now().as_second() => {
                    "the certificate has ended".to_owned()
                }
                Ok((at, caller)) => {
                    asked = at;
                    say.send_if_modified(|held| {
                        let differs = *held != caller;
                        *held = caller;
                        differs
                    });
                    continue;
                }
                Err(NotServed::Away(_)) if asked.elapsed() < UNASKED => continue,
                Err(why) => why.sentence().to_owned(),
            };
            tracing::warn!(person = %self.person, why, "what was let in from afar is ended");
            place.end();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whoever_has_many_addresses_is_one() {
        let of = |text: &str| block(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}
