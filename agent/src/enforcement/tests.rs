#![allow(clippy::unwrap_used)]

use std::sync::{Condvar, Mutex};

use verger_agent_core::enforcer::fake::{FakeEnforcer, FakeHost};
use verger_agent_core::enforcer::{Attachment, Port, Step};
use verger_policy::model::RuntimeKind;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn subject(pid: u32) -> Subject {
    Subject {
        instance: InstanceId {
            runtime: RuntimeKind::Docker,
            id: format!("c{pid}"),
        },
        pid,
    }
}

/// A host on which the processes of these pids have a link each.
fn host(pids: impl IntoIterator<Item = u32>) -> FakeHost {
    let host = FakeHost::default();
    for pid in pids {
        let port = Port::new(&format!("veth{pid}")).unwrap();
        host.attach(pid, Attachment::Ports([port].into()));
    }
    host
}

fn beyond(why: &str, ports: impl IntoIterator<Item = Port>) -> Attachment {
    Attachment::Beyond {
        why: why.to_owned(),
        ports: ports.into_iter().collect(),
    }
}

fn enforcement(enforcer: FakeEnforcer) -> Enforcement {
    Enforcement::start(move || Ok(enforcer)).unwrap()
}

fn wanted(epoch: u64, closed: &[u32], free: &[u32]) -> Wanted {
    let subjects = |pids: &[u32]| pids.iter().map(|pid| subject(*pid)).collect();
    Wanted {
        epoch,
        closed: subjects(closed),
        free: subjects(free),
        stand: true,
    }
}

