//! What holds for every policy.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use verger_policy::compile::compile;
use verger_policy::decide::{Request, Verdict, decide};
use verger_policy::drift::{Judgement, Outcome, RUNTIME_SOCKETS, SENSITIVE_PATHS, judge, judge_recorded};
use verger_policy::facts::*;
use verger_policy::ideal::ideal;
use verger_policy::model::*;

use crate::judging::{at, image};
use crate::objects;

/// Ten lines that say the same as `decide`.
fn naive(judgement: &Judgement, refuses_unknown: bool) -> Verdict {
    let mut verdict = Verdict::Allowed;
    for check in &judgement.checks {
        if check.result == Outcome::Fail || check.result == Outcome::Error {
            let denied = match check.rule.as_str() {
                "config/unknown-instance" => refuses_unknown,
                _ => judgement.wanted.contains(&(check.control, Mode::Enforce)),
            };
            verdict = if denied || verdict == Verdict::Denied {
                Verdict::Denied
            } else {
                Verdict::Reported
            };
        }
    }
    verdict
}

/// An instance that is near what the first workload of a set blesses, and sometimes far.
fn near(objects: &[PolicyObject], twist: u8) -> Option<Instance> {
    let workload = objects.iter().find_map(|object| match &object.spec {
        Spec::Workload(workload) => Some(workload),
        _ => None,
    })?;
    let mut instance = ideal(workload, &image());
    if twist & 1 != 0 {
        instance.config.rootfs_readonly = Evidence::Seen(false);
    }
    if twist & 2 != 0 {
        instance.image = Evidence::missing("not known");
    }
    if twist & 4 != 0 {
        instance.config.user = Evidence::missing("not known");
    }
    if twist & 8 != 0 {
        instance.labels = Labels::default();
    }
    if twist & 16 != 0 {
        instance.config.capabilities = Evidence::Seen(CapabilityFacts {
            given: u64::MAX,
            ambient: 3,
            unnamed: ["X".to_owned()].into(),
        });
    }
    Some(instance)
}

/// What a workload itself states of root and of ways to it, in a few lines: uid 0 of the host, binds of what root of the host
/// uses, and group 0 with write to files of the host.
fn roots(workload: &Workload) -> BTreeSet<String> {
    let config = &workload.config;
    let host = config.namespaces.user == Stated::Is(NamespaceMode::Host);
    let (uid, groups) = match &config.user {
        Stated::Is(user) => (user.uid, user.groups.iter().copied().chain([user.gid]).collect()),
        // As the image of these tests has it.
        Stated::Absent | Stated::Any => (1000, vec![1000]),
    };
    let mut roots = BTreeSet::new();
    let root = host && uid == 0;
    if root {
        roots.insert("privilege/is-root user".to_owned());
    }
    let Stated::Is(mounts) = &config.mounts else {
        return roots;
    };
    // Of mounts at one target the last one stated is the one that is made.
    let mounts: BTreeMap<&str, &Mount> = mounts
        .iter()
        .map(|mount| (mount.target.as_str(), mount))
        .collect();
    for (target, mount) in mounts {
        let MountSource::Bind(source) = &mount.source else {
            continue;
        };
        let writable = mount.access == Stated::Is(Access::Rw);
        if leads_to_root(source, writable) {
            roots.insert(format!(
                "privilege/can-become-root mounts[{}]",
                printable_within(target, 256)
            ));
        }
        if host && !root && writable && groups.contains(&0) {
            roots.insert("privilege/can-become-root groups".to_owned());
        }
    }
    roots
}

