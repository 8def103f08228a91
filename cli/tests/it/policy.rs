//! The policy set: sealed, submitted, refused, read back.

use std::collections::BTreeSet;

use verger_policy::draft;
use verger_policy::set::PolicySet;

use crate::cluster::{Cluster, Mishap};
use crate::program::Program;

fn host(name: &str, zone: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {name}, labels: {{ zone: {zone} }} }}\n"
    )
}

#[test]
fn what_is_applied_is_sealed_and_read_back() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let text = host("web-1", "eu");
    let file = program.write("p/web-1.yaml", &text);
    assert_eq!(
        program.run(&["diff", "-f", &file]).ends(1).out.lines().next(),
        Some("+ Host web-1")
    );

    let ran = program.run(&["apply", "-f", "p"]).ends(0);
    for wanted in [
        "+ Host web-1 spec.labels.zone: \"eu\"",
        "signing as ann: cluster ",
        "applied as epoch 1",
    ] {
        assert!(ran.out.contains(wanted), "{wanted}: {}", ran.out);
    }
    assert!(ran.out.contains(&cluster.id) && cluster.world().seal.is_some());
    assert_eq!(cluster.world().set.epoch(), 1);

    let read = program.run(&["get", "host", "web-1", "-o", "yaml"]).ends(0).out;
    assert_eq!(
        draft::read("out", read.as_bytes()).unwrap(),
        draft::read("in", text.as_bytes()).unwrap()
    );
    let listed = program.run(&["list", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&listed[0]["kind"], &listed[0]["spec"]["agent"]),
        (&"Host".into(), &"web-1".into())
    );
    assert_eq!(program.run(&["list", "-o", "name"]).ends(0).out, "Host/web-1\n");
    assert!(
        program
            .run(&["list", "guardrail"])
            .ends(0)
            .out
            .contains("there are no policy objects")
    );

    program.run(&["diff", "-f", &file]).ends(0);
    let again = program.run(&["apply", "-f", &file]).ends(0);
    assert!(again.out.contains("nothing to change"), "{}", again.out);
    assert_eq!(cluster.world().offered.len(), 1);

    let changed = program.write("p/web-1.yaml", host("web-1", "us"));
    let diff = program
        .run(&["diff", "-f", &changed, "-o", "json"])
        .ends(1)
        .json();
    assert_eq!(diff["changes"][0]["fields"][0]["field"], "spec.labels.zone");
    assert_eq!((&diff["epoch"], &diff["applied"]), (&2.into(), &false.into()));
}

#[test]
fn deleting_makes_an_epoch_and_what_is_not_there_is_refused() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    program.run(&["apply", "-f", &file]).ends(0);
    assert!(
        program
            .run(&["delete", "host", "web-2"])
            .ends(1)
            .err
            .contains("web-2")
    );
    let ran = program.run(&["delete", "host", "web-1", "--dry-run"]).ends(0);
    assert!(
        ran.out.contains("- Host web-1") && cluster.world().set.epoch() == 1,
        "{}",
        ran.out
    );
    program.run(&["delete", "host", "web-1"]).ends(0);
    assert!(cluster.world().set.is_empty() && cluster.world().set.epoch() == 2);
    assert!(
        program
            .run(&["get", "host", "web-1"])
            .ends(1)
            .err
            .contains("there is no Host/web-1")
    );
}

#[test]
fn a_dry_run_changes_nothing_and_needs_no_key() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    std::fs::remove_file(program.path("ann.key")).unwrap();
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    let ran = program.run(&["apply", "-f", &file, "--dry-run"]).ends(0);
    assert!(
        ran.out.contains("nothing was changed") && cluster.world().set.epoch() == 0,
        "{}",
        ran.out
    );
    assert!(
        program
            .run(&["apply", "-f", &file])
            .ends(2)
            .err
            .contains("ann.key")
    );
    assert_eq!(cluster.world().set.epoch(), 0);
}

#[test]
fn a_bad_file_changes_nothing_even_beside_a_good_one() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    program.write("p/a.yaml", host("web-1", "eu"));
    program.write("p/b.yaml", "apiVersion: verger/v1\nkind: Hots\n");
    let ran = program.run(&["apply", "-f", "p"]).ends(2);
    assert!(ran.err.contains("p/b.yaml:2:7"), "{}", ran.err);
    assert!(cluster.world().offered.is_empty() && cluster.world().set.epoch() == 0);
}

