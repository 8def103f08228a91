//! Which exec a process came of: by its number, by its parents, and by its session.
//!
//! A runtime makes the first process of an exec the leader of a session of its own. What that process starts is told by it as its
//! parent; what has lost its parent is told by the session, which outlives the leader; and what was told once stays so for as long as
//! it is seen. What leaves the session and loses its parent before anybody looks is not told.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use verger_policy::facts::StartedBy;

/// Execs that are remembered; the oldest are forgotten first. A busy host has some a second, of which most end at once.
const MOST: usize = 4_096;
/// An exec of which nothing is seen is forgotten after this long: its process may be young yet.
const UNSEEN: SignedDuration = SignedDuration::from_secs(60);

/// A process, as `/proc/PID/stat` has it (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its pid.
    pub pid: u32,
    /// When it started, clock ticks after boot: with the pid, its identity.
    pub start_ticks: u64,
    /// Its parent's pid.
    pub parent: u32,
    /// Its session: the pid of the process that began it, which may have ended.
    pub session: u32,
}

/// A process's identity.
type Process = (u32, u64);

#[derive(Clone, Debug)]
struct Exec {
    container: String,
    started: StartedBy,
    /// The pid of its first process, once that is known, and when it started: none where it had ended by then.
    first: Option<(u32, Option<u64>)>,
    /// Its session has ended: the number may be another's from now on.
    is_over: bool,
}

/// How long an exec's first process may be too young to be among those that were looked at.
const YOUNG: SignedDuration = SignedDuration::from_secs(5);

/// The execs that were launched, and what is known to be of them.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    /// In the order of their launch.
    execs: Vec<Exec>,
    /// By container, what was told before, with the exec's id.
    told: BTreeMap<String, BTreeMap<Process, String>>,
}

impl Lineage {
    /// An exec is launched in a container. One that is known already is left as it is.
    pub fn launched(&mut self, container: &str, started: StartedBy) {
        if self.execs.iter().any(|exec| exec.started.exec == started.exec) {
            return;
        }
        if self.execs.len() == MOST {
            self.execs.remove(0);
        }
        self.execs.push(Exec {
            container: container.to_owned(),
            started,
            first: None,
            is_over: false,
        });
    }

    /// The first process of an exec: its pid, and when it started (clock ticks after boot). None: it has ended already, and what it
    /// started may go on.
    pub fn began(&mut self, exec: &str, pid: u32, start_ticks: Option<u64>) {
        let mut execs = self.execs.iter_mut();
        if let Some(exec) = execs.find(|known| known.started.exec == exec) {
            exec.first.get_or_insert((pid, start_ticks));
        }
    }

    /// Whether anything is known of a container.
    pub fn knows(&self, container: &str) -> bool {
        self.execs.iter().any(|exec| exec.container == container)
    }

