//! What agents signed of their findings, held against what a cluster shows that was taken over, in each way it can lie: over real
//! connections, with what was seen kept on disk. The honest twin of each passes.

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
use crate::freshness::{self, NOW, stamp};
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
        self.show_as("web-1", world, head);
        let listed = |row: &Transition| finding(row.uid.0.as_bytes()[0], 1, "");
        world.streams = [self.rows.iter().map(listed).collect()].into();
    }

    /// Accounts for it under this name.
    fn show_as(&self, agent: &str, world: &mut World, head: Option<&SignedHead>) {
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
        world.accounts.insert(agent.to_owned(), parts.into());
    }
}

/// The members sign where the audit stands, some time ago.
fn sign_audit(program: &Program, cluster: &Cluster, ago: SignedDuration) {
    let mut world = cluster.world();
    let (epoch, root, head) = (world.set.epoch(), world.set.root(), world.audit.head());
    world.stamp = Some(stamp(program, epoch, root, head, ago));
}

fn enrolment(agent: &str, seed: u8) -> String {
    format!("agent {agent}, key {}", Digest::of(&key(seed).public_info()))
}

/// A cluster with a host that told three findings and signed them, and an audit that has it enrolled, which its member signed.
fn started(program: &Program) -> (Cluster, Host, SignedHead) {
    let cluster = freshness::cluster(program);
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
        world.audit.write("nobody", "enrol", &enrolment("web-1", 1));
        host.show(&mut world, Some(&head));
    }
    sign_audit(program, &cluster, NOW);
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
fn a_controller_that_cannot_tell_is_told_by_its_address_and_no_other_answers_for_it() {
    let program = Program::new();
    let (cluster, _, _) = started(&program);
    let file = program.path(".config/verger/context.json");
    let context = || -> serde_json::Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    for addresses in [
        [&cluster.cut_off, &cluster.address],
        [&cluster.address, &cluster.cut_off],
    ] {
        let mut asking = context();
        asking["addresses"] = serde_json::json!(addresses);
        std::fs::write(&file, asking.to_string()).unwrap();
        // Where any will do, the other one answers.
        program.run(&["findings", "list"]).ends(0);
        let ran = program.run(&["findings", "verify"]).ends(4);
        assert!(
            ran.err.contains(&cluster.cut_off) && !ran.err.contains(&cluster.address),
            "{}",
            ran.err
        );
        assert!(!ran.out.contains("verified"), "{}", ran.out);
        assert_eq!(context()["addresses"], asking["addresses"]);
    }
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
    // One that is there, and says something else.
    let mut changing = host.clone();
    changing.rows[1].occurrences += 1;
    {
        let mut world = cluster.world();
        changing.show(&mut world, Some(&head));
        let Some(Part::Host(told)) = &mut world.accounts.get_mut("web-1").unwrap()[0].part else {
            panic!("the host comes first");
        };
        told.chain = digest_bytes(&host.told().chain.digest);
    }
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(ran.out.contains("altered or exchanged"), "{}", ran.out);
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
    let kept = cluster.world().audit.clone();
    cluster
        .world()
        .audit
        .write("nobody", "enrol", &enrolment("web-1", 2));
    sign_audit(&program, &cluster, NOW);
    for _ in 0..2 {
        let ran = program.run(&["findings", "verify"]).ends(3);
        assert!(ran.out.contains("enrolled anew"), "{}", ran.out);
    }
    let accept = ["findings", "verify", "--accept-shown"];
    program.run(&accept).ends(0);
    cluster.world().audit = kept;
    sign_audit(&program, &cluster, NOW);
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
    // A row that the members have not signed is a controller's word.
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(ran.out.contains("host web-1 is not shown: row 2"), "{}", ran.out);
    sign_audit(&program, &cluster, NOW);
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
fn an_audit_that_is_another_than_members_signed_or_was_seen_is_refused() {
    let program = Program::new();
    let (cluster, host, _) = started(&program);
    program.run(&["findings", "verify"]).ends(0);
    // All made up anew: the host under another key, and what it signed.
    let forged = host.sign(&cluster, &key(2), 0);
    {
        let mut world = cluster.world();
        world.audit = Default::default();
        world.audit.write("nobody", "enrol", &enrolment("web-1", 2));
        host.show(&mut world, Some(&forged));
    }
    let accept = ["findings", "verify", "--accept-shown", "-o", "json"];
    for args in [&["findings", "verify"][..], &accept] {
        let ran = program.run(args).ends(1);
        let wanted = "the cluster's audit is not what a majority of its members signed";
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    // With what they signed withheld, who saw the other one sees it, and nobody else is told that all is well.
    cluster.world().stamp = None;
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.err.contains("the cluster's audit is not whole"),
        "{}",
        ran.err
    );
    // Who never saw the other one learns which key it is, and that nobody vouches for it.
    let ran = program.run(&accept).ends(3);
    let digest = Digest::of(&key(2).public_info()).to_string();
    assert_eq!(ran.json()[0]["key"], digest);
    assert!(ran.err.contains("no majority of the members"), "{}", ran.err);
}

#[test]
fn what_members_have_not_signed_or_not_of_late_is_not_said_to_be_verified() {
    let program = Program::new();
    let (cluster, ..) = started(&program);
    program.run(&["findings", "verify"]).ends(0);
    for host in [&[][..], &["--host", "web-1"]] {
        let verify = [&["findings", "verify"], host].concat();
        cluster.world().stamp = None;
        let ran = program.run(&verify).ends(3);
        assert!(ran.out.contains("no majority of the members"), "{}", ran.out);
        sign_audit(&program, &cluster, SignedDuration::from_mins(6));
        let ran = program.run(&verify).ends(3);
        assert!(ran.out.contains("members sign every minute"), "{}", ran.out);
        sign_audit(&program, &cluster, NOW);
        program.run(&verify).ends(0);
    }
    // A key that only a row says which they have not signed.
    let other = Program::new();
    let (cluster, host, _) = started(&other);
    cluster
        .world()
        .audit
        .write("nobody", "enrol", &enrolment("web-1", 2));
    let head = host.sign(&cluster, &key(2), 0);
    host.show(&mut cluster.world(), Some(&head));
    let ran = other.run(&["findings", "verify", "-o", "json"]).ends(3);
    assert_eq!(ran.json()[0]["result"], "notVerified");
    assert!(ran.err.contains("known by row 2 of the audit"), "{}", ran.err);
    sign_audit(&other, &cluster, NOW);
    other.run(&["findings", "verify"]).ends(0);
}

#[test]
fn a_host_that_nobody_saw_and_the_audit_has_enrolled_is_missed() {
    let program = Program::new();
    let (cluster, ..) = started(&program);
    cluster
        .world()
        .audit
        .write("nobody", "enrol", &enrolment("web-2", 2));
    sign_audit(&program, &cluster, NOW);
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.out
            .contains("host web-2 is hidden: row 2 of the audit has it enrolled"),
        "{}",
        ran.out
    );
    let ran = program.run(&["findings", "verify", "-o", "json"]).ends(1).json();
    assert_eq!(
        (&ran[0]["result"], &ran[1]["host"], &ran[1]["result"]),
        (&"verified".into(), &"web-2".into(), &"missing".into())
    );
    program.run(&["findings", "verify", "--host", "web-2"]).ends(1);
    program.run(&["findings", "verify", "--host", "web-1"]).ends(0);
    // One that only waits to be let in is no host, nor is one that was taken out.
    {
        let audit = &mut cluster.world().audit;
        audit.write("person/ann", "remove-host", "agent web-2");
        audit.write_with("nobody", "enrol", &enrolment("web-3", 3), "AWAITS_APPROVAL");
    }
    sign_audit(&program, &cluster, NOW);
    program.run(&["findings", "verify"]).ends(0);
}

