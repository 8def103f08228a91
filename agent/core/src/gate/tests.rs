#![allow(clippy::unwrap_used)]

mod agreement;

use verger_policy::compile::compile;
use verger_policy::decide::{Request, Verdict};
use verger_policy::digest::Digest;
use verger_policy::draft;
use verger_policy::facts::{BeyondFacts, ConfigFacts, Evidence, ImageDefaults, SeccompFacts, UserFacts};
use verger_policy::ideal::ideal;
use verger_policy::model::{PolicyObject, RuntimeKind, Seccomp, Spec};

use super::*;

const IMAGE: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const GUARDRAIL: &str = "\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { mode: enforce, unknown: refuse }\n";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn policy(mode: &str, more: &str) -> Vec<PolicyObject> {
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: shop/web }}\nspec:\n  match: {{ container: {{ image: shop/web }} }}\n  mode: {{ default: {mode} }}\n  config:\n    images: [ {IMAGE} ]\n    command: [ /app ]\n    user: {{ uid: 1000, gid: 1000 }}\n    limits: {{ memory: 64Mi }}\n{more}"
    );
    draft::read_at("policy.yaml", text.as_bytes(), now()).unwrap()
}

fn blessed(objects: &[PolicyObject]) -> Instance {
    let workload = objects.iter().find_map(|object| match &object.spec {
        Spec::Workload(workload) => Some(workload),
        _ => None,
    });
    Instance {
        live: Evidence::missing("nothing of it runs yet"),
        ..ideal(workload.unwrap(), &ImageDefaults::default())
    }
}

fn user(instance: &mut Instance) -> &mut UserFacts {
    match &mut instance.config.user {
        Evidence::Seen(user) => user,
        Evidence::Missing(why) => panic!("{why}"),
    }
}

const MADE: Launch<'static> = Launch::Made { id: "1" };
const PROCESS: Launch<'static> = Launch::Process {
    id: "1",
    process: b"{}",
};

fn said(objects: &[PolicyObject], launch: &Launch<'_>, instance: &Instance) -> Option<String> {
    let compiled = compile(objects, &verger_policy::model::Labels::default(), 7);
    decide(&compiled, launch, Ok(instance), now())
        .err()
        .map(|refusal| refusal.to_string())
}

#[test]
fn what_is_blessed_is_launched_and_what_differs_is_not() {
    let objects = policy("enforce", GUARDRAIL);
    let good = blessed(&objects);
    assert_eq!(said(&objects, &MADE, &good), None);

    let mut root = good.clone();
    user(&mut root).uid = Evidence::Seen(0);
    let text = said(&objects, &MADE, &root).unwrap();
    assert!(
        text.starts_with("it is not what workload shop/web is blessed to be; "),
        "{text}"
    );
    assert!(
        text.contains("config/user") && text.contains("Workload/shop/web"),
        "{text}"
    );
    assert!(
        text.contains("epoch 7") && text.contains("ask for an Exception of rule "),
        "{text}"
    );
}

fn tightens(objects: &[PolicyObject]) -> Option<Tightening> {
    let compiled = compile(objects, &verger_policy::model::Labels::default(), 7);
    tightening(&compiled, &blessed(objects))
}

#[test]
fn so_much_is_taken_away_as_the_workload_says_and_no_more() {
    assert_eq!(tightens(&policy("enforce", "")), None);
    let all = "  tighten: [ capabilities, noNewPrivileges, rootfs, seccomp ]\n";
    let whole = Tightening {
        capabilities: Some(Vec::new()),
        no_new_privileges: true,
        read_only_rootfs: true,
        seccomp: Some(Seccomp::Default),
    };
    assert_eq!(tightens(&policy("enforce", all)), Some(whole.clone()));
    let kept = format!(
        "    capabilities: [ CAP_KILL ]\n    noNewPrivileges: false\n    rootfs: writable\n    seccomp: {IMAGE}\n{all}"
    );
    assert_eq!(
        tightens(&policy("enforce", &kept)),
        Some(Tightening {
            capabilities: Some(vec!["CAP_KILL"]),
            seccomp: Some(Seccomp::Profile(IMAGE.parse().unwrap())),
            ..Tightening::default()
        })
    );
    let unconfined = "    seccomp: unconfined\n  tighten: [ seccomp ]\n";
    assert_eq!(tightens(&policy("enforce", unconfined)), None);
    // What the policy says `any` of is nobody's to take.
    let open =
        format!("    capabilities: any\n    noNewPrivileges: any\n    rootfs: any\n    seccomp: any\n{all}");
    assert_eq!(tightens(&policy("enforce", &open)), None);
    let one = Tightening {
        read_only_rootfs: true,
        ..Tightening::default()
    };
    assert_eq!(tightens(&policy("enforce", "  tighten: [ rootfs ]\n")), Some(one));
}

