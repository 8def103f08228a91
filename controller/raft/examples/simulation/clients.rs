//! Clients: they change the policy set, give and revoke logins, spend join tokens, and look at all of that and at the audit, at whatever
//! member; and keep what they saw.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use verger_controller_raft::{Member, ProposeError};
use verger_controller_state::{Action, Command, Refused, Response};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;

use crate::defects::Defect;
use crate::invariants::linearizability::search::Does;
use crate::invariants::linearizability::{History, Object};
use crate::pauses::Pauses;
use crate::sets;
use crate::shared::command;
use crate::world::Running;

/// Who has logins.
const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];
/// What is not answered by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two operations of one client, milliseconds.
const REST: std::ops::Range<u64> = 5..120;
/// When what is given for a while ends: never, as the clusters' clock stands.
const NEVER: Timestamp = Timestamp::constant(1_000_000, 0);
/// Of tokens so many are tried still, the newest.
const TRIED: usize = 2;

/// What all clients saw.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) history: History,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    /// The next value, and the next instant: no two are one.
    next: u64,
    /// Tokens that were acknowledged.
    tokens: Vec<u64>,
    /// What did not fit anything.
    pub(crate) strange: Option<String>,
}

pub(crate) type Shared = Rc<RefCell<Book>>;

impl Book {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A client, or all that is needed to be one.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) book: Shared,
    pub(crate) running: Running,
    pub(crate) pauses: Pauses,
    pub(crate) defect: Option<Defect>,
}

fn digest(value: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    Digest::from_bytes(bytes)
}

fn value(digest: &Digest) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(value)
}

fn agent(token: u64) -> AgentId {
    format!("h{token}").parse().unwrap()
}

/// What an object holds, as a member has applied it.
fn held(member: &Member, object: Object) -> u64 {
    member.read(|state| match object {
        Object::Policy => sets::read(state.set()),
        Object::Token(token) => state.host(&agent(token)).map_or(0, |host| value(&host.key)),
        Object::Login(person) => state
            .login(PEOPLE[person])
            .filter(|login| login.revoked.is_none())
            .map_or(0, |login| value(&login.key)),
    })
}

impl Client {
    /// Asks until then.
    pub(crate) async fn ask(self, mut lots: StdRng, until: Instant) {
        while Instant::now() < until {
            sleep(Duration::from_millis(lots.random_range(REST))).await;
            let Some((id, member)) = self.running.some(&mut lots) else {
                continue;
            };
            let person = lots.random_range(0..PEOPLE.len());
            let token = self.token(&mut lots);
            let at = (id, &*member);
            match (lots.random_range(0..14), token) {
                (0, _) => self.apply_set(at).await,
                (1 | 2, _) => self.give_login(at, person).await,
                (3, _) => self.revoke_login(at, person).await,
                (4, None) | (5, _) => self.create_token(at).await,
                (4 | 6 | 7, Some(token)) => self.spend(at, token).await,
                (8, Some(token)) => self.read(at, &[Object::Token(token)]).await,
                (9, _) => self.read(at, &[Object::Policy]).await,
                (10 | 11, _) => self.look_at_audit(at).await,
                _ => self.read(at, &[Object::Login(person)]).await,
            }
        }
    }

    /// One that is still tried.
    fn token(&self, lots: &mut StdRng) -> Option<u64> {
        let lot = lots.random_range(0..TRIED);
        self.book.borrow().tokens.iter().rev().nth(lot).copied()
    }

    /// Looks at everything once more.
    pub(crate) async fn look_at_all(&self, at: (u64, &Member)) {
        let tokens = self.book.borrow().tokens.clone();
        let tokens = tokens.into_iter().map(Object::Token);
        let logins = (0..PEOPLE.len()).map(Object::Login);
        self.read(
            at,
            &tokens.chain(logins).chain([Object::Policy]).collect::<Vec<_>>(),
        )
        .await;
        self.look_at_audit(at).await;
    }

    async fn apply_set(&self, at: (u64, &Member)) {
        let Some((epoch, set)) = sets::next(at.1) else {
            return;
        };
        self.write(at, Object::Policy, Does::Swap(epoch, epoch + 1), set)
            .await;
    }

    async fn give_login(&self, at: (u64, &Member), person: usize) {
        let value = self.book.borrow_mut().tick();
        let login = Action::CreateLogin {
            person: PEOPLE[person].to_owned(),
            key: digest(value),
        };
        self.write(at, Object::Login(person), Does::Write(value), login)
            .await;
    }

