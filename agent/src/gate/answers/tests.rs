#![allow(clippy::unwrap_used)]
use verger_agent_core::enforcer::fake::{FakeEnforcer, FakeHost};
use verger_agent_core::ledger::Floor;
use verger_gate_protocol::VERSION;
use verger_policy::digest::Digest;
use verger_policy::draft;
use verger_policy::facts::{CapabilityFacts, Evidence, ImageDefaults, Instance, SeccompFacts, capabilities};
use verger_policy::ideal::ideal;
use verger_policy::model::Spec;

use super::*;
use crate::sealed::ledger;

const ENFORCED: &str = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { mode: enforce, profile: baseline }\n";

/// What nobody can identify.
struct Dark;

impl Bundles for Dark {
    fn launch(&self, _: &Launch<'_>) -> Result<Instance, String> {
        Err("its files are gone".to_owned())
    }

    fn init_pid(&self, _: &str) -> Result<u32, String> {
        Err("its files are gone".to_owned())
    }
}

fn answers(ledger: LedgerState, operation: Operation) -> Answer {
    asked(Arc::new(Dark), ledger, operation, b"{}")
}

fn asked(bundles: Arc<dyn Bundles>, ledger: LedgerState, operation: Operation, document: &[u8]) -> Answer {
    asked_with(Arc::default(), bundles, ledger, operation, document)
}

fn asked_with(
    filters: Arc<Filters>,
    bundles: Arc<dyn Bundles>,
    ledger: LedgerState,
    operation: Operation,
    document: &[u8],
) -> Answer {
    let answers = Answers {
        bundles,
        ledger: watch::channel(Arc::new(ledger)).1,
        freshness: watch::channel(Freshness::default()).1,
        clock: Clock::start(),
        in_force: Mutex::default(),
        enforcement: Enforcement::start(|| Ok(FakeEnforcer::new(FakeHost::default()))).unwrap(),
        launches: Arc::default(),
        filters,
    };
    let question = Question {
        version: VERSION,
        operation,
        id: "ab12".to_owned(),
        bundle: String::new(),
        pid_file: String::new(),
    };
    answers.answer(&question, document).0
}

const ALL: [Operation; 5] = [
    Operation::Create,
    Operation::Start,
    Operation::Run,
    Operation::Restore,
    Operation::Exec,
];