#[test]
fn a_filter_is_on_where_it_is_seen_to_be_and_takes_away_where_it_is_no_laxer() {
    let digest: Digest = IMAGE.parse().unwrap();
    let profile = |runtime_default| {
        Evidence::Seen(SeccompFacts::Profile {
            digest: Evidence::Seen(digest),
            runtime_default,
        })
    };
    assert!(is_on(&Seccomp::Default, &profile(Evidence::Seen(true))));
    assert!(!is_on(&Seccomp::Default, &profile(Evidence::Seen(false))));
    assert!(!is_on(&Seccomp::Default, &profile(Evidence::missing("not told"))));
    assert!(is_on(&Seccomp::Profile(digest), &profile(Evidence::Seen(false))));
    let other = Seccomp::Profile(Digest::of(b"another"));
    assert!(!is_on(&other, &profile(Evidence::Seen(true))));
    for wanted in [Seccomp::Default, other] {
        assert!(!is_on(&wanted, &Evidence::Seen(SeccompFacts::Unconfined)));
        assert!(!is_on(&wanted, &Evidence::missing("not read")));
    }
    let (strict, lax) = (
        br#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.as_slice(),
        br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.as_slice(),
    );
    assert!(takes_away(strict, None) && takes_away(strict, Some(lax)) && takes_away(strict, Some(strict)));
    assert!(!takes_away(lax, Some(strict)) && !takes_away(strict, Some(b"{}")));
}

#[test]
fn in_mode_monitor_it_is_launched_all_the_same() {
    let objects = policy("monitor", "");
    let mut root = blessed(&objects);
    user(&mut root).uid = Evidence::Seen(0);
    assert_eq!(said(&objects, &MADE, &root), None);
}

#[test]
fn what_could_not_be_seen_is_no_pass() {
    let objects = policy("enforce", "");
    let mut dark = blessed(&objects);
    dark.config.seccomp = Evidence::missing("its \u{1b}[2J was not read");
    let text = said(&objects, &MADE, &dark).unwrap();
    assert!(
        text.contains("config/seccomp") && text.contains("could not be judged"),
        "{text}"
    );
    assert!(!text.contains(char::is_control), "{text}");
    // It may be as it is blessed to be, and no exception lifts what was not seen.
    assert!(
        text.starts_with("it is of workload shop/web, and not all "),
        "{text}"
    );
    assert!(text.ends_with("have the policy ask less of it"), "{text}");
}

#[test]
fn a_field_of_which_the_policy_says_any_refuses_nothing() {
    let objects = policy("enforce", "    seccomp: any\n    env: any\n");
    let good = blessed(&objects);
    assert_eq!(said(&objects, &MADE, &good), None);
    assert_eq!(said(&objects, &PROCESS, &good), None);
    let mut dark = good.clone();
    dark.config.env = Evidence::missing("the policy says `any`: nobody looks at this field");
    assert_eq!(said(&objects, &MADE, &dark), None);
    // Of what it does say, nothing gets through by the same words.
    let text = said(&policy("enforce", ""), &MADE, &dark).unwrap();
    assert!(text.contains("config/env"), "{text}");
}

fn stranger(objects: &[PolicyObject]) -> Instance {
    Instance {
        image: Evidence::Seen(Digest::of(b"another image")),
        image_name: None,
        ..blessed(objects)
    }
}

fn guarded(mode: &str, guardrail: &str) -> Vec<PolicyObject> {
    policy(
        mode,
        &format!(
            "\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: g }}\nspec: {{ {guardrail} }}\n"
        ),
    )
}

