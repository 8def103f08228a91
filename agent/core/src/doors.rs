//! The ways to a runtime of this host: whether the gate stands in each, who came past it, and who else has the daemon's ear.
//!
//! What was observed is one value, [`Doors`]; [`Doors::checks`] says what of it is wrong. What could not be observed is not evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::Evidence;
use verger_policy::model::printable_within;
use verger_policy::rules::{GATE_DRIFT, OTHER_DOORS, PAST_GATE, ROOTLESS_RUNTIMES, Rule, UNWATCHED};

/// The longest name in a field or value, characters.
const SHOWN: usize = 200;
/// Containers, users and addresses that get a check of their own; the rest is counted in one more.
const TOLD: usize = 64;

/// What a name of a runtime leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To the gate.
    Gate,
    /// To something else, which this says.
    Elsewhere(String),
}

/// A part of the gate that is not as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub path: PathBuf,
    /// What should be there.
    pub expected: String,
    /// What is. Where that is not known, nobody says that it is wrong.
    pub actual: Evidence<String>,
    /// What to do, in a sentence.
    pub remedy: &'static str,
}

/// The namespace of containerd that is Docker's.
pub const DOCKERS: &str = "moby";
/// What stands for a namespace where there is none: a container of Podman's.
pub const PODMANS: &str = "podman";

/// A process that holds a container for a runtime (a containerd shim, Podman's conmon).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shim {
    /// The namespace of containerd: [`DOCKERS`] is Docker's. [`PODMANS`] where it is of no containerd.
    pub namespace: String,
    /// The container's id.
    pub id: String,
    /// What it calls as its runtime.
    pub runtime: Evidence<Leads>,
    /// Whether it was started before the gate was put there.
    pub is_older: bool,
    /// Whether the agent looks at what it holds while that runs.
    pub is_watched: bool,
}

/// What a user runs in namespaces of his own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rootless {
    /// How many processes.
    pub processes: usize,
    /// Names of some of them.
    pub names: BTreeSet<String>,
}

/// The doors, as they were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// The gate's folder.
    pub gate: PathBuf,
    /// Parts of the gate that are not as they were put.
    pub files: Vec<Fault>,
    /// What `runc` is to each daemon, by its name.
    pub daemons: Evidence<BTreeMap<&'static str, Evidence<Leads>>>,
    /// What the runtimes that Docker knows lead to, by name.
    pub runtimes: Evidence<BTreeMap<String, Leads>>,
    /// What the programs lead to that Podman takes for runtimes, by path; none where there is no Podman.
    pub podman: Evidence<BTreeMap<String, Leads>>,
    /// What runs.
    pub shims: Evidence<Vec<Shim>>,
    /// Addresses of TCP that Docker's daemon listens on.
    pub listening: Evidence<BTreeSet<String>>,
    /// Users besides the agent's that may open the daemon's socket.
    pub users: Evidence<BTreeSet<String>>,
    /// What users run without root, by uid.
    pub rootless: Evidence<BTreeMap<u32, Rootless>>,
}

impl Doors {
    /// What is wrong, and what could not be seen. Fields of these rules that are `open` stay so where nobody could look.
    pub fn checks(&self, open: &BTreeSet<String>) -> Vec<Check> {
        let mut checks = Vec::new();
        for fault in &self.files {
            let path = fault.path.display().to_string();
            checks.push(match &fault.actual {
                Evidence::Missing(why) => unseen(&GATE_DRIFT, "files", &path, why),
                Evidence::Seen(actual) => Check {
                    expected: Some(fault.expected.clone()),
                    actual: Some(printable_within(actual, SHOWN)),
                    reason: fault.remedy.into(),
                    ..failing(&GATE_DRIFT, "files", &path)
                },
            });
        }
        self.daemons(&mut checks);
        self.runtimes(&mut checks);
        self.podman(&mut checks);
        self.shims(&mut checks, open);
        self.unwatched(&mut checks, open);
        self.listening(&mut checks, open);
        self.users(&mut checks, open);
        self.rootless(&mut checks, open);
        let of_set = |set: &Check| {
            let within = format!("{}[", set.field);
            let doubtful = open.iter().filter(move |field| field.starts_with(&within));
            doubtful
                .map(|field| Check {
                    field: field.clone().into(),
                    ..set.clone()
                })
                .collect::<Vec<_>>()
        };
        let unseen = checks
            .iter()
            .filter(|check| check.result == Outcome::NotEvaluated);
        let doubtful: Vec<Check> = unseen.flat_map(of_set).collect();
        checks.extend(doubtful);
        checks
    }

