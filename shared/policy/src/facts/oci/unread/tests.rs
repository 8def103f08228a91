#![allow(clippy::unwrap_used)]

use super::*;

fn of(text: &str) -> Vec<String> {
    unread(text.as_bytes()).unwrap().into_iter().collect()
}

#[test]
fn what_is_set_and_not_listed_is_told_by_its_path() {
    for (text, path) in [
        (r#"{"vm":{"kernel":{"path":"/k"}}}"#, "vm"),
        (r#"{"later":1}"#, "later"),
        (r#"{"process":{"later":false}}"#, "process.later"),
        (r#"{"process":{"oomScoreAdj":-500}}"#, "process.oomScoreAdj"),
        (
            r#"{"process":{"scheduler":{"policy":"SCHED_FIFO"}}}"#,
            "process.scheduler",
        ),
        (
            r#"{"process":{"ioPriority":{"class":"IOPRIO_CLASS_RT"}}}"#,
            "process.ioPriority",
        ),
        (
            r#"{"process":{"execCPUAffinity":{"initial":"0"}}}"#,
            "process.execCPUAffinity",
        ),
        (r#"{"process":{"user":{"umask":0}}}"#, "process.user.umask"),
        (r#"{"process":7}"#, "process"),
        (
            r#"{"linux":{"personality":{"domain":"LINUX32"}}}"#,
            "linux.personality",
        ),
        (r#"{"linux":{"intelRdt":{}}}"#, "linux.intelRdt"),
        (r#"{"linux":{"netDevices":{"eth0":{}}}}"#, "linux.netDevices"),
        (r#"{"linux":{"memoryPolicy":{}}}"#, "linux.memoryPolicy"),
        (
            r#"{"linux":{"timeOffsets":{"boottime":{"secs":1}}}}"#,
            "linux.timeOffsets",
        ),
        (
            r#"{"linux":{"namespaces":[{"type":"time"}]}}"#,
            "linux.namespaces[time].type",
        ),
        (r#"{"linux":{"cgroupsPath":"/docker/../x"}}"#, "linux.cgroupsPath"),
        (
            r#"{"linux":{"seccomp":{"listenerPath":"/s"}}}"#,
            "linux.seccomp.listenerPath",
        ),
        (
            r#"{"linux":{"mountLabel":"system_u:object_r:shadow_t:s0"}}"#,
            "linux.mountLabel",
        ),
        (
            r#"{"linux":{"uidMappings":[{"containerID":0,"hostID":0,"size":9}]}}"#,
            "linux.uidMappings",
        ),
        (
            r#"{"linux":{"gidMappings":[{"containerID":5,"hostID":0,"size":1}]}}"#,
            "linux.gidMappings",
        ),
        (
            r#"{"linux":{"resources":{"unified":{"memory.min":"1"}}}}"#,
            "linux.resources.unified",
        ),
        (
            r#"{"linux":{"resources":{"memory":{"disableOOMKiller":true}}}}"#,
            "linux.resources.memory.disableOOMKiller",
        ),
        (
            r#"{"linux":{"resources":{"cpu":{"realtimeRuntime":5}}}}"#,
            "linux.resources.cpu.realtimeRuntime",
        ),
        (
            r#"{"mounts":[{"destination":"/x","options":["lowerdir=/etc"]}]}"#,
            "mounts[/x].options",
        ),
        (
            r#"{"mounts":[{"destination":"/x","options":["nosuid","suid"]}]}"#,
            "mounts[/x].options",
        ),
        (
            r#"{"mounts":[{"destination":"/x","options":["idmap"]}]}"#,
            "mounts[/x].options",
        ),
        (
            r#"{"mounts":[{"destination":"/x","uidMappings":[{"containerID":0}]}]}"#,
            "mounts[/x].uidMappings",
        ),
    ] {
        assert_eq!(of(text), [path], "{text}");
    }
}

#[test]
fn what_changes_nothing_is_passed_over() {
    for text in [
        "{}",
        r#"{"process":{"later":null,"oomScoreAdj":0,"user":{"umask":18}}}"#,
        r#"{"linux":{"timeOffsets":{},"seccomp":null,"mountLabel":"","namespaces":[{"type":"mount"}]}}"#,
        r#"{"linux":{"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}]}}"#,
        r#"{"linux":{"mountLabel":"system_u:object_r:container_file_t:s0:c1,c2"}}"#,
        r#"{"mounts":[{"destination":"/x","options":["exec","mode=1777","size=64k","rprivate"]},null]}"#,
    ] {
        assert_eq!(of(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn so_many_are_told_and_no_more() {
    let many: Vec<String> = (0..9_999).map(|n| format!("\"x{n}\":1")).collect();
    let told = of(&format!("{{{}}}", many.join(",")));
    assert_eq!(told.len(), TOLD + 1);
    assert!(told.contains(&"(more)".to_owned()));
}
