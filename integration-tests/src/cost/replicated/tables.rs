//! What it came to, beside the goals.

use super::load::Window;
use super::{ALL, KILLED, LOADS, MOST, ONE, ROUNDS};
use crate::cost::pairs::median;

/// Writes per CPU-second at the most clients, by etcd's: the goal, and below what a run fails.
const GOAL: f64 = 10.0;
const LEAST: f64 = 6.0;
/// Milliseconds that one client's write may take longer, at the middle, than an append and fdatasync of three loops.
const ABOVE_FLOOR: f64 = 0.6;
/// Of etcd's time for one client's write, at the middle.
const OF_ETCD: f64 = 0.7;

/// Verger is the first, etcd the second.
type Both<T> = [T; 2];
const NAMES: Both<&str> = ["Verger", "etcd"];

/// All that was measured; loads are in the order of [`LOADS`].
pub(super) struct Figures {
    version: String,
    pub(super) windows: [Both<Vec<Window>>; LOADS.len()],
    /// Of each write: calls that wait until something is on the disk, and until the disk has it.
    pub(super) syncs: [Both<Vec<[f64; 2]>>; LOADS.len()],
    /// Of the most clients, calls that write nothing.
    pub(super) asked: Both<Vec<Window>>,
    /// Milliseconds, by round.
    pub(super) floor: Vec<f64>,
    /// Seconds.
    pub(super) failovers: Both<Vec<f64>>,
    /// MiB of all members, after the load.
    pub(super) memory: Both<f64>,
    /// Cores that everybody else took.
    pub(super) others: f64,
}

/// How a figure stands to its goal.
const fn is_reached(reached: bool) -> &'static str {
    if reached { "reached" } else { "MISSED" }
}

impl Figures {
    pub(super) fn of(version: String) -> Self {
        Self {
            version,
            windows: Default::default(),
            syncs: Default::default(),
            asked: Default::default(),
            floor: Vec::new(),
            failovers: Default::default(),
            memory: Default::default(),
            others: 0.0,
        }
    }

    /// The middle of a figure over the windows of one side.
    fn middle(&self, load: usize, place: usize, of: impl Fn(&Window) -> f64) -> f64 {
        median(self.windows[load][place].iter().map(of).collect())
    }

    /// The middle of Verger's by etcd's, window by window.
    fn ratio(&self, load: usize, of: impl Fn(&Window) -> f64) -> f64 {
        let [verger, etcd] = &self.windows[load];
        median(
            verger
                .iter()
                .zip(etcd)
                .map(|(verger, etcd)| of(verger) / of(etcd))
                .collect(),
        )
    }

    /// Of one write, at the middle of the windows in which that was counted.
    fn synced(&self, load: usize, place: usize, kind: usize) -> f64 {
        median(self.syncs[load][place].iter().map(|kinds| kinds[kind]).collect())
    }

    /// The last round, in a line.
    pub(super) fn round(&self) -> String {
        let mut line = format!("round {}:", self.floor.len());
        for (clients, both) in LOADS.iter().zip(&self.windows) {
            for (name, windows) in NAMES.iter().zip(both) {
                if let Some(window) = windows.last() {
                    line.push_str(&format!(
                        " {name} {clients}: {:.0}/s, p50 {:.2} ms, {:.0} per CPU-s;",
                        window.per_second(),
                        window.percentile(50),
                        window.per_cpu_second()
                    ));
                }
            }
        }
        line
    }

    pub(super) fn table(&self) -> String {
        let mut table = format!(
            "{}. {ROUNDS} rounds; others took {:.2} cores meanwhile.\n\n\
             | clients | | writes/s | p50, ms | p99, ms | CPU of three, µs a write | writes per CPU-s | fsyncs a write | sync_file_range a write |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            self.version, self.others
        );
        for (load, clients) in LOADS.iter().enumerate() {
            for (place, name) in NAMES.iter().enumerate() {
                table.push_str(&format!(
                    "| {clients} | {name} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} | {:.2} |\n",
                    self.middle(load, place, Window::per_second),
                    self.middle(load, place, |window| window.percentile(50)),
                    self.middle(load, place, |window| window.percentile(99)),
                    1e6 / self.middle(load, place, Window::per_cpu_second),
                    self.middle(load, place, Window::per_cpu_second),
                    self.synced(load, place, 0),
                    self.synced(load, place, 1)
                ));
            }
            table.push_str(&format!(
                "| {clients} | Verger / etcd | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | | |\n",
                self.ratio(load, Window::per_second),
                self.ratio(load, |window| window.percentile(50)),
                self.ratio(load, |window| window.percentile(99)),
                1.0 / self.ratio(load, Window::per_cpu_second),
                self.ratio(load, Window::per_cpu_second)
            ));
        }
        let [verger, etcd] = self.memory;
        let kills = |place: usize| -> String {
            let mut times = self.failovers[place].clone();
            times.sort_by(f64::total_cmp);
            times
                .iter()
                .map(|time| format!("{time:.2}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let [verger_asked, etcd_asked] = self
            .asked
            .each_ref()
            .map(|windows| 1e6 / median(windows.iter().map(Window::per_cpu_second).collect()));
        table.push_str(&format!(
            "\nA call at {MOST} clients that writes nothing (`grpc.health.v1`), CPU of three: Verger {verger_asked:.0} µs, etcd {etcd_asked:.0} µs.\n\
             Three loops of append and fdatasync: {:.2} ms (p50). Resident after the load, all three: Verger {verger:.0} MiB, etcd {etcd:.0} MiB.\n\
             Writes again after the leader was killed, s: Verger {}; etcd {}.\n",
            median(self.floor.clone()),
            kills(0),
            kills(1)
        ));
        table
    }

    /// In one line, and whether it is good enough.
    pub(super) fn verdict(&self) -> (String, bool) {
        let p50 = |window: &Window| window.percentile(50);
        let (lone, floor) = (self.middle(ONE, 0, p50), median(self.floor.clone()));
        let of_etcd = self.ratio(ONE, p50);
        let times = self.ratio(ALL, Window::per_cpu_second);
        let [verger, etcd] = self.failovers.each_ref().map(|times| median(times.clone()));
        let figure = format!(
            "writes again {verger:.2} s after the leader was killed (etcd {etcd:.2} s; median of {KILLED}); one client's p50 {lone:.2} ms, at most \
             {:.2}, which is three raw loops + {ABOVE_FLOOR} ms ({}), and {of_etcd:.2} x etcd's, at most {OF_ETCD} ({}); writes per CPU-second at \
             {MOST} clients, by etcd's: {times:.2}, at least {GOAL} ({}), {LEAST} or the run fails",
            floor + ABOVE_FLOOR,
            is_reached(lone <= floor + ABOVE_FLOOR),
            is_reached(of_etcd <= OF_ETCD),
            is_reached(times >= GOAL),
        );
        (figure, times >= LEAST)
    }
}