#[test]
fn a_lost_answer_is_asked_for_again_and_nothing_is_made_twice() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().mishaps.extend([Mishap::Away, Mishap::AnswerLost]);
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    program.run(&["apply", "-f", &file]).ends(0);
    let world = cluster.world();
    assert_eq!((world.set.epoch(), world.offered.len()), (1, 3));
    assert_eq!(
        world.offered.iter().collect::<BTreeSet<_>>().len(),
        1,
        "one change, one request id"
    );
}

#[test]
fn somebody_else_first_is_a_conflict_that_shows_their_change() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let theirs = draft::read("theirs", host("web-2", "us").as_bytes()).unwrap();
    cluster.world().mishaps.push_back(Mishap::SomebodyElse(theirs));
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    let ran = program.run(&["apply", "-f", &file]).ends(5);
    assert!(
        ran.err.contains("From epoch 0 to 1") && ran.err.contains("+ Host web-2"),
        "{}",
        ran.err
    );
    assert!(!ran.out.contains("applied as"), "{}", ran.out);
    program.run(&["apply", "-f", &file]).ends(0);
    assert_eq!(cluster.world().set.len(), 2);
}

#[test]
fn a_seal_that_ends_soon_is_renewed_by_applying_the_same() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    // What somebody else seals here holds for an hour.
    let same = draft::read("same", host("web-1", "eu").as_bytes()).unwrap();
    cluster.world().mishaps.push_back(Mishap::SomebodyElse(same));
    program.run(&["apply", "-f", &file]).ends(5);
    let root = cluster.world().set.root();
    let seal = cluster.world().seal.clone();
    let ran = program.run(&["apply", "-f", &file]).ends(0);
    assert!(
        ran.out.contains("sealed again") && ran.out.contains("applied as epoch 2"),
        "{}",
        ran.out
    );
    assert!(cluster.world().set.root() == root && cluster.world().seal != seal);
    assert!(
        program
            .run(&["apply", "-f", &file])
            .ends(0)
            .out
            .contains("nothing to change")
    );
}

#[test]
fn a_set_that_its_seal_does_not_cover_is_not_built_on() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    program.run(&["apply", "-f", &file]).ends(0);
    let slipped_in = draft::read("evil", host("evil", "eu").as_bytes()).unwrap();
    let forged = cluster.world().set.change(slipped_in, []).unwrap();
    cluster.world().set = forged;
    let next = program.write("web-2.yaml", host("web-2", "eu"));
    for args in [&["apply", "-f", &next][..], &["list"], &["diff", "-f", &next]] {
        let ran = program.run(args).ends(1);
        assert!(
            ran.err.contains("seal does not verify") && ran.out.is_empty(),
            "{}",
            ran.err
        );
    }
    assert_eq!(cluster.world().offered.len(), 1);
}

/// The file beside the context that says what was seen last.
fn memory(program: &Program, cluster: &Cluster) -> std::path::PathBuf {
    program.path(&format!(".config/verger/seen-{}.json", cluster.id))
}

#[test]
fn an_older_set_with_its_true_seal_is_not_signed_anew() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("web.yaml", host("web-1", "eu"));
    program.run(&["apply", "-f", &file]).ends(0);
    let now = || {
        let world = cluster.world();
        (world.set.clone(), world.seal.clone())
    };
    let old = now();
    let file = program.write("web.yaml", host("web-1", "us"));
    program.run(&["apply", "-f", &file]).ends(0);
    let new = now();
    let roll = |(set, seal): &(PolicySet, Option<Vec<u8>>)| {
        let mut world = cluster.world();
        (world.set, world.seal) = (set.clone(), seal.clone());
    };
    let extra = program.write("extra.yaml", host("web-2", "eu"));

    // The attack: without the memory, a person signs the old state as the next epoch.
    let held = std::fs::read(memory(&program, &cluster)).unwrap();
    std::fs::remove_file(memory(&program, &cluster)).unwrap();
    roll(&old);
    let ran = program.run(&["apply", "-f", &extra]).ends(0);
    assert!(ran.out.contains("applied as epoch 2"), "{}", ran.out);

    // With the memory, nothing is signed, nor shown as what the cluster holds.
    std::fs::write(memory(&program, &cluster), &held).unwrap();
    roll(&old);
    let offered = cluster.world().offered.len();
    for args in [
        &["apply", "-f", &extra][..],
        &["apply", "-f", &extra, "--dry-run"],
        &["delete", "host", "web-1"],
        &["diff", "-f", &extra],
        &["list"],
        &["get", "host", "web-1"],
    ] {
        let ran = program.run(args).ends(1);
        for wanted in [
            "has gone back: it shows epoch 1",
            "you sealed epoch 2",
            &new.0.root().to_string(),
            "--accept-older-set",
            "seen-",
        ] {
            assert!(ran.err.contains(wanted), "{args:?}: {wanted}: {}", ran.err);
        }
        assert!(ran.out.is_empty(), "{}", ran.out);
    }
    assert_eq!(cluster.world().offered.len(), offered);
    assert_eq!(std::fs::read(memory(&program, &cluster)).unwrap(), held);

    // Benign: the set last seen, and newer ones.
    roll(&new);
    program.run(&["list"]).ends(0);
    program.run(&["apply", "-f", &extra]).ends(0);
    assert_eq!(cluster.world().set.epoch(), 3);
}

