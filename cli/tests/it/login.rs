//! Logging in, as far as no cluster is needed for it, and who the cluster says one is.

use crate::cluster::Cluster;
use crate::program::Program;

#[test]
fn whoever_has_not_been_told_where_to_log_in_is_told_how_to_learn_it() {
    let program = Program::new();
    let ran = program.run(&["login", "--oidc"]).ends(2);
    assert!(ran.err.contains("verger context invite"), "{}", ran.err);
    // A part of the place is no place.
    let ran = program.run(&["login", "--enrol", "127.0.0.1:1"]).ends(2);
    assert!(ran.err.contains("--cluster-id"), "{}", ran.err);
    let pin = format!("sha256:{}", "ab".repeat(32));
    for (cluster, pin, wanted) in [
        ("ABC", pin.as_str(), "--cluster-id is 64"),
        (&"ab".repeat(32), "sha1:00", "--ca-pin is"),
    ] {
        let place = [
            "login",
            "--enrol",
            "127.0.0.1:1",
            "--cluster-id",
            cluster,
            "--ca-pin",
            pin,
        ];
        let ran = program.run(&place).ends(2);
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    // Nobody listens there.
    let cluster = "ab".repeat(32);
    let place = [
        "login",
        "--enrol",
        "127.0.0.1:1",
        "--cluster-id",
        &cluster,
        "--ca-pin",
        &pin,
    ];
    program.run(&place).ends(4);
}

#[test]
fn a_login_overwrites_no_other_one_unless_that_is_asked_for() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let (pin, address) = (cluster.pin.clone(), "127.0.0.1:1");
    let place = [
        "login",
        "--enrol",
        address,
        "--cluster-id",
        &cluster.id,
        "--ca-pin",
        &pin,
    ];
    let before = program.run(&["context", "show", "-o", "json"]).ends(0).out;
    let ran = program.run(&place).ends(2);
    assert!(ran.err.contains("--replace"), "{}", ran.err);
    // Asked for, it is tried; what is there stays until there is another.
    program.run(&[&place[..], &["--replace"]].concat()).ends(4);
    assert_eq!(
        program.run(&["context", "show", "-o", "json"]).ends(0).out,
        before
    );
}

#[test]
fn one_is_told_who_one_is_and_what_ones_own_groups_may() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let roles = "\
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: admins }
spec: { role: admin, subjects: [ person/bob ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: ops }
spec: { role: operator, subjects: [ group/ops ] }
";
    let file = program.write("roles.yaml", roles);
    program.run(&["apply", "-f", &file]).ends(0);
    let can = ["auth", "can-i", "create", "tokens"];
    program.run(&can).ends(1);
    cluster.world().groups = vec!["ops".to_owned()];
    let yes = program.run(&can).ends(0);
    assert!(yes.out.contains("RoleBinding/ops"), "{}", yes.out);
    // Of somebody else, groups are what is said.
    program.run(&[&can[..], &["--as", "eve"]].concat()).ends(1);
    let me = program.run(&["auth", "whoami", "-o", "json"]).ends(0).json();
    assert_eq!(me["person"], "ann");
    assert_eq!(me["groups"][0], "ops");
}
