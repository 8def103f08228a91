//! The direction rules. A crate without a row fails the check; an edge that is not here is forbidden.

use super::rules::{CrateRule, Owned, Rules};

/// I/O, async and wire formats: what the pure crates must not even reach.
const IMPURE: &[&str] = &[
    "tokio", "tonic", "prost", "sled", "redb", "openraft", "hyper", "rustls", "anyhow", "bollard",
];

/// For a pure crate that may encode messages. `verger-proto` carries tonic, for its service stubs, so tonic and tokio
/// cannot be made unreachable from it; that manifest must still name neither.
const IMPURE_BUT_PROTO: &[&str] = &["sled", "redb", "openraft", "rustls", "anyhow", "bollard"];
const RUNTIME: &[&str] = &[
    "tokio",
    "tokio-util",
    "tokio-stream",
    "tonic",
    "futures",
    "async-trait",
    "hyper",
    "rustix",
    "nix",
];

const LIBRARY: CrateRule = CrateRule {
    name: "",
    uses: &[],
    // The inputs of fuzz targets: for tests, and never in a program.
    tests_use: &["verger-fuzz"],
    never_reaches: &[],
    never_names: &[],
    program: false,
};
const PROGRAM: CrateRule = CrateRule {
    program: true,
    ..LIBRARY
};

