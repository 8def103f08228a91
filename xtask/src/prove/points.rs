//! The points and the benchmarks, each with its claim.

use super::{Point, Sample};

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
        name: "disk-full",
        claim: "Three members whose disks are full, of one, of whoever leads, of two and of all, under load: 0 acknowledged writes lost, every read current, writes go on at the others or are refused with a word that names the disk, and all is well again by itself when there is space.",
        cargo: &program!("prove-disk-full"),
        needs_docker: false,
        sample: Some(Sample {
            short: "1",
            full: "20",
            of: "times each of 4 kinds of full disks, both ways",
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
        claim: "What the controller's log, state and snapshots and the agent's ledger acknowledged survives power cuts, also where what was killed before is opened again; a build without the barrier is caught, and one that believes what is in memory alone.",
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
        claim: "Three members as real processes, killed, frozen, cut off and slowed down under load: 0 acknowledged writes lost, every read current, a revoked login refused by every member, what a host reports taken in once, who follows audit, policy or findings shown it without a gap or a repeat at whichever member, writes available again within 2 s (p99) after the leader is gone; in full for 30 minutes at least.",
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
        name: "rolling-upgrade",
        claim: "Three members upgraded one by one under load, to a program that changes a stored form, lose no acknowledged write; the program of before is refused afterwards, and says why.",
        cargo: &program!("prove-rolling-upgrade"),
        needs_docker: false,
        sample: Some(Sample {
            short: "1",
            full: "10",
            of: "upgrades of a cluster",
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
        name: "snapshot-stream",
        claim: "A member that joins gets the state by a snapshot over a way that breaks, each part about once: leader and member hold at most 64 MiB over idle for it, writes go on at a quarter of their rate at least on one machine for all, and its rows are the others'.",
        cargo: &program!("prove-snapshot-stream"),
        needs_docker: false,
        sample: Some(Sample {
            short: "64",
            full: "1024",
            of: "MiB of state",
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
        claim: "Clusters of three and five, simulated with a seed, keep seven invariants (one leader a term, logs that match, leaders with all that was committed, one state, linearizable answers, watches without gap or repeat, recovery) through crashes, disks that stand still, partitions, pauses, late and lost messages, snapshots every 100 entries, changes of who votes and members replaced by others; runs repeat; each planted defect is found.",
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
            short: "50",
            full: "400",
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
        name: "log_store",
        claim: "What an append costs by both kinds of the log, beside a file that is written and synced: records a second, CPU time, syncs; and what is left after purges.",
        cargo: &["bench", "-q", "-p", "verger-logs", "--bench", "log_store"],
        needs_docker: false,
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
