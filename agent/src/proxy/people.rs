//! Whether a person's login still serves, and which groups come with it: what a controller says, asked anew all the time.
//!
//! A certificate says who somebody was when it was issued. That a login was revoked or replaced since, and the groups, are the members' to say:
//! where none of them can be asked, nobody from afar is served.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;
use verger_agent_proxy::Caller;
use verger_policy::model::{PersonName, printable_within};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;

use crate::controller::Controllers;

/// What a controller said counts for so long: so soon a revocation reaches who calls.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// How long a controller may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Logins that are remembered.
const MOST: usize = 1_024;
/// The most groups that are taken from a controller.
const GROUPS: usize = 1_024;

/// Why somebody from afar is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotServed {
    /// The members say so.
    Refused(String),
    /// They cannot be asked.
    Away(String),
}

impl NotServed {
    pub(super) fn sentence(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Away(why) => why,
        }
    }
}

type Login = (PersonName, [u8; 32]);
/// When members said of a login who it is, or why it does not serve.
type Said = (Instant, Result<Caller, String>);

/// What is known of logins.
pub(super) struct People {
    controllers: Arc<Controllers>,
    /// Whoever has it asks: one at a time, so that many who come at once are one question for each login.
    client: tokio::sync::Mutex<Option<SessionServiceClient<Channel>>>,
    known: Mutex<HashMap<Login, Said>>,
}

impl People {
    pub(super) fn new(controllers: Arc<Controllers>) -> Self {
        Self {
            controllers,
            client: tokio::sync::Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// The caller that a login is, as members said within [`FRESH`], and when they said it.
    ///
    /// # Errors
    /// When it serves no more, or nobody can say.
    pub(super) async fn caller(
        self: &Arc<Self>,
        person: &PersonName,
        key: [u8; 32],
    ) -> Result<(Instant, Caller), NotServed> {
        let login = (person.clone(), key);
        let (at, said) = match self.held(&login) {
            Some(said) => said,
            None => {
                let people = Arc::clone(self);
                // Whoever waits may leave: what was begun is ended, so that the next address of a controller is come to.
                let asked = tokio::spawn(async move { people.ask(login).await }).await;
                let asked = asked.unwrap_or_else(|error| Err(error.to_string()));
                asked.map_err(|why| {
                    NotServed::Away(format!(
                        "whether the login of person/{person} still serves cannot be asked of a controller: {why}; nobody from afar is served until it can"
                    ))
                })?
            }
        };
        said.map(|caller| (at, caller)).map_err(NotServed::Refused)
    }

    fn held(&self, login: &Login) -> Option<Said> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(login).filter(|(at, _)| at.elapsed() < FRESH).cloned()
    }

    fn keep(&self, login: Login, said: Said) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (at, _)| at.elapsed() < FRESH);
        }
        // What there is no room for is asked again.
        if known.len() < MOST {
            known.insert(login, said);
        }
    }

    async fn ask(&self, login: Login) -> Result<Said, String> {
        let mut held = self.client.lock().await;
        // Somebody may have asked the same meanwhile.
        if let Some(said) = self.held(&login) {
            return Ok(said);
        }
        let (person, key) = &login;
        let request = pb::LookUpPersonRequest {
            person: person.as_str().to_owned(),
            key: key.to_vec().into(),
            machine: self.controllers.machine(),
        };
        let client = match &mut *held {
            Some(client) => client,
            None => {
                // Each address has a limit of its own.
                let connected = self.controllers.connect().await;
                let connected = connected.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
                held.insert(connected)
            }
        };
        let at = Instant::now();
        let why = match tokio::time::timeout(LIMIT, client.look_up_person(request)).await {
            Ok(Ok(answer)) => {
                let said = (at, read(person, answer.into_inner()));
                self.keep(login, said.clone());
                return Ok(said);
            }
            // One that answers is there, whatever it says.
            Ok(Err(status))
                if !matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) =>
            {
                return Err(printable_within(status.message(), 200));
            }
            Ok(Err(status)) => printable_within(status.message(), 200),
            Err(_) => format!("none has answered for {} s", LIMIT.as_secs()),
        };
        *held = None;
        Err(why)
    }
}

/// Reads what a controller says.
fn read(person: &PersonName, answer: pb::LookUpPersonResponse) -> Result<Caller, String> {
    let pb::LookUpPersonResponse { groups, refused } = answer;
    if !refused.is_empty() {
        return Err(format!(
            "person/{person} is not served: {}",
            printable_within(&refused, 300)
        ));
    }
    let groups: Result<BTreeSet<_>, _> = groups.iter().take(GROUPS).map(|group| group.parse()).collect();
    Ok(Caller::Person {
        name: person.clone(),
        groups: groups
            .map_err(|_| format!("person/{person} is not served: a controller names a group that is none"))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(groups: &[&str], refused: &str) -> Result<Caller, String> {
        let answer = pb::LookUpPersonResponse {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            refused: refused.to_owned(),
        };
        read(&"ada".parse().unwrap(), answer)
    }

    #[test]
    fn what_a_controller_says_is_taken_whole_or_not_at_all() {
        let caller = said(&["sre", "dev"], "").unwrap();
        assert_eq!(caller.to_string(), "person/ada");
        let Caller::Person { groups, .. } = caller else {
            panic!("it is a person")
        };
        assert_eq!(groups.len(), 2);
        assert!(said(&["sre", "NO GROUP"], "").is_err());
        let told = said(&["sre"], "revoked\u{1b}[2J").unwrap_err();
        assert!(
            told.starts_with("person/ada is not served: revoked") && !told.contains('\u{1b}'),
            "{told}"
        );
    }
}
