//! What is odd about a set.

use verger_policy::draft;
use verger_policy::lint::lint;
use verger_policy::model::PolicyObject;
use verger_policy::set::PolicySet;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: verger/v1\nkind: {kind}\nmetadata: {{ name: {name}, labels: {{ app: {name} }} }}\nspec: {spec}\n"
    )
}

fn workload(name: &str, more: &str) -> String {
    object(
        "Workload",
        name,
        &format!("{{ match: {{ container: {{ image: x }} }}, config: {{ images: [ \"{A}\" ] }}, {more} }}"),
    )
}

fn exception(name: &str, scope: &str, end: &str) -> String {
    object(
        "Exception",
        name,
        &format!(
            "{{ rules: [ config/env ], scope: {scope}, owner: a, reason: b, ticket: c, notAfter: \"{end}\" }}"
        ),
    )
}

#[track_caller]
fn lints(objects: &[String]) -> Vec<String> {
    let read = draft::read("set.yaml", objects.concat().as_bytes());
    let set = PolicySet::empty().change(read.unwrap(), []).unwrap();
    lint(&set, "2026-01-01T00:00:00Z".parse().unwrap())
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_exception_for_a_rule_of_the_host_is_told() {
    let text = [
        workload("web", "hosts: {}"),
        exception("e", "{ workload: web }", "2026-03-01T00:00:00Z"),
    ];
    let mut objects = draft::read("set.yaml", text.concat().as_bytes()).unwrap();
    // No draft may say so now; what is sealed may.
    let bytes = String::from_utf8(objects.remove(1).canonical_bytes()).unwrap();
    let sealed = bytes.replace("config/env", "host/stale-seal");
    objects.push(PolicyObject::from_canonical(sealed.as_bytes()).unwrap());
    let set = PolicySet::empty().change(objects, []).unwrap();
    let told: Vec<String> = lint(&set, "2026-01-01T00:00:00Z".parse().unwrap())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "Exception/e is for rule host/stale-seal, which is about the host and never lifted; remove it from `rules`"
        ]
    );
}

#[test]
fn a_sound_set_has_no_lints() {
    let objects = [
        object("Host", "h", "{ agent: h, labels: { zone: eu } }"),
        workload("web", "hosts: { zone: eu }"),
        workload("db", "hosts: { zone: eu }").replace("image: x", "image: z"),
        exception(
            "e",
            "{ workload: web, hosts: { zone: eu } }",
            "2026-02-01T00:00:00Z",
        ),
        object(
            "Guardrail",
            "g",
            "{ profile: baseline, select: { workloads: { app: web } } }",
        ),
    ];
    assert_eq!(lints(&objects), [""; 0]);
}

#[test]
fn exceptions_at_or_near_their_end_are_told() {
    let objects = [
        workload("web", ""),
        exception("gone", "{ workload: web }", "2026-01-01T00:00:00Z"),
        exception("later", "{ workload: web }", "2026-01-08T00:00:01Z"),
        exception("soon", "{ workload: web }", "2026-01-08T00:00:00Z"),
    ];
    assert_eq!(
        lints(&objects),
        [
            "Exception/gone ended at 2026-01-01T00:00:00Z and lifts nothing; delete or renew it",
            "Exception/soon ends at 2026-01-08T00:00:00Z; renew it if it is still needed",
        ]
    );
}

#[test]
fn exceptions_that_fit_nothing_are_told() {
    let objects = [
        workload("web", ""),
        exception("a", "{ workload: wbe }", "2026-02-01T00:00:00Z"),
        exception(
            "b",
            &format!("{{ workload: web, image: \"{B}\" }}"),
            "2026-02-01T00:00:00Z",
        ),
    ];
    assert_eq!(
        lints(&objects),
        [
            "Exception/a is for workload wbe, which the set does not have; correct `scope.workload`"
                .to_owned(),
            format!("Exception/b is for image {B}, which its workload does not bless; correct `scope.image`"),
        ]
    );
}

