#![allow(clippy::unwrap_used)]

use super::super::*;

fn runtimes() -> BTreeSet<String> {
    ["runc".to_owned()].into()
}

/// A container as Podman's CLI asks for it, with more.
fn spec(more: &str) -> Result<Read, Refusal> {
    let own = r#""command":["/bin/true"],"httpproxy":true,"stop_timeout":10,"raw_image_name":"localhost/t/web","systemd":"true","sdnotifyMode":"container","containerCreateCommand":["podman"],"init_container_type":"","manage_password":true,"image":"localhost/t/web","image_volume_mode":"anonymous","seccomp_policy":"default","umask":"0022","cgroups_mode":"enabled","use_image_hosts":false"#;
    let text = format!("{{{own}{more}}}");
    read(Engine::Podman, Document::Spec, text.as_bytes(), &runtimes())
}

const USUAL: &str = r#","name":"a","annotations":{"io.kubernetes.cri-o.TTY":"false"},"log_configuration":{},"pidns":{},"utsns":{},"ipcns":{},"userns":{},"cgroupns":{},"netns":{"nsmode":"none"},"Networks":{},"idmappings":{"HostUIDMapping":true,"HostGIDMapping":true,"UIDMap":null,"GIDMap":null,"AutoUserNs":false,"AutoUserNsOpts":{"Size":0,"InitialSize":0,"PasswdFile":"","GroupFile":"","AdditionalUIDMappings":null,"AdditionalGIDMappings":null}},"mounts":[{"destination":"/t","type":"tmpfs","source":"tmpfs","options":["rw","rprivate","nosuid","nodev","tmpcopyup"]}],"resource_limits":{"memory":{"limit":67108864,"swap":134217728},"cpu":{"quota":50000,"period":100000},"pids":{"limit":10}},"r_limits":[{"type":"nofile","hard":10,"soft":10}],"healthconfig":{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Timeout":30000000000,"Retries":3},"portmappings":[{"host_ip":"127.0.0.1","container_port":80,"host_port":99,"range":1,"protocol":""}],"expose":{"80":"tcp"},"sysctl":{"kernel.sem":"1 2 3 4"},"cap_drop":["all"],"cap_add":["CAP_CHOWN"],"no_new_privileges":true,"groups":["5"],"labels":{"k":"v"},"env":{"A":"b"},"timezone":"Europe/Rome""#;

fn words(read: &Read) -> Vec<String> {
    let words = read.wishes.iter().map(|wish| match &wish.on {
        On::All(resource) => format!("{} {resource}", wish.verb),
        On::Container(name) => format!("{} {name}", wish.verb),
        On::Exec(_) | On::Made => wish.verb.to_string(),
    });
    words.collect()
}

#[test]
fn what_podmans_cli_says_of_itself_reaches_nothing() {
    let read = spec(USUAL).unwrap();
    assert_eq!(words(&read), Vec::<String>::new());
    assert_eq!(
        (read.image.as_str(), read.labels["k"].as_str()),
        ("localhost/t/web", "v")
    );
}

