//! What a majority of the members signed: that a set is the newest, and where the audit stood.

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_seal::{ChainHead, MemberKey, Stamp, TrustRoot};

use crate::cluster::Cluster;
use crate::program::Program;

fn member() -> MemberKey {
    MemberKey::from_seed([7; 32])
}

/// A cluster whose trust root names a member.
pub(crate) fn cluster(program: &Program) -> Cluster {
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let named = format!("c1={}", member().public());
    let args = [
        "trust",
        "init",
        "--key",
        "ann.key",
        "--name",
        "ann",
        "--out",
        "root.json",
        "--member",
        &named,
    ];
    let made = program.run(&args).ends(0);
    assert!(
        made.out.contains("c1") && !made.err.contains("how fresh"),
        "{}{}",
        made.out,
        made.err
    );
    Cluster::sealed_by(program, "ann.key")
}

/// What the member says of a set, some time ago.
pub(crate) fn stamp(
    program: &Program,
    epoch: u64,
    root: Digest,
    audit: ChainHead,
    ago: SignedDuration,
) -> Vec<u8> {
    let envelope = std::fs::read(program.path("root.json")).unwrap();
    let trust_root = TrustRoot::open_first(&envelope).unwrap();
    let stamp = Stamp::new(&trust_root, epoch, root, audit, Timestamp::now() - ago);
    member().stamp(&stamp).to_json()
}

pub(crate) const NOW: SignedDuration = SignedDuration::ZERO;

#[test]
fn a_set_that_nobody_says_is_the_newest_is_shown_with_a_warning_and_an_older_one_is_not_taken() {
    let program = Program::new();
    let cluster = cluster(&program);
    let apply = || program.run(&["list"]);
    let silent = apply().ends(0);
    assert!(
        silent.err.contains("no majority of the members says"),
        "{}",
        silent.err
    );
    let (epoch, root) = {
        let world = cluster.world();
        (world.set.epoch(), world.set.root())
    };
    let says = |epoch, root, ago| {
        cluster.world().stamp = Some(stamp(&program, epoch, root, ChainHead::START, ago));
    };
    says(epoch, root, NOW);
    let fresh = apply().ends(0);
    assert!(!fresh.err.contains("may not be the newest"), "{}", fresh.err);
    says(epoch, root, SignedDuration::from_mins(6));
    let old = apply().ends(0);
    assert!(old.err.contains("said so last at"), "{}", old.err);
    // A member that was taken over shows a set that the majority has left behind.
    says(epoch + 2, root, NOW);
    let behind = apply().ends(1);
    assert!(
        behind.err.contains("signed that the newest is epoch 2"),
        "{}",
        behind.err
    );
    says(epoch, Digest::of(b"another"), NOW);
    apply().ends(1);
    // Who is no member says nothing.
    let mut forged: serde_json::Value =
        serde_json::from_slice(&stamp(&program, epoch, root, ChainHead::START, NOW)).unwrap();
    forged["signatures"][0]["sig"] = "AAAA".into();
    cluster.world().stamp = Some(forged.to_string().into_bytes());
    let forged = apply().ends(0);
    assert!(
        forged.err.contains("warning: this set may not be the newest"),
        "{}",
        forged.err
    );
}

#[test]
fn a_tail_that_is_hidden_behind_what_members_signed_before_is_not_said_to_be_clean() {
    let program = Program::new();
    let cluster = cluster(&program);
    let root = cluster.world().set.root();
    let sign = |ago: SignedDuration| {
        let head = cluster.world().audit.head();
        cluster.world().stamp = Some(stamp(&program, 0, root, head, ago));
    };
    let verify = |head: &[&str]| program.run(&[&["audit", "verify"], head].concat());
    let doubt = |head: &[&str], code: i32| {
        let args = [&["audit", "verify", "-o", "json"], head].concat();
        program.run(&args).ends(code).json()["doubt"].clone()
    };
    cluster.world().audit.write("person/ada", "apply-set", "as usual");
    sign(NOW);
    let kept = program.run(&["audit", "head"]).ends(0).out.trim().to_owned();
    // The positive control: as it is, and a moment later.
    verify(&[]).ends(0);
    sign(SignedDuration::from_mins(4));
    assert_eq!(doubt(&[], 0), serde_json::Value::Null);
    // What came since is cut off, and yesterday's word of the members is shown over it.
    sign(SignedDuration::from_hours(24));
    let old = verify(&[]).ends(3);
    assert!(
        old.out.contains("NOT SURE: members sign every minute"),
        "{}",
        old.out
    );
    assert_eq!(doubt(&[], 3), "old");
    // For the rows that a kept head is over that is nothing; of what is behind them it is said all the same.
    let met = verify(&["--head", &kept]).ends(0);
    assert!(met.out.contains("NOT SURE"), "{}", met.out);
    cluster.world().stamp = None;
    assert_eq!(doubt(&[], 3), "unsigned");
    assert_eq!(doubt(&["--head", &kept], 0), "unsigned");
}