#[test]
fn what_is_unknown_is_refused_where_a_guardrail_says_so_in_any_mode() {
    for (guardrail, refuses) in [
        ("unknown: refuse", true),
        ("mode: enforce, unknown: refuse", true),
        ("unknown: report", false),
        ("mode: enforce, unknown: report", false),
    ] {
        for mode in ["monitor", "enforce"] {
            let objects = guarded(mode, guardrail);
            let stranger = stranger(&objects);
            let text = said(&objects, &MADE, &stranger);
            assert_eq!(text.is_some(), refuses, "{mode}, {guardrail}: {text:?}");
            assert!(text.is_none_or(|text| text.starts_with("it is of no blessed workload; ")));
            // What is blessed is let in all the same.
            assert_eq!(
                said(&objects, &MADE, &blessed(&objects)),
                None,
                "{mode}, {guardrail}"
            );
            // `plan` and `explain` say what is done here.
            let compiled = compile(&objects, &verger_policy::model::Labels::default(), 7);
            let request = Request::Launch { instance: &stranger };
            let decision = verger_policy::decide::decide(&compiled, &request, now());
            assert_eq!(
                decision.verdict == Verdict::Denied,
                refuses,
                "{mode}, {guardrail}"
            );
        }
    }
    let objects = policy("enforce", "");
    assert_eq!(said(&objects, &MADE, &stranger(&objects)), None);
}

#[test]
fn what_cannot_be_identified_is_refused_as_soon_as_anything_is_enforced() {
    let why = "its config.v2.json is bigger than \u{1b}[2J";
    for (objects, refuses) in [
        (policy("monitor", ""), false),
        (guarded("monitor", "unknown: report"), false),
        (policy("enforce", ""), true),
        (guarded("monitor", "unknown: refuse"), true),
        (guarded("monitor", "mode: enforce, unknown: report"), true),
    ] {
        let compiled = compile(&objects, &verger_policy::model::Labels::default(), 7);
        let nameless = Instance {
            image: Evidence::missing(why),
            ..blessed(&objects)
        };
        for launch in [MADE, PROCESS] {
            for known in [Err(why), Ok(&nameless)] {
                let refusal = decide(&compiled, &launch, known, now()).err();
                assert_eq!(refusal.is_some(), refuses, "{launch:?} {known:?}");
                let Some(refusal) = refusal else { continue };
                assert!(refusal.checks().is_empty());
                let text = refusal.to_string();
                assert!(
                    text.starts_with("it cannot be judged: its config.v2.json") && text.contains("epoch 7"),
                    "{text}"
                );
                assert!(!text.contains(char::is_control), "{text}");
            }
        }
    }
}

#[test]
fn a_process_is_held_to_what_processes_are_held_to_and_to_nothing_else() {
    let objects = policy("enforce", GUARDRAIL);
    let mut other = blessed(&objects);
    other.config.command = Evidence::Seen(vec!["/bin/true".to_owned()]);
    assert_eq!(said(&objects, &PROCESS, &other), None);
    assert!(said(&objects, &MADE, &other).unwrap().contains("config/command"));

    let Evidence::Seen(capabilities) = &mut other.config.capabilities else {
        panic!("they are seen")
    };
    // CAP_SYS_ADMIN (capabilities(7)).
    capabilities.given |= 1 << 21;
    let text = said(&objects, &PROCESS, &other).unwrap();
    assert!(text.contains("config/capabilities"), "{text}");
}

/// A second workload of the same image, which a label chooses and which lets root in.
fn with_rival(mode: &str, rival_mode: &str, rival: &str) -> Vec<PolicyObject> {
    let more = format!(
        "\n---\napiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: shop/lax }}\nspec:\n  match: {{ container: {{ image: shop/web, labels: {{ tier: lax }} }} }}\n  mode: {{ default: {rival_mode} }}\n  config:\n    images: [ {IMAGE} ]\n{rival}"
    );
    let mut objects = policy(mode, &more);
    for object in &mut objects {
        if let Spec::Workload(workload) = &mut object.spec
            && workload.hint.labels.is_empty()
        {
            workload.hint.labels.0.insert("tier".to_owned(), "web".to_owned());
        }
    }
    objects
}