#[test]
fn what_reaches_the_host_is_told_so() {
    for more in [
        r#""privileged":true"#,
        r#""rootfs":"/""#,
        r#""rootfs_overlay":true"#,
        r#""mounts":[{"destination":"/h","type":"bind","source":"/"}]"#,
        r#""mounts":[{"destination":"/h","type":"tmpfs","source":"/etc"}]"#,
        r#""mounts":[{"destination":"/h","type":"tmpfs","source":"tmpfs","options":["rbind"]}]"#,
        r#""mounts":[{"destination":"/h","type":"overlay"}]"#,
        r#""overlay_volumes":[{"destination":"/h","source":"/etc"}]"#,
        r#""image_volumes":[{"Source":"other","Destination":"/h"}]"#,
        r#""volumes":[{"Name":"v","Dest":"/v","Options":["O","upperdir=/etc"]}]"#,
        r#""volumes":[{"Name":"v","Dest":"/v","Options":["U"]}]"#,
        r#""volumes":[{"Name":"/etc","Dest":"/v"}]"#,
        r#""devices":[{"path":"/dev/sda"}]"#,
        r#""device_cgroup_rule":[{"allow":true,"access":"rwm"}]"#,
        r#""devices_from":["w"]"#,
        r#""cap_add":["SYS_ADMIN"]"#,
        r#""cap_add":["all"]"#,
        r#""pidns":{"nsmode":"host"}"#,
        r#""ipcns":{"nsmode":"host"}"#,
        r#""utsns":{"nsmode":"host"}"#,
        r#""cgroupns":{"nsmode":"host"}"#,
        r#""netns":{"nsmode":"host"}"#,
        r#""netns":{"nsmode":"path","value":"/proc/1/ns/net"}"#,
        r#""netns":{"nsmode":"slirp4netns","value":"allow_host_loopback=true"}"#,
        r#""netns":{"nsmode":"pod"}"#,
        r#""netns":{"nsmode":"","value":"x"}"#,
        r#""Networks":{"host":{}}"#,
        r#""pod":"p""#,
        r#""seccomp_profile_path":"unconfined""#,
        r#""seccomp_policy":"image""#,
        r#""apparmor_profile":"unconfined""#,
        r#""selinux_opts":["disable"]"#,
        r#""unmask":["ALL"]"#,
        r#""procfs_opts":["hidepid=0"]"#,
        r#""annotations":{"run.oci.keep_original_groups":"1"}"#,
        r#""groups":["keep-groups"]"#,
        r#""log_configuration":{"driver":"k8s-file","path":"/etc/cron.d/x"}"#,
        r#""log_configuration":{"driver":"k8s-file","options":{"path":"/etc/cron.d/x"}}"#,
        r#""log_configuration":{"driver":"passthrough"}"#,
        r#""conmon_pid_file":"/etc/x""#,
        r#""init_path":"/x""#,
        r#""env_host":true"#,
        r#""secrets":[{"Source":"s"}]"#,
        r#""secret_env":{"A":"s"}"#,
        r#""storage_opts":{"a":"b"}"#,
        r#""rootfs_propagation":"shared""#,
        r#""sysctl":{"kernel.core_pattern":"|/x"}"#,
        r#""systemd":"always""#,
        r#""cgroups_mode":"disabled""#,
        r#""cgroup_parent":"/x""#,
        r#""unified":{"memory.high":"1"}"#,
        r#""oom_score_adj":-1"#,
        r#""resource_limits":{"devices":[{"allow":true}]}"#,
        r#""resource_limits":{"memory":{"disableOOMKiller":true}}"#,
        r#""resource_limits":{"unified":{"x":"y"}}"#,
        r#""idmappings":{"HostUIDMapping":false,"HostGIDMapping":true}"#,
        r#""idmappings":{"HostUIDMapping":true,"HostGIDMapping":true,"AutoUserNs":true,"AutoUserNsOpts":{"PasswdFile":"/etc/shadow"}}"#,
        r#""timezone":"../../../etc/shadow""#,
        r#""timezone":"/etc/shadow""#,
        r#""personality":{"domain":"LINUX32"}"#,
        r#""hostusers":["root"]"#,
        r#""chroot_directories":["/x"]"#,
        r#""init_container_type":"always""#,
        r#""network_options":{"x":["y"]}"#,
        r#""labels":{"io.containers.autoupdate":"local"}"#,
        r#""labels":{"io.containers.autoupdate.authfile":"/x"}"#,
        r#""labels":{"PODMAN_SYSTEMD_UNIT":"poweroff.target"}"#,
        r#""volumes_from":["w:rw"]"#,
        r#""volumes_from":["w:z"]"#,
        r#""throttleReadBpsDevice":{"/etc/x":{"rate":1}}"#,
        r#""throttleWriteIOPSDevice":{"/dev/../etc/x":{"rate":1}}"#,
    ] {
        // Of what is said already, another word.
        let text = format!("{{\"image\":\"a\",{more}}}");
        let read = read(Engine::Podman, Document::Spec, text.as_bytes(), &runtimes())
            .unwrap_or_else(|refusal| panic!("{more}: {refusal}"));
        assert!(
            words(&read).contains(&"reach-host".to_owned()),
            "{more}: {:?}",
            words(&read)
        );
    }
}

