#![allow(clippy::unwrap_used)]
use verger_agent_runtimes::fake::instance;
use verger_policy::facts::CapabilityFacts;

use super::*;

/// A config with this filter.
fn config(filter: &str) -> Vec<u8> {
    format!(r#"{{"linux":{{"seccomp":{filter}}}}}"#).into_bytes()
}

fn filter(number: usize) -> String {
    format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"action":"SCMP_ACT_ALLOW","names":["call{number}"]}}]}}"#
    )
}

/// An instance under it, which Docker says is its default or is not, with these capabilities.
fn under(filter: &str, is_default: bool, given: u64) -> Instance {
    let mut instance = instance("a", "a");
    instance.config.capabilities = Evidence::Seen(CapabilityFacts {
        given,
        ..CapabilityFacts::default()
    });
    instance.config.seccomp = Evidence::Seen(SeccompFacts::Profile {
        digest: Evidence::Seen(Digest::of(filter.as_bytes())),
        runtime_default: Evidence::Seen(is_default),
    });
    instance
}

fn is_known(filters: &Filters, filter: &str, given: u64) -> bool {
    let mut asked = under(filter, false, given);
    filters.recognise(&mut asked, Some(given));
    is_on(&Seccomp::Default, &asked.config.seccomp)
}

#[test]
fn a_default_is_known_for_its_capabilities_alone_and_the_newest_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let filters = Filters::open(dir.path().join("seccomp")).unwrap();
    for number in [1, 2] {
        let filter = filter(number);
        assert!(!is_known(&filters, &filter, 5));
        filters.keep(&Seccomp::Default, &under(&filter, true, 5), &config(&filter));
        assert!(is_known(&filters, &filter, 5) && !is_known(&filters, &filter, 7));
        let given = filters.of(&Seccomp::Default, &under(&filter, false, 5)).unwrap();
        assert_eq!(given, filter.as_bytes());
    }
    // One of before an upgrade is still one.
    assert!(is_known(&filters, &filter(1), 5));
    let why = filters
        .of(&Seccomp::Default, &under(&filter(1), false, 7))
        .unwrap_err();
    assert!(
        why.contains("for these capabilities there, and this host does not have it yet"),
        "{why}"
    );
    let mut podman = under(&filter(1), false, 5);
    podman.id.runtime = RuntimeKind::Podman;
    let why = filters.of(&Seccomp::Default, &podman).unwrap_err();
    assert!(why.ends_with("state it by its digest"), "{why}");
}

#[test]
fn what_is_not_on_is_not_kept_and_neither_is_what_is_too_long_or_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("seccomp");
    let filters = Filters::open(folder.clone()).unwrap();
    let own = filter(0);
    filters.keep(&Seccomp::Default, &under(&own, false, 0), &config(&own));
    let other = Seccomp::Profile(Digest::of(b"another"));
    filters.keep(&other, &under(&own, true, 0), &config(&own));
    filters.keep(&Seccomp::Unconfined, &under(&own, true, 0), &config("null"));
    assert!(!folder.exists());

    let long = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"action":"SCMP_ACT_ALLOW","names":["{}"]}}]}}"#,
        "a".repeat(FILTER_BYTES)
    );
    filters.keep(&Seccomp::Default, &under(&long, true, 0), &config(&long));
    assert!(!folder.exists());

    for number in 0..MOST + 2 {
        let filter = filter(number);
        filters.keep(&Seccomp::Default, &under(&filter, true, 0), &config(&filter));
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), MOST);
    assert!(is_known(&filters, &filter(0), 0) && !is_known(&filters, &filter(MOST), 0));
}

#[test]
fn files_of_other_names_are_passed_over() {
    let known = KnownDefault {
        capabilities: 1 << 21,
        digest: Digest::of(b"a"),
    };
    assert_eq!(KnownDefault::named(&known.name()), Some(known));
    let hex = known.digest.hex();
    for name in [
        format!("{hex}.json"),
        format!("default-{hex}.json"),
        format!("default-200000-{hex}.json"),
        format!("default-+00000000200000-{hex}.json"),
        format!("default-0000000000200000-{}.json", hex.to_uppercase()),
        format!("{}.new", known.name()),
        "default-".to_owned(),
    ] {
        assert_eq!(KnownDefault::named(&name), None, "{name}");
    }
}
