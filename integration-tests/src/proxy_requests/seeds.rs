//! Valid calls of Docker's API, and what of a container reaches the host: what everything is mutated from.

use super::document::Json;

/// The container that calls name.
pub(super) const WEB: &str = "WEB";
/// The image of those that are made.
const IMAGE: &str = "verger-test/busybox";

/// A valid call.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    pub(super) method: &'static str,
    /// After the version.
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) document: Option<Json>,
    /// A body that is no document.
    pub(super) stream: Option<&'static [u8]>,
    /// Whether it reaches the host.
    pub(super) reaches: bool,
}

/// Keys of a container's `HostConfig` with values that reach the host.
pub(super) const REACHING: &[(&str, &str)] = &[
    ("Privileged", "true"),
    ("CapAdd", r#"["SYS_ADMIN"]"#),
    ("CapAdd", r#"["CHOWN","cap_net_admin"]"#),
    ("CapAdd", r#"["ALL"]"#),
    ("CapAdd", r#""SYS_PTRACE""#),
    (
        "Devices",
        r#"[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"rwm"}]"#,
    ),
    ("DeviceCgroupRules", r#"["a *:* rwm"]"#),
    ("SecurityOpt", r#"["seccomp=unconfined"]"#),
    ("SecurityOpt", r#"["no-new-privileges","apparmor=unconfined"]"#),
    ("SecurityOpt", r#"["label=disable"]"#),
    ("PidMode", r#""host""#),
    ("IpcMode", r#""host""#),
    ("NetworkMode", r#""host""#),
    ("UTSMode", r#""host""#),
    ("UsernsMode", r#""host""#),
    ("CgroupnsMode", r#""host""#),
    ("Binds", r#"["/etc:/host"]"#),
    ("Binds", r#"["data:/data","/:/host:ro,rslave"]"#),
    ("Mounts", r#"[{"Type":"bind","Source":"/etc","Target":"/host"}]"#),
    (
        "Mounts",
        r#"[{"Type":"tmpfs","Target":"/t"},{"Type":"bind","Source":"/","Target":"/host","BindOptions":{"Propagation":"rshared"}}]"#,
    ),
    (
        "Mounts",
        r#"[{"Type":"volume","Target":"/host","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/etc"}}}}]"#,
    ),
    ("Runtime", r#""io.containerd.runc.v2""#),
    ("CgroupParent", r#""/verger""#),
    ("Sysctls", r#"{"kernel.core_pattern":"|/x"}"#),
    ("Sysctls", r#"{"net.ipv4.ip_forward":"1","vm.swappiness":"1"}"#),
    ("OomScoreAdj", "-900"),
    ("OomKillDisable", "true"),
    ("MaskedPaths", "[]"),
    ("ReadonlyPaths", "[]"),
    (
        "LogConfig",
        r#"{"Type":"syslog","Config":{"syslog-address":"udp://127.0.0.1:9"}}"#,
    ),
    (
        "LogConfig",
        r#"{"Type":"","Config":{"syslog-address":"udp://127.0.0.1:9"}}"#,
    ),
    ("BlkioWeightDevice", r#"[{"Path":"/dev/vda","Weight":500}]"#),
    ("CpuRealtimeRuntime", "950000"),
];

/// The same that stay within the container.
pub(super) const STAYING: &[(&str, &str)] = &[
    ("Privileged", "false"),
    ("Privileged", "null"),
    ("CapAdd", r#"["CHOWN"]"#),
    ("CapAdd", r#""net_bind_service""#),
    ("CapDrop", r#"["ALL"]"#),
    ("SecurityOpt", r#"["no-new-privileges"]"#),
    ("IpcMode", r#""private""#),
    ("NetworkMode", r#""none""#),
    ("NetworkMode", r#""default""#),
    ("NetworkMode", r#""container:WEB""#),
    ("PidMode", r#""container:WEB""#),
    ("Binds", r#"["/anonymous"]"#),
    (
        "Mounts",
        r#"[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":65536}}]"#,
    ),
    ("Mounts", r#"[{"Type":"volume","Target":"/v"}]"#),
    ("Runtime", r#""runc""#),
    ("Sysctls", r#"{"net.ipv4.ip_forward":"1"}"#),
    ("OomScoreAdj", "100"),
    ("LogConfig", r#"{"Type":"json-file","Config":{"max-size":"1m"}}"#),
    ("LogConfig", r#"{"Type":"","Config":{"max-size":"1m"}}"#),
    ("ReadonlyRootfs", "true"),
    ("Tmpfs", r#"{"/run":"size=65536k"}"#),
    ("Memory", "67108864"),
    ("PidsLimit", "64"),
    ("Ulimits", r#"[{"Name":"nofile","Soft":64,"Hard":64}]"#),
    ("RestartPolicy", r#"{"Name":"no","MaximumRetryCount":0}"#),
    ("PortBindings", "{}"),
    ("VolumesFrom", r#"["WEB:ro"]"#),
    ("Devices", "[]"),
    ("MaskedPaths", "null"),
];

fn json(text: &str) -> Json {
    let value: serde_json::Value = serde_json::from_str(text).expect("seeds are written here");
    Json::from(&value)
}

fn call(method: &'static str, path: &'static str, body: Option<&str>, reaches: bool) -> Seed {
    Seed {
        method,
        path,
        query: Vec::new(),
        document: body.map(json),
        stream: None,
        reaches,
    }
}

impl Seed {
    fn query(mut self, key: &'static str, value: &str) -> Self {
        self.query.push((key, value.to_owned()));
        self
    }

    fn stream(mut self, bytes: &'static [u8]) -> Self {
        self.stream = Some(bytes);
        self
    }
}

fn create(host: &str, reaches: bool) -> Seed {
    let body = format!(
        r#"{{"Image":"{IMAGE}","Cmd":["true"],"Env":["A=b"],"Labels":{{"k":"v"}},"HostConfig":{host},"NetworkingConfig":{{"EndpointsConfig":{{}}}}}}"#
    );
    call("POST", "/containers/create", Some(&body), reaches)
}

/// All of them. Those that a daemon is given, too, come first: [`create`]s, and what is done to a container, a volume or a network.
pub(super) fn all() -> Vec<Seed> {
    let mut seeds = made();
    seeds.extend(others());
    seeds
}

/// Calls that make or change something whose state shows what it reaches.
pub(super) fn made() -> Vec<Seed> {
    let host = |(key, value): &(&str, &str)| format!(r#"{{"{key}":{value}}}"#);
    let mut seeds: Vec<Seed> = REACHING.iter().map(|pair| create(&host(pair), true)).collect();
    seeds.extend(STAYING.iter().map(|pair| create(&host(pair), false)));
    seeds.extend([
        create("null", false),
        create("{}", false),
        create("{}", false).query("platform", "linux/amd64"),
        call("POST", "/containers/create", Some(r#"{"Image":"verger-test/busybox","Privileged":true}"#), true),
        call("POST", "/containers/create", Some(r#"{"Image":"verger-test/busybox","HostConfig":{},"NetworkingConfig":{"EndpointsConfig":{"host":{}}}}"#), true),
        call("POST", "/containers/WEB/exec", Some(r#"{"Cmd":["true"],"AttachStdout":true,"Privileged":true}"#), true),
        call("POST", "/containers/WEB/exec", Some(r#"{"Cmd":["true"],"AttachStdout":true,"User":"0","Env":["A=b"]}"#), false),
        call("POST", "/containers/WEB/update", Some(r#"{"CgroupParent":"/verger"}"#), true),
        call("POST", "/containers/WEB/update", Some(r#"{"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"rwm"}]}"#), true),
        call("POST", "/containers/WEB/update", Some(r#"{"CpuRealtimeRuntime":1000}"#), true),
        call("POST", "/containers/WEB/update", Some(r#"{"CpuShares":512,"RestartPolicy":{"Name":"no"}}"#), false),
        call("POST", "/volumes/create", Some(r#"{"Name":"verger-v","Driver":"local","DriverOpts":{"type":"none","o":"bind","device":"/etc"}}"#), true),
        call("POST", "/volumes/create", Some(r#"{"Name":"verger-v","Driver":"local","DriverOpts":{},"Labels":{"k":"v"}}"#), false),
        call("POST", "/networks/create", Some(r#"{"Name":"verger-n","Driver":"macvlan","Options":{"parent":"lo"}}"#), true),
        call("POST", "/networks/create", Some(r#"{"Name":"verger-n","CheckDuplicate":true,"Driver":"bridge","Internal":true,"IPAM":{"Driver":"default","Config":[]},"Options":{},"Labels":{}}"#), false),
    ]);
    seeds
}

/// Calls that are judged, and given to no daemon.
fn others() -> Vec<Seed> {
    vec![
        call("POST", "/containers/WEB/start", None, false),
        call(
            "POST",
            "/containers/WEB/start",
            Some(r#"{"Binds":["/etc:/host"]}"#),
            true,
        ),
        call("POST", "/containers/WEB/start", None, true)
            .query("checkpoint", "c")
            .query("checkpoint-dir", "/tmp"),
        call("POST", "/containers/WEB/rename", None, false).query("name", "other"),
        call("POST", "/containers/WEB/wait", None, false).query("condition", "not-running"),
        call("POST", "/containers/WEB/resize", None, false)
            .query("h", "24")
            .query("w", "80"),
        call("POST", "/containers/WEB/attach", None, false)
            .query("stream", "1")
            .query("stdout", "1"),
        call("GET", "/containers/WEB/json", None, false),
        call("GET", "/containers/json", None, false)
            .query("all", "1")
            .query("filters", "%7B%7D"),
        call("PUT", "/containers/WEB/archive", None, false)
            .query("path", "%2Ftmp")
            .stream(b"a tar, to be"),
        call("POST", "/commit", Some(r#"{"Cmd":["true"]}"#), false)
            .query("container", WEB)
            .query("repo", "x"),
        call(
            "POST",
            "/networks/verger-n/connect",
            Some(r#"{"Container":"WEB","EndpointConfig":{"Aliases":["a"]}}"#),
            false,
        ),
        call("POST", "/build", None, false)
            .query("t", "x")
            .query("networkmode", "default")
            .stream(b"a tar, to be"),
        call("POST", "/build", None, true)
            .query("t", "x")
            .query("networkmode", "host")
            .stream(b"a tar, to be"),
        call("POST", "/build", None, true)
            .query("t", "x")
            .query("cgroupparent", "%2Fverger")
            .stream(b"a tar, to be"),
        call("POST", "/images/create", None, false)
            .query("fromImage", "a")
            .query("tag", "1")
            .stream(b""),
        call(
            "POST",
            "/plugins/pull",
            Some(r#"[{"Name":"mount","Value":["/"]}]"#),
            true,
        )
        .query("remote", "x"),
        call(
            "POST",
            "/services/create",
            Some(
                r#"{"Name":"s","TaskTemplate":{"ContainerSpec":{"Image":"a","Mounts":[{"Type":"bind","Source":"/","Target":"/h"}]}}}"#,
            ),
            true,
        ),
    ]
}