    fn daemons(&self, checks: &mut Vec<Check>) {
        let daemons = match &self.daemons {
            Evidence::Seen(daemons) => daemons,
            Evidence::Missing(why) => {
                // Either may be what is raised already.
                checks
                    .extend(["dockerd", "containerd"].map(|name| unseen(&GATE_DRIFT, "daemons", name, why)));
                return;
            }
        };
        for (name, leads) in daemons {
            match leads {
                Evidence::Missing(why) => checks.push(unseen(&GATE_DRIFT, "daemons", name, why)),
                Evidence::Seen(Leads::Gate) => {}
                Evidence::Seen(Leads::Elsewhere(place)) => checks.push(Check {
                    expected: Some(format!("`runc` is the gate in {}", self.gate.display())),
                    actual: Some(printable_within(place, SHOWN)),
                    reason: format!(
                        "what {name} launches, it launches past the gate: put {} first in the PATH of its unit (`systemctl edit {}`) and start it again, or have every caller meet the gate (`verger-agent install-gate --divert`)",
                        self.gate.display(),
                        name.strip_suffix('d').filter(|name| *name == "docker").unwrap_or(name),
                    )
                    .into(),
                    ..failing(&GATE_DRIFT, "daemons", name)
                }),
            }
        }
    }

    fn runtimes(&self, checks: &mut Vec<Check>) {
        let runtimes = match &self.runtimes {
            Evidence::Seen(runtimes) => runtimes,
            Evidence::Missing(why) => return checks.push(unseen_all(&GATE_DRIFT, "runtimes", why)),
        };
        for (name, leads) in runtimes {
            if let Leads::Elsewhere(place) = leads {
                checks.push(Check {
                    expected: Some("the gate".to_owned()),
                    actual: Some(printable_within(place, SHOWN)),
                    reason: "Docker knows a runtime that the gate does not stand in front of, and whoever may run a container may name it: take it out of `runtimes` in daemon.json, or name the gate there (`verger-agent install-gate --runtime NAME=PATH`)".into(),
                    ..failing(&GATE_DRIFT, "runtimes", name)
                });
            }
        }
    }

    fn podman(&self, checks: &mut Vec<Check>) {
        let paths = match &self.podman {
            Evidence::Seen(paths) => paths,
            Evidence::Missing(why) => return checks.push(unseen_all(&GATE_DRIFT, "podman", why)),
        };
        for (path, leads) in paths {
            if let Leads::Elsewhere(place) = leads {
                checks.push(Check {
                    expected: Some("the gate".to_owned()),
                    actual: Some(printable_within(place, SHOWN)),
                    reason: "Podman takes this program for a runtime, and the gate does not stand in front of it: have whoever calls it by its path meet the gate (`verger-agent install-gate --divert`), or take it away".into(),
                    ..failing(&GATE_DRIFT, "podman", path)
                });
            }
        }
    }

    /// What runs and is of no runtime that is watched. What came past the gate besides is told there.
    fn unwatched(&self, checks: &mut Vec<Check>, open: &BTreeSet<String>) {
        let shims = match &self.shims {
            Evidence::Seen(shims) => shims,
            Evidence::Missing(why) => return checks.push(unseen_all(&UNWATCHED, "unwatched", why)),
        };
        let others = shims.iter().filter(|shim| !shim.is_watched);
        let told = others.map(|shim| {
            let (actual, reason) = match shim.namespace.as_str() {
                PODMANS => (
                    "one of Podman's".to_owned(),
                    "what this holds does not run by the storage of Podman's that the agent knows (`podman_graph_root` and `podman_run_root` in its configuration, driver `overlay`), so nobody looks at it while it runs: run by that or by Docker it is watched",
                ),
                namespace => (
                    format!("one of containerd's namespace {}", printable_within(namespace, SHOWN)),
                    "of which image this container is, is not known, and nobody looks at it while it runs: find out who launched it (`ctr`, a builder); run by Docker or Podman it is judged and watched",
                ),
            };
            Check {
                expected: Some("a container that is watched".to_owned()),
                actual: Some(actual),
                reason: reason.into(),
                ..failing(&UNWATCHED, "unwatched", &format!("{}/{}", shim.namespace, shim.id))
            }
        });
        bounded(checks, told, open, &UNWATCHED, "unwatched");
    }