const LAX: &str = "    command: any\n    env: any\n    user: any\n    limits: { memory: any }\n";

fn labelled(objects: &[PolicyObject]) -> Instance {
    let strict = objects
        .iter()
        .find(|object| object.metadata.name.as_str() == "shop/web")
        .unwrap();
    let mut instance = blessed(std::slice::from_ref(strict));
    instance.labels.0.insert("tier".to_owned(), "lax".to_owned());
    instance
}

#[test]
fn a_label_that_chooses_among_workloads_of_one_image_lifts_nothing() {
    for rival_mode in ["enforce", "monitor"] {
        let objects = with_rival("enforce", rival_mode, LAX);
        // What both allow is launched, under either's label.
        let mut instance = labelled(&objects);
        instance.labels.0.insert("tier".to_owned(), "web".to_owned());
        assert_eq!(said(&objects, &MADE, &instance), None, "{rival_mode}");
        instance.labels.0.insert("tier".to_owned(), "lax".to_owned());
        assert_eq!(said(&objects, &MADE, &instance), None, "{rival_mode}");
        user(&mut instance).uid = Evidence::Seen(7);
        user(&mut instance).host_uid = Evidence::Seen(100_007);
        let text = said(&objects, &MADE, &instance).unwrap();
        assert!(
            text.contains("its image is also that of shop/web") && text.contains("config/user"),
            "{text}"
        );
        assert!(said(&objects, &PROCESS, &instance).is_some());
        // `plan` and `explain` say what is done here.
        let compiled = compile(&objects, &verger_policy::model::Labels::default(), 7);
        let request = Request::Launch { instance: &instance };
        let decision = verger_policy::decide::decide(&compiled, &request, now());
        assert_eq!(decision.verdict, Verdict::Denied);
    }
    // What is enforced of neither is refused by neither; and what the label's own workload enforces holds as before.
    let mut instance = labelled(&with_rival("monitor", "monitor", LAX));
    user(&mut instance).uid = Evidence::Seen(7);
    user(&mut instance).host_uid = Evidence::Seen(100_007);
    for (mode, rival_mode) in [("monitor", "monitor"), ("monitor", "enforce")] {
        assert_eq!(said(&with_rival(mode, rival_mode, LAX), &MADE, &instance), None);
    }
    let strict_rival = "    command: [ /other ]\n    limits: { memory: 64Mi }\n";
    let text = said(&with_rival("monitor", "enforce", strict_rival), &MADE, &instance).unwrap();
    assert!(
        text.starts_with("it is not what workload shop/lax is blessed to be"),
        "{text}"
    );
    assert!(!text.contains("its image is also that of"), "{text}");
}

