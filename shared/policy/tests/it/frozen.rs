//! Bytes that may never change: what people have signed must verify for ever.

use verger_policy::draft;
use verger_policy::model::PolicyObject;
use verger_policy::set::PolicySet;

/// Canonical JSON and digest of each object of `every_field.yaml`, in order.
#[rustfmt::skip]
const FROZEN: [(&str, &str); 4] = [
    (
        r#"{"apiVersion":"verger/v1","kind":"Workload","metadata":{"labels":{"app":"payments","tier":"web"},"name":"payments/web"},"spec":{"config":{"capabilities":["CAP_CHOWN","CAP_NET_BIND_SERVICE"],"command":["/app/server","--listen",":8080"],"devices":[{"access":"rw","path":"/dev/fuse"}],"env":{"allow":["LANG","PAYMENTS_*"],"require":{"TZ":"UTC"}},"images":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"],"limits":{"cpu":1500,"memory":536870912,"pids":200,"rlimits":{"nofile":{"hard":"unlimited","soft":1024}}},"maskedPaths":["/proc/kcore"],"mounts":[{"source":"tmpfs","target":"/cache"},{"access":"rw","options":["nodev","nosuid"],"source":"volume:payments-data","target":"/data"}],"namespaces":{"cgroup":"own","ipc":"own","network":"workload:payments/proxy","pid":"any","user":"host","uts":"own"},"noNewPrivileges":true,"ports":[{"listen":"8080/tcp","publish":"none"},{"listen":"8443/tcp","publish":["*:443","127.0.0.1:8443"]}],"readonlyPaths":"any","rootfs":"readOnly","seccomp":"default","sysctls":{"net.core.somaxconn":"1024"},"user":{"gid":1000,"groups":[10,20],"uid":1000},"workingDir":"/app"},"hosts":{"zone":"eu-1"},"match":{"container":{"image":"registry.example/payments/web","labels":{"app":"payments"}}},"mode":{"default":"monitor","files":"enforce","privilege":"learn"}}}"#,
        "sha256:ad67cdc192295c3b43cad3075e091ed7a8d79b329238988fd93283e0070f3c8a",
    ),
    (
        r#"{"apiVersion":"verger/v1","kind":"Guardrail","metadata":{"name":"no-root"},"spec":{"mode":"enforce","profile":"restricted","rules":["privilege/non-root"],"select":{"hosts":{"zone":"eu-1"},"workloads":{"app":"payments"}},"unknown":"refuse"}}"#,
        "sha256:aac23478b11dfb4291104719abc5f6f3f2b8ec016eb3d8f569f4c763039d3bcb",
    ),
    (
        r#"{"apiVersion":"verger/v1","kind":"Exception","metadata":{"name":"payments/web-root"},"spec":{"notAfter":"2026-03-01T00:00:00Z","notBefore":"2026-01-01T00:00:00Z","owner":"Ada <ada@example>","reason":"the vendor's image starts as root","rules":["privilege/is-root"],"scope":{"hosts":{"zone":"eu-1"},"image":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","workload":"payments/web"},"ticket":"OPS-1","values":["uid 0"]}}"#,
        "sha256:e2f8ef3cb2d85a436b46ef351f08de783d6f37eef1ef2dd1e320cfe96fbb46d6",
    ),
    (
        r#"{"apiVersion":"verger/v1","kind":"Host","metadata":{"name":"edge-1"},"spec":{"agent":"edge-1","labels":{"zone":"eu-1"}}}"#,
        "sha256:7a22556561335056203a1d23257da798997d6376f0a11d6c939d80da8e74c321",
    ),
];

fn objects() -> Vec<PolicyObject> {
    draft::read("every_field.yaml", include_bytes!("every_field.yaml")).unwrap()
}

#[test]
fn canonical_bytes_of_every_kind_are_those_of_version_1() {
    hold(&objects(), &FROZEN);
}

/// What a workload may say of what is taken away, which version 1 did not have.
#[test]
fn canonical_bytes_of_what_is_tightened_are_frozen() {
    let text = "apiVersion: verger/v1\nkind: Workload\nmetadata: { name: a }\nspec: { tighten: [ rootfs, capabilities, noNewPrivileges ], config: { images: [ \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" ] } }\n";
    hold(
        &draft::read("tighten.yaml", text.as_bytes()).unwrap(),
        &[(
            r#"{"apiVersion":"verger/v1","kind":"Workload","metadata":{"name":"a"},"spec":{"config":{"images":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"match":{"container":{}},"tighten":["capabilities","noNewPrivileges","rootfs"]}}"#,
            "sha256:f93c000d1df7e5cb0163463582eb0a35558585fe4b4653ad5c3e89fd1cc70164",
        )],
    );
    let with_seccomp = text.replace("[ rootfs,", "[ seccomp, rootfs,");
    hold(
        &draft::read("tighten.yaml", with_seccomp.as_bytes()).unwrap(),
        &[(
            r#"{"apiVersion":"verger/v1","kind":"Workload","metadata":{"name":"a"},"spec":{"config":{"images":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"match":{"container":{}},"tighten":["capabilities","noNewPrivileges","rootfs","seccomp"]}}"#,
            "sha256:6354aee128d24b611ef7ddd43ee1d425bbc82bb5672bdff9e9ba5e3a0b124884",
        )],
    );
}

