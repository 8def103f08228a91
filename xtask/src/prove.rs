//! Named points: claims about the product, each with the program that shows it and the figure it prints last.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::dist;
use crate::dockerd::{Dockerd, Layout};
use crate::packages::{self, FOR_DOCKER, FOR_REPLICATION, FOR_TESTS, Package};
use crate::process::ProcessRef;
use crate::test::build_programs;
use crate::workspace::{Workspace, run as run_command};

/// Where tests and points find the private daemon.
pub(crate) const DOCKER_HOST: &str = "VERGER_TEST_DOCKER_HOST";
/// Where they find the programs under test.
pub(crate) const PROGRAM_DIR: &str = "VERGER_BIN_DIR";

/// Where benchmarks find those whose cost they measure.
const OPTIMISED_DIR: &str = "VERGER_OPTIMISED_DIR";
/// Where benchmarks write their tables.
const BENCH_DIR: &str = "VERGER_BENCH_DIR";

/// Lines of a program that are told again when it fails.
const TOLD: usize = 12;

/// One claim.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) name: &'static str,
    /// The claim, as one sentence with its bound.
    pub(crate) claim: &'static str,
    /// Arguments to cargo that run the program; `--long` is added on demand. It exits non-zero when the claim fails.
    pub(crate) cargo: &'static [&'static str],
    pub(crate) needs_docker: bool,
    /// How much of the claim a run covers; none where there is one form only.
    pub(crate) sample: Option<Sample>,
}

/// The two forms of a point: the short one, which a plain run and CI show, and the full counts of `--long`.
#[derive(Debug)]
pub(crate) struct Sample {
    /// A number, or how a part is chosen. A number must be in the program's figure, so that it cannot say more than is done.
    pub(crate) short: &'static str,
    pub(crate) full: &'static str,
    pub(crate) of: &'static str,
}

impl Sample {
    /// Which form runs, and how much of the claim it covers.
    fn form(&self, long: bool) -> String {
        let Self { short, full, of } = self;
        if long {
            format!("long form: {full} of {full} {of}")
        } else {
            format!("short form: {short} of {full} {of}")
        }
    }

    /// Fails when the figure shows another count than this form has.
    fn is_stated_in(&self, figure: &str, long: bool) -> Result<()> {
        let count = if long { self.full } else { self.short };
        let mut numbers = figure.split(|c: char| !c.is_ascii_digit());
        if count.bytes().all(|byte| byte.is_ascii_digit()) && !numbers.any(|number| number == count) {
            bail!(
                "the {} is to be {count} {}, and the figure shows no {count}: {figure}",
                if long { "long form" } else { "short form" },
                self.of
            );
        }
        Ok(())
    }
}

/// How cargo runs a program of the rigs.
macro_rules! program {
    ($name:literal $(, $argument:literal)*) => {
        ["run", "-q", "-p", "verger-integration-tests", "--bin", $name, "--" $(, $argument)*]
    };
}

/// Calls the tests of a crate that have this in their names.
macro_rules! cases {
    ($package:literal, $names:literal) => {
        ["run", "-q", "-p", "xtask", "--", "cases", "-p", $package, $names]
    };
}

