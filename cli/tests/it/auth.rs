//! Who may do what, by a set that was verified here.

use crate::cluster::Cluster;
use crate::program::{Program, Ran};

const ROLES: &str = "\
apiVersion: verger/v1
kind: Role
metadata: { name: careful }
spec: { rules: [ { effect: deny, verbs: [ delete ], resources: [ Workload ], names: [ payments/* ] } ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: admins }
spec: { role: admin, subjects: [ person/ann ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: hosts }
spec: { role: operator, subjects: [ person/bob, group/ops ], scope: { labels: { zone: eu } } }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: all }
spec: { role: careful, subjects: [ group/staff ] }
---
apiVersion: verger/v1
kind: Host
metadata: { name: web-1 }
spec: { agent: web-1, labels: { zone: eu } }
";

fn bound() -> (Program, Cluster) {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let file = program.write("roles.yaml", ROLES);
    program.run(&["apply", "-f", &file]).ends(0);
    (program, cluster)
}

fn can(program: &Program, args: &[&str]) -> Ran {
    program.run(&[&["auth", "can-i"], args].concat())
}

#[test]
fn somebody_may_or_may_not_and_is_told_why() {
    let (program, _cluster) = bound();
    let yes = can(&program, &["delete", "workload/payments/web"]).ends(0);
    assert!(
        yes.out.contains("yes") && yes.out.contains("RoleBinding/admins"),
        "{}",
        yes.out
    );
    let no = can(&program, &["delete", "Workload/payments/web", "--group", "staff"]).ends(1);
    assert!(
        no.out
            .contains("`deny delete on Workload named payments/*` of role careful, given by RoleBinding/all"),
        "{}",
        no.out
    );
    let json = can(&program, &["ack", "findings", "--as", "bob", "-o", "json"])
        .ends(1)
        .json();
    assert_eq!(
        (&json["person"], &json["allowed"], &json["because"][0]),
        (&"bob".into(), &false.into(), &"no rule allows it".into())
    );
}

#[test]
fn a_user_of_a_host_has_what_is_bound_to_him_there() {
    let (program, _cluster) = bound();
    let file = program.write(
        "local.yaml",
        "apiVersion: verger/v1\nkind: RoleBinding\nmetadata: { name: locals }\nspec: { role: operator, subjects: [ local/1000 ], scope: { names: [ payments/* ] }, hosts: { zone: eu } }\n",
    );
    program.run(&["apply", "-f", &file]).ends(0);
    let local = |args: &[&str]| can(&program, &[args, &["--as", "local/1000"]].concat());
    local(&["stop", "containers/payments/web", "--on", "web-1"]).ends(0);
    local(&["exec", "containers/payments/web", "--on", "web-1"]).ends(1);
    local(&["stop", "containers/other/web", "--on", "web-1"]).ends(1);
    local(&["stop", "containers/payments/web", "--on", "web-2"]).ends(1);
    let no = local(&["stop", "containers/payments/web"]).ends(1);
    assert!(no.out.contains("local/1000"), "{}", no.out);
    local(&["get", "Workload/payments/web", "--on", "web-1"]).ends(1);
    can(&program, &["get", "status", "--as", "local/0"]).ends(2);
    can(&program, &["get", "status", "--as", "ann", "--on", "web-1"]).ends(2);
}

#[test]
fn labels_are_those_of_the_set_unless_others_are_given() {
    let (program, _cluster) = bound();
    let bob = |args: &[&str]| can(&program, &[args, &["--as", "bob"]].concat());
    bob(&["get", "hosts/web-1"]).ends(0);
    bob(&["create", "tokens/web-1"]).ends(0);
    bob(&["get", "hosts/web-2"]).ends(1);
    bob(&["get", "hosts/web-2", "--label", "zone=eu"]).ends(0);
    bob(&["get", "hosts/web-1", "--label", "zone=us"]).ends(1);
    bob(&["list", "hosts"]).ends(1);
}

#[test]
fn who_can_and_explain_name_what_bindings_give() {
    let (program, _cluster) = bound();
    let who = program
        .run(&["auth", "who-can", "create", "tokens/web-1", "-o", "name"])
        .ends(0);
    assert_eq!(who.out, "group/ops\nperson/ann\nperson/bob\n");
    let who = program
        .run(&["auth", "who-can", "sign", "RoleBinding", "-o", "json"])
        .ends(0)
        .json();
    assert_eq!(who.as_array().unwrap().len(), 1);
    let rules = program
        .run(&["auth", "explain", "--as", "bob", "-o", "json"])
        .ends(0)
        .json();
    let rules = rules.as_array().unwrap();
    assert!(
        rules
            .iter()
            .all(|rule| rule["binding"] == "hosts" && rule["scope"]["labels"]["zone"] == "eu")
    );
    assert!(
        rules
            .iter()
            .any(|rule| rule["rule"]["verbs"] == serde_json::json!(["create"]))
    );
    let none = program.run(&["auth", "explain", "--as", "eve"]).ends(0);
    assert!(none.out.contains("no binding names this person"), "{}", none.out);
    let roles = program.run(&["auth", "explain", "--roles"]).ends(0).out;
    for role in ["viewer", "operator", "author", "approver", "admin", "careful"] {
        assert!(roles.contains(role), "{roles}");
    }
}

#[test]
fn while_no_role_is_bound_everybody_may_and_it_is_said() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    let yes = can(&program, &["apply", "Workload", "--as", "eve"]).ends(0);
    assert!(yes.out.contains("no role is bound"), "{}", yes.out);
    let version = program.run(&["version", "-o", "wide"]).ends(0).out;
    assert!(
        version.contains("none bound: every local login may do everything"),
        "{version}"
    );
    let who = program.run(&["auth", "who-can", "apply", "Workload"]).ends(0);
    assert!(
        who.err.contains("everybody with a local login may do everything"),
        "{}",
        who.err
    );
}

#[test]
fn slips_are_named_before_the_cluster_is_asked() {
    let program = Program::new();
    for (args, wanted) in [
        (&["aply", "Workload"][..], "VERB `aply` is none of"),
        (&["get", "Pods"], "RESOURCE `Pods` is none of"),
        (&["get", "Workload/A"], "RESOURCE `Workload/NAME`"),
        (&["get", "Workload/a", "--label", "x"], "--label `x`"),
    ] {
        let ran = can(&program, args).ends(2);
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
    let (program, _cluster) = bound();
    for (args, wanted) in [
        (&["ack", "Workload"][..], "does not know the verb `ack`"),
        (&["get", "status/x"], "`status` has no names"),
        (&["get", "status", "--as", "A b"], "is not a name of a person"),
    ] {
        let ran = can(&program, args).ends(2);
        assert!(ran.err.contains(wanted), "{}", ran.err);
    }
}

#[test]
fn whoever_would_lock_everybody_out_is_warned_before_anything_is_signed() {
    let (program, _cluster) = bound();
    let warned = "the cluster will refuse this: no person named by a binding";
    let delete = program.run(&["delete", "RoleBinding", "admins", "--dry-run"]);
    assert!(delete.err.contains(warned), "{}", delete.err);
    let spared = program.run(&["delete", "RoleBinding", "all", "--dry-run"]);
    assert!(!spared.err.contains(warned), "{}", spared.err);
}
