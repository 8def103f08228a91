#![allow(clippy::unwrap_used)]
use super::*;
use verger_policy::model::RuntimeKind;

#[test]
fn an_instance_whose_first_process_is_gone_or_foreign_is_missing() {
    let id = |digit: &str| InstanceId {
        runtime: RuntimeKind::Docker,
        id: digit.repeat(64),
    };
    // No pid is this high (PID_MAX_LIMIT is 2^22), and this test is in no container's cgroup of that id.
    let found = scan(&[(id("a"), u32::MAX), (id("b"), std::process::id())]);
    assert_eq!(
        found[&id("a")],
        Evidence::Missing("its first process has ended".to_owned())
    );
    let Evidence::Missing(reason) = &found[&id("b")] else {
        panic!("a test is no container")
    };
    assert!(reason.contains("in no cgroup of it"), "{reason}");
}

#[test]
fn what_was_read_of_this_process_is_true() {
    let proc = Proc::open().unwrap();
    let mut scan = Scan::begin(&[]).unwrap();
    let dir = proc.myself().unwrap();
    let namespaces = Evidence::Seen(dir.namespaces().unwrap());
    let facts = scan.facts(std::process::id(), &dir, namespaces).unwrap().unwrap();
    assert_eq!(facts.uids[1], rustix::process::geteuid().as_raw());
    assert_eq!(facts.gids[1], rustix::process::getegid().as_raw());
    assert_eq!(facts.host_user_namespace, Evidence::Seen(true));
    assert!(facts.start_ticks > 0);
}

#[test]
fn an_oversized_file_is_an_error_and_not_cut() {
    let dir = Proc::open().unwrap().myself().unwrap();
    let error = dir.read(c"status", 10, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}
