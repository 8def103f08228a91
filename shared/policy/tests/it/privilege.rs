//! Effective root, by tables.

use verger_policy::compile::Compiled;
use verger_policy::drift::Outcome;
use verger_policy::facts::*;
use verger_policy::model::Control;

use crate::judging::*;

const HOST_USER: &str = "namespaces: { user: host }";

fn policy(more: &str) -> Compiled {
    compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ], {more} }}"),
    ))
}

/// A clean instance in the host's user namespace.
fn plain() -> (Compiled, Instance) {
    let compiled = policy(HOST_USER);
    let instance = blessed(&compiled);
    assert_eq!(failing(&judged(&compiled, &instance)), Vec::<String>::new());
    (compiled, instance)
}

fn of_privilege(compiled: &Compiled, instance: &Instance) -> Vec<String> {
    failing_of(&judged(compiled, instance), Control::Privilege)
}

#[test]
fn uid_0_of_the_host_is_root_whichever_of_the_four_it_is() {
    let (compiled, clean) = plain();
    for place in 0..4 {
        let mut instance = clean.clone();
        process(&mut instance).uids[place] = 0;
        assert_eq!(
            of_privilege(&compiled, &instance),
            ["privilege/is-root user"],
            "{place}"
        );
    }
}

#[test]
fn every_process_counts_not_the_first_alone() {
    let (compiled, mut instance) = plain();
    let mut second = process(&mut instance).clone();
    (second.pid, second.uids, second.comm) = (4712, [0; 4], "su\u{1b}[31m".to_owned());
    live(&mut instance).processes.push(second);
    let judgement = judged(&compiled, &instance);
    assert_eq!(
        failing_of(&judgement, Control::Privilege),
        ["privilege/is-root user"]
    );
    let check = judgement.failing().next().unwrap();
    assert_eq!(check.actual.as_deref(), Some("0"));
    assert!(
        check.reason.contains("`su\\u{1b}[31m`") && !check.reason.contains('\u{1b}'),
        "{}",
        check.reason
    );
}

#[test]
fn root_of_an_own_user_namespace_is_not_root() {
    let compiled = policy("user: { uid: 0, gid: 0 }");
    let instance = blessed(&compiled);
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement), Vec::<String>::new());
    assert_eq!(
        result(&judgement, "privilege/is-root", "user"),
        Some(Outcome::Pass)
    );

    let mut mapped_to_root = instance;
    seen(&mut mapped_to_root.config.user).host_uid = Evidence::Seen(0);
    process(&mut mapped_to_root).uids = [0; 4];
    assert_eq!(
        of_privilege(&compiled, &mapped_to_root),
        ["privilege/is-root user"]
    );
}

#[test]
fn a_configuration_alone_shows_root_before_anything_runs() {
    let compiled = policy(&format!("{HOST_USER}, user: {{ uid: 0, gid: 0 }}"));
    let mut instance = blessed(&compiled);
    instance.live = Evidence::missing("created, not started");
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement), ["privilege/is-root user"]);
    assert_eq!(
        result(&judgement, "privilege/can-become-root", "user"),
        Some(Outcome::NotApplicable)
    );
}

#[test]
fn root_of_a_rootless_daemon_is_not_root_of_the_host() {
    let compiled = policy(&format!("{HOST_USER}, user: {{ uid: 0, gid: 0 }}"));
    let mut instance = blessed(&compiled);
    let process = process(&mut instance);
    (process.uids, process.gids) = ([100_000; 4], [100_000; 4]);
    process.host_user_namespace = Evidence::Seen(false);
    let judgement = judged(&compiled, &instance);
    assert_eq!(
        result(&judgement, "privilege/is-root", "user"),
        Some(Outcome::Pass)
    );
}

#[test]
fn an_unknown_mapping_is_not_evaluated() {
    let (compiled, mut instance) = plain();
    instance.live = Evidence::missing("not looked at");
    let user = seen(&mut instance.config.user);
    (user.uid, user.host_uid) = (Evidence::Seen(0), Evidence::missing("not known"));
    let judgement = judged(&compiled, &instance);
    assert_eq!(
        result(&judgement, "privilege/is-root", "user"),
        Some(Outcome::NotEvaluated)
    );
}

#[test]
fn a_dangerous_capability_that_can_be_used_is_a_way_to_root() {
    let (compiled, clean) = plain();
    for (name, dangerous) in [
        ("SYS_ADMIN", true),
        ("SETUID", true),
        ("BPF", true),
        ("NET_BIND_SERVICE", false),
        ("KILL", false),
    ] {
        let bit = 1 << capabilities::number(name).unwrap();
        let expected: Vec<String> = dangerous
            .then(|| format!("privilege/can-become-root capabilities[CAP_{name}]"))
            .into_iter()
            .collect();
        let mut instance = clean.clone();
        seen(&mut instance.config.capabilities).given = bit;
        process(&mut instance).caps.effective = bit;
        assert_eq!(of_privilege(&compiled, &instance), expected, "{name} effective");
        let mut instance = clean.clone();
        seen(&mut instance.config.capabilities).given = bit;
        seen(&mut instance.config.capabilities).ambient = bit;
        assert_eq!(of_privilege(&compiled, &instance), expected, "{name} ambient");
        // In the bounding set alone no process can use it while NoNewPrivs is on.
        let mut instance = clean.clone();
        seen(&mut instance.config.capabilities).given = bit;
        process(&mut instance).caps.bounding = bit;
        assert_eq!(
            of_privilege(&compiled, &instance),
            Vec::<String>::new(),
            "{name} bounding"
        );
    }
}