/// What must hold; `test` runs the short form of each.
pub(crate) const POINTS: &[Point] = &[
    Point {
        name: "agent-dead",
        claim: "With the agent killed, proxy and gate are closed at once and say so, what runs can be ended, root breaks the glass on record; nothing takes 2 s.",
        cargo: &program!("prove-agent-dead"),
        needs_docker: true,
        sample: Some(Sample {
            short: "1",
            full: "20",
            of: "kills of the agent",
        }),
    },
    Point {
        name: "bad-input",
        claim: "Bad files, hostile containers and senseless messages are answered clearly, in bounded time and memory; nothing changes.",
        cargo: &program!("prove-bad-input"),
        needs_docker: true,
        sample: Some(Sample {
            short: "2,000",
            full: "20,000",
            of: "damaged messages",
        }),
    },
    Point {
        name: "byte-flips",
        claim: "A member of which one byte is changed, in any kind of file that it has, reads as was acknowledged, or does not start and names the file and the remedy: 0 silent.",
        cargo: &program!("prove-byte-flips"),
        needs_docker: false,
        sample: Some(Sample {
            short: "50",
            full: "1000",
            of: "flips of a byte",
        }),
    },
    Point {
        name: "canonicalisation",
        claim: "Spellings of one configuration give no drift, a difference in one field exactly one finding that names it, on real containers.",
        cargo: &program!("prove-canonicalisation"),
        needs_docker: true,
        sample: Some(Sample {
            short: "a quarter",
            full: "all",
            of: "rows of both tables",
        }),
    },
    Point {
        name: "clients",
        claim: "docker-compose up, docker build (classic builder), exec -it with resize, cp and logs -f print and end through the proxy as at Docker itself; who may not is refused.",
        cargo: &program!("prove-clients"),
        needs_docker: true,
        sample: Some(Sample {
            short: "1",
            full: "10",
            of: "rounds",
        }),
    },
    Point {
        name: "clock",
        claim: "Under clocks ten years off an agent takes every new set and no older one, exceptions end by the members' time, and the skew is told.",
        cargo: &program!("prove-clock"),
        needs_docker: true,
        sample: Some(Sample {
            short: "2",
            full: "6",
            of: "starts under a wrong clock",
        }),
    },
    Point {
        name: "doors",
        claim: "Hooks, roots and annotations slipped into a config are refused; whoever comes past the gate is found within 5 s; what nobody answered runs again.",
        cargo: &program!("prove-doors"),
        needs_docker: true,
        sample: None,
    },
    Point {
        name: "finding-latency",
        claim: "The first finding of a drift is printed within 1 s of the daemon's event (p95 of 200), within 5 s where there is none.",
        cargo: &program!("prove-finding-latency"),
        needs_docker: true,
        sample: Some(Sample {
            short: "12",
            full: "200",
            of: "drifts with an event",
        }),
    },
    Point {
        name: "findings-verify",
        claim: "`verger findings verify` catches a controller that hides a host, or hides, changes or cuts off findings; the honest twin of each passes.",
        cargo: &cases!("verger-cli", "findings_verify::"),
        needs_docker: false,
        sample: None,
    },
    Point {
        name: "fuzz",
        claim: "No decoder of outside bytes panics or takes twice the memory of idle on damaged valid inputs, of which a fifth pass the framing at least.",
        cargo: &["run", "-q", "-p", "xtask", "--", "fuzz"],
        needs_docker: false,
        sample: Some(Sample {
            short: "1 s",
            full: "600 s",
            of: "for each target",
        }),
    },
    Point {
        name: "hostile-controller",
        claim: "Whatever a member that was taken over offers a real agent is refused with its own reason and a finding; the last good set stays.",
        cargo: &program!("prove-hostile-controller"),
        needs_docker: false,
        sample: Some(Sample {
            short: "82",
            full: "85",
            of: "attacks",
        }),
    },
    Point {
        name: "kill",
        claim: "kill -9 of agent or controller, 50 each under at least 50 writes a second, loses and doubles nothing acknowledged.",
        cargo: &program!("prove-kill"),
        needs_docker: true,
        sample: Some(Sample {
            short: "5",
            full: "50",
            of: "kills of each program",
        }),
    },
    Point {
        name: "main-job",
        claim: "`cargo xtask up` blesses a real container, shows each drift as a finding, an exception and its end; `down` leaves nothing.",
        cargo: &["run", "-q", "-p", "xtask", "--", "rehearse"],
        needs_docker: false,
        sample: Some(Sample {
            short: "1",
            full: "2",
            of: "runs of `up`",
        }),
    },
    Point {
        name: "launch",
        claim: "A container that differs from its blessing runs nothing, on Docker, in whichever way it is launched; its blessed twin does.",
        cargo: &program!("prove-launch"),
        needs_docker: true,
        sample: Some(Sample {
            short: "60",
            full: "1,000",
            of: "launches",
        }),
    },
    Point {
        name: "proxy-bypasses",
        claim: "No request that a looser reader of Docker's API would let through does its harm through the proxy; the same without the harm passes.",
        cargo: &program!("prove-proxy-bypasses"),
        needs_docker: true,
        sample: None,
    },
    Point {
        name: "proxy-matrix",
        claim: "Through the proxy each user of a host, and each person who comes from afar by TLS, does with Docker's own CLI to each container what the roles say, verb by verb.",
        cargo: &program!("prove-proxy-matrix"),
        needs_docker: true,
        sample: Some(Sample {
            short: "66",
            full: "426",
            of: "calls of Docker's CLI",
        }),
    },
    Point {
        name: "proxy-requests",
        claim: "Of a million mutated requests none that Docker would take for privileged, host-mounted or host-namespaced is let through, nor at a real daemon.",
        cargo: &program!("prove-proxy-requests"),
        needs_docker: true,
        sample: Some(Sample {
            short: "50000",
            full: "1000000",
            of: "mutated requests",
        }),
    },
    Point {
        name: "launch-window",
        claim: "An instance whose workload enforces `channels` sends no frame of IP version 4 or ARP from its first instruction on, and is reached in no way that is tried; others are let be.",
        cargo: &program!("prove-launch-window"),
        needs_docker: true,
        sample: Some(Sample {
            short: "10",
            full: "200",
            of: "launches behind a slow enforcer",
        }),
    },
    Point {
        name: "podman",
        claim: "What Podman and ctr launch runs nothing where it differs from its blessing or cannot be identified; its blessed twin does; what comes past the gate is told. What runs by Podman is judged, also what ran before the agent did, and drift of it is told.",
        cargo: &program!("prove-podman"),
        needs_docker: true,
        sample: None,
    },
    Point {
        name: "podman-proxy",
        claim: "At Podman's socket behind the proxy each user can do to each container what the roles say, with podman and docker as they are; what reaches the host at Podman itself does not get through; what is allowed says and does the same.",
        cargo: &program!("prove-podman-proxy"),
        needs_docker: true,
        sample: Some(Sample {
            short: "62",
            full: "286",
            of: "calls of Podman's CLI",
        }),
    },
    Point {
        name: "power-cut",
        claim: "What the controller's log, state and snapshots and the agent's ledger acknowledged survives power cuts; a build without the barrier is caught.",
        cargo: &program!("prove-power-cut", "--build"),
        needs_docker: false,
        sample: Some(Sample {
            short: "3",
            full: "20",
            of: "power cuts of each store",
        }),
    },
    Point {
        name: "role-equality",
        claim: "The compiled form of roles decides as Cedar does, by the same rules: random sets of at most 50 bindings, and of 10,000.",
        cargo: &[
            "run",
            "-q",
            "--release",
            "-p",
            "verger-decisions",
            "--bin",
            "prove-role-equality",
            "--",
        ],
        needs_docker: false,
        sample: Some(Sample {
            short: "50000",
            full: "1000000",
            of: "random requests",
        }),
    },
    Point {
        name: "members",
        claim: "Three members as real processes, killed, frozen, cut off and slowed down under load: 0 acknowledged writes lost, every read current, a revoked login refused by every member, writes available again within 2 s (p99) after the leader is gone.",
        cargo: &program!("prove-members"),
        needs_docker: false,
        sample: Some(Sample {
            short: "1",
            full: "20",
            of: "times each of 9 faults",
        }),
    },
    Point {
        name: "members-power",
        claim: "Three members whose power is cut under load, of one, of two and of all: 0 acknowledged writes lost, 0 members that need a hand, no vote going back; members that leave out every sync are caught.",
        cargo: &program!("prove-members-power"),
        needs_docker: false,
        sample: Some(Sample {
            short: "10",
            full: "200",
            of: "cuts of power",
        }),
    },
    Point {
        name: "rpc-access",
        claim: "Every RPC is refused to who has no certificate, or another's, the wrong kind's, an ended or a revoked one; the role matrix is complete.",
        cargo: &program!("prove-rpc-access"),
        needs_docker: false,
        sample: None,
    },
    Point {
        name: "silence",
        claim: "A host whose agent is stopped, or whose network is cut without a word, is a finding within 3 heartbeats (15 s); an idle one is none.",
        cargo: &program!("prove-silence"),
        needs_docker: false,
        sample: Some(Sample {
            short: "2",
            full: "20",
            of: "hosts that fall silent",
        }),
    },
    Point {
        name: "token-spend",
        claim: "Of 50 hosts that use one join token at once, at three members whose leader changes in between, exactly one is let in, in 1,000 rounds.",
        cargo: &program!("prove-token-spend"),
        needs_docker: false,
        sample: Some(Sample {
            short: "50",
            full: "1000",
            of: "rounds",
        }),
    },
    Point {
        name: "simulation",
        claim: "Clusters of three and five, simulated with a seed, stay linearizable, with one leader a term and equal members, through crashes of some and of all, partitions, late and lost messages, snapshots and changes of members; runs repeat; each planted defect is found.",
        cargo: &[
            "run",
            "-q",
            "-p",
            "verger-controller-raft",
            "--example",
            "simulation",
            "--",
        ],
        needs_docker: false,
        sample: Some(Sample {
            short: "10",
            full: "200",
            of: "seeds",
        }),
    },
    Point {
        name: "tuf",
        claim: "The attacks that The Update Framework names (specification 1.0, 1.5.2; rollback, freeze, mix-and-match, fast-forward …) fail by name.",
        cargo: &cases!("verger-agent-core", "session::tuf::"),
        needs_docker: false,
        sample: None,
    },
];

