//! Key files of every form.

use super::{found, keygen, run_with, ssh};
use crate::cluster::{Cluster, private};
use crate::program::Program;

#[test]
fn an_openssh_private_key_seals_as_it_is() {
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"]] {
        let program = Program::new();
        let line = keygen(&program, "id_ann", kind);
        found(&program, &[], "id_ann").ends(0);
        for file in ["id_ann", "id_ann.pub"] {
            let shown = program
                .run(&["keys", "show", "--key", file, "-o", "json"])
                .ends(0);
            let shown = shown.json();
            assert!(line.starts_with(shown["publicKey"].as_str().unwrap()));
            let listed = ssh(&program, "ssh-keygen", &["-l", "-f", "id_ann.pub"]);
            let listed = String::from_utf8(listed.stdout).unwrap();
            assert!(listed.contains(shown["id"].as_str().unwrap()), "{listed}");
        }
        let cluster = Cluster::sealed_by(&program, "id_ann");
        let file = program.write("host.yaml", super::HOST);
        program.run(&["apply", "-f", &file]).ends(0);
        assert_eq!(cluster.world().set.epoch(), 1);
    }
}

#[test]
fn the_key_of_a_trust_root_in_another_form_is_told_apart() {
    let program = Program::new();
    let line = keygen(&program, "id_ann", &["-t", "ed25519"]);
    found(&program, &[], "id_ann").ends(0);
    let _cluster = Cluster::sealed_by(&program, "id_ann");
    // The same key, as one of Verger's own.
    let text = std::fs::read_to_string(program.path("id_ann")).unwrap();
    let pair = ssh_key::PrivateKey::from_openssh(&text).unwrap();
    let seed = pair.key_data().ed25519().unwrap().private.to_bytes();
    let raw = verger_seal::SealingKey::from_seed(seed).to_pem().unwrap();
    let key = program.write("raw.key", raw.as_bytes());
    private(key.as_ref());
    let file = program.write("host.yaml", super::HOST);
    let refused = program.run(&["apply", "-f", &file, "--key", &key]).ends(2);
    assert!(
        refused.err.contains("in another form (ssh-ed25519)"),
        "{}",
        refused.err
    );
    // And nobody can be in a trust root twice by it.
    let with = format!("bob={line}");
    let args = [
        "trust", "init", "--key", &key, "--name", "ann", "--with", &with, "--out", "two.json",
    ];
    let twice = program.run(&args).ends(2);
    assert!(twice.err.contains("there twice"), "{}", twice.err);
}

#[test]
fn others_join_a_trust_root_by_the_line_of_their_pub_file() {
    let program = Program::new();
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let bob = keygen(&program, "id_bob", &["-t", "ed25519"]);
    let init = |with: &str| {
        program.run(&[
            "trust",
            "init",
            "--key",
            "ann.key",
            "--name",
            "ann",
            "--with",
            with,
            "--threshold",
            "2",
            "--out",
            "root.json",
        ])
    };
    keygen(&program, "id_rsa", &["-t", "rsa", "-b", "2048"]);
    ssh(
        &program,
        "ssh-keygen",
        &["-q", "-s", "id_bob", "-I", "id", "-n", "eve", "id_bob.pub"],
    );
    let line = |file: &str| std::fs::read_to_string(program.path(file)).unwrap();
    for (with, what) in [
        (
            format!("eve={}", line("id_rsa.pub").trim_end()),
            "RSA keys do not seal",
        ),
        (
            format!("eve={}", line("id_bob-cert.pub").trim_end()),
            "certificates do not seal",
        ),
        (format!("eve={}", &bob[..bob.len() - 30]), "damaged"),
        (format!("eve={bob}\n{bob}"), "not a public key"),
    ] {
        let refused = init(&with).ends(2);
        assert!(refused.err.contains(what), "{what}: {}", refused.err);
        assert!(!program.path("root.json").exists());
    }
    let made = init(&format!("bob={bob}")).ends(0);
    assert!(made.err.contains("of: bob"), "{}", made.err);
    let shown = program.run(&["trust", "show", "--file", "root.json", "-o", "json"]);
    let shown = shown.ends(0).json();
    assert_eq!(shown["keys"][1]["algorithm"], "ssh-ed25519");
    assert!(bob.starts_with(shown["keys"][1]["publicKey"].as_str().unwrap()));
}

#[test]
fn files_that_hold_no_key_that_seals_say_what_to_do() {
    let program = Program::new();
    keygen(&program, "id_ann", &["-t", "ed25519"]);
    keygen(&program, "id_rsa", &["-t", "rsa", "-b", "2048"]);
    keygen(&program, "id_384", &["-t", "ecdsa", "-b", "384"]);
    keygen(&program, "id_old", &["-t", "ecdsa", "-b", "256", "-m", "PEM"]);
    program.run(&["keys", "generate", "--out", "own.key"]).ends(0);
    let own = program
        .run(&["keys", "show", "--key", "own.key", "-o", "json"])
        .ends(0);
    let own = own.json()["publicKey"].as_str().unwrap().to_owned();
    let copy = |from: &str, to: &str| {
        std::fs::copy(program.path(from), program.path(to)).unwrap();
        private(&program.path(to));
        to.to_owned()
    };
    program.write("huge.pub", vec![b'a'; 20 << 10]);
    program.write("own.pub", own);
    program.write("empty.pub", "");
    for (file, what) in [
        ("id_rsa".to_owned(), "RSA keys do not seal"),
        ("id_rsa.pub".to_owned(), "RSA keys do not seal"),
        ("id_384".to_owned(), "nistp256"),
        ("id_old".to_owned(), "ssh-keygen -p"),
        (
            copy("id_ann", "private.pub"),
            "a private key in a file named .pub",
        ),
        (copy("id_ann.pub", "id_public"), "call the file .pub"),
        ("own.pub".to_owned(), "name the private key file"),
        ("huge.pub".to_owned(), "larger than"),
        ("empty.pub".to_owned(), "not a public key"),
        ("missing.pub".to_owned(), "cannot be read"),
        ("missing".to_owned(), "does not exist"),
    ] {
        let refused = program.run(&["keys", "show", "--key", &file]).ends(2);
        assert!(refused.err.contains(what), "{file}: {}", refused.err);
    }
    // In the older form's place, what was advised works.
    ssh(
        &program,
        "ssh-keygen",
        &["-p", "-q", "-P", "", "-N", "", "-f", "id_old"],
    );
    run_with(&program, &[], &["keys", "show", "--key", "id_old"]).ends(0);
}