    /// Says what each of a container's processes came of: all of them, as they are now. What is of no exec is left out.
    pub fn tell(&mut self, container: &str, processes: &[Seen], now: Timestamp) -> BTreeMap<u32, StartedBy> {
        let by_pid: BTreeMap<u32, &Seen> = processes.iter().map(|seen| (seen.pid, seen)).collect();
        let mut told = self.told.remove(container).unwrap_or_default();
        told.retain(|(pid, start), _| by_pid.get(pid).is_some_and(|seen| seen.start_ticks == *start));
        let mut sessions: BTreeMap<u32, String> = BTreeMap::new();
        let held: BTreeSet<u32> = processes.iter().map(|seen| seen.session).collect();
        for exec in self.execs.iter_mut().filter(|exec| exec.container == container) {
            let Some((pid, start)) = exec.first.filter(|_| !exec.is_over) else {
                continue;
            };
            // Nobody enters a session from without: where none of it is left, nothing of it comes any more.
            let is_old = now.duration_since(exec.started.at) > YOUNG;
            exec.is_over = is_old && !by_pid.contains_key(&pid) && !held.contains(&pid);
            let id = &exec.started.exec;
            match (by_pid.get(&pid), start) {
                (Some(seen), Some(start)) if seen.start_ticks == start => {
                    told.insert((pid, start), id.clone());
                    sessions.insert(pid, id.clone());
                }
                // A number is nobody else's while its session lasts. Another process with it: that session is over.
                (Some(_), _) => {}
                (None, _) if exec.is_over => {}
                (None, _) => {
                    sessions.insert(pid, id.clone());
                }
            }
        }
        let mut in_order: Vec<&Seen> = processes.iter().collect();
        in_order.sort_by_key(|seen| (seen.start_ticks, seen.pid));
        // Parents come before their children, but within one tick.
        loop {
            let mut is_news = false;
            for seen in &in_order {
                let process = (seen.pid, seen.start_ticks);
                if told.contains_key(&process) {
                    continue;
                }
                let parent = by_pid.get(&seen.parent).map(|seen| (seen.pid, seen.start_ticks));
                let parents = parent.and_then(|parent| told.get(&parent));
                if let Some(id) = parents.or_else(|| sessions.get(&seen.session)).cloned() {
                    told.insert(process, id);
                    is_news = true;
                }
            }
            if !is_news {
                break;
            }
        }
        let lasting: BTreeSet<&String> = told.values().collect();
        self.execs.retain(|exec| {
            exec.container != container
                || lasting.contains(&exec.started.exec)
                || now.duration_since(exec.started.at).abs() < UNSEEN
        });
        let known: BTreeMap<&str, &StartedBy> = self
            .execs
            .iter()
            .map(|exec| (exec.started.exec.as_str(), &exec.started))
            .collect();
        // An exec that was forgotten for the many that came after it names nothing any more.
        told.retain(|_, id| known.contains_key(id.as_str()));
        let starts = told
            .iter()
            .filter_map(|((pid, _), id)| Some((*pid, (*known.get(id.as_str())?).clone())));
        let starts = starts.collect();
        if !told.is_empty() {
            self.told.insert(container.to_owned(), told);
        }
        starts
    }