/// What is measured; run on demand.
pub(crate) const BENCHES: &[Point] = &[
    Point {
        name: "drift_eval",
        claim: "500 recorded containers are judged in at most 3 x the CPU of parsing and SHA-256 of the same bytes; an unchanged one costs no request.",
        cargo: &[
            "run",
            "-q",
            "--release",
            "-p",
            "verger-integration-tests",
            "--bin",
            "bench-drift-eval",
        ],
        needs_docker: true,
        sample: None,
    },
    Point {
        name: "gate_launch",
        claim: "The gate adds at most 2 ms (p50) to the runtime's calls that make and start a container.",
        cargo: &[
            "run",
            "-q",
            "--release",
            "-p",
            "verger-integration-tests",
            "--bin",
            "bench-gate-launch",
        ],
        needs_docker: true,
        sample: None,
    },
    Point {
        name: "proxy_streams",
        claim: "The proxy adds at most 1 ms (p50) to an `inspect`, and keeps at least 0.9 of the throughput of `docker logs` and `docker cp`.",
        cargo: &[
            "run",
            "-q",
            "--release",
            "-p",
            "verger-integration-tests",
            "--bin",
            "bench-proxy-streams",
        ],
        needs_docker: true,
        sample: None,
    },
    Point {
        name: "replicated_writes",
        claim: "Three members take at least 6 x (goal: 10 x) the writes of three of Debian's etcd per CPU-second at 500 clients, each durable on a quorum before its answer.",
        cargo: &[
            "run",
            "-q",
            "--release",
            "-p",
            "verger-integration-tests",
            "--bin",
            "bench-replicated-writes",
        ],
        needs_docker: false,
        sample: None,
    },
    Point {
        name: "role_decisions",
        claim: "The compiled form of roles decides in at most 100 ns (p50), 20 x faster than Cedar asked directly, the same among 10 and 10,000 bindings.",
        cargo: &[
            "bench",
            "-q",
            "-p",
            "verger-decisions",
            "--features",
            "peers",
            "--bench",
            "role_decisions",
        ],
        needs_docker: false,
        sample: None,
    },
];