/// The architecture.
pub(super) const RULES: Rules = Rules {
    crates: &[
        CrateRule {
            name: "verger-proto",
            ..LIBRARY
        },
        CrateRule {
            name: "verger-policy",
            never_reaches: IMPURE,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-seal",
            uses: &["verger-policy"],
            never_reaches: IMPURE,
            ..LIBRARY
        },
        // The seal travels too: wire turns envelopes into messages and back.
        CrateRule {
            name: "verger-wire",
            uses: &["verger-proto", "verger-policy", "verger-seal"],
            ..LIBRARY
        },
        CrateRule {
            name: "verger-transport",
            ..LIBRARY
        },
        // Files that members write: members and the CLI read them.
        CrateRule {
            name: "verger-chunks",
            never_reaches: IMPURE,
            ..LIBRARY
        },
        // What both sides' stores do to the files that they find.
        CrateRule {
            name: "verger-durable",
            never_reaches: IMPURE,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-fuzz",
            tests_use: &[],
            ..LIBRARY
        },
        // Linked into the gate: words, bounds and the files between the two; nothing that takes time to start.
        CrateRule {
            name: "verger-gate-protocol",
            never_reaches: IMPURE,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-tripwire-protocol",
            // How a file is read that somebody else may have put there.
            uses: &["verger-gate-protocol"],
            never_reaches: IMPURE,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-controller-state",
            uses: &["verger-policy", "verger-seal", "verger-proto"],
            never_reaches: IMPURE_BUT_PROTO,
            never_names: RUNTIME,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-controller-store",
            uses: &["verger-chunks", "verger-durable"],
            ..LIBRARY
        },
        CrateRule {
            name: "verger-controller-raft",
            // The pure two for its tests and simulations alone: commands hold digests and envelopes.
            uses: &[
                "verger-controller-state",
                "verger-controller-store",
                "verger-proto",
                "verger-policy",
                "verger-seal",
            ],
            ..LIBRARY
        },
        CrateRule {
            name: "verger-controller-authz",
            uses: &["verger-policy"],
            never_reaches: IMPURE,
            never_names: RUNTIME,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-controller-api",
            // Its ports speak the pure state machine's commands and rows; raft and store stay out of reach.
            uses: &[
                "verger-proto",
                "verger-policy",
                "verger-wire",
                "verger-seal",
                "verger-transport",
                "verger-controller-state",
                "verger-controller-authz",
            ],
            never_reaches: &[
                "openraft",
                "sled",
                "redb",
                "verger-controller-raft",
                "verger-controller-store",
            ],
            ..LIBRARY
        },
        CrateRule {
            name: "verger-controller",
            uses: &[
                "verger-proto",
                "verger-policy",
                "verger-wire",
                "verger-seal",
                "verger-transport",
                "verger-controller-state",
                "verger-controller-store",
                "verger-controller-raft",
                "verger-controller-api",
            ],
            ..PROGRAM
        },
        // Runs before every container: no async runtime, no TLS, no policy.
        CrateRule {
            name: "verger-gate",
            uses: &["verger-gate-protocol"],
            never_reaches: &[
                "tokio",
                "tonic",
                "prost",
                "sled",
                "rustls",
                "anyhow",
                "clap",
                "verger-policy",
            ],
            ..PROGRAM
        },
        CrateRule {
            name: "verger-agent-core",
            uses: &["verger-policy", "verger-seal"],
            never_reaches: IMPURE,
            never_names: RUNTIME,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-agent-proxy",
            uses: &["verger-policy"],
            never_reaches: IMPURE,
            never_names: RUNTIME,
            ..LIBRARY
        },
        CrateRule {
            name: "verger-agent-runtimes",
            uses: &[
                "verger-policy",
                "verger-agent-core",
                "verger-gate-protocol",
                "verger-tripwire-protocol",
            ],
            never_reaches: &["sled", "tonic", "prost"],
            ..LIBRARY
        },
        CrateRule {
            name: "verger-agent-store",
            uses: &["verger-policy", "verger-agent-core", "verger-durable"],
            never_reaches: &["tokio", "tonic", "prost"],
            ..LIBRARY
        },
        // Enforcers see neither each other nor runtimes.
        CrateRule {
            name: "verger-agent-nftables",
            uses: &["verger-policy", "verger-agent-core"],
            never_reaches: &["tokio", "tonic", "prost", "sled", "anyhow", "bollard"],
            ..LIBRARY
        },
        CrateRule {
            name: "verger-agent",
            uses: &[
                "verger-proto",
                "verger-policy",
                "verger-wire",
                "verger-seal",
                "verger-transport",
                "verger-tripwire-protocol",
                "verger-agent-core",
                "verger-agent-proxy",
                "verger-agent-runtimes",
                "verger-agent-store",
                "verger-agent-nftables",
                "verger-gate-protocol",
            ],
            never_reaches: &["openraft", "redb"],
            ..PROGRAM
        },
        // Answers every request that the daemon serves: small, and apart from all that may fail.
        CrateRule {
            name: "verger-tripwire",
            uses: &["verger-transport", "verger-tripwire-protocol"],
            never_reaches: &["openraft", "sled", "redb"],
            ..PROGRAM
        },
        CrateRule {
            name: "verger-cli",
            // Who may do what is worked out from the verified set, by what the controllers decide with; what a snapshot holds, by what they
            // make of its rows.
            uses: &[
                "verger-controller-authz",
                "verger-controller-state",
                "verger-chunks",
                "verger-proto",
                "verger-policy",
                "verger-wire",
                "verger-seal",
                "verger-transport",
            ],
            never_reaches: &["openraft", "sled", "redb", "bollard"],
            ..PROGRAM
        },
        // Drives the real programs from outside; names libraries only to make inputs and to read what was stored.
        CrateRule {
            name: "verger-integration-tests",
            uses: &[
                "verger-proto",
                "verger-policy",
                "verger-wire",
                "verger-seal",
                "verger-transport",
                "verger-controller-state",
                "verger-controller-store",
                "verger-agent-core",
                // A million requests are judged in one process; a sample of them by a real agent, with the same outcome.
                "verger-agent-proxy",
                "verger-agent-runtimes",
                "verger-agent-store",
                "verger-rig",
            ],
            ..PROGRAM
        },
        CrateRule {
            name: "verger-rig",
            ..LIBRARY
        },
        // What a rig has the loader put before the libraries of a member: nothing of ours, and no product links it.
        CrateRule {
            name: "verger-unsynced",
            ..LIBRARY
        },
        // What roles decide, by the controllers' engine, by the agents' compiled form and by peers.
        CrateRule {
            name: "verger-decisions",
            uses: &["verger-controller-authz", "verger-policy", "verger-rig"],
            never_reaches: &["tokio", "tonic", "sled", "redb", "openraft"],
            ..PROGRAM
        },
        // What the kinds of a member's log cost.
        CrateRule {
            name: "verger-logs",
            uses: &["verger-controller-store", "verger-rig"],
            never_reaches: &["tokio", "tonic", "openraft"],
            ..PROGRAM
        },
        CrateRule {
            name: "xtask",
            never_reaches: &["tokio", "tonic"],
            ..PROGRAM
        },
    ],
    owned: &[
        Owned {
            name: "sled",
            owners: &["verger-controller-store", "verger-agent-store"],
        },
        Owned {
            name: "redb",
            owners: &["verger-controller-store"],
        },
        Owned {
            name: "raft-log",
            owners: &["verger-controller-store"],
        },
        Owned {
            name: "openraft",
            owners: &["verger-controller-raft"],
        },
        Owned {
            name: "aya",
            owners: &["verger-agent-lsm"],
        },
        Owned {
            name: "bollard",
            // And tests, as a client that others have.
            owners: &["verger-agent-runtimes", "verger-integration-tests"],
        },
        Owned {
            name: "virt",
            owners: &["verger-agent-libvirt"],
        },
        Owned {
            name: "rcgen",
            owners: &["verger-transport"],
        },
        Owned {
            name: "x509-parser",
            owners: &["verger-transport"],
        },
        Owned {
            name: "tokio-rustls",
            owners: &["verger-transport"],
        },
        Owned {
            name: "ed25519-dalek",
            owners: &["verger-seal"],
        },
        Owned {
            name: "p256",
            owners: &["verger-seal"],
        },
        // Private key files: no agent and no controller reads one.
        Owned {
            name: "ssh-key",
            owners: &["verger-cli"],
        },
        Owned {
            name: "cedar-policy",
            // The benchmark asks it directly, as a peer.
            owners: &["verger-controller-authz", "verger-decisions"],
        },
        Owned {
            name: "regorus",
            owners: &["verger-decisions"],
        },
        Owned {
            name: "openidconnect",
            owners: &["verger-controller"],
        },
        Owned {
            name: "protox",
            owners: &["verger-proto"],
        },
        Owned {
            name: "tonic-prost-build",
            owners: &["verger-proto"],
        },
        Owned {
            name: "comfy-table",
            owners: &["verger-cli"],
        },
        Owned {
            name: "cargo_metadata",
            owners: &["xtask"],
        },
        Owned {
            name: "anyhow",
            owners: &[
                "verger-controller",
                "verger-agent",
                "verger-tripwire",
                "verger-cli",
                "verger-integration-tests",
                "verger-rig",
                "verger-decisions",
                "verger-logs",
                "xtask",
            ],
        },
        Owned {
            name: "clap",
            owners: &[
                "verger-controller",
                "verger-agent",
                "verger-tripwire",
                "verger-cli",
                "verger-integration-tests",
                "verger-rig",
                "xtask",
            ],
        },
    ],
    banned: &[
        ("serde_yaml", "unmaintained: use serde-saphyr"),
        ("serde_yml", "unsound and archived: use serde-saphyr"),
        ("serde_norway", "use serde-saphyr"),
        ("rustls-pemfile", "archived: use rustls-pki-types"),
        ("figment", "stale: use serde and toml"),
        ("casbin", "use cedar-policy"),
        ("ocsf", "write the few messages that are needed"),
        ("in-toto", "use the envelopes of verger-seal"),
        ("fanotify-rs", "use nix"),
        ("madsim", "use turmoil"),
        ("pbjson-types", "use prost-reflect"),
        ("testcontainers", "start Debian's own services"),
        ("openssl-sys", "TLS is rustls with ring"),
        ("native-tls", "TLS is rustls with ring"),
        ("aws-lc-rs", "TLS is rustls with ring"),
    ],
};
