//! What every enforcer must do. Panics at the first thing it does not.

use std::collections::BTreeSet;

use verger_policy::facts::InstanceId;

use super::{Attachment, Enforcer, Observed, Open, Port, Standing, Step, Subject, confirm, plan};

/// A host under test, with instances that can be tried.
pub trait Bench {
    /// An instance that reaches the others through one link.
    fn attached(&mut self, name: &str) -> Subject;
    /// One that has nothing but loopback.
    fn isolated(&mut self, name: &str) -> Subject;
    /// One whose network cannot be closed.
    fn beyond(&mut self, name: &str) -> Subject;
    /// It ends, and its links with it.
    fn end(&mut self, subject: &Subject);
    /// Whether something sent by one arrives at the other; tried for real.
    fn passes(&mut self, from: &Subject, to: &Subject) -> bool;
    /// Somebody else takes all rules away.
    fn wipe(&mut self);
}

/// Leads instances through all that is asked of an enforcer.
pub fn conformance(enforcer: &mut dyn Enforcer, bench: &mut dyn Bench) {
    let (a, b, c) = (bench.attached("a"), bench.attached("b"), bench.attached("c"));
    let all = [a.clone(), b.clone(), c.clone()];
    let step = "nothing was asked for";
    let seen = observed(enforcer, &all);
    assert_eq!(
        (seen.standing, seen.closed.len()),
        (Standing::Absent, 0),
        "{step}"
    );
    for subject in &all {
        assert_eq!(
            confirm(&subject.instance, &seen),
            Err(Open::NotYet),
            "{step}: an open instance is told to be closed"
        );
    }
    assert!(both_pass(bench, &a, &b), "{step}: the way is open");

    let step = "closing one";
    carry_out(enforcer, &[&a], &[&b, &c], true);
    let seen = observed(enforcer, &all);
    assert_eq!(confirm(&a.instance, &seen), Ok(()), "{step}");
    assert_eq!(confirm(&b.instance, &seen), Err(Open::NotYet), "{step}");
    for other in [&b, &c] {
        assert!(!bench.passes(&a, other), "{step}: it still sends");
        assert!(!bench.passes(other, &a), "{step}: it still receives");
    }
    assert!(both_pass(bench, &b, &c), "{step}: the others talk as before");

    let step = "closing another besides";
    carry_out(enforcer, &[&a, &b], &[&c], true);
    let seen = observed(enforcer, &all);
    assert!(
        confirm(&a.instance, &seen).is_ok() && confirm(&b.instance, &seen).is_ok(),
        "{step}"
    );
    assert!(!bench.passes(&b, &c) && !bench.passes(&b, &a), "{step}");
    let again = plan(&ids(&[&a, &b]), &ids(&[&c]), &BTreeSet::new(), &seen, true);
    assert_eq!(again, [], "{step}: what holds needs no step");
    enforcer
        .apply(&[Step::Close(ports(&seen, &a))])
        .expect("a step may be taken again");
    assert_eq!(observed(enforcer, &all), seen, "{step}: and changes nothing");

    let step = "a transaction of which a part cannot be done";
    let unknown = Port::new("verger-none").expect("it is plain");
    let torn = [
        Step::Release(ports(&seen, &a)),
        Step::Close([unknown].into()),
        Step::Remove,
        Step::Close(ports(&seen, &b)),
    ];
    assert!(
        enforcer.apply(&torn).is_err(),
        "{step}: closing after the rules are gone"
    );
    assert_eq!(observed(enforcer, &all), seen, "{step}: changes nothing");

    let step = "opening one again";
    carry_out(enforcer, &[&a], &[&b, &c], true);
    assert!(both_pass(bench, &b, &c), "{step}");
    assert!(!bench.passes(&a, &b), "{step}: the other stays closed");

    let step = "rules that somebody took away";
    bench.wipe();
    let seen = observed(enforcer, &all);
    assert_ne!(seen.standing, Standing::Whole, "{step} are not told to stand");
    assert_eq!(confirm(&a.instance, &seen), Err(Open::NotYet), "{step}");
    carry_out(enforcer, &[&a], &[&b, &c], true);
    assert!(!bench.passes(&a, &b) && !bench.passes(&c, &a), "{step} come back");

    let step = "instances without a way out, or with another";
    let (alone, beyond) = (bench.isolated("alone"), bench.beyond("beyond"));
    let seen = observed(enforcer, &[alone.clone(), beyond.clone(), nobody()]);
    assert_eq!(confirm(&alone.instance, &seen), Ok(()), "{step}");
    assert!(
        matches!(confirm(&beyond.instance, &seen), Err(Open::Beyond(_))),
        "{step}: {seen:?}"
    );
    assert!(
        matches!(confirm(&nobody().instance, &seen), Err(Open::Unseen(_))),
        "{step}: {seen:?}"
    );

    let step = "what ended";
    bench.end(&a);
    carry_out(enforcer, &[], &[&b, &c], true);
    let seen = observed(enforcer, &[b.clone(), c.clone()]);
    assert_eq!(
        (seen.standing, seen.closed.len()),
        (Standing::Whole, 0),
        "{step} is closed no more"
    );

    let step = "no policy needs rules";
    carry_out(enforcer, &[], &[&b, &c], false);
    assert_eq!(observed(enforcer, &[]).standing, Standing::Absent, "{step}");
    assert!(both_pass(bench, &b, &c), "{step}");
    enforcer
        .apply(&[Step::Remove])
        .expect("removing may be done again");
}

fn observed(enforcer: &mut dyn Enforcer, subjects: &[Subject]) -> Observed {
    enforcer.observe(subjects).expect("it can be observed")
}

fn ids(subjects: &[&Subject]) -> BTreeSet<InstanceId> {
    subjects.iter().map(|subject| subject.instance.clone()).collect()
}

fn ports(seen: &Observed, subject: &Subject) -> BTreeSet<Port> {
    match seen.attachments.get(&subject.instance) {
        Some(Attachment::Ports(ports)) => ports.clone(),
        other => panic!("{subject:?} is attached by {other:?}"),
    }
}

fn carry_out(enforcer: &mut dyn Enforcer, closed: &[&Subject], free: &[&Subject], stand: bool) {
    let subjects: Vec<Subject> = closed.iter().chain(free).copied().cloned().collect();
    let seen = observed(enforcer, &subjects);
    let steps = plan(&ids(closed), &ids(free), &BTreeSet::new(), &seen, stand);
    enforcer.apply(&steps).expect("a plan can be carried out");
}

fn both_pass(bench: &mut dyn Bench, one: &Subject, other: &Subject) -> bool {
    bench.passes(one, other) && bench.passes(other, one)
}

/// No process has such a pid (`PID_MAX_LIMIT`, proc(5)).
fn nobody() -> Subject {
    Subject {
        instance: InstanceId {
            runtime: verger_policy::model::RuntimeKind::Docker,
            id: "nobody".to_owned(),
        },
        pid: 1 << 23,
    }
}