fn hold(objects: &[PolicyObject], frozen: &[(&str, &str)]) {
    assert_eq!(objects.len(), frozen.len());
    for (object, (json, digest)) in objects.iter().zip(frozen) {
        let bytes = [b"verger/v1/object\0", json.as_bytes()].concat();
        assert_eq!(
            String::from_utf8(object.canonical_bytes()).unwrap(),
            String::from_utf8(bytes.clone()).unwrap()
        );
        assert_eq!(object.digest().to_string(), *digest);
        assert_eq!(
            PolicyObject::from_canonical(&bytes).unwrap().canonical_bytes(),
            bytes
        );
    }
}

/// The same of `every_role_field.yaml`.
#[rustfmt::skip]
const FROZEN_ROLES: [(&str, &str); 4] = [
    (
        r#"{"apiVersion":"verger/v1","kind":"Role","metadata":{"labels":{"team":"payments"},"name":"payments/authors"},"spec":{"rules":[{"effect":"allow","labels":{"app":"payments"},"resources":["Exception","Workload"],"verbs":["apply","delete","propose"]},{"effect":"allow","resources":["status"],"verbs":["get"]},{"effect":"deny","names":["payments/core/*","payments/web"],"resources":["Workload"],"verbs":["delete"]}]}}"#,
        "sha256:cdc834ed465907f47e50864ed2c901f0c93b26a33a6921202e081e3c82ec321e",
    ),
    (
        r#"{"apiVersion":"verger/v1","kind":"RoleBinding","metadata":{"name":"payments/authors"},"spec":{"role":"payments/authors","scope":{"labels":{"app":"payments"},"names":["payments/*"]},"subjects":["group/payments/developers","person/ada","person/bob"]}}"#,
        "sha256:e453fb4f7fd96f154cc88a3acbaeb1456b37c0f5afbbe24a363c8733d684b14b",
    ),
    (
        r#"{"apiVersion":"verger/v1","kind":"RoleBinding","metadata":{"name":"everybody"},"spec":{"role":"viewer","subjects":["group/staff"]}}"#,
        "sha256:610ca5fb6844a5a301f1565041d05e50affbdfe5f6018987c04e342a606e7975",
    ),
    (
        r#"{"apiVersion":"verger/v1","kind":"RoleBinding","metadata":{"name":"on-hosts"},"spec":{"hosts":{"zone":"eu-1"},"role":"operator","subjects":["local/1000","local/4294967294","person/ada"]}}"#,
        "sha256:76ef9011fe00009eb3769b51f54fc7283ff4934f168b3599239b9b881237ed35",
    ),
];

#[test]
fn canonical_bytes_of_roles_are_those_of_version_1() {
    let text = include_bytes!("every_role_field.yaml");
    hold(
        &draft::read("every_role_field.yaml", text).unwrap(),
        &FROZEN_ROLES,
    );
}

#[test]
fn roots_are_those_of_version_1() {
    let empty = PolicySet::empty();
    assert_eq!(empty.canonical_bytes(), b"verger/v1/set\0[]");
    assert_eq!(
        empty.root().to_string(),
        "sha256:5a3b64d8c77da83100e0773564d018949df3a0253eb7a57f7d1f2bcc41f9b22c"
    );
    let set = empty.change(objects(), []).unwrap();
    let expected = r#"[{"digest":"sha256:e2f8ef3cb2d85a436b46ef351f08de783d6f37eef1ef2dd1e320cfe96fbb46d6","epoch":1,"hosts":{"zone":"eu-1"},"kind":"Exception","name":"payments/web-root"},{"digest":"sha256:aac23478b11dfb4291104719abc5f6f3f2b8ec016eb3d8f569f4c763039d3bcb","epoch":1,"hosts":{"zone":"eu-1"},"kind":"Guardrail","name":"no-root"},{"digest":"sha256:7a22556561335056203a1d23257da798997d6376f0a11d6c939d80da8e74c321","epoch":1,"hosts":{},"kind":"Host","name":"edge-1"},{"digest":"sha256:ad67cdc192295c3b43cad3075e091ed7a8d79b329238988fd93283e0070f3c8a","epoch":1,"hosts":{"zone":"eu-1"},"kind":"Workload","name":"payments/web"}]"#;
    assert_eq!(
        String::from_utf8(set.canonical_bytes()).unwrap(),
        format!("verger/v1/set\0{expected}")
    );
    assert_eq!(
        set.root().to_string(),
        "sha256:00e7f2c2fec5ab6eab06f9295a4a69673fb1b74e98fa81fe7a6770899b9550a2"
    );
}
