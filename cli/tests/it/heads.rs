//! What agents signed of their findings, held against what a cluster shows: over real connections, with what was seen kept on
//! disk.

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_policy::finding::{Chain, Standing, Told, Transition};
use verger_proto::cluster::v1 as cv1;
use verger_proto::findings::v1 as fv1;
use verger_proto::findings::v1::account_response::Part;
use verger_seal::{AgentKey, FindingsHead, SignedHead};
use verger_wire::{FromWire as _, IntoWire as _, digest_bytes};

use crate::cluster::{Cluster, World};
use crate::findings::finding;
use crate::program::Program;

fn key(seed: u8) -> AgentKey {
    AgentKey::from_scalar([seed; 32]).unwrap()
}

/// What a host told so far.
#[derive(Clone, Default)]
struct Host {
    rows: Vec<Transition>,
}

impl Host {
    /// Tells what is listed as the finding of this seed.
    fn tell(&mut self, seed: u8) {
        let listed = finding(seed, 1, "").finding.unwrap();
        let transition = fv1::Transition {
            at: listed.changed,
            uid: listed.uid,
            subject: listed.subject,
            image: listed.image,
            check: listed.check,
            lifecycle: listed.lifecycle,
            wanted: listed.wanted,
            effective: listed.effective,
            epoch: 1,
            affected: 1,
            samples: listed.samples,
            evaluated: 2,
            occurrences: listed.occurrences,
            first_seen: listed.first_seen,
            reopened: listed.reopened,
        };
        self.rows.push(Transition::from_wire(transition).unwrap());
    }

    fn told(&self) -> Told {
        let (mut chain, mut standing) = (Chain::START, Standing::default());
        for row in &self.rows {
            chain = chain.then(&row.digest());
            standing.note(row);
        }
        Told {
            chain,
            open: standing.count(),
            table: standing.digest(),
        }
    }

    fn sign(&self, cluster: &Cluster, key: &AgentKey, ago: i64) -> SignedHead {
        key.sign_head(&FindingsHead {
            cluster: format!("sha256:{}", cluster.id).parse().unwrap(),
            agent: "web-1".parse().unwrap(),
            told: self.told(),
            at: Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap()
                - SignedDuration::from_secs(ago),
        })
    }

    /// Shows it as an honest controller does, with this head.
    fn show(&self, world: &mut World, head: Option<&SignedHead>) {
        let chain = self.told().chain;
        let host = fv1::HostAccount {
            revision: 1,
            last_sequence: chain.sequence,
            chain: digest_bytes(&chain.digest),
            head: head.map(|head| head.into_wire()),
            not_kept: 0,
            silent: false,
            key_digest: Default::default(),
        };
        let rows = fv1::AccountRows {
            rows: self.rows.iter().map(|row| row.into_wire()).collect(),
        };
        let parts = [Part::Host(host), Part::Rows(rows)];
        let parts = parts.map(|part| fv1::AccountResponse { part: Some(part) });
        world.accounts.insert("web-1".to_owned(), parts.into());
        let listed = |row: &Transition| finding(row.uid.0.as_bytes()[0], 1, "");
        world.streams = [self.rows.iter().map(listed).collect()].into();
    }
}

/// A cluster with a host that told three findings and signed them, and an audit that has it enrolled.
fn started(program: &Program) -> (Cluster, Host, SignedHead) {
    let cluster = Cluster::start(program);
    let mut host = Host::default();
    for seed in 1..4 {
        host.tell(seed);
    }
    let head = host.sign(&cluster, &key(1), 5);
    {
        let mut world = cluster.world();
        world.only_good_hosts = true;
        world.hosts = vec![cv1::Host {
            agent_id: "web-1".to_owned(),
            ..Default::default()
        }];
        let digest = Digest::of(&key(1).public_info());
        world
            .audit
            .write("nobody", "enrol", &format!("agent web-1, key {digest}"));
        host.show(&mut world, Some(&head));
    }
    (cluster, host, head)
}

#[test]
fn an_honest_cluster_is_verified_in_every_format_and_what_was_seen_is_kept() {
    let program = Program::new();
    let (cluster, _, _) = started(&program);
    for args in [
        &["findings", "verify"][..],
        &["findings", "verify", "--host", "web-1"],
    ] {
        let ran = program.run(args).ends(0);
        assert!(
            ran.out.contains("web-1") && ran.out.contains("verified"),
            "{}",
            ran.out
        );
    }
    let told = program.run(&["findings", "verify", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&told[0]["result"], &told[0]["open"], &told[0]["keyKnownBy"]),
        (&"verified".into(), &3.into(), &"audit".into())
    );
    assert!(program.run(&["findings", "verify", "-o", "name"]).ends(0).out == "web-1\n");
    let kept = std::fs::read_dir(program.path(".config/verger")).unwrap();
    let kept: Vec<String> = kept
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(kept.contains(&format!("heads-{}.json", cluster.id)), "{kept:?}");
    let ran = program.run(&["findings", "verify", "--host", "web-9"]).ends(2);
    assert!(ran.err.contains("no host web-9"), "{}", ran.err);
}