#[test]
fn an_older_set_is_gone_on_with_on_purpose_only() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    for zone in ["eu", "us"] {
        let file = program.write("web.yaml", host("web-1", zone));
        program.run(&["apply", "-f", &file]).ends(0);
    }
    let (set, seal) = (PolicySet::empty(), None);
    (cluster.world().set, cluster.world().seal) = (set, seal);
    program.run(&["list"]).ends(1);
    let file = program.write("web.yaml", host("web-1", "eu"));
    let ran = program.run(&["apply", "-f", &file, "--accept-older-set"]).ends(0);
    assert!(
        ran.err.contains("accepted epoch 0") && ran.err.contains("you sealed epoch 2"),
        "{}",
        ran.err
    );
    program.run(&["list"]).ends(0);
    assert_eq!(cluster.world().set.epoch(), 1);
}

#[test]
fn two_sets_of_one_epoch_are_told_of() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("web.yaml", host("web-1", "eu"));
    program.run(&["apply", "-f", &file]).ends(0);
    (cluster.world().set, cluster.world().seal) = (PolicySet::empty(), None);
    // Somebody who saw nothing seals another epoch 1.
    let theirs = program.path("elsewhere/context.json");
    std::fs::create_dir(theirs.parent().unwrap()).unwrap();
    std::fs::copy(program.path(".config/verger/context.json"), &theirs).unwrap();
    let other = program.write("other.yaml", host("web-9", "eu"));
    program
        .run(&["apply", "-f", &other, "--context", theirs.to_str().unwrap()])
        .ends(0);
    let ran = program.run(&["list"]).ends(1);
    assert!(
        ran.err.contains("another set of the same epoch") && ran.err.contains("you sealed epoch 1"),
        "{}",
        ran.err
    );
}

#[test]
fn a_damaged_memory_stops_the_program_with_file_and_remedy() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("web.yaml", host("web-1", "eu"));
    program.run(&["apply", "-f", &file]).ends(0);
    std::fs::write(memory(&program, &cluster), "{\"epoch\u{1b}[2J\": 1}").unwrap();
    for args in [&["list"][..], &["apply", "-f", &file, "--accept-older-set"]] {
        let ran = program.run(args).ends(2);
        assert!(
            ran.err.contains("seen-") && ran.err.contains("line 1") && ran.err.contains("remove the file"),
            "{}",
            ran.err
        );
        assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
    }
    std::fs::remove_file(memory(&program, &cluster)).unwrap();
    program.run(&["list"]).ends(0);
}

#[test]
fn a_strangers_key_signs_nothing() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    program.run(&["keys", "generate", "--out", "eve.key"]).ends(0);
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    let ran = program.run(&["apply", "-f", &file, "--key", "eve.key"]).ends(2);
    assert!(
        ran.err.contains("eve.key") && ran.err.contains("its keys are: ann"),
        "{}",
        ran.err
    );
    assert!(cluster.world().offered.is_empty());
}

#[test]
fn a_cluster_that_is_away_ends_with_four() {
    let program = Program::new();
    let mut cluster = Cluster::start(&program);
    cluster.stop();
    let file = program.write("web-1.yaml", host("web-1", "eu"));
    for args in [
        &["list"][..],
        &["apply", "-f", &file],
        &["findings", "list"],
        &["hosts"],
        &["version"],
    ] {
        let ran = program.run(args).ends(4);
        assert!(ran.err.contains(&cluster.address), "{}", ran.err);
    }
}