#[test]
fn setuid_files_are_not_evaluated_unless_no_new_privileges_proves_them_harmless() {
    let (compiled, mut instance) = plain();
    assert_eq!(
        result(
            &judged(&compiled, &instance),
            "privilege/can-become-root",
            "setuid"
        ),
        Some(Outcome::Pass)
    );
    process(&mut instance).no_new_privs = false;
    assert_eq!(
        result(
            &judged(&compiled, &instance),
            "privilege/can-become-root",
            "setuid"
        ),
        Some(Outcome::NotEvaluated)
    );
    process(&mut instance).no_new_privs = true;
    instance.config.no_new_privileges = Evidence::Seen(false);
    assert_eq!(
        result(
            &judged(&compiled, &instance),
            "privilege/can-become-root",
            "setuid"
        ),
        Some(Outcome::NotEvaluated)
    );
}

#[test]
fn binds_that_reach_the_host_are_a_way_to_root_even_for_root() {
    for user in ["user: { uid: 1000, gid: 1000 }", "user: { uid: 0, gid: 0 }"] {
        let mounts = "mounts: [ { target: /s, source: \"bind:/var/run/docker.sock\" }, { target: /ok, source: \"bind:/srv/x\", access: rw } ]";
        let compiled = policy(&format!("{HOST_USER}, {user}, {mounts}"));
        let judgement = judged(&compiled, &blessed(&compiled));
        assert!(
            failing(&judgement).contains(&"privilege/can-become-root mounts[/s]".to_owned()),
            "{user}"
        );
        assert!(
            !failing(&judgement).contains(&"privilege/can-become-root mounts[/ok]".to_owned()),
            "{user}"
        );
    }
}

#[test]
fn a_runtime_socket_bound_in_later_is_found_in_the_live_mounts() {
    let (compiled, mut instance) = plain();
    seen(&mut live(&mut instance).mounts).push(LiveMount {
        target: "/tmp/x".to_owned(),
        fstype: "tmpfs".to_owned(),
        root: "/docker.sock".to_owned(),
        source: "tmpfs".to_owned(),
        options: ["rw".to_owned()].into(),
        device: "0:24".to_owned(),
        shared: false,
        slave: false,
        host_paths: Evidence::Seen(["/run/docker.sock".to_owned()].into()),
    });
    assert_eq!(
        of_privilege(&compiled, &instance),
        ["privilege/can-become-root mounts[/tmp/x]"]
    );
}

#[test]
fn group_0_counts_where_files_may_be_written() {
    let group = "user: { uid: 1000, gid: 0 }";
    let bind = "mounts: [ { target: /w, source: \"bind:/srv/x\", access: rw } ]";
    for (config, outcome) in [
        (format!("{HOST_USER}, {group}"), Outcome::Pass),
        (
            format!("{HOST_USER}, {group}, rootfs: writable"),
            Outcome::NotEvaluated,
        ),
        (format!("{HOST_USER}, {group}, {bind}"), Outcome::Fail),
        (format!("{group}, {bind}"), Outcome::Pass),
        (
            format!("{HOST_USER}, user: {{ uid: 1000, gid: 1000, groups: [ 0 ] }}, {bind}"),
            Outcome::Fail,
        ),
        (
            format!("{HOST_USER}, user: {{ uid: 1000, gid: 1000, groups: [ 7 ] }}, {bind}"),
            Outcome::Pass,
        ),
    ] {
        let compiled = policy(&config);
        let judgement = judged(&compiled, &blessed(&compiled));
        assert_eq!(
            result(&judgement, "privilege/can-become-root", "groups"),
            Some(outcome),
            "{config}"
        );
    }
}

#[test]
fn group_0_of_another_instances_user_namespace_is_not_evaluated() {
    let bind = "mounts: [ { target: /w, source: \"bind:/srv/x\", access: rw } ]";
    let compiled = policy(&format!(
        "namespaces: {{ user: \"workload:other\" }}, user: {{ uid: 1000, gid: 0 }}, {bind}"
    ));
    let groups = |instance: &Instance| {
        result(
            &judged(&compiled, instance),
            "privilege/can-become-root",
            "groups",
        )
    };
    let mut instance = blessed(&compiled);
    assert_eq!(groups(&instance), Some(Outcome::NotEvaluated));
    process(&mut instance).gids[1] = 0;
    assert_eq!(groups(&instance), Some(Outcome::Fail));
}

#[test]
fn privilege_is_judged_of_unknown_instances_too() {
    let (_, mut instance) = plain();
    let nothing = compiled(&guardrail("g", "{ unknown: report }"));
    process(&mut instance).uids = [0; 4];
    let judgement = judged(&nothing, &instance);
    assert_eq!(
        failing(&judgement),
        ["config/unknown-instance match", "privilege/is-root user"]
    );
}