#[test]
fn what_is_done_to_others_has_to_be_allowed_too_and_they_are_named_by_their_ids() {
    let read = spec(r#","netns":{"nsmode":"container","value":"w"},"volumes_from":["x:ro"],"dependencyContainers":["y"],"volumes":[{"Name":"v","Dest":"/v","Options":["ro"]}],"Networks":{"n":{"aliases":["a"]}}"#)
        .unwrap();
    assert_eq!(
        words(&read),
        [
            "connect networks",
            "copy-in x",
            "copy-out x",
            "exec w",
            "mount volumes",
            "start y"
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>(),
    );
    let ids = BTreeMap::from([("w", "1"), ("x", "2"), ("y", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let sent: Value = serde_json::from_slice(&read.written(&ids)).unwrap();
    assert_eq!(sent["netns"]["value"], "1");
    assert_eq!(sent["volumes_from"][0], "2:ro");
    assert_eq!(sent["dependencyContainers"][0], "3");
}

#[test]
fn what_podman_would_read_otherwise_is_refused() {
    for more in [
        r#","Privileged":true"#,
        r#","PRIVILEGED":true"#,
        r#","privileged":false,"privileged":true"#,
        "\u{2c}\"mou\u{6e}t\u{17f}\":[]",
        r#","invented":1"#,
        r#","pidns":"host""#,
        r#","pidns":{"NSMode":"host"}"#,
        r#","mounts":[{"Type":"bind"}]"#,
        r#","mounts":[["x"]]"#,
        r#","oci_runtime":"/tmp/x""#,
        r#","oci_runtime":"crun""#,
        r#","cap_add":[1]"#,
        r#","netns":{"nsmode":"container","value":"../x"}"#,
    ] {
        assert!(spec(more).is_err(), "{more}");
    }
    assert!(spec(r#","oci_runtime":"runc""#).is_ok());
}

/// A container in Docker's words.
fn compat(engine: Engine, text: &str) -> Vec<String> {
    words(&read(engine, Document::Create, text.as_bytes(), &runtimes()).unwrap())
}

#[test]
fn dockers_words_are_judged_as_podman_takes_them() {
    let plain = r#"{"Image":"a","Env":["A=b"],"Volumes":{"/v":{}},"HostConfig":{"Binds":["v:/v:ro"],"NetworkMode":"bridge","Tmpfs":{"/t":"size=1m"},"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}},"Mounts":[{"Type":"volume","Source":"v","Target":"/w"}]}}"#;
    assert_eq!(compat(Engine::Podman, plain), ["mount volumes"]);
    for text in [
        r#"{"Image":"a","Env":["HOME"]}"#,
        r#"{"Image":"a","Env":["A*"]}"#,
        r#"{"Image":"a","Volumes":{"/etc:/h":{}}}"#,
        r#"{"Image":"a","HostConfig":{"Binds":["v:/v:O,upperdir=/etc,workdir=/x"]}}"#,
        r#"{"Image":"a","HostConfig":{"Binds":["v:/v:U"]}}"#,
        r#"{"Image":"a","HostConfig":{"NetworkMode":"ns:/proc/1/ns/net"}}"#,
        r#"{"Image":"a","HostConfig":{"NetworkMode":"slirp4netns:allow_host_loopback=true"}}"#,
        r#"{"Image":"a","HostConfig":{"NetworkMode":"slirp4netns"}}"#,
        r#"{"Image":"a","HostConfig":{"ContainerIDFile":"/etc/x"}}"#,
        r#"{"Image":"a","HostConfig":{"StorageOpt":{"size":"1"}}}"#,
        r#"{"Image":"a","HostConfig":{"GroupAdd":["keep-groups"]}}"#,
        r#"{"Image":"a","HostConfig":{"LogConfig":{"Type":"json-file","Config":{"path":"/etc/x"}}}}"#,
        r#"{"Image":"a","HostConfig":{"Tmpfs":{"/t":"bind"}}}"#,
        r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/t,type=bind,source=/"}]}}"#,
        r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/t","Consistency":"x,type=bind,source=/"}]}}"#,
        r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"volume","Source":"v,type=bind","Target":"/t"}]}}"#,
        r#"{"Image":"a","HostConfig":{"Mounts":[{"Type":"volume","Source":"/made","Target":"/t"}]}}"#,
        r#"{"Image":"a","Labels":{"PODMAN_SYSTEMD_UNIT":"x.service"}}"#,
        r#"{"Image":"a","Volumes":{"./../proc/1/exe":{}}}"#,
        r#"{"Image":"a","HostConfig":{"Binds":["./../proc/1/exe"]}}"#,
        r#"{"Image":"a","HostConfig":{"VolumesFrom":["w:z"]}}"#,
        r#"{"Image":"a","HostConfig":{"BlkioDeviceReadBps":[{"Path":"/etc/x","Rate":1}]}}"#,
    ] {
        assert!(
            compat(Engine::Podman, text).contains(&"reach-host".to_owned()),
            "{text}"
        );
        assert!(
            !compat(Engine::Docker, text).contains(&"reach-host".to_owned())
                || text.contains("slirp4netns:")
                || text.contains("ns:/proc"),
            "{text}: Docker takes it for nothing of the kind"
        );
    }
}

#[test]
fn other_documents_of_podmans_are_judged() {
    let of = |document: Document, text: &str| {
        let read = read(Engine::Podman, document, text.as_bytes(), &runtimes()).unwrap();
        (words(&read), read.of_own.into_iter().collect::<Vec<_>>())
    };
    let (none, own): (Vec<String>, Vec<Verb>) = Default::default();
    assert_eq!(
        of(
            Document::NetworkOfPodman,
            r#"{"name":"n","id":"","driver":"bridge","created":"0001-01-01T00:00:00Z","ipv6_enabled":false,"internal":false,"dns_enabled":true}"#
        ),
        (none.clone(), own.clone())
    );
    for text in [
        r#"{"name":"n","driver":"macvlan"}"#,
        r#"{"name":"n","network_interface":"eth0"}"#,
        r#"{"name":"n","options":{"parent":"eth0"}}"#,
        r#"{"name":"n","ipam_options":{"driver":"dhcp"}}"#,
    ] {
        assert_eq!(
            of(Document::NetworkOfPodman, text).0,
            ["administer runtime"],
            "{text}"
        );
    }
    assert_eq!(
        of(
            Document::VolumeOfPodman,
            r#"{"Name":"v","Driver":"local","Label":{},"Labels":null,"Options":{}}"#
        ),
        (none.clone(), own)
    );
    assert_eq!(
        of(
            Document::VolumeOfPodman,
            r#"{"Name":"v","Options":{"o":"bind","device":"/"}}"#
        )
        .0,
        ["administer runtime"]
    );
    assert_eq!(
        of(
            Document::ConnectOfPodman,
            r#"{"container":"w","interface_name":""}"#
        )
        .0,
        ["connect w"]
    );
    assert_eq!(
        of(Document::Limits, r#"{"cpu":{"quota":30000,"period":100000}}"#).1,
        []
    );
    assert_eq!(
        of(Document::Limits, r#"{"devices":[{"allow":true}]}"#).1,
        [Verb::ReachHost]
    );
}