#[test]
fn a_head_that_members_signed_catches_a_bent_audit_with_and_without_the_cluster() {
    let program = Program::new();
    let mut cluster = cluster(&program);
    let fill = |rows: u64, last: &str| {
        let audit = &mut cluster.world().audit;
        *audit = crate::audit::Kept::default();
        for number in 1..rows {
            audit.write("person/ada", "apply-set", &format!("on epoch {number}"));
        }
        audit.write("person/eve", "apply-set", last);
    };
    fill(4, "what it was");
    let unsigned = program.run(&["audit", "head"]).ends(0);
    assert!(unsigned.err.contains("--add-member"), "{}", unsigned.err);
    program.run(&["audit", "head", "--out", "head.json"]).ends(2);
    let head = cluster.world().audit.head();
    let root = cluster.world().set.root();
    cluster.world().stamp = Some(stamp(&program, 0, root, head, NOW));
    program.run(&["audit", "head", "--out", "head.json"]).ends(0);
    program.run(&["audit", "head", "--out", "head.json"]).ends(2);
    let whole = program.run(&["audit", "verify"]).ends(0);
    assert!(
        whole.out.contains("A majority of the members (c1) signed"),
        "{}",
        whole.out
    );
    program.run(&["audit", "verify", "--head", "head.json"]).ends(0);
    program.run(&["audit", "export", "--out", "good.jsonl"]).ends(0);
    // The oldest row goes: the members signed the digest over it, and not that it is here.
    cluster.world().audit.drop_oldest();
    program.run(&["audit", "verify"]).ends(0);
    program.run(&["audit", "verify", "--head", "head.json"]).ends(1);
    program.run(&["audit", "export", "--out", "short.jsonl"]).ends(0);
    program.run(&["audit", "head", "--out", "after.json"]).ends(0);

    // Made up anew in one piece: by itself it is whole, and what the members signed is of another.
    fill(4, "something else");
    let bent = program.run(&["audit", "verify"]).ends(1);
    assert!(
        bent.err.contains("not what a majority of its members signed"),
        "{}",
        bent.err
    );
    cluster.world().stamp = None;
    let withheld = program.run(&["audit", "verify"]).ends(3);
    assert!(
        withheld.out.contains("the controller withholds it"),
        "{}",
        withheld.out
    );
    let kept = program.run(&["audit", "verify", "--head", "head.json"]).ends(1);
    assert!(kept.err.contains("whose head was kept"), "{}", kept.err);
    program.run(&["audit", "export", "--out", "bent.jsonl"]).ends(0);
    cluster.stop();
    let verify = |file: &str, head: &str| program.run(&["audit", "verify", "--file", file, "--head", head]);
    verify("good.jsonl", "head.json").ends(0);
    verify("bent.jsonl", "head.json").ends(1);
    let short = verify("short.jsonl", "head.json").ends(1);
    assert!(short.out.contains("TAKEN OUT: 1 rows"), "{}", short.out);
    verify("short.jsonl", "after.json").ends(0);
    // As it was written before anything was said of rows that were dropped, it is taken as if none was.
    let text = std::fs::read_to_string(program.path("head.json")).unwrap();
    let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&old["dropped"], &old["oldest"]),
        (&0.into(), &"2023-11-14T22:13:21Z".into())
    );
    old["dropped"] = 9.into();
    program.write("damaged.json", old.to_string());
    let damaged = verify("good.jsonl", "damaged.json").ends(2);
    assert!(damaged.err.contains("`dropped` is 9"), "{}", damaged.err);
    for unsigned in ["dropped", "oldest"] {
        old.as_object_mut().unwrap().remove(unsigned);
    }
    old["format"] = "verger-audit-head/1".into();
    program.write("old.json", old.to_string());
    verify("good.jsonl", "old.json").ends(0);
    verify("bent.jsonl", "old.json").ends(1);
    // Another head file is none of this cluster's.
    program.write(
        "stranger.json",
        text.replace("verger-audit-head/2", "verger-audit-head/3"),
    );
    verify("good.jsonl", "stranger.json").ends(2);
    let damaged = verify(
        "good.jsonl",
        &program.write("damaged.json", "{\"format\": \"\u{1b}[2J\"}"),
    )
    .ends(2);
    assert!(!damaged.err.contains('\u{1b}'), "{}", damaged.err);
}