/// A benchmark that starts programs.
struct OfPrograms {
    name: &'static str,
    /// The package of the program whose cost is measured; others are as for points.
    package: &'static str,
    /// Whether the gate's is, too.
    gate: bool,
    /// What it needs of Debian.
    debian: &'static [Package],
}

const OF_PROGRAMS: &[OfPrograms] = &[
    OfPrograms {
        name: "gate_launch",
        package: "verger-agent",
        gate: true,
        debian: &[],
    },
    OfPrograms {
        name: "proxy_streams",
        package: "verger-agent",
        gate: true,
        debian: &[],
    },
    OfPrograms {
        name: "replicated_writes",
        package: "verger-controller",
        gate: false,
        debian: FOR_REPLICATION,
    },
];

/// Runs one point, or lists them. `kind` is how the list is called ("point", "benchmark").
pub(crate) fn run(
    workspace: &Workspace,
    kind: &str,
    points: &[Point],
    name: Option<&str>,
    long: bool,
) -> Result<()> {
    let Some(name) = name else {
        for point in points {
            println!("{:<24} {}", point.name, point.claim);
            if let Some(sample) = &point.sample {
                println!("{:<24} {}; --long runs them all", "", sample.form(false));
            }
        }
        println!("{} {kind}s", points.len());
        return Ok(());
    };
    let Some(point) = points.iter().find(|point| point.name == name) else {
        let names: Vec<_> = points.iter().map(|point| point.name).collect();
        bail!("there is no {kind} {name:?}; there are: {}", names.join(", "));
    };
    // A point that starts a program shows what the sources are now, and not what was built before.
    if kind == "point" {
        build_programs(workspace)?;
    }
    if let Some(bench) = OF_PROGRAMS.iter().find(|bench| bench.name == point.name) {
        packages::install(&[bench.debian])?;
        build_programs(workspace)?;
        run_command(&mut workspace.cargo(["build", "--profile", dist::PROFILE, "-p", bench.package]))?;
        if bench.gate {
            dist::gate(workspace)?;
        }
    }
    let given = std::env::var_os(DOCKER_HOST).is_some();
    let dockerd = if point.needs_docker && !given {
        Some(Borrowed::start("prove")?)
    } else {
        None
    };
    let figure = show(workspace, point, long, dockerd.as_ref().map(Borrowed::host))?;
    drop(dockerd);
    println!("{figure}");
    Ok(())
}

