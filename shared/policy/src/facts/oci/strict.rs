//! Configs that the runtime could read otherwise are not read at all.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::json::strict::{self, Keys, fold};

/// Every key of runtime-spec 1.2 for Linux.
const KEYS: &str = "access action additionalGids allow ambient annotations apparmorProfile architectures args
    attachStdout blockIO boottime bounding bpfProg burst capabilities cgroupsPath checkBeforeUpdate class closID commandLine consoleSize
    containerID cpu cpus createContainer createRuntime cwd defaultAction defaultErrnoRet destination devices
    disableOOMKiller domain domainname effective enableCMT enableMBM enableMonitoring env errnoRet execCPUAffinity fileMode final
    flags gid gidMappings hard height hooks hostID hostname hugepageLimits idle index inheritable initial intelRdt
    interfaceName ioPriority kernel kernelTCP l3CacheSchema leafWeight limit linux listenerMetadata listenerPath
    major maskedPaths maxTimeOffset memBwSchema memory mems minor monotonic mountLabel mounts name names nanosecs namespaces
    network noNewPrivileges nodes ociVersion oomScoreAdj op options pageSize path period permitted personality pids
    poststart poststop prestart priorities priority process quota rate rdma readonly readonlyPaths realtimePeriod
    realtimeRuntime reservation resources rlimits root rootfsPropagation runtime schemata scheduler seccomp secs selinuxLabel
    shares size soft source startContainer swap swappiness syscalls sysctl terminal throttleReadBpsDevice
    throttleReadIOPSDevice throttleWriteBpsDevice throttleWriteIOPSDevice timeOffsets timeout type uid uidMappings
    umask unified useHierarchy user username value valueTwo weight weightDevice width hcaHandles hcaObjects
    classID deadline nice policy netDevices memoryPolicy";
/// Those whose value has keys that somebody chose.
const FREE: [&str; 5] = ["annotations", "sysctl", "unified", "rdma", "netDevices"];

/// Each key by its folded form.
static FOLDED: LazyLock<BTreeMap<String, &'static str>> =
    LazyLock::new(|| KEYS.split_whitespace().map(|key| (fold(key), key)).collect());

/// Sees to it that every key is given once, and spelled as the field is that the runtime takes it for.
///
/// # Errors
/// When it is not so, or the bytes are no JSON; names the line and column.
pub(super) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    strict::check(bytes, Config { chosen: false })
}

/// An object of a config.
#[derive(Clone, Copy)]
struct Config {
    /// Whether somebody chose its keys.
    chosen: bool,
}

impl Keys for Config {
    fn are_chosen(self) -> bool {
        self.chosen
    }

    fn below(self, key: &str) -> Result<Self, String> {
        if !self.chosen
            && let Some(known) = FOLDED.get(&fold(key))
            && **known != *key
        {
            return Err(format!(
                "{key:?} would be taken for `{known}` by the runtime: spell it so"
            ));
        }
        Ok(Self {
            chosen: !self.chosen && FREE.contains(&key),
        })
    }

    fn item(self) -> Result<Self, String> {
        Ok(Self { chosen: false })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bolero::check;

    use super::super::{parse, with_process};
    use super::*;

    #[test]
    fn what_the_runtime_would_read_otherwise_is_refused() {
        for text in [
            r#"{"process":{},"Process":{}}"#,
            r#"{"Process":{}}"#,
            r#"{"PROCESS":{}}"#,
            "{\"proce\u{17f}s\":{}}",
            r#"{"proces\u017f":{}}"#,
            "{\"linux\":{\"mas\u{212a}edPaths\":[]}}",
            r#"{"process":{},"process":{}}"#,
            r#"{"process":{"user":{"uid":1,"uid":0}}}"#,
            r#"{"linux":{"seccomp":{"syscalls":[{"names":["a"],"Names":["b"]}]}}}"#,
            r#"{"mounts":[{"options":[],"options":[]}]}"#,
            r#"{"annotations":{"a":"1","a":"2"}}"#,
            r#"{"Annotations":{}}"#,
            r#"{"new":1,"New":2}"#,
            r#"{"linux":{"resources":{"rdma":{"m":{"hcaHandles":1,"HcaHandles":2}}}}}"#,
            r#"{"process":{}} {}"#,
            r#"{"process":"#,
        ] {
            assert!(check(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_somebody_chose_may_look_like_any_field() {
        for text in [
            r#"{"annotations":{"Process":"a","process":"b"}}"#,
            r#"{"linux":{"sysctl":{"Kernel":"1","kernel":"2"}}}"#,
            r#"{"process":{"env":["process=1","Process=2"]},"linux":{"resources":{"unified":{"Memory":"1"}}}}"#,
            r#"{"linux":{"resources":{"rdma":{"Memory":{"hcaHandles":1}}}}}"#,
            r#"{"new":{"$serde_json::private::RawValue":"{"}}"#,
            "[1,-1,1.5,null,true,\"x\"]",
        ] {
            check(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_list_of_keys_has_no_two_that_fold_alike() {
        assert_eq!(FOLDED.len(), KEYS.split_whitespace().count());
        assert!(FREE.iter().all(|key| FOLDED.get(&fold(key)) == Some(key)));
    }

    const CONFIG: &str = r#"{"process":{"user":{"uid":1,"gid":1},"args":["/a"],"cwd":"/"},"linux":{}}"#;

    #[test]
    fn neither_a_config_nor_a_process_is_read_in_two_ways() {
        parse(CONFIG.as_bytes()).unwrap();
        let process = r#"{"user":{"uid":2,"gid":2},"args":["/b"],"cwd":"/"}"#;
        let made = with_process(CONFIG.as_bytes(), process.as_bytes()).unwrap();
        assert_eq!(parse(&made).unwrap().config.command.seen().unwrap(), &["/b"]);
        for hostile in [
            process.replace("\"uid\":2", "\"uid\":2,\"uid\":0"),
            process.replace("\"cwd\"", "\"User\":{\"uid\":0},\"cwd\""),
            process.replace("\"user\"", "\"u\u{17f}er\""),
        ] {
            let error = with_process(CONFIG.as_bytes(), hostile.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("process"), "{error}");
            let config = format!(r#"{{"process":{hostile},"linux":{{}}}}"#);
            assert!(parse(config.as_bytes()).is_err(), "{config}");
            assert!(
                with_process(config.as_bytes(), process.as_bytes()).is_err(),
                "{config}"
            );
        }
    }

    #[test]
    fn any_spelling_of_any_key_but_its_own_is_refused() {
        let keys: Vec<&str> = KEYS.split_whitespace().collect();
        check!()
            .with_type::<(u8, u64)>()
            .with_iterations(10_000)
            .for_each(|(which, changes)| {
                let key = keys[usize::from(*which) % keys.len()];
                let changed: String = key
                    .chars()
                    .enumerate()
                    .map(|(place, c)| match (changes >> (place % 64) & 1, c) {
                        (0, c) => c,
                        (_, 's' | 'S') => '\u{17f}',
                        (_, 'k' | 'K') => '\u{212a}',
                        (_, c) if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
                        (_, c) => c.to_ascii_lowercase(),
                    })
                    .collect();
                for text in [
                    format!("{{\"{changed}\":1}}"),
                    format!("{{\"linux\":[{{\"{changed}\":{{}}}}]}}"),
                ] {
                    let read = super::check(text.as_bytes());
                    assert_eq!(read.is_ok(), changed == key, "{text}");
                }
            });
    }
}