/// The path, a path above it, or where it may be written also one below it, is on one of the published lists.
fn leads_to_root(source: &str, writable: bool) -> bool {
    let parts = |path: &str| -> Vec<String> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut path = parts(source);
    let sensitive = SENSITIVE_PATHS.iter().any(|known| {
        let known = parts(known);
        known.starts_with(&path) || (writable && path.starts_with(&known))
    });
    if path.starts_with(&["var".to_owned(), "run".to_owned()]) {
        path.remove(0);
    }
    sensitive
        || RUNTIME_SOCKETS.iter().any(|socket| {
            let socket = parts(socket);
            socket.starts_with(&path) || socket.last() == path.last()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn compile_ignores_the_order(objects in objects::objects(12), seed in any::<u64>()) {
        let host = Labels::default();
        let straight = compile(&objects, &host, 7);
        let mut shuffled = objects.clone();
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(i, usize::try_from(state >> 33).unwrap() % (i + 1));
        }
        prop_assert_eq!(&compile(&shuffled, &host, 7), &straight);
        if let Some(instance) = near(&objects, 0) {
            prop_assert_eq!(judge(&compile(&shuffled, &host, 7), &instance, at()), judge(&straight, &instance, at()));
        }
    }

    #[test]
    fn nothing_is_wrong_with_the_ideal_instance(object in objects::object()) {
        let Spec::Workload(workload) = &object.spec else { return Ok(()) };
        let mut object = object.clone();
        let mut workload = (**workload).clone();
        workload.hosts = Labels::default();
        object.spec = Spec::Workload(Box::new(workload.clone()));
        let compiled = compile([&object], &Labels::default(), 1);
        let instance = ideal(&workload, &image());
        let judgement = judge(&compiled, &instance, at());
        // Blessing is no exception: a workload that states root, or a way to it, is told of that, and of nothing else.
        let failing: BTreeSet<String> = judgement.failing().map(crate::judging::named).collect();
        prop_assert_eq!(failing, roots(&workload));
    }

    #[test]
    fn decide_agrees_with_a_naive_evaluator(objects in objects::objects(8), twist in any::<u8>()) {
        let compiled = compile(&objects, &Labels::default(), 1);
        let Some(instance) = near(&objects, twist) else { return Ok(()) };
        let refuses = objects.iter().any(|object| match &object.spec {
            Spec::Guardrail(guardrail) => guardrail.unknown == Some(UnknownInstances::Refuse) && guardrail.select.is_everything(),
            _ => false,
        });
        let decision = decide(&compiled, &Request::Launch { instance: &instance }, at());
        // A label only chooses among the workloads that list the image: each of them alone must not deny it either.
        let lists = |object: &&PolicyObject| match (&object.spec, &instance.image) {
            (Spec::Workload(workload), Evidence::Seen(image)) => workload.config.images.contains(image),
            _ => false,
        };
        let denied = objects.iter().filter(lists).any(|listing| {
            let alone = objects.iter().filter(|object| !matches!(object.spec, Spec::Workload(_)) || *object == listing);
            let compiled = compile(alone, &Labels::default(), 1);
            compiled.workload(&listing.metadata.name).is_some()
                && naive(&judge_recorded(&compiled, &instance, at()), refuses) == Verdict::Denied
        });
        let own = naive(&judge_recorded(&compiled, &instance, at()), refuses);
        prop_assert_eq!(decision.verdict, if denied { Verdict::Denied } else { own });
        prop_assert_eq!(decision.verdict == Verdict::Allowed, decision.because.is_empty());
    }

    #[test]
    fn judgements_are_sorted_and_repeatable(objects in objects::objects(8), twist in any::<u8>()) {
        let compiled = compile(&objects, &Labels::default(), 1);
        let Some(instance) = near(&objects, twist) else { return Ok(()) };
        let judgement = judge(&compiled, &instance, at());
        prop_assert_eq!(&judge(&compiled, &instance, at()), &judgement);
        prop_assert!(judgement.checks.is_sorted_by_key(|check| (check.control, check.rule.clone(), check.field.clone(), check.decided_by.clone())));
        for check in &judgement.checks {
            prop_assert_eq!(check.result == Outcome::Pass, check.reason == "it holds");
            prop_assert!(verger_policy::rules::find(check.rule.as_str()).is_some() || check.rule.as_str().starts_with(CHECK_RULES));
        }
    }

    #[test]
    fn what_can_be_blessed_judges_clean(object in objects::object()) {
        let Spec::Workload(workload) = &object.spec else { return Ok(()) };
        let instance = ideal(workload, &image());
        let Ok(blessed) = verger_policy::bless::bless(&instance, "it".parse().unwrap()) else { return Ok(()) };
        let judgement = judge(&compile([&blessed], &Labels::default(), 1), &instance, at());
        let failing: Vec<_> = judgement.failing().filter(|check| check.control == Control::Config).collect();
        prop_assert!(failing.is_empty(), "{:?}", failing);
    }
}