/// Runs a point's program and gives its figure and which form it is of; fails when the program does, or when it prints none.
pub(crate) fn show(
    workspace: &Workspace,
    point: &Point,
    long: bool,
    docker: Option<String>,
) -> Result<String> {
    let mut command = workspace.cargo(point.cargo.iter().copied());
    if long && point.sample.is_some() {
        command.arg("--long");
    }
    let programs = workspace.program_dir()?;
    command.env(OPTIMISED_DIR, programs.with_file_name(dist::PROFILE));
    command.env(PROGRAM_DIR, programs);
    command.env(BENCH_DIR, workspace.root().join("target/bench"));
    if let Some(docker) = docker {
        command.env(DOCKER_HOST, docker);
    }
    let Some(sample) = &point.sample else {
        return figure_of(point.name, command);
    };
    let form = sample.form(long);
    let figure = figure_of(point.name, command).with_context(|| form.clone())?;
    sample.is_stated_in(&figure, long)?;
    Ok(format!("{figure}; {form}"))
}

/// The last line the command prints; what comes before goes to the terminal as it comes.
fn figure_of(name: &str, mut command: Command) -> Result<String> {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the program")?;
    let stdout = child.stdout.take().context("the output is piped")?;
    // The last ones, the newest at the end.
    let mut lines = VecDeque::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.with_context(|| format!("{name} printed what is not UTF-8"))?;
        if line.trim().is_empty() {
            continue;
        }
        if let Some(before) = lines.back() {
            println!("    {before}");
        }
        lines.push_back(line);
        if lines.len() > TOLD {
            lines.pop_front();
        }
    }
    let status = child.wait()?;
    let last = lines.pop_back();
    if !status.success() {
        // Who reads only the end of a long run sees why, too.
        let before: String = lines.iter().map(|line| format!("\n    {line}")).collect();
        bail!(
            "{name} does not hold ({status}): {}{before}",
            last.as_deref().unwrap_or("(no output)")
        );
    }
    let last = last.with_context(|| format!("{name} printed no figure"))?;
    Ok(format!("{name}: {last} ({:.1} s)", began.elapsed().as_secs_f64()))
}

