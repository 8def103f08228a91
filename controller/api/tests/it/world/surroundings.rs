//! The authority for certificates, the clock and the dice, all scripted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use verger_controller_api::ports::{Ambient, Below, Holder, IssueError, Issued, Issuer};
use verger_policy::digest::Digest;
use verger_transport::Label;

/// When every test begins.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A certificate request with this key, as [`Authority`] reads it.
pub(crate) fn request_of(key: &str) -> bytes::Bytes {
    format!("request {key}").into_bytes().into()
}

/// The digest of a key.
pub(crate) fn key_digest(key: &str) -> Digest {
    Digest::of(key.as_bytes())
}

/// Issues texts in place of certificates.
#[derive(Default)]
pub(crate) struct Authority {
    broken: AtomicBool,
}

impl Authority {
    /// From now on nothing can be issued.
    pub(crate) fn fail(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn key(csr: &[u8]) -> Result<&str, IssueError> {
        std::str::from_utf8(csr)
            .ok()
            .and_then(|text| text.strip_prefix("request "))
            .ok_or_else(|| IssueError::Request("not a request".to_owned()))
    }
}

impl Issuer for Authority {
    fn key_of(&self, csr: &[u8]) -> Result<Digest, IssueError> {
        Self::key(csr).map(key_digest)
    }

    fn issue(&self, csr: &[u8], holder: &Holder) -> Result<Issued, IssueError> {
        let key = Self::key(csr)?;
        if self.broken.load(Ordering::Relaxed) {
            return Err(IssueError::Authority("the key is on fire".to_owned()));
        }
        let holder = match holder {
            Holder::Agent(agent) => agent.to_string(),
            Holder::Person(person) => format!("person {person}"),
            Holder::PersonUntil(person, end) => format!("person {person} until {end}"),
        };
        Ok(Issued {
            chain: vec![format!("{holder} holds {key}").into_bytes(), b"agents".to_vec()],
            not_after: start() + SignedDuration::from_hours(24),
        })
    }

    fn below(&self, csrs: &[Vec<u8>; 3], member: &Label) -> Result<Below, IssueError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(IssueError::NoRoots("the roots are elsewhere".to_owned()));
        }
        let own = |csr: &Vec<u8>| Ok(format!("{member} below with {}", Self::key(csr)?).into_bytes());
        let [members, agents, people] = csrs;
        Ok(Below {
            own: [own(members)?, own(agents)?, own(people)?],
            roots: ["members", "agents", "people"].map(|root| root.as_bytes().to_vec()),
        })
    }

    fn member_cas(&self) -> Vec<Vec<u8>> {
        vec![b"members".to_vec()]
    }

    fn agent_cas(&self) -> Vec<Vec<u8>> {
        vec![b"agents".to_vec()]
    }

    fn people_cas(&self) -> Vec<Vec<u8>> {
        vec![b"people".to_vec()]
    }
}

/// A clock that is set by hand, and random bytes that never repeat.
pub(crate) struct Surroundings {
    now: Mutex<Timestamp>,
    drawn: AtomicU64,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        Self {
            now: Mutex::new(start()),
            drawn: AtomicU64::new(1),
        }
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, seconds: i64) {
        *self.now.lock().unwrap() += SignedDuration::from_secs(seconds);
    }
}

impl Ambient for Surroundings {
    fn random(&self, bytes: &mut [u8]) {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        for (place, byte) in bytes.iter_mut().zip(drawn.to_be_bytes().into_iter().cycle()) {
            *place = byte;
        }
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }
}
