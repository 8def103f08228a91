//! The program, called as a runtime is.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// Puts the gate in front of `echo`, which stands in for a runtime: it says what it was called with.
fn gate(folder: &Path) {
    fs::copy(env!("CARGO_BIN_EXE_verger-gate"), folder.join("verger-gate")).unwrap();
    symlink("verger-gate", folder.join("echo")).unwrap();
}

fn call(folder: &Path, words: &[&str]) -> Output {
    Command::new(folder.join("echo")).args(words).output().unwrap()
}

#[test]
fn without_its_settings_it_ends_containers_and_launches_none() {
    for damage in [None, Some("{"), Some(r#"{"version":9}"#)] {
        let dir = tempfile::tempdir().unwrap();
        gate(dir.path());
        if let Some(text) = damage {
            fs::write(dir.path().join("gate.json"), text).unwrap();
        }
        for words in [
            ["kill", "ab12"].as_slice(),
            &["--root", "/r", "delete", "--force", "ab12"],
            &["--new-flag", "state", "ab12"],
        ] {
            let output = call(dir.path(), words);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), words.join(" "));
        }
        for words in [
            ["create", "ab12"].as_slice(),
            &["start", "ab12"],
            &["--new-flag", "kill", "create", "ab12"],
        ] {
            let output = call(dir.path(), words);
            assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.starts_with("verger-gate: "), "{told}");
        }
    }
}

/// Puts the gate in front of a runtime that notes what it is called with, and says that its containers are in this state.
fn gate_before(folder: &Path, state: &str) {
    let runtime = folder.join("runtime");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {0}/calls\ncase \"$*\" in *state*) echo '{{\"status\":\"{state}\"}}';; esac\n",
        folder.display()
    );
    fs::write(&runtime, script).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let sha256 = verger_gate_protocol::pin::digest(fs::File::open(&runtime).unwrap()).unwrap();
    let settings = serde_json::json!({
        "version": 1,
        "socket": folder.join("nobody.sock"),
        "agentUid": 0,
        "state": folder.join("state"),
        "runtimes": { "echo": { "path": runtime, "sha256": sha256 } },
    });
    fs::write(folder.join("gate.json"), settings.to_string()).unwrap();
    gate(folder);
}

#[test]
fn what_was_made_is_ended_where_its_start_is_refused_and_what_runs_is_not() {
    for (state, ended) in [("created", true), ("running", false), ("stopped", false)] {
        let dir = tempfile::tempdir().unwrap();
        gate_before(dir.path(), state);
        let log = dir.path().join("log");
        let output = call(
            dir.path(),
            &["--root", "/r", "--log", log.to_str().unwrap(), "start", "ab12"],
        );
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains("start refused: the policy agent is unreachable"),
            "{told}"
        );
        let calls = fs::read_to_string(dir.path().join("calls")).unwrap();
        let calls: Vec<&str> = calls.lines().collect();
        let expected = ["--root /r state ab12", "--root /r kill ab12 KILL"];
        assert_eq!(calls, expected[..1 + usize::from(ended)], "{state}");
        // Who asked reads why, and nothing of what came after.
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 1);
    }
    // Of what is refused before anything is made there is nothing to end.
    let dir = tempfile::tempdir().unwrap();
    gate_before(dir.path(), "created");
    call(dir.path(), &["delete", "ab12"]);
    call(dir.path(), &["create", "--bundle", "/nowhere", "ab12"]);
    assert_eq!(
        fs::read_to_string(dir.path().join("calls")).unwrap(),
        "delete ab12\n"
    );
}