/// A private daemon for the length of this run.
pub(crate) struct Borrowed {
    dockerd: Dockerd,
}

impl Borrowed {
    /// Starts one called after its purpose and this process.
    pub(crate) fn start(purpose: &str) -> Result<Self> {
        packages::install(&[FOR_DOCKER, FOR_TESTS])?;
        let layout = Layout::of(&format!("{purpose}-{}", std::process::id()))?;
        Ok(Self {
            dockerd: Dockerd::start(layout, Some(ProcessRef::current()?))?,
        })
    }

    pub(crate) fn host(&self) -> String {
        self.dockerd.host()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Err(error) = Dockerd::remove(self.dockerd.layout()) {
            // The next run finds the record and removes it.
            eprintln!("dockerd was not removed: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str) -> Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        figure_of("probe", command)
    }

    #[test]
    fn the_last_line_is_the_figure() {
        assert!(
            sh("echo warming; echo 'p95 0.4 s of 1 s'; echo")
                .unwrap()
                .starts_with("probe: p95 0.4 s of 1 s (")
        );
    }

    #[test]
    fn a_program_that_falls_short_fails_with_its_figure() {
        let error = sh("echo the third was late; echo 'p95 1.4 s of 1 s'; exit 1")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("does not hold")
                && error.contains("1.4 s")
                && error.ends_with("the third was late"),
            "{error}"
        );
    }

    #[test]
    fn success_without_a_figure_is_no_proof() {
        assert!(sh("true").is_err());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let points = [Point {
            name: "known",
            claim: "It holds.",
            cargo: &["--version"],
            needs_docker: false,
            sample: None,
        }];
        let workspace = Workspace::find().unwrap();
        let error = run(&workspace, "point", &points, Some("unknown"), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown") && error.contains("known"), "{error}");
        run(&workspace, "point", &points, Some("known"), false).unwrap();
        run(&workspace, "point", &points, None, false).unwrap();
    }

    #[test]
    fn the_form_is_stated_with_its_count_and_the_full_one() {
        let point = |short, script| Point {
            name: "known",
            claim: "It holds.",
            cargo: script,
            needs_docker: false,
            sample: Some(Sample {
                short,
                full: "all",
                of: "runs",
            }),
        };
        let workspace = Workspace::find().unwrap();
        let shown = show(&workspace, &point("every fourth", &["--version"]), false, None).unwrap();
        assert!(
            shown.ends_with("; short form: every fourth of all runs"),
            "{shown}"
        );
        // Cargo's version has no such number.
        let error = show(&workspace, &point("777777", &["--version"]), false, None).unwrap_err();
        assert!(error.to_string().contains("shows no 777777"), "{error:#}");

        let sample = Sample {
            short: "20",
            full: "200",
            of: "drifts",
        };
        sample.is_stated_in("p95 1 ms, n 20", false).unwrap();
        sample.is_stated_in("p95 1 ms, n 200", true).unwrap();
        assert!(sample.is_stated_in("p95 1 ms, n 200", false).is_err());
        assert_eq!(sample.form(false), "short form: 20 of 200 drifts");
        assert_eq!(sample.form(true), "long form: 200 of 200 drifts");
    }

    #[test]
    fn names_are_unique_and_claims_are_sentences() {
        for list in [POINTS, BENCHES] {
            for (at, point) in list.iter().enumerate() {
                assert!(
                    list[..at].iter().all(|other| other.name != point.name),
                    "two points called {}",
                    point.name
                );
                assert!(
                    point.claim.ends_with('.'),
                    "{}: the claim is a sentence",
                    point.name
                );
            }
        }
    }
}
