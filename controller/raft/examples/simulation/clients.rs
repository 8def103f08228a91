//! Clients: they give people logins and look them up, at whatever member, and keep what they saw.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use verger_controller_raft::{Member, ProposeError};
use verger_controller_state::{Action, Command, Response};
use verger_policy::digest::Digest;

use crate::check::{Does, Operation};
use crate::defects::Defect;
use crate::shared::command;
use crate::world::Running;

/// The registers: people, of whom each has one login.
pub(crate) const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];
/// What is not answered by then is not waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two operations of one client, milliseconds.
const REST: std::ops::Range<u64> = 5..120;

/// What all clients saw.
#[derive(Default)]
pub(crate) struct History {
    /// By register.
    pub(crate) operations: BTreeMap<usize, Vec<Operation>>,
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    /// The next value, and the next instant: no two are one.
    next: u64,
    /// What did not fit anything.
    pub(crate) strange: Option<String>,
}

pub(crate) type Shared = Rc<RefCell<History>>;

impl History {
    pub(crate) fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn add(&mut self, person: usize, does: Does, from: u64, to: Option<u64>) {
        let operation = Operation { does, from, to };
        self.operations.entry(person).or_default().push(operation);
    }
}

fn login(person: &str, value: u64) -> Command {
    command(Action::CreateLogin {
        person: person.to_owned(),
        key: key(value),
    })
}

fn key(value: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    Digest::from_bytes(bytes)
}

/// What the register holds, as a member has applied it.
pub(crate) fn held(member: &Member, person: &str) -> u64 {
    let key = member.read(|state| state.login(person).map(|login| *login.key.as_bytes()));
    key.map_or(0, |key| {
        let mut value = [0; 8];
        value.copy_from_slice(&key[..8]);
        u64::from_le_bytes(value)
    })
}

/// One client, until then.
pub(crate) async fn client(
    history: Shared,
    running: Running,
    mut lots: StdRng,
    defect: Option<Defect>,
    until: Instant,
) {
    while Instant::now() < until {
        sleep(Duration::from_millis(lots.random_range(REST))).await;
        let person = lots.random_range(0..PEOPLE.len());
        let writes = lots.random_range(0..2) == 0;
        let member = running.some(&mut lots);
        let Some(member) = member else { continue };
        match writes {
            true => write(&history, &member, person).await,
            false => read(&history, &member, person, defect).await,
        }
    }
}

async fn write(history: &Shared, member: &Member, person: usize) {
    let (value, from) = {
        let mut history = history.borrow_mut();
        (history.tick(), history.tick())
    };
    let command = login(PEOPLE[person], value);
    let answer = timeout(PATIENCE, member.propose(&command)).await;
    let mut history = history.borrow_mut();
    let now = history.tick();
    match answer {
        Ok(Ok(Response::LoginCreated)) => {
            history.acknowledged += 1;
            history.add(person, Does::Write(value), from, Some(now));
        }
        // Nothing was written.
        Ok(Err(ProposeError::NotLeader)) => history.refused += 1,
        Ok(Err(_)) | Err(_) => {
            history.unknown += 1;
            history.add(person, Does::Write(value), from, None);
        }
        Ok(Ok(other)) => history.strange = Some(format!("a login is answered with {other:?}")),
    }
}

pub(crate) async fn read(history: &Shared, member: &Member, person: usize, defect: Option<Defect>) {
    let from = history.borrow_mut().tick();
    let is_current = match defect {
        Some(Defect::StaleRead) => true,
        _ => timeout(PATIENCE, member.catch_up())
            .await
            .is_ok_and(|read| read.is_ok()),
    };
    let mut history = history.borrow_mut();
    let to = history.tick();
    match is_current {
        true => {
            history.acknowledged += 1;
            let value = held(member, PEOPLE[person]);
            history.add(person, Does::Read(value), from, Some(to));
        }
        false => history.refused += 1,
    }
}