    /// Forgets all containers but these.
    pub fn keep(&mut self, running: impl Fn(&str) -> bool) {
        self.execs.retain(|exec| running(&exec.container));
        self.told.retain(|container, _| running(container));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const SHOP: &str = "shop";

    fn started(exec: &str) -> StartedBy {
        StartedBy {
            exec: exec.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            caller: Some("local/1000".to_owned()),
        }
    }

    const fn seen(pid: u32, start_ticks: u64, parent: u32, session: u32) -> Seen {
        Seen {
            pid,
            start_ticks,
            parent,
            session,
        }
    }

    /// What is told, as pids and execs.
    fn told(lineage: &mut Lineage, processes: &[Seen], seconds: i64) -> Vec<(u32, String)> {
        let now = Timestamp::from_second(seconds).unwrap();
        let told = lineage.tell(SHOP, processes, now);
        told.into_iter().map(|(pid, by)| (pid, by.exec)).collect()
    }

    fn of(pids: &[u32]) -> Vec<(u32, String)> {
        pids.iter().map(|pid| (*pid, "e".to_owned())).collect()
    }

    const INIT: Seen = seen(10, 1, 9, 10);
    const OWN: Seen = seen(11, 2, 10, 10);
    const SHELL: Seen = seen(20, 5, 9, 20);

    /// One exec, whose first process is the shell.
    fn begun() -> Lineage {
        let mut lineage = Lineage::default();
        lineage.launched(SHOP, started("e"));
        lineage.began("e", SHELL.pid, Some(SHELL.start_ticks));
        lineage
    }

    #[test]
    fn what_an_exec_started_is_told_and_what_the_container_started_is_not() {
        let mut lineage = begun();
        let all = [seen(22, 6, 21, 20), INIT, OWN, SHELL, seen(21, 6, 20, 20)];
        assert_eq!(told(&mut lineage, &all, 1), of(&[20, 21, 22]));
        assert_eq!(told(&mut lineage, &[INIT, OWN], 2), []);
        let mut unknown = Lineage::default();
        unknown.launched(SHOP, started("e"));
        unknown.began("another", SHELL.pid, Some(SHELL.start_ticks));
        assert_eq!(told(&mut unknown, &all, 1), [], "its process is not known yet");
    }

    #[test]
    fn what_lost_its_parent_is_told_by_its_session_and_what_left_that_by_what_was_told_before() {
        let mut lineage = begun();
        told(&mut lineage, &[INIT, SHELL, seen(21, 6, 20, 21)], 1);
        // The shell is gone: one is in its session, one was seen as its child, and one is neither.
        let after = [
            INIT,
            seen(21, 6, 10, 21),
            seen(22, 7, 10, 20),
            seen(23, 7, 10, 23),
        ];
        assert_eq!(told(&mut lineage, &after, 500), of(&[21, 22]));
    }

    #[test]
    fn what_is_left_of_an_exec_whose_first_process_nobody_saw_is_told_by_its_session() {
        for start in [None, Some(SHELL.start_ticks)] {
            let mut lineage = Lineage::default();
            lineage.launched(SHOP, started("e"));
            lineage.began("e", SHELL.pid, start);
            let all = [INIT, OWN, seen(21, 6, 10, 20), seen(22, 7, 21, 22)];
            assert_eq!(told(&mut lineage, &all, 1), of(&[21, 22]));
        }
    }

    #[test]
    fn a_number_that_is_anothers_by_now_says_nothing() {
        let mut lineage = begun();
        told(&mut lineage, &[INIT, SHELL], 1);
        let after = [INIT, seen(20, 900, 10, 20), seen(21, 901, 20, 20)];
        assert_eq!(told(&mut lineage, &after, 2), []);
        lineage.began("e", 20, Some(900));
        assert_eq!(told(&mut lineage, &after, 3), [], "it has had its first process");
        let mut ended = Lineage::default();
        ended.launched(SHOP, started("e"));
        ended.began("e", 20, None);
        assert_eq!(told(&mut ended, &after, 1), []);
    }

    #[test]
    fn a_session_that_is_over_says_nothing_of_who_has_its_number_next() {
        // With the leader gone, one that lost its parent; 21 is no child of anybody's that is told.
        let (left, next) = (seen(21, 501, 10, 20), seen(30, 900, 10, 20));
        let mut lineage = begun();
        assert_eq!(told(&mut lineage, &[INIT, SHELL, left], 1).len(), 2);
        assert_eq!(told(&mut lineage, &[INIT, left], 10), [(21, "e".to_owned())]);
        assert_eq!(told(&mut lineage, &[INIT], 20), []);
        assert_eq!(told(&mut lineage, &[INIT, next], 21), []);
        // While any of it lasts, what comes in it is of it.
        let mut lasts = begun();
        told(&mut lasts, &[INIT, SHELL, left], 1);
        told(&mut lasts, &[INIT, left], 10);
        assert_eq!(told(&mut lasts, &[INIT, left, next], 20).len(), 2);
    }

    #[test]
    fn an_exec_of_which_nothing_is_left_is_forgotten_once_it_is_old_and_one_that_lasts_is_not() {
        let mut lineage = begun();
        told(&mut lineage, &[INIT, SHELL], 1);
        told(&mut lineage, &[INIT, SHELL], 100_000);
        assert!(lineage.knows(SHOP));
        told(&mut lineage, &[INIT], 100_001);
        assert!(!lineage.knows(SHOP));
        lineage.launched(SHOP, started("e"));
        told(&mut lineage, &[INIT], 59);
        assert!(lineage.knows(SHOP), "its process may be young yet");
        lineage.keep(|container| container != SHOP);
        assert!(!lineage.knows(SHOP));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lineage = Lineage::default();
        for number in 0..=MOST {
            lineage.launched(SHOP, started(&number.to_string()));
        }
        assert_eq!(lineage.execs.len(), MOST);
        assert!(lineage.execs.iter().all(|exec| exec.started.exec != "0"));
    }

    proptest! {
        #[test]
        fn only_what_descends_from_the_exec_or_is_of_its_session_is_told(
            parents in prop::collection::vec((0usize..12, any::<bool>()), 1..12),
        ) {
            // Process n has pid 100 + n; number 0 is the exec's, number 1 the container's own.
            let mut all = vec![seen(100, 1, 1, 100), seen(101, 1, 1, 101)];
            let mut expected = vec![true, false];
            for (number, (parent, leaves)) in parents.iter().enumerate() {
                let parent = parent % all.len();
                let pid = 102 + u32::try_from(number).unwrap();
                let session = if *leaves { pid } else { all[parent].session };
                all.push(seen(pid, 2 + number as u64, all[parent].pid, session));
                expected.push(expected[parent]);
            }
            let mut lineage = Lineage::default();
            lineage.launched(SHOP, started("e"));
            lineage.began("e", 100, Some(1));
            let told = lineage.tell(SHOP, &all, Timestamp::UNIX_EPOCH);
            for (seen, expected) in all.iter().zip(expected) {
                prop_assert_eq!(told.contains_key(&seen.pid), expected);
            }
        }
    }
}
