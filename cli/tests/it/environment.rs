//! What the environment names, and what it leaves open.

use crate::cluster::Cluster;
use crate::program::Program;

#[test]
fn a_variable_that_is_empty_is_one_that_is_not_set() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let text = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: h1 }\nspec: { agent: h1 }\n";
    let file = program.write("h1.yaml", text);
    let apply = |context: &str, key: &str| {
        let mut command = program.command(&["apply", "-f", &file]);
        command.env("VERGER_CONTEXT", context).env("VERGER_KEY", key);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Set, they count.
    let (code, told) = apply("nowhere.json", "");
    assert!(
        code == Some(2) && told.contains("no context at nowhere.json"),
        "{told}"
    );
    let (code, told) = apply("", "nowhere.key");
    assert!(code != Some(0) && told.contains("nowhere.key"), "{told}");
    assert_eq!(cluster.world().set.epoch(), 0);
    let (code, told) = apply("", "");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(cluster.world().set.epoch(), 1);
    // A context that is named must be there, also for what asks a cluster only if there is one.
    let version = |context: &str| {
        let mut command = program.command(&["version"]);
        command
            .env("VERGER_CONTEXT", context)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!((version("nowhere.json"), version("")), (Some(2), Some(0)));
    // A flag that is empty is a slip.
    program.run(&["list", "--context", ""]).ends(2);
}