#[test]
fn what_cannot_be_judged_is_let_through_where_nothing_is_enforced_and_refused_where_anything_is() {
    for operation in ALL {
        assert_eq!(answers(ledger(None), operation), Answer::Allow, "{operation:?}");
        let monitored = ENFORCED.replace("enforce", "monitor");
        assert_eq!(answers(ledger(Some(&monitored)), operation), Answer::Allow);
        let Answer::Refuse(why) = answers(ledger(Some(ENFORCED)), operation) else {
            panic!("{operation:?} is allowed")
        };
        let says = match operation {
            Operation::Restore => "checkpoint",
            _ => "its files are gone",
        };
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn a_ledger_that_was_lost_or_set_back_has_nothing_launched() {
    let floor = Some(Floor {
        trust_root: 1,
        epoch: 9,
        root: Digest::of(b"set"),
    });
    for held in [None, Some(ENFORCED)] {
        for operation in ALL {
            let Answer::Refuse(why) = answers(ledger(held).above(floor), operation) else {
                panic!("{operation:?} is allowed")
            };
            assert!(why.contains("epoch 9"), "{why}");
        }
    }
}

/// A workload's instance as it is blessed, but for what the document says that can be taken away.
struct Blessed(Instance);

impl Bundles for Blessed {
    fn launch(&self, launch: &Launch<'_>) -> Result<Instance, String> {
        let mut instance = self.0.clone();
        let Launch::Config { config, .. } = launch else {
            return Ok(instance);
        };
        let document: serde_json::Value =
            serde_json::from_slice(config).map_err(|error| error.to_string())?;
        let process = &document["process"];
        let names = process["capabilities"]["bounding"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let numbers = names
            .iter()
            .filter_map(|name| capabilities::number(name.as_str()?));
        instance.config.capabilities = Evidence::Seen(CapabilityFacts {
            given: numbers.fold(0, |mask, number| mask | 1 << number),
            ..CapabilityFacts::default()
        });
        instance.config.no_new_privileges = Evidence::Seen(process["noNewPrivileges"] == true);
        instance.config.rootfs_readonly = Evidence::Seen(document["root"]["readonly"] == true);
        if document.get("linux").is_some() {
            // As Docker says it: of what was asked for, whatever the document has become since.
            let runtime_default = Evidence::Seen(document["hostname"] == "default");
            let filter = oci::filter(config).map_err(|error| error.to_string())?;
            instance.config.seccomp = Evidence::Seen(match filter {
                None => SeccompFacts::Unconfined,
                Some(filter) => SeccompFacts::Profile {
                    digest: Evidence::Seen(Digest::of(&filter)),
                    runtime_default,
                },
            });
        }
        if document["hostname"] == "other" {
            instance.config.working_dir = Evidence::Seen("/other".to_owned());
        }
        Ok(instance)
    }

    fn init_pid(&self, _: &str) -> Result<u32, String> {
        Err("it is not made".to_owned())
    }
}

const BOLD: &str = r#"{"hostname":"blessed","root":{"path":"/r"},"process":{"capabilities":{"bounding":["CAP_KILL","CAP_NET_ADMIN"]}}}"#;

fn of_workload(more: &str, operation: Operation, document: &str) -> Answer {
    with_filters(&Arc::default(), more, operation, document)
}

fn with_filters(filters: &Arc<Filters>, more: &str, operation: Operation, document: &str) -> Answer {
    let (more, config) = more.split_once("  config:\n").unwrap_or((more, ""));
    let yaml = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: shop/web }}\nspec:\n  mode:\n    default: monitor\n    config: enforce\n{more}  config:\n    images: [ \"sha256:{}\" ]\n    capabilities: [ CAP_KILL ]\n    user: {{ uid: 7, gid: 7 }}\n{config}",
        "a".repeat(64)
    );
    let objects = draft::read("test.yaml", yaml.as_bytes()).unwrap();
    let Spec::Workload(workload) = &objects[0].spec else {
        panic!("{objects:?}")
    };
    let blessed = Blessed(ideal(workload, &ImageDefaults::default()));
    asked_with(
        Arc::clone(filters),
        Arc::new(blessed),
        ledger(Some(&yaml)),
        operation,
        document.as_bytes(),
    )
}

const TIGHTEN: &str = "  tighten: [ capabilities, noNewPrivileges, rootfs ]\n";

#[test]
fn a_launch_is_tightened_where_the_policy_says_so_and_what_comes_of_it_is_what_is_judged() {
    let Answer::Refuse(why) = of_workload("", Operation::Create, BOLD) else {
        panic!("it is not refused")
    };
    assert!(why.contains("config/capabilities"), "{why}");
    let Answer::Tighten(tightened) = of_workload(TIGHTEN, Operation::Create, BOLD) else {
        panic!("it is not tightened")
    };
    let made = tightened
        .tightening
        .applied(Document::Config, BOLD.as_bytes())
        .unwrap();
    assert_eq!(tightened.sha256, tighten::digest(&made));
    let made = String::from_utf8(made).unwrap();
    assert!(!made.contains("NET_ADMIN") && made.contains("CAP_KILL"), "{made}");
    // It needs nothing taken away any more.
    assert_eq!(of_workload(TIGHTEN, Operation::Create, &made), Answer::Allow);
}

#[test]
fn what_differs_besides_is_refused_whole_and_with_part_of_it_the_rest() {
    let other = BOLD.replace("blessed", "other");
    let Answer::Refuse(why) = of_workload(TIGHTEN, Operation::Create, &other) else {
        panic!("it is not refused")
    };
    // All of it is told, as if nothing could be taken away.
    assert!(
        why.contains("config/capabilities") && why.contains("and 1 more"),
        "{why}"
    );
    let Answer::Refuse(why) = of_workload("  tighten: [ rootfs ]\n", Operation::Create, BOLD) else {
        panic!("it is not refused")
    };
    assert!(why.contains("config/capabilities"), "{why}");
}

#[test]
fn what_is_tightened_is_held_as_anything_else() {
    assert!(matches!(
        of_workload(TIGHTEN, Operation::Run, BOLD),
        Answer::Tighten(_)
    ));
    // Made and started at once it could not be closed before it runs.
    let closed = TIGHTEN.replace("  tighten", "    channels: enforce\n  tighten");
    let Answer::Refuse(why) = of_workload(&closed, Operation::Run, BOLD) else {
        panic!("it is not refused")
    };
    assert!(
        why.contains("its network is to be closed before it runs"),
        "{why}"
    );
}

const CONFINE: &str = "  tighten: [ capabilities, seccomp ]\n";

/// A launch of a config with these capabilities and this filter.
fn confined(host: &str, names: &str, filter: &str) -> String {
    format!(
        r#"{{"hostname":"{host}","root":{{"path":"/r","readonly":true}},"process":{{"user":{{"uid":7,"gid":7}},"cwd":"/","noNewPrivileges":true,"capabilities":{{"bounding":[{names}]}}}},"linux":{{"seccomp":{filter}}}}}"#
    )
}

const FILTER: &str =
    r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"action":"SCMP_ACT_ALLOW","names":["read"]}]}"#;