#[test]
fn what_selects_nothing_is_told() {
    let objects = [
        object("Host", "h", "{ agent: h, labels: { zone: eu } }"),
        workload("web", "hosts: { zone: us }"),
        object(
            "Guardrail",
            "g",
            "{ profile: baseline, select: { workloads: { app: wbe } } }",
        ),
    ];
    assert_eq!(
        lints(&objects),
        [
            "Guardrail/g selects no workload; correct `select.workloads`, or label a workload",
            "Workload/web selects no host; correct its host labels, or label a host with a `Host` object",
        ]
    );
}

#[test]
fn workloads_that_cannot_be_told_apart_are_told() {
    let twins = lints(&[workload("a", ""), workload("b", "")]);
    assert_eq!(
        twins,
        [
            format!("Workload/a has the image {A} and the hints of workload b; tell them apart by a label"),
            format!("Workload/b has the image {A} and the hints of workload a; tell them apart by a label"),
        ]
    );
    let labelled = workload("b", "").replace("image: x", "image: x, labels: { tier: b }");
    assert_eq!(lints(&[workload("a", ""), labelled.clone()]), [""; 0]);
    // Whoever launches one chooses the label: where that could make a difference, it is told.
    let guardrail = object("Guardrail", "g", "{ mode: enforce, unknown: report }");
    for (objects, of) in [
        (
            vec![
                workload("a", "mode: { default: monitor, config: enforce }"),
                labelled.clone(),
            ],
            2,
        ),
        (
            vec![
                workload("a", "mode: { default: monitor }"),
                labelled.clone(),
                guardrail,
            ],
            2,
        ),
        (
            vec![
                workload("a", "mode: { default: monitor, channels: enforce }"),
                labelled.clone(),
            ],
            2,
        ),
        (
            vec![
                workload("a", "mode: { default: monitor, files: enforce }"),
                labelled,
            ],
            0,
        ),
    ] {
        let told = lints(&objects);
        let shared = told
            .iter()
            .filter(|lint| lint.contains("only a label tells them apart"));
        assert_eq!(shared.count(), of, "{told:?}");
    }
    let apart = [
        object("Host", "h", "{ agent: h, labels: { zone: eu } }"),
        object("Host", "i", "{ agent: i, labels: { zone: us } }"),
        workload("a", "hosts: { zone: eu }"),
        workload("b", "hosts: { zone: us }"),
    ];
    assert_eq!(lints(&apart), [""; 0]);
}

#[test]
fn a_namespace_of_nobody_is_told() {
    let alone = workload("a", "").replace("config: {", "config: { namespaces: { network: \"workload:b\" },");
    assert_eq!(
        lints(&[alone]),
        ["Workload/a shares a namespace of workload b, which the set does not have"]
    );
}

#[test]
fn what_is_never_taken_away_is_told() {
    let tightens = |more: &str| lints(&[workload("a", more)]);
    let enforced = "mode: { default: enforce }, tighten: [ capabilities, noNewPrivileges, rootfs, seccomp ]";
    assert_eq!(tightens(enforced), [""; 0]);
    assert_eq!(
        tightens("tighten: [ rootfs ]"),
        [
            "Workload/a lets the gate take away what a launch asks beyond `rootfs`, and there is never anything to take: enforce control `config` and state less of `config.rootfs`, or remove it from `tighten`"
        ]
    );
    let wide = workload("a", enforced).replace(
        "config: {",
        "config: { capabilities: any, noNewPrivileges: false, rootfs: writable, seccomp: unconfined,",
    );
    assert_eq!(lints(&[wide]).len(), 4);
}

#[test]
fn roles_that_are_not_there_or_given_to_nobody_are_odd() {
    let role = |name: &str| {
        let rule = "{ effect: allow, verbs: [ get ], resources: [ status ] }";
        object("Role", name, &format!("{{ rules: [ {rule} ] }}"))
    };
    let binding = |name: &str, role: &str| {
        object(
            "RoleBinding",
            name,
            &format!("{{ role: {role}, subjects: [ person/ada ] }}"),
        )
    };
    assert_eq!(
        lints(&[
            role("mine"),
            role("spare"),
            binding("a", "mine"),
            binding("b", "viewer"),
            binding("c", "viewers"),
        ]),
        [
            "Role/spare is given to nobody; bind it with a `RoleBinding`",
            "RoleBinding/c gives role viewers, which is not built in and not in the set; correct `role`",
        ]
    );
}