#[test]
fn a_row_that_is_left_out_of_the_account_or_of_the_list_alone_is_told() {
    let program = Program::new();
    let (cluster, host, head) = started(&program);
    program.run(&["findings", "verify"]).ends(0);
    let mut hiding = host.clone();
    hiding.rows.remove(1);
    {
        let mut world = cluster.world();
        hiding.show(&mut world, Some(&head));
        // As many changes, and the chain over them.
        let Some(Part::Host(told)) = &mut world.accounts.get_mut("web-1").unwrap()[0].part else {
            panic!("the host comes first");
        };
        told.last_sequence = 3;
        told.chain = digest_bytes(&host.told().chain.digest);
    }
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.out.contains("findings are hidden: the agent signed 3"),
        "{}",
        ran.out
    );
    {
        let mut world = cluster.world();
        host.show(&mut world, Some(&head));
        world.streams[0].remove(1);
    }
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.out.contains("does not tell the truth about finding 0202") && ran.out.contains("is not listed"),
        "{}",
        ran.out
    );
    host.show(&mut cluster.world(), Some(&head));
    program.run(&["findings", "verify"]).ends(0);
}

#[test]
fn an_older_state_than_was_seen_is_refused_and_taken_only_on_purpose() {
    let program = Program::new();
    let (cluster, mut host, head) = started(&program);
    let before = host.clone();
    program.run(&["findings", "verify"]).ends(0);
    host.tell(4);
    let newer = host.sign(&cluster, &key(1), 0);
    host.show(&mut cluster.world(), Some(&newer));
    program.run(&["findings", "verify"]).ends(0);
    before.show(&mut cluster.world(), Some(&head));
    for _ in 0..2 {
        let ran = program.run(&["findings", "verify"]).ends(1);
        assert!(
            ran.out.contains("an older state is shown than you saw before"),
            "{}",
            ran.out
        );
    }
    program.run(&["findings", "verify", "--accept-shown"]).ends(0);
    program.run(&["findings", "verify"]).ends(0);
    // What is newest is old: withheld, maybe. Nothing is violated, and nothing sure.
    let old = before.sign(&cluster, &key(1), 600);
    before.show(&mut cluster.world(), Some(&old));
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(ran.out.contains("withheld"), "{}", ran.out);
}

#[test]
fn a_host_that_is_hidden_and_a_key_that_is_another_are_told() {
    let program = Program::new();
    let (cluster, host, head) = started(&program);
    program.run(&["findings", "verify"]).ends(0);
    let forged = host.sign(&cluster, &key(2), 0);
    host.show(&mut cluster.world(), Some(&forged));
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.out.contains("the audit has the host enrolled under"),
        "{}",
        ran.out
    );
    // With an enrolment that may be made up it is not taken either, until a person says so.
    let digest = Digest::of(&key(2).public_info());
    let kept = cluster.world().audit.clone();
    cluster
        .world()
        .audit
        .write("nobody", "enrol", &format!("agent web-1, key {digest}"));
    for _ in 0..2 {
        let ran = program.run(&["findings", "verify"]).ends(3);
        assert!(ran.out.contains("enrolled anew"), "{}", ran.out);
    }
    let accept = ["findings", "verify", "--accept-shown"];
    program.run(&accept).ends(0);
    cluster.world().audit = kept;
    host.show(&mut cluster.world(), Some(&head));
    program.run(&accept).ends(0);
    let shown = std::mem::take(&mut cluster.world().hosts);
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(ran.out.contains("host web-1 is hidden"), "{}", ran.out);
    cluster.world().hosts = shown.clone();
    program.run(&["findings", "verify"]).ends(0);
    // Taken out, as the audit has it, it is forgotten.
    {
        let mut world = cluster.world();
        world.hosts.clear();
        world.streams.clear();
        world.audit.write("person/ann", "remove-host", "agent web-1");
    }
    let ran = program.run(&["findings", "verify"]).ends(0);
    assert!(ran.err.contains("was taken out"), "{}", ran.err);
    assert!(
        !program
            .run(&["findings", "verify"])
            .ends(0)
            .err
            .contains("was taken out")
    );
}

#[test]
fn an_audit_that_is_another_than_was_seen_is_refused() {
    let program = Program::new();
    let (cluster, host, _) = started(&program);
    program.run(&["findings", "verify"]).ends(0);
    // All made up anew: the host under another key, and what it signed.
    let forged = host.sign(&cluster, &key(2), 0);
    {
        let mut world = cluster.world();
        world.audit = Default::default();
        let digest = Digest::of(&key(2).public_info());
        world
            .audit
            .write("nobody", "enrol", &format!("agent web-1, key {digest}"));
        host.show(&mut world, Some(&forged));
    }
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.err.contains("the cluster's audit is not whole"),
        "{}",
        ran.err
    );
    // A person who never saw the other one has nothing to hold it against, and learns which key it is.
    let ran = program
        .run(&["findings", "verify", "--accept-shown", "-o", "json"])
        .ends(0);
    let digest = Digest::of(&key(2).public_info()).to_string();
    assert_eq!(ran.json()[0]["key"], digest);
}