const LAXER: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
const KILL: &str = r#""CAP_KILL""#;
const ADMIN: &str = r#""CAP_KILL","CAP_SYS_ADMIN""#;

#[test]
fn the_runtimes_default_filter_is_put_where_none_is_once_the_host_has_seen_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Arc::new(Filters::open(dir.path().join("seccomp")).unwrap());
    let filters = open();
    let ask =
        |filters: &Arc<Filters>, document: &str| with_filters(filters, CONFINE, Operation::Create, document);
    let bold = confined("unconfined", ADMIN, "null");
    let Answer::Refuse(why) = ask(&filters, &bold) else {
        panic!("it is not refused")
    };
    assert!(
        why.contains("config/seccomp")
            && why.ends_with("launch the workload once as it is blessed, and the agent keeps it"),
        "{why}"
    );

    assert_eq!(ask(&filters, &confined("default", KILL, FILTER)), Answer::Allow);
    // What was kept is there after a restart, too.
    for filters in [filters, open()] {
        for asked in ["null", LAXER] {
            let bold = confined("unconfined", ADMIN, asked);
            let Answer::Tighten(tightened) = ask(&filters, &bold) else {
                panic!("it is not tightened")
            };
            assert_eq!(tightened.tightening.seccomp.as_deref(), Some(FILTER));
            let made = tightened
                .tightening
                .applied(Document::Config, bold.as_bytes())
                .unwrap();
            assert_eq!(tightened.sha256, tighten::digest(&made));
            // It is known again, and needs nothing taken away any more.
            let made = String::from_utf8(made).unwrap();
            assert_eq!(ask(&filters, &made), Answer::Allow);
        }
        // The runtime's own default is one for the capabilities that were asked for.
        let bold = confined("default", ADMIN, LAXER);
        let Answer::Tighten(tightened) = ask(&filters, &bold) else {
            panic!("it is not tightened")
        };
        assert_eq!(tightened.tightening.seccomp.as_deref(), Some(FILTER));
        let said = with_filters(
            &filters,
            "  tighten: [ capabilities ]\n",
            Operation::Create,
            &bold,
        );
        let Answer::Refuse(why) = said else {
            panic!("a laxer filter is left on")
        };
        assert!(why.contains("default seccomp profile laxer"), "{why}");
        // A stricter one is not made laxer.
        let strict = confined("own", KILL, r#"{"defaultAction":"SCMP_ACT_KILL"}"#);
        let Answer::Refuse(why) = ask(&filters, &strict) else {
            panic!("it is not refused")
        };
        assert!(why.contains("not seen to let more through"), "{why}");
        // Where the policy does not say so nothing is put there.
        let said = with_filters(
            &filters,
            "  tighten: [ capabilities ]\n",
            Operation::Create,
            &bold,
        );
        assert!(matches!(said, Answer::Refuse(_)));
    }
}

#[test]
fn a_filter_that_was_changed_on_disk_is_given_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("seccomp");
    let filters = Arc::new(Filters::open(folder.clone()).unwrap());
    let ask = |document: &str| with_filters(&filters, CONFINE, Operation::Create, document);
    assert_eq!(ask(&confined("default", KILL, FILTER)), Answer::Allow);
    let bold = confined("unconfined", KILL, "null");
    assert!(matches!(ask(&bold), Answer::Tighten(_)));
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(&file, LAXER).unwrap();
    let Answer::Refuse(why) = ask(&bold) else {
        panic!("it is not refused")
    };
    assert!(
        why.contains("not the seccomp profile that its name says: remove it"),
        "{why}"
    );
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(ask(&bold), Answer::Refuse(_)));
    assert_eq!(ask(&confined("default", KILL, FILTER)), Answer::Allow);
    assert!(matches!(ask(&bold), Answer::Tighten(_)));
}

#[test]
fn a_profile_that_is_blessed_by_its_digest_is_put_there_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let filters = Arc::new(Filters::open(dir.path().join("seccomp")).unwrap());
    let digest = Digest::of(FILTER.as_bytes());
    let more = format!("{CONFINE}  config:\n    seccomp: \"{digest}\"\n");
    let ask = |document: &str| with_filters(&filters, &more, Operation::Create, document);
    let bold = confined("own", ADMIN, LAXER);
    assert!(matches!(ask(&bold), Answer::Refuse(_)));
    assert_eq!(ask(&confined("own", KILL, FILTER)), Answer::Allow);
    let Answer::Tighten(tightened) = ask(&bold) else {
        panic!("it is not tightened")
    };
    assert_eq!(tightened.tightening.seccomp.as_deref(), Some(FILTER));
}
