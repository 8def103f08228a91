//! Processes too young to be judged: they are read again when they are older.
//!
//! A runtime sets up a process (the first one, and each exec) in steps: for some 100 ms it is root with all
//! capabilities, in the namespaces, and not yet in the cgroup. Told at once, every `docker exec` would be an intrusion.
//! What is younger than [`SETTLED_AGE`] is therefore not shown yet, and neither is its instance: what was known of it
//! holds until all its processes are settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use verger_policy::facts::{Evidence, InstanceId, LiveFacts, ProcessFacts};

use super::membership::Bond;
use super::{Scan, age};

/// A process younger than this is read again when it is older.
const SETTLED_AGE: Duration = Duration::from_millis(300);
/// On a busy host the steps take longer; while a process bears the name of one that is being set up, it has so much time from
/// the look that found it. Then it is taken as it is.
pub const LONGEST_SETTLING: Duration = Duration::from_secs(2);
/// How long to let pass between two looks at young processes.
pub const SETTLING_STEP: Duration = Duration::from_millis(50);
/// What runc(8) and crun(1) call a process that they set up.
const SETTING_UP: [&str; 2] = ["runc:[", "crun"];

/// What one look at `/proc` found.
#[derive(Debug)]
pub struct Look {
    /// By instance: whose processes are all settled, and whose could not be read.
    pub live: BTreeMap<InstanceId, Evidence<LiveFacts>>,
    /// The instances with young processes, to be looked at again after [`SETTLING_STEP`].
    pub unsettled: Option<Unsettled>,
}

/// Instances with young processes.
#[derive(Debug)]
pub struct Unsettled {
    scan: Scan,
    ids: Vec<InstanceId>,
    young: Vec<Young>,
    /// By place: when its processes are taken as they are.
    waiting: BTreeMap<usize, Instant>,
}

impl Unsettled {
    /// Splits what a scan found.
    pub(super) fn begin(scan: Scan, ids: Vec<InstanceId>, young: Vec<Young>, deadlines: &Deadlines) -> Look {
        let every = (0..ids.len()).collect();
        let latest = Instant::now() + LONGEST_SETTLING;
        let waiting = places(&young)
            .into_iter()
            .map(|place| (place, deadlines.0.get(&ids[place]).copied().unwrap_or(latest)))
            .collect();
        let all = Self {
            scan,
            ids,
            young,
            waiting,
        };
        all.split(every)
    }

    /// Reads the young processes again. Blocks for some 0.1 ms for each of them.
    pub fn again(mut self) -> Look {
        let before: BTreeSet<usize> = self.waiting.keys().copied().collect();
        self.scan.threads.renew();
        for process in std::mem::take(&mut self.young) {
            match self.scan.visit(process.pid) {
                // What cannot be read now is tried again, and taken for unreadable in the end.
                Err(error) if process.places.iter().any(|place| is_over(&self.waiting[place])) => {
                    for place in &process.places {
                        self.scan.blind(*place, &error);
                    }
                }
                Err(_) => self.young.push(process),
                Ok(Some(seen)) if seen.facts.start_ticks == process.start_ticks => {
                    let over = process.places.iter().any(|place| is_over(&self.waiting[place]));
                    if over || seen.is_settled(age::now()) {
                        self.scan.bind(seen);
                    } else {
                        self.young.push(process);
                    }
                }
                // It has ended, or left the instance.
                Ok(_) => {}
            }
        }
        let still = places(&self.young);
        self.waiting.retain(|place, _| still.contains(place));
        self.split(before)
    }

    /// Gives what is settled of these places.
    fn split(mut self, places: BTreeSet<usize>) -> Look {
        let settled = places
            .into_iter()
            .filter(|place| !self.waiting.contains_key(place));
        let live = settled
            .map(|place| (self.ids[place].clone(), self.scan.give(place)))
            .collect();
        let unsettled = (!self.waiting.is_empty()).then_some(self);
        Look { live, unsettled }
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        let by_id = self
            .waiting
            .iter()
            .map(|(place, at)| (self.ids[*place].clone(), *at));
        Deadlines(by_id.collect())
    }
}

/// When instances that wait already are taken as they are. Without this, looks that follow each other fast would put
/// off for ever an instance that starts processes all the time.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeMap<InstanceId, Instant>);

impl Deadlines {
    pub(super) fn is_over(&self, id: &InstanceId) -> bool {
        self.0.get(id).is_some_and(is_over)
    }
}

fn is_over(deadline: &Instant) -> bool {
    Instant::now() >= *deadline
}

fn places(young: &[Young]) -> BTreeSet<usize> {
    young
        .iter()
        .flat_map(|process| process.places.iter().copied())
        .collect()
}

/// A process to be read again.
#[derive(Debug)]
pub(super) struct Young {
    pid: u32,
    /// With the pid, which process it is.
    start_ticks: u64,
    /// The instances it is bound to.
    places: Vec<usize>,
}

impl Young {
    pub(super) fn of(pid: u32, seen: &Seen) -> Self {
        Self {
            pid,
            start_ticks: seen.facts.start_ticks,
            places: seen.bonds().map(|bond| bond.place).collect(),
        }
    }
}

/// A process of some instance.
pub(super) struct Seen {
    pub(super) facts: ProcessFacts,
    pub(super) bonds: Vec<Bond>,
    /// Its threads that are not like it.
    pub(super) threads: Vec<(ProcessFacts, Vec<Bond>)>,
}

impl Seen {
    /// What joins it, or a thread of it, to instances.
    pub(super) fn bonds(&self) -> impl Iterator<Item = &Bond> {
        let of_threads = self.threads.iter().flat_map(|(_, bonds)| bonds);
        self.bonds.iter().chain(of_threads)
    }

    pub(super) fn is_settled(&self, now_ticks: u64) -> bool {
        // A name decides nothing but a longer wait, which ends in any case.
        age::of(self.facts.start_ticks, now_ticks) >= SETTLED_AGE
            && !SETTING_UP.iter().any(|name| self.facts.comm.starts_with(name))
    }
}
