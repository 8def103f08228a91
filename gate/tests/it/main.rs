//! The program, called as a runtime is.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
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
