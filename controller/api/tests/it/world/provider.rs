//! An identity provider that says what it is told to.

use std::sync::Mutex;

use verger_controller_api::identity_provider::{Attempt, IdentityProvider, Known, ProviderError, Redemption};
use verger_controller_state::Vouched;

use super::start;

/// Vouches for Bea, of the group `sre`, unless something else is scripted.
#[derive(Default)]
pub(crate) struct Provider {
    /// What the next redemption is answered.
    pub(crate) next: Mutex<Option<Result<Known, ProviderError>>>,
    /// The nonces that were to be in the tokens.
    pub(crate) nonces: Mutex<Vec<String>>,
    given: std::sync::atomic::AtomicI64,
}

impl Provider {
    /// A word about somebody, newer than any before it.
    pub(crate) fn word(&self, person: &str, subject: &str, groups: &[&str]) -> Known {
        let given = self.given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Known {
            person: person.parse().unwrap(),
            word: Vouched {
                issuer: self.issuer().to_owned(),
                subject: subject.to_owned(),
                issued: start() + jiff::SignedDuration::from_secs(given),
                groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            },
            seconds: 3_600,
            replaces: false,
        }
    }

    pub(crate) fn say(&self, next: Result<Known, ProviderError>) {
        *self.next.lock().unwrap() = Some(next);
    }
}

#[tonic::async_trait]
impl IdentityProvider for Provider {
    fn issuer(&self) -> &str {
        "https://id.example"
    }

    async fn begin(&self, attempt: Attempt) -> Result<String, ProviderError> {
        let Attempt {
            redirect,
            state,
            challenge,
            nonce,
        } = attempt;
        Ok(format!(
            "{}/authorize?{}&{state}&{challenge}&{nonce}",
            self.issuer(),
            redirect.url()
        ))
    }

    async fn redeem(&self, redemption: Redemption) -> Result<Known, ProviderError> {
        self.nonces.lock().unwrap().push(redemption.nonce);
        let next = self.next.lock().unwrap().take();
        next.unwrap_or_else(|| Ok(self.word("bea", "b-1", &["sre"])))
    }
}
