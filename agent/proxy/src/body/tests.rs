#![allow(clippy::unwrap_used)]

use super::*;

fn runtimes() -> BTreeSet<String> {
    ["runc".to_owned()].into()
}

fn create(host: &str) -> Result<Read, Refusal> {
    let text = format!(r#"{{"Image":"a","HostConfig":{host}}}"#);
    read(Engine::Docker, Document::Create, text.as_bytes(), &runtimes())
}

fn reaches(host: &str) -> bool {
    let read = create(host).unwrap_or_else(|refusal| panic!("{host}: {refusal}"));
    read.wishes.contains(&Wish {
        verb: Verb::ReachHost,
        on: On::Made,
    })
}

#[test]
fn a_network_that_is_the_hosts_but_for_a_space_is_nobodys_own() {
    for name in ["host", " host", "host ", "host\\n", "HOST", "a b", "ns:/x"] {
        assert!(
            reaches(&format!(r#"{{"NetworkMode":"{name}"}}"#)),
            "NetworkMode {name}"
        );
        let text = format!(r#"{{"Image":"a","NetworkingConfig":{{"EndpointsConfig":{{"{name}":{{}}}}}}}}"#);
        let read = read(Engine::Docker, Document::Create, text.as_bytes(), &runtimes()).unwrap();
        let wish = Wish {
            verb: Verb::ReachHost,
            on: On::Made,
        };
        assert!(read.wishes.contains(&wish), "endpoint {name}");
    }
    assert!(!reaches(r#"{"NetworkMode":"shop_front.1"}"#));
}

#[test]
fn what_the_daemon_would_read_otherwise_is_refused() {
    for text in [
        // Another case, the long s, the sign of Kelvin.
        r#"{"Image":"a","hostconfig":{"privileged":true}}"#,
        "{\"Image\":\"a\",\"Ho\u{17f}tConfig\":{\"Privileged\":true}}",
        r#"{"Image":"a","Ho\u017ftConfig":{"Privileged":true}}"#,
        "{\"Image\":\"a\",\"HostConfig\":{\"Networ\u{212a}Mode\":\"host\"}}",
        // Twice: the daemon takes both.
        r#"{"Image":"a","HostConfig":{},"HostConfig":{"Privileged":true}}"#,
        r#"{"Image":"a","HostConfig":{"Privileged":false,"Privileged":true}}"#,
        // Of the whole: the daemon takes it for the host's.
        r#"{"Image":"a","Privileged":true}"#,
        r#"{"Image":"a","Binds":["/:/host"]}"#,
        // What follows.
        r#"{"Image":"a"}{"HostConfig":{"Privileged":true}}"#,
        r#"{"Image":"a","HostConfig":{"Invented":1}}"#,
        r#"{"Image":"a","HostConfig":{"Binds":{"x":1}}}"#,
        r#"{"Image":"a","HostConfig":[{"Privileged":true}]}"#,
        r#"{"Image":"a","HostConfig":{"Mounts":[[{"Type":"bind"}]]}}"#,
        // Of another kind than the daemon's: it refuses them, and whoever is laxer finds the text in them.
        r#"{"Image":"a","HostConfig":{"NetworkMode":["host"]}}"#,
        r#"{"Image":"a","HostConfig":{"Binds":[["/etc:/host"]]}}"#,
        r#"{"Image":"a","HostConfig":{"Binds":[null]}}"#,
        r#"{"Image":"a","HostConfig":{"Runtime":[["crun"]]}}"#,
        r#"{"Image":"a","HostConfig":{"CapAdd":[1]}}"#,
        r#"{"Image":"a","HostConfig":{"Mounts":"bind"}}"#,
        r#"{"Image":"a","HostConfig":{"LogConfig":{"Type":["syslog"]}}}"#,
        r#"{"Image":"a","HostConfig":true}"#,
        r#"{"Image":["a"]}"#,
        "[]",
        "null",
        "",
    ] {
        assert!(
            read(Engine::Docker, Document::Create, text.as_bytes(), &runtimes()).is_err(),
            "{text}"
        );
    }
    let large = format!(r#"{{"Image":"a","Labels":{{"x":"{}"}}}}"#, "x".repeat(JSON_BYTES));
    assert_eq!(
        read(Engine::Docker, Document::Create, large.as_bytes(), &runtimes())
            .unwrap_err()
            .status,
        413
    );
}

#[test]
fn what_reaches_the_host_is_told() {
    for host in [
        r#"{"Privileged":true}"#,
        r#"{"CapAdd":["SYS_ADMIN"]}"#,
        r#"{"CapAdd":"SYS_ADMIN"}"#,
        r#"{"CapAdd":["ALL"]}"#,
        r#"{"Binds":["/:/host"]}"#,
        r#"{"Binds":["./x:/host"]}"#,
        r#"{"Mounts":[{"Type":"bind","Source":"/","Target":"/x"}]}"#,
        r#"{"Mounts":[{"Source":"/","Target":"/x"}]}"#,
        r#"{"Mounts":[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Options":{"o":"bind","device":"/etc"}}}}]}"#,
        r#"{"Devices":[{"PathOnHost":"/dev/sda"}]}"#,
        r#"{"DeviceCgroupRules":["a *:* rwm"]}"#,
        r#"{"DeviceRequests":[{"Count":-1}]}"#,
        r#"{"NetworkMode":"host"}"#,
        r#"{"PidMode":"host"}"#,
        r#"{"IpcMode":"host"}"#,
        r#"{"UTSMode":"host"}"#,
        r#"{"UsernsMode":"host"}"#,
        r#"{"CgroupnsMode":"host"}"#,
        r#"{"SecurityOpt":["seccomp=unconfined"]}"#,
        r#"{"SecurityOpt":["no-new-privileges:false"]}"#,
        r#"{"CgroupParent":"/x"}"#,
        r#"{"MaskedPaths":[]}"#,
        r#"{"ReadonlyPaths":["/x"]}"#,
        r#"{"VolumeDriver":"nfs"}"#,
        r#"{"LogConfig":{"Type":"syslog"}}"#,
        r#"{"OomScoreAdj":-1000}"#,
        r#"{"OomScoreAdj":"-1000"}"#,
        r#"{"OomScoreAdj":-1000.0}"#,
        r#"{"Sysctls":{"kernel.core_pattern":"|/x"}}"#,
        r#"{"Sysctls":{"net.ipv4.ip_forward":"1","vm.swappiness":"1"}}"#,
        r#"{"Sysctls":{"net/../kernel/core_pattern":"|/x"}}"#,
        r#"{"LogConfig":{"Config":{"syslog-address":"udp://10.0.0.1:514"}}}"#,
        r#"{"OomKillDisable":true}"#,
        r#"{"CpuRealtimeRuntime":1000}"#,
    ] {
        assert!(reaches(host), "{host}");
    }
    for host in [
        "{}",
        "null",
        r#"{"Privileged":false,"CapAdd":["net_bind_service","CAP_CHOWN"],"CapDrop":["ALL"],"Binds":["data:/data","/anonymous"]}"#,
        r#"{"NetworkMode":"default","IpcMode":"private","CgroupnsMode":"private","PidMode":"","MaskedPaths":null}"#,
        r#"{"SecurityOpt":["no-new-privileges"],"ReadonlyRootfs":true,"Tmpfs":{"/run":"size=1m"},"Runtime":"runc"}"#,
        r#"{"Mounts":[{"Type":"tmpfs","Target":"/x"},{"Type":"volume","Target":"/y"}]}"#,
        r#"{"Sysctls":{"net.ipv4.ip_forward":"1","net.ipv4.conf.eth0.rp_filter":"2","kernel.shmmax":"1","fs.mqueue.msg_max":"1"}}"#,
        r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}}}"#,
        r#"{"LogConfig":{"Type":"","Config":{"max-size":"1m"}},"Sysctls":{}}"#,
    ] {
        assert!(!reaches(host), "{host}");
    }
}

#[test]
fn a_runtime_that_no_gate_stands_in_front_of_is_refused() {
    for runtime in ["crun", "io.containerd.runc.v2", "/usr/bin/x", "RUNC"] {
        let refusal = create(&format!(r#"{{"Runtime":"{runtime}"}}"#)).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(refusal.message.contains(runtime), "{refusal}");
    }
}

#[test]
fn other_containers_are_named_by_full_ids_and_asked_about() {
    let read = create(
        r#"{"NetworkMode":"container:a","PidMode":"container:b","VolumesFrom":["c:ro","d"],"Links":["e:x","f"]}"#,
    )
    .unwrap();
    let about = |verb, name: &str| {
        read.wishes.contains(&Wish {
            verb,
            on: On::Container(name.to_owned()),
        })
    };
    assert!(about(Verb::Exec, "a") && about(Verb::Exec, "b"));
    assert!(about(Verb::CopyOut, "c") && about(Verb::CopyIn, "d"));
    assert!(about(Verb::Get, "e") && about(Verb::Get, "f"));
    let ids: BTreeMap<String, String> = ["a", "b", "c", "d", "e", "f"]
        .map(|name| (name.to_owned(), format!("id-of-{name}")))
        .into();
    let host = json::parse(&read.written(&ids)).unwrap()["HostConfig"].clone();
    assert_eq!(host["NetworkMode"], "container:id-of-a");
    assert_eq!(host["PidMode"], "container:id-of-b");
    assert_eq!(host["VolumesFrom"], serde_json::json!(["id-of-c:ro", "id-of-d"]));
    assert_eq!(host["Links"], serde_json::json!(["id-of-e:x", "id-of-f:f"]));
    for host in [
        r#"{"PidMode":"container:a/b"}"#,
        r#"{"VolumesFrom":[""]}"#,
        r#"{"VolumesFrom":[1]}"#,
        r#"{"Links":["/x"]}"#,
    ] {
        assert!(create(host).is_err(), "{host}");
    }
}

#[test]
fn volumes_and_networks_with_names_are_asked_about() {
    let all = |host: &str, verb, resource| {
        create(host).unwrap().wishes.contains(&Wish {
            verb,
            on: On::All(resource),
        })
    };
    assert!(all(r#"{"Binds":["data:/data"]}"#, Verb::Mount, Resource::Volumes));
    assert!(all(
        r#"{"Mounts":[{"Type":"volume","Source":"data","Target":"/x"}]}"#,
        Verb::Mount,
        Resource::Volumes
    ));
    assert!(!all(r#"{"Binds":["/data"]}"#, Verb::Mount, Resource::Volumes));
    assert!(all(
        r#"{"NetworkMode":"mine"}"#,
        Verb::Connect,
        Resource::Networks
    ));
    assert!(!all("{}", Verb::Connect, Resource::Networks));
}

fn administers(document: Document, text: &str) -> bool {
    let read = read(Engine::Docker, document, text.as_bytes(), &runtimes()).unwrap();
    read.wishes.contains(&Wish {
        verb: Verb::Administer,
        on: On::All(Resource::Runtime),
    })
}

#[test]
fn networks_and_volumes_of_the_host_take_an_administrator() {
    assert!(!administers(
        Document::Volume,
        r#"{"Name":"a","Driver":"local","DriverOpts":{}}"#
    ));
    for text in [
        r#"{"DriverOpts":{"type":"none","o":"bind","device":"/etc"}}"#,
        r#"{"Driver":"nfs"}"#,
    ] {
        assert!(administers(Document::Volume, text), "{text}");
    }
    let plain = r#"{"Name":"a","CheckDuplicate":true,"Driver":"bridge","EnableIPv6":false,"IPAM":{"Driver":"default","Options":{},"Config":[]},"Internal":true,"Ingress":false,"ConfigOnly":false,"ConfigFrom":{"Network":""},"Options":{},"Labels":{}}"#;
    assert!(!administers(Document::Network, plain));
    for text in [
        r#"{"Driver":"macvlan"}"#,
        r#"{"Driver":"host"}"#,
        r#"{"Options":{"com.docker.network.bridge.name":"br0"}}"#,
        r#"{"ConfigFrom":{"Network":"x"}}"#,
    ] {
        assert!(administers(Document::Network, text), "{text}");
    }
}

#[test]
fn limits_that_reach_the_host_do_so_also_where_they_are_changed() {
    let own = |text: &str| {
        read(Engine::Docker, Document::Update, text.as_bytes(), &runtimes())
            .unwrap()
            .of_own
    };
    for text in [
        r#"{"CgroupParent":"/x"}"#,
        r#"{"Devices":[{"PathOnHost":"/dev/sda"}]}"#,
        r#"{"OomKillDisable":true}"#,
        r#"{"CpuRealtimePeriod":1000000}"#,
        r#"{"BlkioWeightDevice":[{"Path":"/dev/sda","Weight":10}]}"#,
    ] {
        assert!(own(text).contains(&Verb::ReachHost), "{text}");
    }
    assert!(own(r#"{"CpuShares":512,"Memory":67108864,"OomKillDisable":false,"Devices":null}"#).is_empty());
}

#[test]
fn an_exec_that_is_privileged_reaches_the_host() {
    let own = |text: &str| {
        read(Engine::Docker, Document::Exec, text.as_bytes(), &runtimes())
            .unwrap()
            .of_own
    };
    assert!(own(r#"{"Cmd":["id"],"Privileged":true}"#).contains(&Verb::ReachHost));
    assert!(own(r#"{"Cmd":["id"],"User":"0","Privileged":false}"#).is_empty());
    assert!(read(Engine::Docker, Document::Exec, br#"{"cmd":["id"]}"#, &runtimes()).is_err());
    assert!(
        read(
            Engine::Docker,
            Document::Exec,
            br#"{"privileged":true}"#,
            &runtimes()
        )
        .is_err()
    );
}
