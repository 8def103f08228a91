//! The thread that has the enforcer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use verger_agent_core::enforcer::{
    Enforcer, EnforcerError, Observed, Open, Port, Standing, Step, Subject, confirm, plan,
};
use verger_policy::facts::InstanceId;

use super::{Held, Outcome, Request, Round};

/// Between two looks at what is not confirmed yet.
const AGAIN: Duration = Duration::from_millis(100);

/// What the thread remembers: nothing that it would answer with.
#[derive(Default)]
struct Memory {
    /// What is closed, and the newest policy that had each port closed (0: it was found so): what an older one says of it counts no
    /// more.
    closed_by: BTreeMap<Port, u64>,
    /// What was closed when this was last done with the rules.
    left: BTreeSet<Port>,
    /// The rules stood when this was last done with them.
    stood: bool,
    /// They were found otherwise since the last round, and put there anew.
    restored: bool,
}

/// Serves until nobody is left who could ask.
pub(super) fn run(mut enforcer: impl Enforcer, requests: &Receiver<Request>) {
    let mut memory = Memory::default();
    let mut held: Vec<Held> = Vec::new();
    loop {
        let first = if held.is_empty() {
            match requests.recv() {
                Ok(request) => Some(request),
                Err(_) => return,
            }
        } else {
            match requests.recv_timeout(AGAIN) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        };
        let mut rounds = Vec::new();
        for request in first.into_iter().chain(requests.try_iter()) {
            match request {
                Request::Hold(one) => held.push(one),
                Request::Round(round) => rounds.push(round),
            }
        }
        let now = Instant::now();
        // Nobody waits for these any more.
        held.retain(|one| one.until > now);
        if !held.is_empty() {
            held = attend(&mut enforcer, &mut memory, held);
        }
        for round in rounds {
            let outcome = carry_out(&mut enforcer, &mut memory, &round);
            // Whoever asked may have stopped waiting.
            let _ = round.answer.send(outcome);
        }
    }
}

/// Closes what launches wait for, and gives back those that are not confirmed yet.
fn attend(enforcer: &mut impl Enforcer, memory: &mut Memory, held: Vec<Held>) -> Vec<Held> {
    let subjects: Vec<Subject> = held.iter().map(|one| one.subject.clone()).collect();
    let epoch = held.iter().map(|one| one.epoch).max().unwrap_or_default();
    let closed: BTreeSet<InstanceId> = subjects.iter().map(|one| one.instance.clone()).collect();
    let seen = change(
        enforcer,
        memory,
        &subjects,
        &closed,
        &BTreeSet::new(),
        true,
        epoch,
    );
    let mut waiting = Vec::new();
    for one in held {
        let answer = match &seen {
            Ok(seen) => match confirm(&one.subject.instance, seen) {
                Err(Open::NotYet) => {
                    waiting.push(one);
                    continue;
                }
                Ok(()) => Ok(()),
                Err(open) => Err(open.to_string()),
            },
            Err(error) => Err(error.problem.clone()),
        };
        // Whoever asked may have stopped waiting.
        let _ = one.answer.send(answer);
    }
    waiting
}

fn carry_out(enforcer: &mut impl Enforcer, memory: &mut Memory, round: &Round) -> Outcome {
    let wanted = &round.wanted;
    let ids = |subjects: &[Subject]| subjects.iter().map(|one| one.instance.clone()).collect();
    let closed: BTreeSet<InstanceId> = ids(&wanted.closed);
    let subjects: Vec<Subject> = wanted.closed.iter().chain(&wanted.free).cloned().collect();
    let seen = change(
        enforcer,
        memory,
        &subjects,
        &closed,
        &ids(&wanted.free),
        wanted.stand,
        wanted.epoch,
    );
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let why = error.to_string();
            return Outcome {
                open: closed.into_iter().map(|id| (id, why.clone())).collect(),
                restored: std::mem::take(&mut memory.restored),
                is_absent: false,
                trouble: Some(why),
            };
        }
    };
    let open = |id: &InstanceId| Some((id.clone(), confirm(id, &seen).err()?.to_string()));
    Outcome {
        open: closed.iter().filter_map(open).collect(),
        restored: std::mem::take(&mut memory.restored),
        is_absent: seen.standing == Standing::Absent,
        trouble: None,
    }
}

/// Looks, changes what is to be changed, and looks again.
fn change(
    enforcer: &mut impl Enforcer,
    memory: &mut Memory,
    subjects: &[Subject],
    closed: &BTreeSet<InstanceId>,
    free: &BTreeSet<InstanceId>,
    stand: bool,
    epoch: u64,
) -> Result<Observed, EnforcerError> {
    let seen = enforcer.observe(subjects)?;
    let is_lost = |port: &Port| seen.links.contains(port) && !seen.closed.contains(port);
    if memory.stood && (seen.standing != Standing::Whole || memory.left.iter().any(is_lost)) {
        tracing::error!(
            standing = ?seen.standing,
            "somebody changed or removed the rules that keep instances closed; they are put there anew"
        );
        memory.restored = true;
    }
    memory.closed_by.retain(|port, _| seen.links.contains(port));
    // What a newer policy had closed is not opened by the word of an older one.
    let is_older = |port: &Port| memory.closed_by.get(port).is_none_or(|by| *by <= epoch);
    let is_current = |id: &&InstanceId| {
        let attachment = seen.attachments.get(*id);
        attachment.is_none_or(|attachment| attachment.ports().all(is_older))
    };
    let free: BTreeSet<InstanceId> = free.iter().filter(is_current).cloned().collect();
    let stand = stand || memory.closed_by.values().any(|by| *by > epoch);
    let kept: BTreeSet<Port> = memory.closed_by.keys().cloned().collect();
    let steps = plan(closed, &free, &kept, &seen, stand);
    let wanted = seen.ports(closed);
    let mut freed = seen.ports(&free);
    freed.retain(|port| !wanted.contains(port));
    for port in wanted {
        let by = memory.closed_by.entry(port).or_default();
        *by = epoch.max(*by);
    }
    // What is taken away here was taken by nobody else, even where it then seems to have failed.
    memory
        .left
        .retain(|port| seen.links.contains(port) && !freed.contains(port));
    if !steps.is_empty() {
        tracing::debug!(?steps, "what is closed changes");
        if steps.contains(&Step::Remove) {
            memory.stood = false;
            memory.left.clear();
        }
        enforcer.apply(&steps)?;
    }
    memory.closed_by.retain(|port, _| !freed.contains(port));
    let seen = if steps.is_empty() {
        seen
    } else {
        enforcer.observe(subjects)?
    };
    for port in &seen.closed {
        memory.closed_by.entry(port.clone()).or_default();
    }
    // What stood before, and was not taken away here, was left so whoever took it since: the next look tells of it.
    memory.left.extend(seen.closed.iter().cloned());
    memory.stood |= seen.standing == Standing::Whole;
    if !stand && seen.standing == Standing::Absent {
        memory.stood = false;
        memory.left.clear();
    }
    Ok(seen)
}
