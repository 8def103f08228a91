//! Keys that only an agent can use.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use verger_seal::{Envelope, InvalidSignature, PublicKey, Terms, TrustRoot, TrustedKey};

use super::{Agent, HOST, found, keygen, run_with, ssh};
use crate::cluster::Cluster;
use crate::program::{Program, Ran};

#[test]
fn a_cluster_of_an_ssh_key_is_sealed_through_the_agent_and_without_it_nothing_is_signed() {
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"]] {
        let program = Program::new();
        let agent = Agent::start(&program);
        let line = keygen(&program, "id_ann", kind);
        agent.add(&program, &["-q", "id_ann"]);
        // From here on, only the agent has the private half.
        std::fs::remove_file(program.path("id_ann")).unwrap();
        let with = [("SSH_AUTH_SOCK", agent.socket.as_path())];
        let founded = found(&program, &with, "id_ann.pub").ends(0).json();
        let kind = line.split(' ').next().unwrap();
        assert_eq!(founded["keys"][0]["algorithm"], kind);
        assert!(line.starts_with(founded["keys"][0]["publicKey"].as_str().unwrap()));

        let cluster = Cluster::sealed_by(&program, "id_ann.pub");
        let file = program.write("host.yaml", HOST);
        let away = program.run(&["apply", "-f", &file]).ends(2);
        assert!(
            away.err.contains("SSH_AUTH_SOCK") && away.err.contains("eval $(ssh-agent)"),
            "{}",
            away.err
        );
        assert!(cluster.world().seal.is_none());
        // The cluster verifies the seal against the trust root, and so does the program when it reads the set back.
        run_with(&program, &with, &["apply", "-f", &file]).ends(0);
        assert_eq!(cluster.world().set.epoch(), 1);
        let listed = program.run(&["list", "-o", "name"]).ends(0);
        assert!(listed.out.contains("web-1"), "{}", listed.out);

        agent.add(&program, &["-q", "-D"]);
        let args = ["delete", "Host", "web-1"];
        let gone = run_with(&program, &with, &args).ends(2);
        assert!(
            gone.err.contains("ssh-agent does not hold") && gone.err.contains("ssh-add"),
            "{}",
            gone.err
        );
        assert_eq!(cluster.world().set.epoch(), 1);
    }
}

#[test]
fn an_agent_that_is_told_to_ask_and_has_nobody_to_ask_signs_nothing() {
    let program = Program::new();
    let agent = Agent::start(&program);
    keygen(&program, "id_ann", &["-t", "ed25519"]);
    agent.add(&program, &["-q", "-c", "id_ann"]);
    let with = [("SSH_AUTH_SOCK", agent.socket.as_path())];
    let refused = found(&program, &with, "id_ann.pub").ends(1);
    assert!(refused.err.contains("refuses to sign"), "{}", refused.err);
    assert!(!program.path("root.json").exists());
}

#[test]
fn the_list_says_which_trusted_keys_can_be_used_here() {
    let program = Program::new();
    let agent = Agent::start(&program);
    let bob = keygen(&program, "id_bob", &["-t", "ed25519"]);
    let eve = keygen(&program, "id_eve", &["-t", "ecdsa", "-b", "256"]);
    keygen(&program, "id_stranger", &["-t", "ed25519"]);
    agent.add(&program, &["-q", "id_bob", "id_stranger"]);
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let (bob, eve) = (format!("bob={bob}"), format!("eve={eve}"));
    let args = [
        "trust",
        "init",
        "--key",
        "ann.key",
        "--name",
        "ann",
        "--with",
        &bob,
        "--with",
        &eve,
        "--out",
        "root.json",
    ];
    program.run(&args).ends(0);
    let cluster = Cluster::sealed_by(&program, "ann.key");
    let with = [("SSH_AUTH_SOCK", agent.socket.as_path())];
    let listed = run_with(&program, &with, &["keys", "list", "-o", "json"])
        .ends(0)
        .json();
    let rows = listed.as_array().expect("a list");
    let own = program.path("ann.key").to_str().unwrap().to_owned();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap(),
                row["algorithm"].as_str().unwrap(),
                row["file"].as_str(),
                row["agent"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("ann", "ed25519", Some(own.as_str()), false),
            ("bob", "ssh-ed25519", None, true),
            ("eve", "ecdsa-sha2-nistp256", None, false),
        ]
    );
    // Without an agent it says so, and lists what there is.
    let alone = program.run(&["keys", "list"]).ends(0);
    assert!(alone.err.contains("SSH_AUTH_SOCK"), "{}", alone.err);
    assert!(
        alone.out.contains("bob") && !alone.out.contains("ssh-agent"),
        "{}",
        alone.out
    );
    // A key of the context that is not trusted is listed as that.
    let file = program.path("id_stranger");
    let file = file.to_str().unwrap();
    program
        .run(&["context", "use", "handed-over.json", "--key", file])
        .ends(0);
    let listed = run_with(&program, &with, &["keys", "list", "-o", "json"])
        .ends(0)
        .json();
    let last = listed.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["trusted"], &last["file"], &last["agent"]),
        (&false.into(), &file.into(), &true.into())
    );
    drop(cluster);
}