#[test]
fn a_key_that_nothing_vouches_for_is_taken_with_a_doubt_and_held_against_later() {
    let program = Program::new();
    let (cluster, host, head) = started(&program);
    // As versions wrote it that kept no keys.
    {
        let audit = &mut cluster.world().audit;
        *audit = Default::default();
        audit.write("nobody", "enrol", "agent web-1");
    }
    sign_audit(&program, &cluster, NOW);
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(ran.out.contains("taken as it is shown"), "{}", ran.out);
    let ran = program.run(&["findings", "verify", "-o", "json"]).ends(0);
    assert_eq!(ran.json()[0]["keyKnownBy"], "memory");
    let forged = host.sign(&cluster, &key(2), 0);
    host.show(&mut cluster.world(), Some(&forged));
    program.run(&["findings", "verify"]).ends(1);
    host.show(&mut cluster.world(), Some(&head));
    // A controller that withholds the chain keeps a comparison from being made.
    {
        let mut world = cluster.world();
        let Some(Part::Host(told)) = &mut world.accounts.get_mut("web-1").unwrap()[0].part else {
            panic!("the host comes first");
        };
        told.chain = Default::default();
    }
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(ran.out.contains("does not show the chain"), "{}", ran.out);
    host.show(&mut cluster.world(), Some(&head));
    program.run(&["findings", "verify"]).ends(0);
}