#[test]
fn another_clusters_controller_is_not_talked_to() {
    let (program, other) = (Program::new(), Program::new());
    let (ours, theirs) = (Cluster::start(&program), Cluster::start(&other));
    let file = program.path("handed-over.json");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace(&ours.address, &theirs.address);
    std::fs::write(&file, text).unwrap();
    let ran = program
        .run(&["list", "--context", file.to_str().unwrap()])
        .ends(4);
    assert!(ran.err.contains("certificate"), "{}", ran.err);
}

#[test]
fn the_context_shows_no_secret() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    for format in ["table", "wide", "json", "yaml"] {
        let ran = program.run(&["context", "show", "-o", format]).ends(0);
        assert!(
            ran.out.contains(&cluster.id) && ran.out.contains("ann.key"),
            "{}",
            ran.out
        );
        assert!(
            !ran.out.contains("PRIVATE KEY") && !ran.out.contains("BEGIN"),
            "{}",
            ran.out
        );
    }
    let shown = program.run(&["context", "show", "-o", "json"]).ends(0).json();
    assert_eq!(shown["caPins"][0], cluster.pin);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(program.path(".config/verger/context.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_join_command_says_what_the_context_says() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let out = program.run(&["token", "create", "--agent", "web-1"]).ends(0).out;
    let wanted = format!("--cluster-id {} --ca-pin {} --token ", cluster.id, cluster.pin);
    assert!(
        out.starts_with("verger-agent join --agent web-1 ") && out.contains(&wanted),
        "{out}"
    );
    cluster.world().pin = format!("sha256:{}", "0".repeat(64));
    let ran = program.run(&["token", "create", "--agent", "web-1"]).ends(1);
    assert!(
        ran.out.is_empty() && ran.err.contains("another authority"),
        "{}",
        ran.err
    );
    assert_eq!(
        cluster.world().tokens.len(),
        1,
        "no token is made for a controller that is not believed"
    );
    program.run(&["token", "create", "--agent", "Web_1"]).ends(2);
}

#[test]
fn hosts_and_instances_never_act_on_a_terminal() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    for (args, code) in [
        (&["hosts"][..], 0),
        (&["hosts", "web-1"], 1),
        (&["instances"], 0),
        // Its host is not known: nobody says anything of it now.
        (&["instances", "evil", "--host", "web-1"], 3),
    ] {
        for format in ["table", "wide", "json", "yaml", "jsonl", "name"] {
            let ran = program.run(&[args, &["-o", format]].concat()).ends(code);
            let raw = |text: &str| text.contains(['\u{1b}', '\r']);
            assert!(
                !raw(&ran.out) && !raw(&ran.err),
                "{args:?} {format}: {}{}",
                ran.out,
                ran.err
            );
        }
    }
    let shown = program.run(&["instances", "evil", "--host", "web-1"]).ends(3).out;
    assert!(
        shown.contains("1 failed") && shown.contains("config/env"),
        "{shown}"
    );
    let ran = program.run(&["version", "-o", "json"]).ends(0).json();
    assert_eq!(ran["controller"]["version"], "9.9.9");
}

#[test]
fn an_image_that_runs_nowhere_is_blessed_only_on_purpose() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let workload = |image: &str| {
        format!(
            "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web }}\nspec:\n  match: {{ container: {{ image: web }} }}\n  config: {{ images: [ {image} ] }}\n"
        )
    };
    let file = program.write("web.yaml", workload(&digest("a")));
    let refused = program.run(&["apply", "-f", &file]).ends(2);
    for wanted in [
        "Workload/web",
        "spec.config.images",
        &digest("a"),
        "--unseen-images",
    ] {
        assert!(refused.err.contains(wanted), "{wanted}: {}", refused.err);
    }
    assert_eq!(cluster.world().set.epoch(), 0);

    program.run(&["apply", "-f", &file, "--unseen-images"]).ends(0);
    assert_eq!(cluster.world().set.epoch(), 1);
    // What is blessed already may be stated again.
    let more = program.write("web.yaml", workload(&format!("{}, {}", digest("a"), digest("b"))));
    program.run(&["apply", "-f", &more]).ends(2);
    cluster.world().running.push(digest("b"));
    program.run(&["apply", "-f", &more]).ends(0);
    assert_eq!(cluster.world().set.epoch(), 2);
}
