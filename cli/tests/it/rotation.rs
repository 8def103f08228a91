//! Other keys for a cluster: signed by those who give the power up and by those who take it over.

use jiff::{SignedDuration, Timestamp};
use verger_policy::set::PolicySet;
use verger_seal::{Rotation, SetStatement, TrustRoot};

use crate::cluster::Cluster;
use crate::program::{Program, Ran};

/// Bob's key, as `NAME=PUBLIC_KEY`.
fn bob(program: &Program) -> String {
    let made = program
        .run(&["keys", "generate", "--out", "bob.key", "-o", "json"])
        .ends(0);
    format!("bob={}", made.json()["publicKey"].as_str().unwrap())
}

fn sign(program: &Program, key: &str) -> Ran {
    program.sign_file("rotation.json", key)
}

fn apply(program: &Program, name: &str, key: &str) -> Ran {
    let text = format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {name} }}\n"
    );
    let file = program.write(&format!("{name}.yaml"), text);
    program.run(&["apply", "-f", &file, "--key", key])
}

#[test]
fn a_key_is_handed_over_and_the_old_one_seals_nothing_more() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let bob = bob(&program);
    apply(&program, "h1", "ann.key").ends(0);
    let begun = program
        .run(&[
            "trust",
            "rotate",
            "--add",
            &bob,
            "--remove",
            "ann",
            "--out",
            "rotation.json",
        ])
        .ends(0);
    for line in ["version 1 -> 2", "- ann", "+ bob", "as epoch 2"] {
        assert!(begun.out.contains(line), "{line}: {}", begun.out);
    }
    assert!(
        begun.err.contains("1 more of ann and 1 more of bob must sign"),
        "{}",
        begun.err
    );
    // Neither alone.
    sign(&program, "ann.key").ends(0);
    let early = program
        .run(&["trust", "submit", "--file", "rotation.json"])
        .ends(2);
    assert!(early.err.contains("nothing was changed"), "{}", early.err);
    program.run(&["keys", "generate", "--out", "eve.key"]).ends(0);
    assert!(
        sign(&program, "eve.key")
            .ends(2)
            .err
            .contains("nothing was signed")
    );
    let signed = sign(&program, "bob.key").ends(0);
    assert!(signed.err.contains("verger trust submit"), "{}", signed.err);
    let submitted = program
        .run(&["trust", "submit", "--file", "rotation.json"])
        .ends(0);
    assert!(
        submitted.out.contains("trust root version 2 is in force"),
        "{}",
        submitted.out
    );
    {
        let world = cluster.world();
        assert_eq!((world.set.epoch(), world.later.len()), (2, 1));
    }

    let old = apply(&program, "h2", "ann.key").ends(2);
    assert!(
        old.err.contains("is not a key of this cluster's trust root"),
        "{}",
        old.err
    );
    apply(&program, "h2", "bob.key").ends(0);
    let again = program.run(&["trust", "submit", "--file", "rotation.json"]);
    assert_ne!(again.code, 0, "{}", again.out);
}

#[test]
fn a_controller_that_forges_or_hides_a_version_is_not_believed() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let bob = bob(&program);
    apply(&program, "h1", "ann.key").ends(0);
    let rotate = [
        "trust",
        "rotate",
        "--add",
        &bob,
        "--remove",
        "ann",
        "--out",
        "rotation.json",
    ];
    program.run(&rotate).ends(0);
    sign(&program, "ann.key").ends(0);
    sign(&program, "bob.key").ends(0);
    program
        .run(&["trust", "submit", "--file", "rotation.json"])
        .ends(0);
    let honest = cluster.world().later.clone();
    // It hides that the keys have changed: then the seal is of nobody's.
    cluster.world().later.clear();
    let hidden = program.run(&["list", "Host"]).ends(1);
    assert!(hidden.err.contains("does not verify"), "{}", hidden.err);
    // It makes one up.
    cluster.world().later = vec![b"{}".to_vec()];
    let forged = program.run(&["list", "Host"]).ends(1);
    assert!(
        forged.err.contains("its trust root is not valid"),
        "{}",
        forged.err
    );
    cluster.world().later = honest;
    program.run(&["list", "Host"]).ends(0);
}