    fn shims(&self, checks: &mut Vec<Check>, open: &BTreeSet<String>) {
        let shims = match &self.shims {
            Evidence::Seen(shims) => shims,
            Evidence::Missing(why) => return checks.push(unseen_all(&PAST_GATE, "containers", why)),
        };
        let told = shims.iter().filter_map(|shim| {
            let name = format!("{}/{}", shim.namespace, shim.id);
            let (actual, reason) = match (&shim.runtime, shim.is_older) {
                (Evidence::Missing(why), _) => return Some(unseen(&PAST_GATE, "containers", &name, why)),
                (Evidence::Seen(Leads::Elsewhere(place)), _) => (
                    printable_within(place, SHOWN),
                    "this container runs by another runtime than the gate: find out who started it; start it anew through the gate",
                ),
                (Evidence::Seen(Leads::Gate), true) => (
                    "it was started before the gate was put there".to_owned(),
                    "this container was not judged before it ran: start it anew (`docker restart`, `podman restart`), and it is",
                ),
                (Evidence::Seen(Leads::Gate), false) => return None,
            };
            Some(Check {
                expected: Some("launched through the gate".to_owned()),
                actual: Some(actual),
                reason: reason.into(),
                ..failing(&PAST_GATE, "containers", &name)
            })
        });
        bounded(checks, told, open, &PAST_GATE, "containers");
    }

    fn listening(&self, checks: &mut Vec<Check>, open: &BTreeSet<String>) {
        let listening = match &self.listening {
            Evidence::Seen(listening) => listening,
            Evidence::Missing(why) => return checks.push(unseen_all(&OTHER_DOORS, "tcp", why)),
        };
        let told = listening.iter().map(|address| Check {
            expected: Some("a unix socket alone".to_owned()),
            actual: Some(address.clone()),
            reason: "Docker's daemon listens on TCP, where nobody knows who calls by which role: take the `tcp://` address from its `--host` flags and from `hosts` in daemon.json".into(),
            ..failing(&OTHER_DOORS, "tcp", address)
        });
        bounded(checks, told, open, &OTHER_DOORS, "tcp");
    }

    fn users(&self, checks: &mut Vec<Check>, open: &BTreeSet<String>) {
        let users = match &self.users {
            Evidence::Seen(users) => users,
            Evidence::Missing(why) => return checks.push(unseen_all(&OTHER_DOORS, "users", why)),
        };
        let told = users.iter().map(|user| Check {
            expected: Some("nobody but root and the agent".to_owned()),
            actual: Some("may open the daemon's socket".to_owned()),
            reason: "whoever may open Docker's socket is root on this host: take the user out of the socket's group (`gpasswd --delete USER docker`)".into(),
            ..failing(&OTHER_DOORS, "users", user)
        });
        bounded(checks, told, open, &OTHER_DOORS, "users");
    }
}

impl Doors {
    fn rootless(&self, checks: &mut Vec<Check>, open: &BTreeSet<String>) {
        let rootless = match &self.rootless {
            Evidence::Seen(rootless) => rootless,
            Evidence::Missing(why) => return checks.push(unseen_all(&ROOTLESS_RUNTIMES, "rootless", why)),
        };
        let told = rootless.iter().map(|(uid, run)| {
            let names: Vec<&str> = run.names.iter().map(String::as_str).collect();
            Check {
                expected: Some("nothing in a user namespace of a user's own".to_owned()),
                actual: Some(printable_within(
                    &format!("{} processes ({})", run.processes, names.join(", ")),
                    SHOWN,
                )),
                reason: "what a user launches without root is judged by nobody, and no role decides about it: each control of it is unsupported here. Have it run through the host's Docker, or let the user make no namespaces (`user.max_user_namespaces`, subuid(5))".into(),
                ..failing(&ROOTLESS_RUNTIMES, "rootless", &uid.to_string())
            }
        });
        bounded(checks, told, open, &ROOTLESS_RUNTIMES, "rootless");
    }
}

/// Those that are open already come first, so that nobody ends a finding by making others; then what fails.
fn bounded(
    checks: &mut Vec<Check>,
    told: impl Iterator<Item = Check>,
    open: &BTreeSet<String>,
    rule: &Rule,
    set: &str,
) {
    let mut told: Vec<Check> = told.collect();
    told.sort_by_key(|check| {
        (
            !open.contains(check.field.as_ref()),
            check.result != Outcome::Fail,
        )
    });
    let rest = told.split_off(TOLD.min(told.len()));
    checks.append(&mut told);
    if rest.is_empty() {
        return;
    }
    let fails = rest.iter().any(|check| check.result == Outcome::Fail);
    checks.push(Check {
        result: if fails {
            Outcome::Fail
        } else {
            Outcome::NotEvaluated
        },
        actual: Some(format!("{} more", rest.len())),
        reason: rule.reason.into(),
        ..failing(rule, set, "(more)")
    });
}

