#![allow(clippy::unwrap_used)]
use std::fs;

use super::*;

const FIRST: &str =
    "syntax = \"proto3\";\n\npackage verger.probe.v1;\n\nmessage Probe {\n  string name = 1;\n}\n";

/// buf in a folder with one proto; gives whether `arguments` succeed.
fn buf_in(folder: &std::path::Path, proto: &str, arguments: &[&str]) -> bool {
    let file = folder.join("proto/proto/verger/probe/v1/probe.proto");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, proto).unwrap();
    let workspace = Workspace::find().unwrap();
    fs::copy(workspace.root().join("buf.yaml"), folder.join("buf.yaml")).unwrap();
    buf(&workspace)
        .unwrap()
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
        .status
        .success()
}

#[test]
fn our_configuration_catches_a_breaking_change_and_a_bad_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(buf_in(at, FIRST, &["lint"]));
    assert!(buf_in(
        at,
        FIRST,
        &["build", "--exclude-source-info", "-o", "baseline.binpb"]
    ));
    let against = ["breaking", "--against", "baseline.binpb"];
    assert!(
        buf_in(at, &FIRST.replace("}", "  string note = 2;\n}"), &against),
        "a new field breaks nothing"
    );
    assert!(
        !buf_in(at, &FIRST.replace("string name", "int64 name"), &against),
        "another type does"
    );
    assert!(
        !buf_in(at, &FIRST.replace("  string name = 1;\n", ""), &against),
        "a field gone without reservation does"
    );
    assert!(!buf_in(
        at,
        &FIRST.replace("string name", "string badName"),
        &["lint"]
    ));
}