#[test]
fn a_change_of_nothing_or_of_a_set_that_moved_on_is_refused() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    let bob = bob(&program);
    for (more, what) in [
        (&[][..], "nothing changes"),
        (&["--remove", "eve"][..], "no such key"),
        (&["--threshold", "2"][..], "threshold"),
        (&["--remove", "ann"][..], "threshold"),
    ] {
        let args = [&["trust", "rotate", "--out", "rotation.json"][..], more].concat();
        let refused = program.run(&args).ends(2);
        assert!(refused.err.contains(what), "{what}: {}", refused.err);
        assert!(!program.path("rotation.json").exists());
    }
    program
        .run(&[
            "trust",
            "rotate",
            "--add",
            &bob,
            "--threshold",
            "2",
            "--out",
            "rotation.json",
        ])
        .ends(0);
    apply(&program, "h1", "ann.key").ends(0);
    let late = program
        .run(&["trust", "sign", "--file", "rotation.json", "--key", "ann.key"])
        .ends(5);
    assert!(late.err.contains("Begin again"), "{}", late.err);
}

#[test]
fn a_person_puts_a_new_key_in_the_place_of_the_old_one_in_one_step() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    apply(&program, "h1", "ann.key").ends(0);
    program.run(&["keys", "generate", "--out", "new.key"]).ends(0);
    let rotate = |key: &str, new: &str| {
        program.run(&[
            "keys",
            "rotate",
            "--key",
            key,
            "--new",
            new,
            "--out",
            "rotation.json",
        ])
    };
    let stranger = rotate("new.key", "ann.key").ends(2);
    assert!(
        stranger.err.contains("does not name") && stranger.err.contains("ann"),
        "{}",
        stranger.err
    );
    let begun = rotate("ann.key", "new.key").ends(0);
    assert!(
        begun.out.contains("- ann") && begun.out.contains("+ ann"),
        "{}",
        begun.out
    );
    assert!(begun.err.contains("enough have signed"), "{}", begun.err);
    program
        .run(&["trust", "submit", "--file", "rotation.json"])
        .ends(0);
    apply(&program, "h2", "ann.key").ends(2);
    apply(&program, "h2", "new.key").ends(0);
}

#[test]
fn members_come_and_go_with_the_signatures_of_those_who_seal() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    apply(&program, "h1", "ann.key").ends(0);
    let member = format!("c1={}", verger_seal::MemberKey::from_seed([7; 32]).public());
    let rotate = |args: &[&str], out: &str| program.run(&[&["trust", "rotate", "--out", out], args].concat());
    let begun = rotate(&["--add-member", &member], "rotation.json").ends(0);
    assert!(begun.out.contains("+ c1 (controller's key"), "{}", begun.out);
    program.sign_file("rotation.json", "ann.key").ends(0);
    program
        .run(&["trust", "submit", "--file", "rotation.json"])
        .ends(0);
    let unknown = rotate(&["--remove-member", "c9"], "other.json").ends(2);
    assert!(unknown.err.contains("there are: c1"), "{}", unknown.err);
    let ssh = "c2=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILt0u+O+2cpVssxNoBzAnym56TZiR9Q6qD46LtbYzEyX";
    let ssh = rotate(&["--add-member", ssh], "other.json").ends(2);
    assert!(ssh.err.contains("member-key"), "{}", ssh.err);
    let gone = rotate(&["--remove-member", "c1"], "other.json").ends(0);
    assert!(gone.out.contains("- c1"), "{}", gone.out);
}

#[test]
fn a_seal_without_an_end_in_sight_is_not_signed_along_with_a_trust_root() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    let current = TrustRoot::open_first(&std::fs::read(program.path("root.json")).unwrap()).unwrap();
    let envelope = current.succeed(current.terms(), &[]).unwrap();
    let (next, _) = current.read_successor(&envelope.to_json()).unwrap();
    let set = PolicySet::empty().change([], []).unwrap();
    let write = |days: i64| {
        let end = Timestamp::now() + SignedDuration::from_hours(24 * days);
        let statement = SetStatement::new(&next, set.epoch(), set.root(), set.len() as u64, end);
        let rotation = Rotation::new(&current, &envelope, statement).unwrap();
        program.write("rotation.json", rotation.to_json());
    };
    let digest = next.digest().to_string();
    let args = [
        "trust",
        "sign",
        "--file",
        "rotation.json",
        "--key",
        "ann.key",
        "--digest",
        &digest,
    ];
    write(10_000);
    let refused = program.run(&args).ends(2);
    assert!(refused.err.contains("more than 365 days"), "{}", refused.err);
    write(30);
    program.run(&args).ends(0);
}