/// The bytes of an armoured signature.
fn signature(armour: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(armour).unwrap();
    let inside: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(inside).unwrap()
}

#[test]
fn what_ssh_keygen_signs_for_verger_founds_a_cluster_and_for_anything_else_does_not() {
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"]] {
        let program = Program::new();
        let public: PublicKey = keygen(&program, "id_ann", kind).parse().unwrap();
        let other: PublicKey = keygen(&program, "id_bob", kind).parse().unwrap();
        let trusted = [TrustedKey {
            name: "ann".to_owned(),
            public,
        }];
        let mut draft = TrustRoot::draft(&Terms::new(trusted.to_vec(), 1), &[]).unwrap();
        let message = program.write("message", draft.to_sign());
        let attach = |key: &str, options: &[&str], public: &PublicKey, draft: &mut Envelope| {
            let args = [&["-Y", "sign", "-q", "-f", key][..], options, &[&message]].concat();
            ssh(&program, "ssh-keygen", &args);
            let file = program.path("message.sig");
            let made = signature(&std::fs::read(&file).unwrap());
            std::fs::remove_file(file).unwrap();
            draft.attach(public, made)
        };
        for (key, options, public) in [
            ("id_ann", &["-n", "file"][..], &public),
            ("id_ann", &["-n", "verger", "-O", "hashalg=sha256"], &public),
            ("id_bob", &["-n", "verger"], &public),
            ("id_ann", &["-n", "verger"], &other),
        ] {
            assert_eq!(
                attach(key, options, public, &mut draft),
                Err(InvalidSignature::Form),
                "{key} {options:?}"
            );
        }
        assert_eq!(
            TrustRoot::open_first(&draft.to_json()).unwrap_err().word(),
            "envelope"
        );
        assert_eq!(attach("id_ann", &["-n", "verger"], &public, &mut draft), Ok(()));
        let root = TrustRoot::open_first(&draft.to_json()).unwrap();
        assert_eq!(root.keys(), trusted);
    }
}

/// Signs a trust root, or a change of one, as somebody who looked at it.
fn sign_file(program: &Program, variables: &[(&str, &Path)], file: &str, key: &str) -> Ran {
    let shown = program.run(&["trust", "show", "--file", file, "-o", "json"]);
    let shown = shown.ends(0).json();
    let digest = shown["digest"].as_str().unwrap();
    let args = ["trust", "sign", "--file", file, "--key", key, "--digest", digest];
    run_with(program, variables, &args)
}

/// Bob, whose key only the agent has: as `NAME=PUBLIC_KEY`.
fn bob(program: &Program, agent: &Agent) -> String {
    let line = keygen(program, "id_bob", &["-t", "ed25519"]);
    agent.add(program, &["-q", "id_bob"]);
    std::fs::remove_file(program.path("id_bob")).unwrap();
    format!("bob={line}")
}

#[test]
fn a_cluster_is_handed_over_to_a_key_in_an_agent() {
    let program = Program::new();
    let agent = Agent::start(&program);
    let bob = bob(&program, &agent);
    let with = [("SSH_AUTH_SOCK", agent.socket.as_path())];
    let cluster = Cluster::start(&program);
    let file = program.write("host.yaml", HOST);
    program.run(&["apply", "-f", &file]).ends(0);
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
    sign_file(&program, &[], "rotation.json", "ann.key").ends(0);
    let away = sign_file(&program, &[], "rotation.json", "id_bob.pub").ends(2);
    assert!(away.err.contains("SSH_AUTH_SOCK"), "{}", away.err);
    let submit = ["trust", "submit", "--file", "rotation.json"];
    program.run(&submit).ends(2);
    sign_file(&program, &with, "rotation.json", "id_bob.pub").ends(0);
    program.run(&submit).ends(0);
    let delete = ["delete", "Host", "web-1", "--key", "id_bob.pub"];
    run_with(&program, &with, &delete).ends(0);
    assert_eq!(cluster.world().set.epoch(), 3);
}

#[test]
fn a_key_in_an_agent_is_one_of_four_eyes() {
    let program = Program::new();
    let agent = Agent::start(&program);
    let bob = bob(&program, &agent);
    let with = [("SSH_AUTH_SOCK", agent.socket.as_path())];
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let init = [
        "trust",
        "init",
        "--key",
        "ann.key",
        "--name",
        "ann",
        "--with",
        &bob,
        "--threshold",
        "2",
        "--out",
        "root.json",
    ];
    program.run(&init).ends(0);
    sign_file(&program, &with, "root.json", "id_bob.pub").ends(0);
    let cluster = Cluster::sealed_by(&program, "ann.key");
    let file = program.write("host.yaml", HOST);
    program.run(&["apply", "-f", &file, "--propose"]).ends(0);
    let shown = program.run(&["proposals", "1", "-o", "json"]).ends(0).json();
    let root = shown["root"].as_str().unwrap();
    let sign = ["sign", "1", "--root", root, "--key", "id_bob.pub"];
    program.run(&sign).ends(2);
    assert_eq!(cluster.world().set.epoch(), 0);
    run_with(&program, &with, &sign).ends(0);
    assert_eq!(cluster.world().set.epoch(), 1);
}
