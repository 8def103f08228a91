//! Nobody signs what he was not shown: on a terminal he is shown it and asked, elsewhere he names what he looked at.

use std::path::PathBuf;

use crate::cluster::Cluster;
use crate::program::Program;

fn host(program: &Program, name: &str) -> String {
    let text = format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {name} }}\n"
    );
    program.write(&format!("{name}.yaml"), text)
}

fn propose(program: &Program) {
    let file = host(program, "h1");
    program.run(&["apply", "-f", &file, "--propose"]).ends(0);
}

#[test]
fn a_proposal_is_signed_at_a_terminal_only_after_it_was_shown_there() {
    let program = Program::new();
    let cluster = Cluster::of_two(&program);
    propose(&program);
    let sign = "verger sign 1 --key bob.key";
    for hidden in [
        format!("{sign} -o json"),
        format!("{sign} -o name"),
        format!("{sign} > shown"),
    ] {
        let ran = program.at_terminal(&hidden, "yes\n").ends(2);
        assert!(
            ran.out.contains("name what you looked at: --root sha256:"),
            "{hidden}: {}",
            ran.out
        );
        assert_eq!(cluster.world().set.epoch(), 0, "{hidden}");
    }
    let ran = program.at_terminal(sign, "no\n").ends(2);
    assert!(ran.out.contains("you did not say `yes`"), "{}", ran.out);
    assert_eq!(cluster.world().set.epoch(), 0);
    let ran = program.at_terminal(sign, "yes\n").ends(0);
    let at = |part: &str| {
        ran.out
            .find(part)
            .unwrap_or_else(|| panic!("{part}: {}", ran.out))
    };
    assert!(at("+ Host h1") < at("Type `yes`") && at("Type `yes`") < at("applied as epoch 1"));
    assert_eq!(cluster.world().set.epoch(), 1);
}

#[test]
fn a_first_trust_root_is_shown_and_meant_before_it_is_signed() {
    let program = Program::new();
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let bob = program
        .run(&["keys", "generate", "--out", "bob.key", "-o", "json"])
        .ends(0)
        .json();
    let bob = format!("bob={}", bob["publicKey"].as_str().unwrap());
    let init = |threshold: &str, out: &str| {
        let args = [
            "trust",
            "init",
            "--key",
            "ann.key",
            "--name",
            "ann",
            "--with",
            &bob,
            "--threshold",
            threshold,
            "--out",
            out,
            "-o",
            "json",
        ];
        program.run(&args).ends(0).json()["clusterId"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // Somebody slips in a trust root under which one of them is enough.
    let (looked_at, slipped_in) = (init("2", "root.json"), init("1", "other.json"));
    let read = |name: &str| std::fs::read(program.path(name)).unwrap();
    let sign = |file: &str, digest: &[&str]| {
        let args = [&["trust", "sign", "--file", file, "--key", "bob.key"][..], digest].concat();
        program.run(&args)
    };
    let before = (read("root.json"), read("other.json"));
    for (ran, why) in [
        (
            sign("root.json", &[]),
            "name what you looked at: --digest sha256:",
        ),
        (sign("other.json", &["--digest", &looked_at]), "you looked at"),
        (sign("root.json", &["--digest", &slipped_in]), "you looked at"),
        (
            program.at_terminal(
                "verger trust sign --file root.json --key bob.key > shown",
                "yes\n",
            ),
            "name what you looked at",
        ),
        (
            program.at_terminal("verger trust sign --file root.json --key bob.key", "\n"),
            "you did not say `yes`",
        ),
    ] {
        let ran = ran.ends(2);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(
            said.contains(why) && said.contains("nothing was signed"),
            "{why}: {said}"
        );
        assert_eq!((read("root.json"), read("other.json")), before, "{why}");
    }
    let ran = program
        .at_terminal("verger trust sign --file root.json --key bob.key", "yes\n")
        .ends(0);
    assert!(
        ran.out.find(&looked_at) < ran.out.find("Type `yes`"),
        "{}",
        ran.out
    );
    assert_ne!(read("root.json"), before.0);
    sign("other.json", &["--digest", &slipped_in]).ends(0);
    assert_ne!(read("other.json"), before.1);
}

#[test]
fn a_change_of_the_trust_root_is_shown_and_meant_before_it_is_signed() {
    let program = Program::new();
    let _cluster = Cluster::of_two(&program);
    let file = host(&program, "h1");
    program.run(&["apply", "-f", &file, "--propose"]).ends(0);
    let rotate = |threshold: &str, out: &str| {
        let made = program
            .run(&[
                "trust",
                "rotate",
                "--remove",
                "ann",
                "--threshold",
                threshold,
                "--out",
                out,
                "-o",
                "json",
            ])
            .ends(0)
            .json();
        made["digest"].as_str().unwrap().to_owned()
    };
    let digest = rotate("1", "rotation.json");
    let shown = program.run(&["trust", "show", "--file", "rotation.json"]).ends(0);
    for part in ["version 1 -> 2", "- ann", &digest] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let read = || std::fs::read(program.path("rotation.json")).unwrap();
    let before = read();
    let line = "verger trust sign --file rotation.json --key bob.key";
    let other = "sha256:".to_owned() + &"0".repeat(64);
    for (line, typed) in [
        (format!("{line} < /dev/null"), ""),
        (format!("{line} > shown"), "yes\n"),
        (format!("{line} -o json"), "yes\n"),
        (line.to_owned(), "no\n"),
        (format!("{line} --digest {other}"), "yes\n"),
    ] {
        let ran = program.at_terminal(&line, typed).ends(2);
        assert!(ran.out.contains("nothing was signed"), "{line}: {}", ran.out);
        assert_eq!(read(), before, "{line}");
    }
    let ran = program.at_terminal(line, "yes\n").ends(0);
    assert!(ran.out.find("- ann") < ran.out.find("Type `yes`"), "{}", ran.out);
    assert_ne!(read(), before);
    let by_ann = read();
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
    program.run(&args).ends(0);
    assert_ne!(read(), by_ann);
}

/// Where what a person saw of the cluster is kept.
fn memory(program: &Program, cluster: &Cluster) -> PathBuf {
    program.path(&format!(".config/verger/seen-{}.json", cluster.id))
}

#[test]
fn what_is_in_force_is_said_even_if_it_cannot_be_remembered() {
    let program = Program::new();
    let cluster = Cluster::of_two(&program);
    propose(&program);
    let shown = program.run(&["proposals", "1", "-o", "json"]).ends(0).json();
    assert_eq!(
        (
            &shown["actor"],
            &shown["signers"],
            &shown["wanting"],
            &shown["number"]
        ),
        (
            &"person/ann".into(),
            &serde_json::json!(["ann"]),
            &1.into(),
            &1.into()
        ),
        "{shown}"
    );
    cluster.world().damaged_by_signing = Some(memory(&program, &cluster));
    let root = shown["root"].as_str().unwrap();
    let ran = program.run(&["sign", "1", "--key", "bob.key", "--root", root]);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("seen-"), "{}", ran.err);
    assert!(ran.out.contains("applied as epoch 1"), "{}", ran.out);
}