#[test]
fn where_labels_are_not_read_what_is_enforced_of_any_that_labels_could_mean_holds() {
    let podmans = |mut instance: Instance| {
        instance.id.runtime = RuntimeKind::Podman;
        instance.labels = verger_policy::model::Labels::default();
        instance
    };
    let unread = "labels of Podman's containers are not read";
    // Two of one image, which labels alone tell apart: it is of neither, whatever it is.
    let objects = with_rival("enforce", "enforce", LAX);
    let text = said(&objects, &MADE, &podmans(labelled(&objects))).unwrap();
    assert!(
        text.contains("several workloads claim it (shop/lax, shop/web), which labels alone tell apart"),
        "{text}"
    );
    assert!(
        text.contains(unread) && text.contains("config/ambiguous"),
        "{text}"
    );
    // Where nothing of them is enforced it is launched.
    let objects = with_rival("monitor", "monitor", LAX);
    assert_eq!(said(&objects, &MADE, &podmans(labelled(&objects))), None);

    // Another image under the label of a workload is that workload's to Docker, and so it could be here.
    let by_label = |mode: &str| {
        let mut objects = policy(mode, "");
        let Spec::Workload(workload) = &mut objects[0].spec else {
            panic!("it is one")
        };
        workload.hint.image = None;
        workload.hint.labels.0.insert("app".to_owned(), "web".to_owned());
        objects
    };
    let objects = by_label("enforce");
    let other = Instance {
        image: Evidence::Seen(Digest::of(b"another image")),
        image_name: None,
        ..blessed(&objects)
    };
    let docker = said(&objects, &MADE, &other).unwrap();
    assert!(
        docker.contains("config/images") || docker.contains("config/image"),
        "{docker}"
    );
    let text = said(&objects, &MADE, &podmans(other.clone())).unwrap();
    assert!(
        text.contains("labels could make it one of shop/web") && text.contains(unread),
        "{text}"
    );
    assert_eq!(said(&by_label("monitor"), &MADE, &podmans(other.clone())), None);
    // To Docker it is of no workload without the label, and here it may have it.
    let mut bare = other;
    bare.labels = verger_policy::model::Labels::default();
    assert_eq!(said(&objects, &MADE, &bare), None);
    // What is blessed is launched.
    assert_eq!(said(&objects, &MADE, &podmans(blessed(&objects))), None);
    // A stranger is one for all that, also where no workload that it could be enforces anything.
    let mut objects = by_label("monitor");
    objects.extend(
        draft::read_at(
            "g.yaml",
            GUARDRAIL.trim_start_matches("\n---\n").as_bytes(),
            now(),
        )
        .unwrap(),
    );
    let text = said(&objects, &MADE, &podmans(bare)).unwrap();
    assert!(text.starts_with("it is of no blessed workload"), "{text}");
}

#[test]
fn what_the_runtime_is_asked_besides_is_held_to_the_same() {
    let objects = policy("enforce", "");
    let good = blessed(&objects);
    let beyond = |change: &dyn Fn(&mut BeyondFacts)| {
        let mut instance = good.clone();
        match &mut instance.config.beyond {
            Evidence::Seen(beyond) => change(beyond),
            Evidence::Missing(why) => panic!("{why}"),
        }
        instance
    };
    let hook = "prestart: /bin/sh".to_owned();
    for (instance, says) in [
        (
            beyond(&|beyond| beyond.hooks = Evidence::Seen([hook.clone()].into())),
            "config/hooks",
        ),
        (
            beyond(&|beyond| beyond.hooks = Evidence::missing("gone")),
            "config/hooks",
        ),
        (
            beyond(&|beyond| beyond.root.given = "/".to_owned()),
            "config/root-path",
        ),
        (
            beyond(&|beyond| beyond.root.kept = Evidence::missing("gone")),
            "config/root-path",
        ),
        (
            beyond(&|beyond| {
                _ = beyond
                    .annotations
                    .insert("run.oci.handler".to_owned(), "wasm".to_owned())
            }),
            "config/annotations",
        ),
        (
            beyond(&|beyond| beyond.selinux = Some("system_u:system_r:spc_t:s0".to_owned())),
            "config/security-labels",
        ),
        (
            beyond(&|beyond| _ = beyond.unread.insert("linux.intelRdt".to_owned())),
            "config/unread unread[linux.intelRdt] could not be judged",
        ),
        (
            Instance {
                config: ConfigFacts {
                    apparmor: Evidence::Seen(Some("unconfined".to_owned())),
                    ..good.config.clone()
                },
                ..good.clone()
            },
            "config/security-labels",
        ),
    ] {
        let text = said(&objects, &MADE, &instance).unwrap();
        assert!(text.contains(says), "{text}");
        assert_eq!(said(&policy("monitor", ""), &MADE, &instance), None);
    }
    // A host without AppArmor or SELinux confines nothing by them, and that refuses nothing.
    let mut bare = beyond(&|beyond| beyond.selinux = None);
    bare.config.apparmor = Evidence::Seen(None);
    assert_eq!(said(&objects, &MADE, &bare), None);
    // Of a process, what is not read of processes counts, and nothing else.
    let of_process = beyond(&|beyond| _ = beyond.unread.insert("process.scheduler".to_owned()));
    assert!(said(&objects, &PROCESS, &of_process).is_some());
    let of_config = beyond(&|beyond| _ = beyond.unread.insert("linux.intelRdt".to_owned()));
    assert_eq!(said(&objects, &PROCESS, &of_config), None);
}
