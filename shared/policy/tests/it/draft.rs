//! What drafts are refused for, where, and with which words.

use jiff::Timestamp;
use verger_policy::draft::{self, Draft, Problem};
use verger_policy::model::PolicyObject;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn workload(config: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web }}\nspec:\n  config:\n    images: [ {DIGEST} ]\n    {config}\n"
    )
}

fn exception(fields: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: e }}\nspec:\n  rules: [ config/env ]\n  scope: {{ workload: web }}\n  owner: a\n  reason: b\n  ticket: c\n  {fields}\n"
    )
}

fn problems(text: &str) -> Vec<String> {
    draft::read("p.yaml", text.as_bytes())
        .unwrap_err()
        .iter()
        .map(Problem::to_string)
        .collect()
}

/// The one problem of a `config` line, without file and field prefix `p.yaml:7:`.
#[track_caller]
fn refused(config: &str, expected: &str) {
    let found = problems(&workload(config));
    assert_eq!(found, [format!("p.yaml:7:{expected}")], "{config}");
}

#[track_caller]
fn accepted(config: &str) -> PolicyObject {
    let text = workload(config);
    let mut read = draft::read("p.yaml", text.as_bytes());
    match &mut read {
        Ok(objects) => objects.remove(0),
        Err(problems) => panic!("{config}: {problems:?}"),
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "\
apiVersion: verger/v2
kind: Workload
metadata: { name: Web }
spec:
  hosts: { zone: 1 }
  confg: {}
  config:
    images: [ nginx:1.27, web@sha256:00, any, \"sha256:XX\" ]
    user: { uid: root, gid: 4294967295 }
    comand: [ a ]
---
kind: Wrkload
";
    assert_eq!(
        problems(text),
        [
            "p.yaml:1:13: apiVersion: unknown version `verger/v2`; this version reads `verger/v1`",
            "p.yaml:3:19: metadata.name: `Web` is not valid: a name is made of a-z, 0-9, `-` and `.`, starts and ends with a letter or digit, parts are joined by `/`; write a path of DNS labels, as in payments/web",
            "p.yaml:5:18: spec.hosts.zone: `1` without quotes is a number, not text; put it in quotes",
            "p.yaml:6:3: spec.confg: unknown field `confg`; did you mean `config`?",
            "p.yaml:8:15: spec.config.images[0]: `nginx:1.27` is an image's name, and a tag can move; write the digest of the image config that `docker image inspect --format {{.Id}} IMAGE` prints",
            "p.yaml:8:27: spec.config.images[1]: `web@sha256:00` names a manifest in a registry; one image has many of those and one config digest; write the digest of the image config that `docker image inspect --format {{.Id}} IMAGE` prints",
            "p.yaml:8:42: spec.config.images[2]: `any` would bless every image; write the digest of the image config that `docker image inspect --format {{.Id}} IMAGE` prints",
            "p.yaml:8:47: spec.config.images[3]: `sha256:XX` is not a digest: it is `sha256:` and 64 lower-case hex digits; write the digest of the image config that `docker image inspect --format {{.Id}} IMAGE` prints",
            "p.yaml:9:18: spec.config.user.uid: `root` is not a number; a name means what the image's /etc/passwd says; write the numeric id",
            "p.yaml:9:29: spec.config.user.gid: `4294967295` is not an integer from 0 to 4294967294; write decimal digits without sign, leading zero, point or exponent",
            "p.yaml:10:5: spec.config.comand: unknown field `comand`; did you mean `command`?",
            "p.yaml:12:1: apiVersion: is missing; add `apiVersion: verger/v1`",
            "p.yaml:12:1: metadata: is missing; add `metadata: { name: payments/web }`",
            "p.yaml:12:7: kind: unknown kind `Wrkload`; did you mean `Workload`?",
        ]
    );
}

#[test]
fn words_other_readers_misread_must_be_quoted() {
    refused(
        "command: [ yes ]",
        "16: spec.config.command[0]: `yes` without quotes is true or false to other YAML readers; put it in quotes",
    );
    refused(
        "command: [ 1.0 ]",
        "16: spec.config.command[0]: `1.0` without quotes is a number, not text; put it in quotes",
    );
    refused(
        "command: [ true ]",
        "16: spec.config.command[0]: `true` without quotes is a truth value, not text; put it in quotes",
    );
    refused(
        "command: [ ~ ]",
        "16: spec.config.command[0]: is nothing, not text; write a value, or remove the field",
    );
    refused(
        "noNewPrivileges: yes",
        "22: spec.config.noNewPrivileges: is text, not `true` or `false`; write `true` or `false`",
    );
    accepted("command: [ \"yes\", '1.0', !!str 7 ]");
}

#[test]
fn dangerous_env_globs_are_refused_with_the_reason() {
    for (glob, variable) in [
        ("LD_PRELOAD", "LD_*"),
        ("LD_*", "LD_*"),
        ("PATH", "PATH"),
        ("P*", "PATH"),
        ("PYTHONPATH", "PYTHON*"),
        ("NODE_OPTIONS", "NODE_OPTIONS"),
        ("JAVA_TOOL_OPTIONS", "JAVA_TOOL_OPTIONS"),
        ("BASH_ENV", "BASH_ENV"),
        ("ENV", "ENV"),
        ("IFS", "IFS"),
        ("PERL5LIB", "PERL5*"),
        ("RUBYOPT", "RUBYOPT"),
        ("GCONV_PATH", "GCONV_PATH"),
    ] {
        let found = problems(&workload(&format!("env: {{ allow: [ \"{glob}\" ] }}")));
        assert_eq!(found.len(), 1, "{glob}: {found:?}");
        assert!(
            found[0].contains(&format!("`{glob}` would let {variable} have any value: it")),
            "{found:?}"
        );
        accepted(&format!(
            "env: {{ require: {{ \"{}\": \"/x\" }} }}",
            glob.trim_end_matches('*')
        ));
    }
    refused(
        "env: { allow: [ \"*\" ] }",
        "21: spec.config.env.allow[0]: `*` would allow every variable, and with them those that choose which code runs; list names or prefixes; or write `env: any`, which is reported as not evaluated",
    );
    refused(
        "env: { allow: [ \"A*B\" ] }",
        "21: spec.config.env.allow[0]: `A*B` has a wildcard inside; a glob is a name with one `*` at its end, as in PAYMENTS_*",
    );
    refused(
        "env: { require: { \"A=B\": c } }",
        "23: spec.config.env.require.A=B: `A=B` has `=` in it; write the name of an environment variable, as in TZ",
    );
    accepted("env: any");
}

#[test]
fn mounts_are_absolute_normal_and_unique() {
    refused(
        "mounts: [ { target: /a/../b, source: tmpfs } ]",
        "25: spec.config.mounts[0].target: the path `/a/../b` has `.` or `..` in it; write an absolute path in its shortest form, as in /var/cache",
    );
    refused(
        "mounts: [ { target: data, source: tmpfs } ]",
        "25: spec.config.mounts[0].target: the path `data` is not absolute; write an absolute path in its shortest form, as in /var/cache",
    );
    refused(
        "mounts: [ { target: /a/, source: tmpfs } ]",
        "25: spec.config.mounts[0].target: the path `/a/` has a doubled or trailing slash; write an absolute path in its shortest form, as in /var/cache",
    );
    refused(
        "mounts: [ { target: /, source: tmpfs } ]",
        "25: spec.config.mounts[0].target: is the root file system; see `rootfs` for that",
    );
    refused(
        "mounts: [ { target: /a, source: \"bind:../etc\" } ]",
        "37: spec.config.mounts[0].source: the source `bind:../etc` is not absolute; write volume:NAME, volume (an anonymous one), bind:/HOST/PATH or tmpfs",
    );
    refused(
        "mounts: [ { target: /a, source: tmpfs }, { target: /a, source: volume } ]",
        "46: spec.config.mounts[1]: the same target is in the list twice; keep one of the two",
    );
    refused(
        "mounts: [ { target: /a, source: tmpfs, options: [ suid ] } ]",
        "55: spec.config.mounts[0].options[0]: unknown word `suid`; did you mean `nosuid`? Write one of: nodev, noexec, nosuid",
    );
    refused(
        "mounts: [ { target: /a, source: volume, propagation: rslav } ]",
        "58: spec.config.mounts[0].propagation: unknown word `rslav`; did you mean `rslave`? Write one of: private, rprivate, slave, rslave, shared, rshared",
    );
    refused(
        "mounts: [ { target: /a, source: tmpfs, propagation: rprivate } ]",
        "15: spec.config.mounts[0]: states a propagation for a tmpfs, which the host never sees; remove `propagation`",
    );
    accepted("mounts: [ { target: /a, source: \"bind:/b\", propagation: rshared } ]");
    accepted("mounts: [ { target: /a, source: volume, propagation: any } ]");
}

#[test]
fn quantities_have_units_and_bounds() {
    let limits = |text: &str| {
        let object = accepted(&format!("limits: {{ {text} }}"));
        let verger_policy::model::Spec::Workload(workload) = object.spec else {
            unreachable!()
        };
        serde_json::to_string(&workload.config.limits).unwrap()
    };
    assert_eq!(limits("memory: 512Mi"), r#"{"memory":536870912}"#);
    assert_eq!(limits("memory: 1G"), r#"{"memory":1000000000}"#);
    assert_eq!(limits("memory: 4096"), r#"{"memory":4096}"#);
    for (cpu, milli) in [
        ("1.5", 1500),
        ("1500m", 1500),
        ("2", 2000),
        ("0.25", 250),
        ("0.001", 1),
    ] {
        assert_eq!(
            limits(&format!("cpu: {cpu}")),
            format!(r#"{{"cpu":{milli}}}"#),
            "{cpu}"
        );
    }
    assert_eq!(
        limits("rlimits: { core: { soft: 0, hard: unlimited } }"),
        r#"{"rlimits":{"core":{"soft":0,"hard":"unlimited"}}}"#
    );
    for bad in [
        "memory: 512m",
        "memory: 1.5Gi",
        "memory: -1",
        "memory: 0",
        "memory: 9007199254740992",
        "memory: 9999999Ti",
        "memory: 010",
        "memory: 1e3",
        "memory: 0x10",
        "cpu: 0",
        "cpu: 1.2345",
        "cpu: 1e3",
        "cpu: -1",
        "cpu: .inf",
        "pids: 0",
        "pids: many",
        "pids: 1.0",
        "rlimits: { files: { soft: 1, hard: 1 } }",
        "rlimits: { nofile: { soft: 2, hard: 1 } }",
        "rlimits: { nofile: { soft: -1, hard: 1 } }",
        "rlimits: { nofile: { soft: infinity, hard: 1 } }",
        "rlimits: { nofile: 5 }",
    ] {
        assert_eq!(
            problems(&workload(&format!("limits: {{ {bad} }}"))).len(),
            1,
            "{bad}"
        );
    }
}

#[test]
fn other_fields_are_checked() {
    for bad in [
        "capabilities: [ NET_FOO ]",
        "capabilities: [ ALL ]",
        "capabilities: [ CHOWN, cap_chown ]",
        "seccomp: off",
        "seccomp: strict",
        "rootfs: readonly",
        "namespaces: { pid: none }",
        "namespaces: { network: bridge }",
        "namespaces: { ipc: \"workload:Bad\" }",
        "devices: [ { path: /dev/x, access: rx } ]",
        "devices: [ { path: /dev/x, access: rr } ]",
        "devices: [ { path: /dev/x } ]",
        "sysctls: { somaxconn: \"1\" }",
        "sysctls: { net..x: \"1\" }",
        "sysctls: { net.core.x: 1 }",
        "ports: [ { listen: 8080, publish: none } ]",
        "ports: [ { listen: 0/tcp, publish: none } ]",
        "ports: [ { listen: 80/icmp, publish: none } ]",
        "ports: [ { listen: 80/tcp, publish: all } ]",
        "ports: [ { listen: 80/tcp, publish: [] } ]",
        "ports: [ { listen: 80/tcp, publish: [ \"80\" ] } ]",
        "ports: [ { listen: 80/tcp, publish: [ \"host:80\" ] } ]",
        "ports: [ { listen: 80/tcp, publish: [ \"0.0.0.0:80\", \"[::]:80\" ] } ]",
        "workingDir: app",
        "command: []",
        "command: sh",
        "user: { uid: 1 }",
        "user: 1000",
        "maskedPaths: [ proc ]",
        "user: { uid: 1, gid: 1, groups: [ 5, 5 ] }",
    ] {
        assert_eq!(
            problems(&workload(bad)).len(),
            1,
            "{bad}: {:?}",
            problems(&workload(bad))
        );
    }
    refused(
        "capabilities: [ NET_ADMN ]",
        "21: spec.config.capabilities[0]: unknown capability `NET_ADMN`; did you mean `CAP_NET_ADMIN`?",
    );
}

#[test]
fn what_this_version_cannot_judge_is_said() {
    let with = |spec: &str| {
        problems(&format!(
            "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web }}\nspec:\n  config: {{ images: [ {DIGEST} ] }}\n  {spec}\n"
        ))
    };
    assert_eq!(
        with("files: { manifest: x }"),
        [
            "p.yaml:6:10: spec.files: checking files against a manifest is not supported by this version yet; remove it"
        ]
    );
    for other in ["service", "vm", "process"] {
        let column = 14 + other.len();
        assert_eq!(
            with(&format!("match: {{ {other}: {{}} }}")),
            [format!(
                "p.yaml:6:{column}: spec.match.{other}: this version judges containers only; remove it"
            )]
        );
    }
    assert_eq!(
        with("match: { container: { image: \"web:1\" } }"),
        [
            "p.yaml:6:32: spec.match.container.image: `web:1` carries a tag; write the name alone, as in registry.example/payments/web; digests belong in config.images"
        ]
    );
    assert_eq!(
        with("mode: { privilege: enforce }"),
        ["p.yaml:6:9: spec.mode.default: is missing; add `default: monitor`"]
    );
    assert_eq!(
        with("mode: { default: montor }"),
        [
            "p.yaml:6:20: spec.mode.default: unknown word `montor`; did you mean `monitor`? Write one of: learn, monitor, enforce"
        ]
    );
    assert_eq!(
        with("tighten: [ capabilities, rootsf, capabilities ]"),
        [
            "p.yaml:6:28: spec.tighten[1]: unknown word `rootsf`; did you mean `rootfs`? Write one of: capabilities, noNewPrivileges, rootfs, seccomp",
            "p.yaml:6:36: spec.tighten[2]: the same value is in the list twice; keep one of the two"
        ]
    );
    assert_eq!(
        with("tighten: []"),
        ["p.yaml:6:12: spec.tighten: is empty, and so fits nothing; name at least one"]
    );
    let channel = problems("apiVersion: verger/v1\nkind: Channel\nmetadata: { name: c }\nspec: {}\n");
    assert_eq!(
        channel,
        [
            "p.yaml:2:7: kind: this version does not judge the kind `Channel`; remove the object; kinds it judges: Exception, Guardrail, Host, Role, RoleBinding, Workload"
        ]
    );
}

#[test]
fn exceptions_are_bounded_and_accounted_for() {
    let good = "notAfter: 2026-02-01T00:00:00Z\n  notBefore: 2026-01-01T00:00:00Z";
    assert!(draft::read("p.yaml", exception(good).as_bytes()).is_ok());
    let refused = |fields: &str, expected: &str| {
        let found = problems(&exception(fields));
        assert_eq!(found, [expected], "{fields}");
    };
    refused(
        "notAfter: 2026-01-01T00:00:00Z\n  notBefore: 2026-01-01T00:00:00Z",
        "p.yaml:10:13: spec.notAfter: ends at or before its beginning; write an instant after `notBefore`",
    );
    refused(
        "notAfter: 2026-04-01T00:00:01Z\n  notBefore: 2026-01-01T00:00:00Z",
        "p.yaml:10:13: spec.notAfter: lasts longer than 90 days; end it at most 90 days after it begins, and renew it when it is still needed",
    );
    for bad in [
        "2026-01-01",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00Z[UTC]",
        "tomorrow",
    ] {
        let found = problems(&exception(&format!("notAfter: \"{bad}\"")));
        assert!(
            found.len() == 1 && found[0].contains("is not an instant"),
            "{bad}: {found:?}"
        );
    }
    let changed = |from: &str, to: &str| problems(&exception(good).replace(from, to));
    assert_eq!(
        changed("[ config/env ]", "[]"),
        ["p.yaml:5:10: spec.rules: lifts no rule; name at least one"]
    );
    assert_eq!(
        changed("config/env", "config/evn"),
        ["p.yaml:5:12: spec.rules[0]: unknown rule `config/evn`; did you mean `config/env`?"]
    );
    assert_eq!(
        changed("config/env", "\"config/*\""),
        ["p.yaml:5:12: spec.rules[0]: unknown rule `config/*`; globs are not allowed here; name each rule"]
    );
    assert_eq!(
        changed("config/env", "host/not-evaluated"),
        [
            "p.yaml:5:12: spec.rules[0]: the rule `host/not-evaluated` is about the agent and its host; no exception can lift it; remove it, and mend what the finding names; acknowledge the finding meanwhile"
        ]
    );
    assert_eq!(
        changed("{ workload: web }", "{ hosts: { a: b } }"),
        ["p.yaml:6:10: spec.scope: covers everything; state `workload` or `image`"]
    );
    assert_eq!(
        changed("owner: a", "owner: \" \""),
        ["p.yaml:7:10: spec.owner: is empty; write who or why"]
    );
    assert_eq!(
        changed("  ticket: c\n", ""),
        ["p.yaml:5:3: spec.ticket: is missing; add `ticket: \"OPS-123\"`"]
    );
}

#[test]
fn what_was_sealed_for_a_rule_of_the_host_stays_readable() {
    let good = exception("notAfter: 2026-02-01T00:00:00Z\n  notBefore: 2026-01-01T00:00:00Z");
    let object = draft::read("p.yaml", good.as_bytes()).unwrap().remove(0);
    let bytes = String::from_utf8(object.canonical_bytes()).unwrap();
    let stored = bytes.replace("config/env", "host/stale-seal").into_bytes();
    let read = PolicyObject::from_canonical(&stored).unwrap();
    assert_eq!(read.canonical_bytes(), stored);
}

#[test]
fn an_exception_without_beginning_begins_when_it_is_signed() {
    let text = exception("notAfter: 2026-04-01T00:00:00Z");
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert!(draft::read("p.yaml", text.as_bytes()).is_ok());
    assert!(draft::read_at("p.yaml", text.as_bytes(), at("2026-01-01T00:00:00Z")).is_ok());
    let late = draft::read_at("p.yaml", text.as_bytes(), at("2025-12-31T23:59:59Z")).unwrap_err();
    assert_eq!(late.len(), 1);
    assert_eq!(late[0].field, "spec.notAfter");
}

#[test]
fn guardrails_ask_for_something_they_can_hold() {
    let with = |spec: &str| {
        draft::read(
            "p.yaml",
            format!("apiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: g }}\nspec: {spec}\n")
                .as_bytes(),
        )
        .map_err(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>())
    };
    assert!(with("{ unknown: report }").is_ok());
    assert!(with("{ rules: [ privilege/non-root ] }").is_ok());
    assert_eq!(
        with("{ mode: enforce }").unwrap_err(),
        [
            "p.yaml:4:7: spec: asks for nothing; state `profile: baseline` or `restricted`, some `rules` or `checks`, or `unknown`"
        ]
    );
    let own = with("{ rules: [ config/command ] }").unwrap_err();
    assert!(
        own.len() == 1
            && own[0].starts_with(
                "p.yaml:4:18: spec.rules[0]: the rule `config/command` judges a workload's own configuration"
            ),
        "{own:?}"
    );
    assert_eq!(
        with("{ profile: strict }").unwrap_err(),
        ["p.yaml:4:18: spec.profile: unknown word `strict`; write one of: baseline, restricted"]
    );
}

#[test]
fn spelling_does_not_change_canonical_bytes() {
    let pairs = [
        (
            "capabilities: [ chown, CAP_KILL ]",
            "capabilities: [ CAP_KILL, CAP_CHOWN ]",
        ),
        ("limits: { memory: 512Mi }", "limits: { memory: 536870912 }"),
        ("limits: { cpu: 1.5 }", "limits: { cpu: 1500m }"),
        (
            "devices: [ { path: /dev/b, access: mwr }, { path: /dev/a, access: r } ]",
            "devices: [ { path: /dev/a, access: r }, { access: rwm, path: /dev/b } ]",
        ),
        (
            "mounts: [ { target: /b, source: tmpfs }, { target: /a, source: volume, options: [ nosuid, nodev ] } ]",
            "mounts: [ { source: volume, target: /a, options: [ nodev, nosuid ] }, { target: /b, source: tmpfs } ]",
        ),
        (
            "ports: [ { listen: 80/tcp, publish: [ \"0.0.0.0:80\" ] }, { listen: 53/udp, publish: none } ]",
            "ports: [ { listen: 53/udp, publish: none }, { listen: 80/tcp, publish: [ \"[::]:80\" ] } ]",
        ),
        (
            "ports: [ { listen: 80/tcp, publish: [ \"[0:0::1]:80\" ] } ]",
            "ports: [ { listen: 80/tcp, publish: [ \"[::1]:80\" ] } ]",
        ),
        ("env: { allow: [ B, A ] }", "env: { allow: [ A, B ] }"),
        (
            "command: [ a, &x b, *x ]",
            "command:\n    - a\n    - \"b\"\n    - |-\n      b",
        ),
    ];
    for (a, b) in pairs {
        assert_eq!(
            accepted(a).canonical_bytes(),
            accepted(b).canonical_bytes(),
            "{a}"
        );
    }
    assert_ne!(
        accepted("command: [ a, b ]").digest(),
        accepted("command: [ b, a ]").digest()
    );
    assert_ne!(accepted("capabilities: []").digest(), accepted("").digest());
}

#[test]
fn the_same_object_twice_in_a_file_is_refused() {
    let text = format!("{}---\n{}", workload(""), workload("rootfs: writable"));
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("metadata.name: Workload/web is in this file twice, first on line 1"),
        "{found:?}"
    );
}

#[test]
fn empty_documents_are_passed_over() {
    assert_eq!(draft::read("p.yaml", b""), Ok(Vec::new()));
    assert_eq!(
        draft::read("p.yaml", b"# nothing\n---\n---\n...\n"),
        Ok(Vec::new())
    );
    assert_eq!(
        draft::read("p.yaml", format!("---\n{}---\n", workload("")).as_bytes())
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn drafts_can_be_checked_one_by_one() {
    let text = format!("{}---\nkind: Host\n", workload(""));
    let drafts = draft::parse("p.yaml", text.as_bytes()).unwrap();
    let checked: Vec<bool> = drafts
        .into_iter()
        .map(|draft| Draft::check(draft).is_ok())
        .collect();
    assert_eq!(checked, [true, false]);
}

#[test]
fn a_fault_of_syntax_keeps_the_problems_before_it() {
    let found = problems("kind: Host\n---\na: [\n");
    assert!(
        found
            .iter()
            .any(|problem| problem.contains("apiVersion: is missing")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|problem| problem.contains("is not YAML")),
        "{found:?}"
    );
}