fn failing(rule: &Rule, set: &str, name: &str) -> Check {
    Check {
        control: rule.control,
        rule: rule.rule_id(),
        field: format!("{set}[{}]", printable_within(name, SHOWN)).into(),
        result: Outcome::Fail,
        expected: None,
        actual: None,
        reason: "".into(),
        severity: rule.severity,
        decided_by: None,
    }
}

fn unseen(rule: &Rule, set: &str, name: &str, why: &str) -> Check {
    Check {
        result: Outcome::NotEvaluated,
        reason: printable_within(why, 2 * SHOWN).into(),
        ..failing(rule, set, name)
    }
}

/// Of nothing of a set anything could be seen.
fn unseen_all(rule: &Rule, set: &str, why: &str) -> Check {
    Check {
        field: set.to_owned().into(),
        ..unseen(rule, set, "", why)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sound() -> Doors {
        Doors {
            gate: "/gate".into(),
            files: Vec::new(),
            daemons: Evidence::Seen([("dockerd", Evidence::Seen(Leads::Gate))].into()),
            runtimes: Evidence::Seen([("runc".to_owned(), Leads::Gate)].into()),
            podman: Evidence::Seen([("/usr/bin/crun".to_owned(), Leads::Gate)].into()),
            shims: Evidence::Seen(vec![shim(Leads::Gate)]),
            listening: Evidence::Seen(BTreeSet::new()),
            users: Evidence::Seen(BTreeSet::new()),
            rootless: Evidence::Seen(BTreeMap::new()),
        }
    }

    fn shim(leads: Leads) -> Shim {
        Shim {
            namespace: DOCKERS.to_owned(),
            id: "ab12".to_owned(),
            runtime: Evidence::Seen(leads),
            is_older: false,
            is_watched: true,
        }
    }

    /// One that came through the gate, of another namespace.
    fn of(namespace: &str) -> Shim {
        Shim {
            namespace: namespace.to_owned(),
            is_watched: false,
            ..shim(Leads::Gate)
        }
    }

    fn elsewhere() -> Leads {
        Leads::Elsewhere("/usr/sbin/runc\u{1b}[2J".to_owned())
    }

    #[test]
    fn each_door_is_told_by_its_name_with_what_to_do_and_a_sound_host_says_nothing() {
        assert_eq!(sound().checks(&BTreeSet::new()), []);
        let older = Shim {
            is_older: true,
            ..shim(Leads::Gate)
        };
        let fault = Fault {
            path: "/gate/runc".into(),
            expected: "x".to_owned(),
            actual: Evidence::Seen("y".to_owned()),
            remedy: "run install-gate",
        };
        let podman = Rootless {
            processes: 2,
            names: ["podman\u{1b}[2J".to_owned()].into(),
        };
        for (doors, rule, field) in [
            (
                Doors {
                    files: vec![fault],
                    ..sound()
                },
                "host/gate-drift",
                "files[/gate/runc]",
            ),
            (
                Doors {
                    daemons: Evidence::Seen([("containerd", Evidence::Seen(elsewhere()))].into()),
                    ..sound()
                },
                "host/gate-drift",
                "daemons[containerd]",
            ),
            (
                Doors {
                    runtimes: Evidence::Seen([("kata".to_owned(), elsewhere())].into()),
                    ..sound()
                },
                "host/gate-drift",
                "runtimes[kata]",
            ),
            (
                Doors {
                    podman: Evidence::Seen([("/usr/bin/crun".to_owned(), elsewhere())].into()),
                    ..sound()
                },
                "host/gate-drift",
                "podman[/usr/bin/crun]",
            ),
            (
                Doors {
                    shims: Evidence::Seen(vec![of("podman")]),
                    ..sound()
                },
                "host/unwatched",
                "unwatched[podman/ab12]",
            ),
            (
                Doors {
                    shims: Evidence::Seen(vec![of("default")]),
                    ..sound()
                },
                "host/unwatched",
                "unwatched[default/ab12]",
            ),
            (
                Doors {
                    shims: Evidence::Seen(vec![shim(elsewhere())]),
                    ..sound()
                },
                "host/past-gate",
                "containers[moby/ab12]",
            ),
            (
                Doors {
                    shims: Evidence::Seen(vec![older]),
                    ..sound()
                },
                "host/past-gate",
                "containers[moby/ab12]",
            ),
            (
                Doors {
                    listening: Evidence::Seen(["0.0.0.0:2375".to_owned()].into()),
                    ..sound()
                },
                "host/other-doors",
                "tcp[0.0.0.0:2375]",
            ),
            (
                Doors {
                    users: Evidence::Seen(["bob".to_owned()].into()),
                    ..sound()
                },
                "host/other-doors",
                "users[bob]",
            ),
            (
                Doors {
                    rootless: Evidence::Seen(BTreeMap::from([(1000, podman)])),
                    ..sound()
                },
                "host/rootless-runtimes",
                "rootless[1000]",
            ),
        ] {
            let checks = doors.checks(&BTreeSet::new());
            let [check] = checks.as_slice() else {
                panic!("{checks:?}")
            };
            assert_eq!((check.rule.as_str(), check.field.as_ref()), (rule, field));
            assert_eq!(check.result, Outcome::Fail);
            assert!(!check.reason.is_empty() && check.expected.is_some(), "{check:?}");
            assert!(
                !check.actual.as_deref().unwrap().contains(char::is_control),
                "{check:?}"
            );
        }
    }

    #[test]
    fn what_is_watched_is_not_told_whatever_it_is_of() {
        let watched = Shim {
            is_watched: true,
            ..of(PODMANS)
        };
        let doors = Doors {
            shims: Evidence::Seen(vec![watched]),
            ..sound()
        };
        assert_eq!(doors.checks(&BTreeSet::new()), []);
    }

    #[test]
    fn what_was_not_seen_ends_no_finding_and_is_none() {
        let why = || "it may not be read".to_owned();
        let doors = Doors {
            daemons: Evidence::Missing(why()),
            runtimes: Evidence::Missing(why()),
            podman: Evidence::Missing(why()),
            shims: Evidence::Missing(why()),
            listening: Evidence::Missing(why()),
            users: Evidence::Missing(why()),
            rootless: Evidence::Missing(why()),
            ..sound()
        };
        let program = Fault {
            path: "/gate/verger-gate".into(),
            expected: "x".to_owned(),
            actual: Evidence::Missing(why()),
            remedy: "run install-gate",
        };
        let doors = Doors {
            files: vec![program],
            ..doors
        };
        let open = BTreeSet::from(["users[bob]".to_owned(), "usersx[bob]".to_owned()]);
        assert_eq!(sound().checks(&open), []);
        let checks = doors.checks(&open);
        // Of each set, of each daemon, of the program, and of the user who is open.
        assert_eq!(checks.len(), 11);
        assert!(checks.iter().any(|check| check.field == "users[bob]"));
        for check in checks {
            assert_eq!(check.result, Outcome::NotEvaluated, "{check:?}");
            assert_eq!(check.reason, why());
        }
    }

    #[test]
    fn many_are_told_one_by_one_up_to_a_bound() {
        let users = (0..1_000).map(|n| format!("u{n}")).collect();
        let doors = Doors {
            users: Evidence::Seen(users),
            ..sound()
        };
        let checks = doors.checks(&BTreeSet::new());
        assert_eq!(checks.len(), TOLD + 1);
        assert_eq!(checks[TOLD].actual.as_deref(), Some("936 more"));
        // Whoever is told already stays among those that are told.
        let open = BTreeSet::from(["users[u999]".to_owned(), "users[u998]".to_owned()]);
        let checks = doors.checks(&open);
        assert_eq!(checks.len(), TOLD + 1);
        assert_eq!(
            (checks[0].field.as_ref(), checks[1].field.as_ref()),
            ("users[u998]", "users[u999]")
        );
    }

    #[test]
    fn what_cannot_be_looked_at_takes_no_place_of_what_fails() {
        let unread = (0..1_000).map(|n| Shim {
            id: format!("a{n}"),
            runtime: Evidence::missing("it has ended"),
            ..shim(Leads::Gate)
        });
        let with = |shims: Vec<Shim>| Doors {
            shims: Evidence::Seen(shims),
            ..sound()
        };
        let checks = with(unread.clone().collect()).checks(&BTreeSet::new());
        assert_eq!(checks.len(), TOLD + 1);
        assert!(checks.iter().all(|check| check.result == Outcome::NotEvaluated));
        let past = Shim {
            id: "z".to_owned(),
            ..shim(elsewhere())
        };
        let checks = with(unread.chain([past]).collect()).checks(&BTreeSet::new());
        assert_eq!(
            (checks[0].field.as_ref(), checks[0].result),
            ("containers[moby/z]", Outcome::Fail)
        );
    }
}