#[test]
fn a_launch_goes_on_once_its_instance_is_closed() {
    let host = host([1, 2]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    assert_eq!(enforcement.hold(subject(1), 1, LONG), Ok(()));
    assert!(!host.is_open(1) && host.is_open(2));
}

static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn wait_for_the_gate() {
    let open = GATE.0.lock().unwrap();
    let _open = GATE.1.wait_while(open, |open| !*open).unwrap();
}

#[test]
fn a_launch_waits_for_an_enforcer_that_takes_its_time() {
    let host = host([1]);
    let enforcement = enforcement(FakeEnforcer::that_waits(host.clone(), wait_for_the_gate));
    let (told, tells) = mpsc::sync_channel(1);
    let launch = std::thread::spawn(move || told.send(enforcement.hold(subject(1), 1, LONG)).unwrap());
    // It is not answered while the enforcer has done nothing, however often one looks.
    assert!(tells.recv_timeout(Duration::from_millis(300)).is_err());
    assert!(host.is_open(1));
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    assert_eq!(tells.recv().unwrap(), Ok(()));
    assert!(!host.is_open(1));
    launch.join().unwrap();
}

#[test]
fn one_that_never_confirms_is_waited_for_so_long_and_no_longer() {
    let enforcement = enforcement(FakeEnforcer::that_never_confirms(host([1])));
    let began = Instant::now();
    let limit = Duration::from_millis(700);
    let why = enforcement.hold(subject(1), 1, limit).unwrap_err();
    assert!(why.contains("did not confirm within 0.7 s"), "{why}");
    assert!(began.elapsed() >= limit && began.elapsed() < 10 * limit);
    // It serves others: what cannot be closed is said at once.
    let why = enforcement.hold(subject(9), 1, LONG).unwrap_err();
    assert!(why.contains("no such process"), "{why}");
}

#[test]
fn what_fails_is_refused_at_once_with_the_reason() {
    let host = host([1]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    host.attach(2, beyond("it has the host's network", []));
    let why = enforcement.hold(subject(2), 1, LONG).unwrap_err();
    assert!(
        why.contains("cannot be closed: it has the host's network"),
        "{why}"
    );
    host.set_broken(Some("no permission"));
    let why = enforcement.hold(subject(1), 1, LONG).unwrap_err();
    assert!(why.contains("no permission"), "{why}");
    assert!(host.is_open(1));
}

#[test]
fn twenty_launches_at_once_are_all_closed() {
    let host = host(1..=20);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    std::thread::scope(|scope| {
        for pid in 1..=20 {
            let enforcement = enforcement.clone();
            scope.spawn(move || assert_eq!(enforcement.hold(subject(pid), 1, LONG), Ok(())));
        }
    });
    assert!((1..=20).all(|pid| !host.is_open(pid)));
}

#[test]
fn what_runs_is_brought_in_line_and_what_somebody_removed_is_put_back() {
    let host = host([1, 2, 3]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    let round = |wanted| enforcement.round(wanted);
    assert_eq!(round(wanted(1, &[1, 2], &[3])), Outcome::default());
    assert!(!host.is_open(1) && !host.is_open(2) && host.is_open(3));

    host.wipe();
    let outcome = round(wanted(1, &[1, 2], &[3]));
    assert_eq!((outcome.restored, outcome.trouble), (true, None));
    assert!(!host.is_open(1) && !host.is_open(2));
    assert_eq!(round(wanted(1, &[1, 2], &[3])), Outcome::default());

    // The policy asks less: what it lets be is let be, and in the end nothing is left.
    assert_eq!(round(wanted(2, &[1], &[2, 3])), Outcome::default());
    assert!(!host.is_open(1) && host.is_open(2));
    let none = Wanted {
        stand: false,
        ..wanted(3, &[], &[1, 2, 3])
    };
    let gone = Outcome {
        is_absent: true,
        ..Outcome::default()
    };
    assert_eq!(round(none.clone()), gone);
    assert!(host.is_open(1));
    assert_eq!(host.applied().last(), Some(&Step::Remove));
    assert_eq!(round(none), gone, "that they are gone is as it should be");
}

#[test]
fn what_somebody_removed_between_a_step_and_the_look_after_it_is_told() {
    let host = host([1, 2]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    assert_eq!(enforcement.round(wanted(1, &[1], &[])), Outcome::default());
    host.wipe_after_a_step();
    assert!(enforcement.round(wanted(1, &[1, 2], &[])).open.len() == 2);
    assert!(enforcement.round(wanted(1, &[1, 2], &[])).restored);
    assert!(!host.is_open(1) && !host.is_open(2));
    assert_eq!(enforcement.round(wanted(1, &[1, 2], &[])), Outcome::default());
}

#[test]
fn a_port_that_somebody_opened_is_told_and_closed_again() {
    let host = host([1, 2]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    let taken = Port::new("veth1").unwrap();
    assert_eq!(enforcement.round(wanted(1, &[1], &[2])), Outcome::default());
    host.take_out(&taken);
    assert!(host.is_open(1));
    assert!(enforcement.round(wanted(1, &[1], &[2])).restored);
    assert!(!host.is_open(1));
    assert_eq!(enforcement.round(wanted(1, &[1], &[2])), Outcome::default());
    // So it is where a launch comes first, and where nobody knows whose it is.
    host.take_out(&taken);
    enforcement.hold(subject(2), 1, LONG).unwrap();
    assert!(!host.is_open(1));
    assert!(enforcement.round(wanted(1, &[2], &[])).restored);
    // What is let be, and what went with its interface, nobody took.
    assert_eq!(enforcement.round(wanted(1, &[2], &[1])), Outcome::default());
    host.end(2);
    for _ in 0..2 {
        assert_eq!(enforcement.round(wanted(1, &[], &[1])), Outcome::default());
    }
}

#[test]
fn what_is_closed_and_of_nobody_known_is_closed_again_until_it_is_freed() {
    let host = host([1, 2, 3]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    enforcement.hold(subject(1), 1, LONG).unwrap();
    host.wipe();
    assert!(enforcement.round(wanted(1, &[2], &[])).restored);
    assert!(!host.is_open(1) && !host.is_open(2) && host.is_open(3));
    // Nor does another launch open it.
    host.wipe();
    enforcement.hold(subject(3), 1, LONG).unwrap();
    assert!(!host.is_open(1) && !host.is_open(2) && !host.is_open(3));
    // Once it is freed it stays open.
    enforcement.round(wanted(2, &[2], &[1]));
    host.wipe();
    enforcement.round(wanted(2, &[2], &[]));
    assert!(host.is_open(1) && !host.is_open(2) && !host.is_open(3));
}

#[test]
fn what_an_earlier_run_closed_is_closed_again() {
    let host = host([1, 2]);
    enforcement(FakeEnforcer::new(host.clone()))
        .hold(subject(1), 1, LONG)
        .unwrap();
    let next = enforcement(FakeEnforcer::new(host.clone()));
    next.round(wanted(1, &[2], &[]));
    host.wipe();
    next.round(wanted(1, &[2], &[]));
    assert!(!host.is_open(1) && !host.is_open(2));
}

#[test]
fn a_look_that_is_late_opens_nothing_that_newer_policy_closed() {
    let host = host([1]);
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    enforcement.hold(subject(1), 5, LONG).unwrap();
    for stand in [true, false] {
        let late = Wanted {
            stand,
            ..wanted(4, &[], &[1])
        };
        enforcement.round(late);
        assert!(!host.is_open(1));
    }
    enforcement.round(wanted(5, &[], &[1]));
    assert!(host.is_open(1));
}

#[test]
fn what_is_not_closed_is_told_of_each() {
    let host = host([1]);
    let port = |name: &str| Port::new(name).unwrap();
    host.attach(2, beyond("eth1 is a macvlan", [port("veth2")]));
    let enforcement = enforcement(FakeEnforcer::new(host.clone()));
    let outcome = enforcement.round(wanted(1, &[1, 2], &[]));
    let told: Vec<_> = outcome.open.into_iter().collect();
    let [(id, why)] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(*id, subject(2).instance);
    assert!(why.contains("eth1 is a macvlan"), "{why}");
    let closed = Step::Install([port("veth1"), port("veth2")].into());
    assert_eq!(
        host.applied(),
        [closed],
        "what of it can be closed is all the same"
    );

    host.set_broken(Some("nft is gone"));
    let outcome = enforcement.round(wanted(1, &[1, 2], &[]));
    assert_eq!(outcome.open.len(), 2);
    assert!(outcome.trouble.unwrap().contains("nft is gone"));
}

#[test]
fn an_enforcer_that_cannot_be_made_is_told_to_who_starts_it() {
    let started =
        Enforcement::start(|| -> anyhow::Result<FakeEnforcer> { anyhow::bail!("no such namespace") });
    assert!(started.err().unwrap().to_string().contains("no such namespace"));
}