    async fn revoke_login(&self, at: (u64, &Member), person: usize) {
        let revocation = Action::RevokeLogin {
            person: PEOPLE[person].to_owned(),
            reason: "lost".to_owned(),
        };
        self.write(at, Object::Login(person), Does::Write(0), revocation)
            .await;
    }

    /// Makes a token; who has to be told that it is there is told when that is known.
    async fn create_token(&self, at: (u64, &Member)) {
        let token = self.book.borrow_mut().tick();
        let creation = Action::CreateToken {
            id: format!("t{token}"),
            secret_hash: digest(token),
            agent: agent(token),
            expires: NEVER,
            approval: false,
        };
        // Nobody has spent it yet.
        let answered = self
            .write(at, Object::Token(token), Does::Read(0), creation)
            .await;
        if answered {
            self.book.borrow_mut().tokens.push(token);
        }
    }

    async fn spend(&self, at: (u64, &Member), token: u64) {
        let key = self.book.borrow_mut().tick();
        let spending = Action::Enrol {
            token_id: format!("t{token}"),
            secret_hash: digest(token),
            agent: agent(token),
            key: digest(key),
            machine: None,
        };
        self.write(at, Object::Token(token), Does::Swap(0, key), spending)
            .await;
    }

    /// Has a member do what changes an object so, if it is answered with a success. Says whether it is.
    async fn write(&self, (id, member): (u64, &Member), object: Object, does: Does, action: Action) -> bool {
        let (request, from) = {
            let mut book = self.book.borrow_mut();
            (format!("r{}", book.tick()), book.tick())
        };
        let command = Command {
            request_id: Some(request.clone()),
            ..command(action)
        };
        let asked = async {
            self.pauses.awake(id).await;
            let answer = member.propose(&command).await;
            self.pauses.awake(id).await;
            answer
        };
        let answer = timeout(PATIENCE, asked).await;
        let mut book = self.book.borrow_mut();
        let now = book.tick();
        let done = match answer {
            Ok(Ok(Response::Refused(refused))) => match (does, refused) {
                // Somebody was first.
                (Does::Swap(..), Refused::EpochConflict { current, .. }) => Some(Does::Read(current)),
                (Does::Swap(0, _), Refused::Token) => Some(Does::IsNot(0)),
                (_, refused) => {
                    book.strange = Some(format!("{object:?}: {does:?} is refused: {refused:?}"));
                    return false;
                }
            },
            Ok(Ok(_)) => Some(does),
            // Nothing was written.
            Ok(Err(ProposeError::NotLeader)) => {
                book.refused += 1;
                return false;
            }
            Ok(Err(_)) | Err(_) => None,
        };
        match done {
            Some(done) => {
                book.acknowledged += 1;
                book.history.add(object, done, from, Some(now));
                book.history.write(request, from, Some(now));
            }
            None => {
                book.unknown += 1;
                book.history.add(object, does, from, None);
                book.history.write(request, from, None);
            }
        }
        done == Some(does)
    }

    /// Reads objects, all of them at one moment.
    async fn read(&self, at: (u64, &Member), objects: &[Object]) {
        let values = |member: &Member| -> Vec<u64> {
            let values = objects.iter().map(|object| held(member, *object));
            values.collect()
        };
        if let Some((from, to, values)) = self.look(at, values).await {
            let mut book = self.book.borrow_mut();
            for (object, value) in objects.iter().zip(values) {
                book.history.add(*object, Does::Read(value), from, Some(to));
            }
        }
    }

    async fn look_at_audit(&self, at: (u64, &Member)) {
        let written = |member: &Member| member.read(|state| state.audit_head().written);
        if let Some((from, to, rows)) = self.look(at, written).await {
            self.book.borrow_mut().history.look(from, to, rows);
        }
    }

    /// Looks at a member once that is current; gives when it began and ended, and what was seen.
    async fn look<T>(
        &self,
        (id, member): (u64, &Member),
        look: impl Fn(&Member) -> T,
    ) -> Option<(u64, u64, T)> {
        let from = self.book.borrow_mut().tick();
        let asked = async {
            self.pauses.awake(id).await;
            let is_current = match self.defect {
                Some(Defect::StaleRead) => true,
                _ => member.catch_up().await.is_ok(),
            };
            let seen = is_current.then(|| look(member));
            self.pauses.awake(id).await;
            seen
        };
        let seen = timeout(PATIENCE, asked).await.ok().flatten();
        let mut book = self.book.borrow_mut();
        let to = book.tick();
        match seen {
            Some(seen) => {
                book.acknowledged += 1;
                Some((from, to, seen))
            }
            None => {
                book.refused += 1;
                None
            }
        }
    }
}
