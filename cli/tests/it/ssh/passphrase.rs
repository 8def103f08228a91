//! Keys that a passphrase protects.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{found, run_with, ssh};
use crate::cluster::{Cluster, private};
use crate::program::Program;

const PASSPHRASE: &str = "correct horse";

/// A file that holds a passphrase.
fn holding(program: &Program, name: &str, text: &str) -> std::path::PathBuf {
    let file = program.write(name, text);
    private(Path::new(&file));
    file.into()
}

#[test]
fn a_key_with_a_passphrase_seals_with_it_alone() {
    let program = Program::new();
    let right = holding(&program, "right", &format!("{PASSPHRASE}\n"));
    let wrong = holding(&program, "wrong", "correct hors\n");
    let with = [("VERGER_PASSPHRASE_FILE", right.as_path())];
    let without = [("VERGER_PASSPHRASE_FILE", wrong.as_path())];
    let args = [
        "keys",
        "generate",
        "--passphrase",
        "--out",
        "id_ann",
        "-o",
        "json",
    ];
    let made = run_with(&program, &with, &args).ends(0).json();
    assert_eq!(made["algorithm"], "ssh-ed25519");
    let mode = std::fs::metadata(program.path("id_ann"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // The public half needs no passphrase; ssh-keygen opens the private one with it.
    let shown = program
        .run(&["keys", "show", "--key", "id_ann", "-o", "json"])
        .ends(0);
    assert_eq!(shown.json(), made);
    let opened = ssh(&program, "ssh-keygen", &["-y", "-P", PASSPHRASE, "-f", "id_ann"]);
    let opened = String::from_utf8(opened.stdout).unwrap();
    assert!(
        opened.starts_with(made["publicKey"].as_str().unwrap()),
        "{opened}"
    );

    let refused = found(&program, &without, "id_ann").ends(2);
    assert!(
        refused.err.contains("wrong passphrase") && refused.err.contains("nothing was signed"),
        "{}",
        refused.err
    );
    assert!(!program.path("root.json").exists());
    found(&program, &with, "id_ann").ends(0);
    let cluster = Cluster::sealed_by(&program, "id_ann");
    let file = program.write("host.yaml", super::HOST);
    // It is asked for only when there is something to sign by a key that may.
    let unasked = program.run(&["apply", "-f", &file, "--dry-run"]);
    unasked.ends(0);
    let args = ["-q", "-t", "ed25519", "-a", "1", "-N", PASSPHRASE, "-f", "id_eve"];
    ssh(&program, "ssh-keygen", &args);
    let stranger = program.run(&["apply", "-f", &file, "--key", "id_eve"]).ends(2);
    assert!(
        stranger.err.contains("is not a key of this cluster's trust root"),
        "{}",
        stranger.err
    );
    run_with(&program, &without, &["apply", "-f", &file]).ends(2);
    assert_eq!(cluster.world().set.epoch(), 0);
    run_with(&program, &with, &["apply", "-f", &file]).ends(0);
    assert_eq!(cluster.world().set.epoch(), 1);
}

#[test]
fn passphrases_come_from_private_files_of_one_line_or_from_a_terminal_and_from_nowhere_else() {
    let program = Program::new();
    let args = ["-q", "-t", "ed25519", "-a", "1", "-N", PASSPHRASE, "-f", "id_ann"];
    ssh(&program, "ssh-keygen", &args);
    // In a session of its own, which has no terminal whoever runs the tests.
    let nowhere = Command::new("/usr/bin/setsid")
        .args(["--wait", env!("CARGO_BIN_EXE_verger")])
        .args([
            "trust",
            "init",
            "--key",
            "id_ann",
            "--name",
            "ann",
            "--out",
            "root.json",
        ])
        .env_clear()
        .env("HOME", program.path(""))
        .current_dir(program.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("util-linux is missing: run `apt-get install util-linux`");
    let told = String::from_utf8(nowhere.stderr).unwrap();
    assert_eq!(nowhere.status.code(), Some(2), "{told}");
    assert!(
        told.contains("VERGER_PASSPHRASE_FILE") && told.contains("no terminal"),
        "{told}"
    );
    let open = program.write("open", PASSPHRASE);
    let lines = holding(&program, "lines", &format!("{PASSPHRASE}\nmore\n"));
    let long = holding(&program, "long", &"a".repeat(2000));
    let binary = program.write("binary", [0xff, 0xfe]);
    private(Path::new(&binary));
    let missing = program.path("missing");
    for (file, what) in [
        (Path::new(&open), "chmod 600"),
        (lines.as_path(), "one line"),
        (long.as_path(), "one line"),
        (Path::new(&binary), "one line"),
        (missing.as_path(), "does not exist"),
    ] {
        let refused = found(&program, &[("VERGER_PASSPHRASE_FILE", file)], "id_ann").ends(2);
        assert!(refused.err.contains(what), "{what}: {}", refused.err);
        assert!(!refused.err.contains(PASSPHRASE));
    }
    let empty = holding(&program, "empty", "\n");
    let args = ["keys", "generate", "--passphrase", "--out", "id_bob"];
    let refused = run_with(&program, &[("VERGER_PASSPHRASE_FILE", &empty)], &args).ends(2);
    assert!(refused.err.contains("is empty"), "{}", refused.err);
    assert!(!program.path("id_bob").exists());
    let exact = holding(&program, "exact", PASSPHRASE);
    found(&program, &[("VERGER_PASSPHRASE_FILE", &exact)], "id_ann").ends(0);
}

/// Runs a line of a shell at a terminal; types each answer once its question is there. Gives the exit code and all that the
/// terminal showed.
fn converse(program: &Program, line: &str, talk: &[(&str, &str)]) -> (i32, String) {
    let verger = env!("CARGO_BIN_EXE_verger");
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{verger} {line}"))
        .arg("/dev/null")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", program.path(""))
        .current_dir(program.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bsdutils is missing: run `apt-get install bsdutils`");
    let mut keyboard = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut shown = Vec::new();
    for (question, answer) in talk {
        let before = shown.len();
        let asked = |shown: &[u8]| String::from_utf8_lossy(&shown[before..]).contains(question);
        while !asked(&shown) {
            let mut byte = [0];
            let read = screen.read(&mut byte).unwrap();
            assert_eq!(read, 1, "{question}: {}", String::from_utf8_lossy(&shown));
            shown.push(byte[0]);
        }
        keyboard.write_all(answer.as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    let code = terminal.wait().unwrap().code().unwrap();
    (code, String::from_utf8(shown).unwrap())
}

#[test]
fn a_person_types_the_passphrase_unseen_and_may_err_twice() {
    let program = Program::new();
    let generate = "keys generate --passphrase --out id_ann";
    let (code, shown) = converse(
        &program,
        generate,
        &[("New passphrase of id_ann: ", "one\r"), ("again: ", "other\r")],
    );
    assert!(code == 2 && shown.contains("differ"), "{code} {shown}");
    assert!(!program.path("id_ann").exists());
    let twice = [
        ("New passphrase of id_ann: ", "correct horse\r"),
        ("again: ", "correct horse\r"),
    ];
    let (code, shown) = converse(&program, generate, &twice);
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("horse"), "{shown}");

    let init = "trust init --key id_ann --name ann --out root.json";
    let question = "Passphrase of id_ann: ";
    let (code, shown) = converse(
        &program,
        init,
        &[(question, "a\r"), (question, "b\r"), (question, "c\r")],
    );
    assert!(code == 2 && shown.contains("wrong passphrase"), "{code} {shown}");
    let (code, shown) = converse(&program, init, &[(question, "half\x03")]);
    assert!(
        code == 2 && shown.contains("no passphrase was given"),
        "{code} {shown}"
    );
    assert!(!program.path("root.json").exists());
    let typed = [
        (question, "wrong\r"),
        (question, "corect\x7f\x7f\x7frect horse\r"),
    ];
    let (code, shown) = converse(&program, init, &typed);
    assert_eq!(code, 0, "{shown}");
    assert!(program.path("root.json").exists());
    assert!(
        shown.contains("Wrong passphrase.") && !shown.contains("horse"),
        "{shown}"
    );
    // What the terminal was set to is set again.
    let (code, shown) = converse(&program, &format!("{init}; stty -a"), &[(question, "\x03")]);
    assert_eq!(code, 0, "{shown}");
    for set in [" echo ", " icanon ", " isig "] {
        assert!(
            shown.contains(set) || shown.contains(&set.replacen(' ', "\n", 1)),
            "{set}: {shown}"
        );
    }
}
