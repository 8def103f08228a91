//! Keys, trust roots and contexts.

use std::os::unix::fs::PermissionsExt as _;

use crate::program::Program;

fn mode(file: &std::path::Path) -> u32 {
    std::fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_founds_a_cluster_whose_id_every_reader_finds_again() {
    let program = Program::new();
    let made = program
        .run(&["keys", "generate", "--out", "ann.key", "-o", "json"])
        .ends(0)
        .json();
    assert_eq!(made["publicKey"].as_str().unwrap().len(), 64);
    assert_eq!(
        program
            .run(&["keys", "show", "--key", "ann.key", "-o", "json"])
            .ends(0)
            .json(),
        made
    );
    assert_eq!(mode(&program.path("ann.key")), 0o600);

    let args = [
        "trust",
        "init",
        "--key",
        "ann.key",
        "--name",
        "ann",
        "--out",
        "root.json",
        "-o",
        "json",
    ];
    let founded = program.run(&args).ends(0).json();
    assert_eq!(founded["clusterId"].as_str().unwrap().len(), 64);
    assert_eq!(founded["keys"][0]["id"], made["id"]);
    assert_eq!(
        program
            .run(&["trust", "show", "--file", "root.json", "-o", "json"])
            .ends(0)
            .json(),
        founded
    );
    let table = program.run(&["trust", "show", "--file", "root.json"]).ends(0).out;
    assert!(table.contains(founded["clusterId"].as_str().unwrap()) && table.contains("ann"));
}

#[test]
fn two_keys_are_two_keys() {
    let program = Program::new();
    let one = program
        .run(&["keys", "generate", "--out", "a", "-o", "json"])
        .ends(0)
        .json();
    let two = program
        .run(&["keys", "generate", "--out", "b", "-o", "json"])
        .ends(0)
        .json();
    assert_ne!(one["publicKey"], two["publicKey"]);
}

#[test]
fn nothing_is_written_over() {
    let program = Program::new();
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let before = std::fs::read(program.path("ann.key")).unwrap();
    let ran = program.run(&["keys", "generate", "--out", "ann.key"]).ends(2);
    assert!(ran.err.contains("exists"), "{}", ran.err);
    assert_eq!(std::fs::read(program.path("ann.key")).unwrap(), before);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let program = Program::new();
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    std::fs::set_permissions(program.path("ann.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        program
            .run(&["keys", "show", "--key", "ann.key"])
            .ends(2)
            .err
            .contains("chmod 600")
    );
}

#[test]
fn an_altered_trust_root_is_refused() {
    let program = Program::new();
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    program
        .run(&[
            "trust",
            "init",
            "--key",
            "ann.key",
            "--name",
            "ann",
            "--out",
            "root.json",
        ])
        .ends(0);
    let text = std::fs::read_to_string(program.path("root.json")).unwrap();
    let mut envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
    envelope["payload"] = serde_json::json!("e30=");
    let altered = program.write("altered.json", envelope.to_string());
    let ran = program.run(&["trust", "show", "--file", &altered]).ends(2);
    assert!(ran.err.contains("not a valid trust root"), "{}", ran.err);
    program.run(&["trust", "show", "--file", "missing.json"]).ends(2);
}

#[test]
fn a_name_that_a_terminal_would_act_on_founds_nothing() {
    let program = Program::new();
    program.run(&["keys", "generate", "--out", "ann.key"]).ends(0);
    let args = [
        "trust",
        "init",
        "--key",
        "ann.key",
        "--name",
        "a\u{1b}[31m",
        "--out",
        "root.json",
    ];
    let ran = program.run(&args).ends(2);
    assert!(
        ran.err.contains("--name") && !ran.err.contains('\u{1b}'),
        "{}",
        ran.err
    );
    assert!(!program.path("root.json").exists());
}

#[test]
fn a_missing_context_says_where_to_get_one() {
    let program = Program::new();
    for args in [
        &["context", "show"][..],
        &["hosts"],
        &["findings", "list"],
        &["list"],
        &["get", "workload", "a"],
    ] {
        let ran = program.run(args).ends(2);
        assert!(
            ran.err.contains(".config/verger/context.json") && ran.err.contains("verger context use"),
            "{}",
            ran.err
        );
        assert!(ran.out.is_empty());
    }
}

#[test]
fn a_context_that_others_can_read_is_refused() {
    let program = Program::new();
    let file = program.write("context.json", "{}");
    std::fs::set_permissions(
        program.path("context.json"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    assert!(
        program
            .run(&["context", "show", "--context", &file])
            .ends(2)
            .err
            .contains("chmod 600")
    );
}

#[test]
fn a_trust_root_of_two_is_signed_by_one_after_the_other() {
    let program = Program::new();
    let mut public = Vec::new();
    for key in ["ann.key", "bob.key", "eve.key"] {
        let made = program
            .run(&["keys", "generate", "--out", key, "-o", "json"])
            .ends(0)
            .json();
        public.push(made["publicKey"].as_str().unwrap().to_owned());
    }
    let bob = format!("bob={}", public[1]);
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
        "2",
        "--out",
        "root.json",
        "-o",
        "json",
    ];
    let made = program.run(&args).ends(0);
    assert!(
        made.err.contains("1 more must sign") && made.err.contains("of: bob"),
        "{}",
        made.err
    );
    assert_eq!(made.json()["threshold"], 2);
    let sign = |key: &str| program.sign_file("root.json", key);
    // Whoever is not asked cannot sign, and who has signed does not count twice.
    let stranger = sign("eve.key").ends(2);
    assert!(stranger.err.contains("nothing was signed"), "{}", stranger.err);
    assert!(sign("ann.key").ends(0).err.contains("1 more must sign"));
    let shown = program.run(&["trust", "show", "--file", "root.json"]).ends(0);
    assert!(shown.err.contains("1 more must sign"), "{}", shown.err);

    let whole = sign("bob.key").ends(0);
    assert_eq!(whole.err, "");
    assert_eq!(whole.json(), made.json(), "the same cluster");
    assert_eq!(
        program
            .run(&["trust", "show", "--file", "root.json", "-o", "json"])
            .ends(0)
            .json(),
        made.json()
    );
}

#[test]
fn a_trust_root_that_could_never_seal_is_refused() {
    let program = Program::new();
    let key = program
        .run(&["keys", "generate", "--out", "ann.key", "-o", "json"])
        .ends(0)
        .json();
    let own = format!("bob={}", key["publicKey"].as_str().unwrap());
    for (more, what) in [
        (&["--threshold", "2"][..], "threshold"),
        (&["--threshold", "0"][..], "threshold"),
        (&["--with", &own][..], "twice"),
        (&["--with", "bob"][..], "NAME=PUBLIC_KEY"),
        (&["--with", "bob=\u{1b}[31m"][..], "--with"),
    ] {
        let args = [
            &[
                "trust",
                "init",
                "--key",
                "ann.key",
                "--name",
                "ann",
                "--out",
                "root.json",
            ][..],
            more,
        ]
        .concat();
        let refused = program.run(&args).ends(2);
        assert!(
            refused.err.contains(what) && !refused.err.contains('\u{1b}'),
            "{}",
            refused.err
        );
        assert!(!program.path("root.json").exists());
    }
}