#[test]
fn enrolments_that_were_dropped_are_known_by_what_was_seen_alone() {
    let program = Program::new();
    let (cluster, ..) = started(&program);
    cluster
        .world()
        .audit
        .write("person/ann", "apply-set", "on epoch 1");
    sign_audit(&program, &cluster, NOW);
    program.run(&["findings", "verify"]).ends(0);
    cluster.world().audit.drop_oldest();
    let ran = program.run(&["findings", "verify", "-o", "json"]).ends(0);
    assert_eq!(ran.json()[0]["keyKnownBy"], "memory");
    // One that was there and had signed nothing is missed when its enrolment is gone, too.
    let hosts = cluster.world().hosts.clone();
    let web_3 = cv1::Host {
        agent_id: "web-3".to_owned(),
        ..Default::default()
    };
    {
        let mut world = cluster.world();
        world.audit.write("nobody", "enrol", &enrolment("web-3", 3));
        world.audit.write("person/ann", "apply-set", "on epoch 2");
        world.hosts.push(web_3);
        Host::default().show_as("web-3", &mut world, None);
    }
    sign_audit(&program, &cluster, NOW);
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(
        ran.out.contains("host web-3: its agent has signed nothing yet"),
        "{}",
        ran.out
    );
    {
        let mut world = cluster.world();
        world.audit.drop_oldest();
        world.audit.drop_oldest();
        world.hosts = hosts;
    }
    let ran = program.run(&["findings", "verify"]).ends(1);
    assert!(
        ran.out.contains("host web-3 is hidden: you saw it before"),
        "{}",
        ran.out
    );
    cluster
        .world()
        .audit
        .write("person/ann", "remove-host", "agent web-3");
    sign_audit(&program, &cluster, NOW);
    program.run(&["findings", "verify"]).ends(0);
    // Who saw nothing of it does not know which hosts there were.
    let memory = program.path(&format!(".config/verger/heads-{}.json", cluster.id));
    let kept = std::fs::read(&memory).unwrap();
    std::fs::remove_file(&memory).unwrap();
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(
        ran.out.contains("the first 3 rows of the audit are gone")
            && ran.out.contains("taken as it is shown"),
        "{}",
        ran.out
    );
    program.run(&["findings", "verify"]).ends(0);
    // Nor whether one was taken out, who may not read it.
    std::fs::remove_file(&memory).unwrap();
    std::fs::write(&memory, kept).unwrap();
    crate::cluster::private(&memory);
    cluster.world().audit_refused = true;
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(ran.out.contains("you may not read the audit"), "{}", ran.out);
    program.run(&["findings", "verify", "--host", "web-1"]).ends(0);
    cluster.world().hosts.clear();
    cluster.world().streams.clear();
    let ran = program.run(&["findings", "verify"]).ends(3);
    assert!(
        ran.out.contains("host web-1 is not shown, and you saw it before"),
        "{}",
        ran.out
    );
}
