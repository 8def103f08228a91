//! The power-cut rig over the stores as they are. Needs root: a machine that cannot run it fails, and is told why.

use std::process::Command;

const RIG: &str = env!("CARGO_BIN_EXE_prove-power-cut");

#[test]
fn one_power_cut_loses_nothing_acknowledged_and_the_planted_defects_are_caught() {
    let output = Command::new(RIG)
        .args(["--build", "--rounds", "1"])
        .output()
        .unwrap();
    let (out, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{errors}");
    let figure = out.lines().last().unwrap();
    let (lost, caught) = figure.split_once("; planted defects caught: ").unwrap();
    for kind in [
        "controller-log",
        "controller-redb-log",
        "controller-state",
        "controller-snapshot",
        "ledger",
    ] {
        assert!(lost.contains(&format!("{kind} 0 lost of 1 (")), "{figure}");
        assert!(caught.contains(&format!("{kind} 1 of ")), "{figure}");
    }
}

#[test]
fn the_rig_leaves_the_machine_alone_when_its_programs_are_missing() {
    let empty = tempfile::tempdir().unwrap();
    let work = tempfile::tempdir().unwrap();
    let output = Command::new(RIG)
        .env("VERGER_BIN_DIR", empty.path())
        .args(["--rounds", "1", "--work"])
        .arg(work.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("verger-store-writer is not in"), "{errors}");
    assert_eq!(
        std::fs::read_dir(work.path()).unwrap().count(),
        0,
        "the round's folder is gone"
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(work.path().to_str().unwrap()), "{mounts}");
    let held = Command::new("losetup")
        .args(["--noheadings", "--output", "BACK-FILE"])
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&held.stdout).contains(work.path().to_str().unwrap()));
}
