//! Documents that two readers could read as two things are not read at all.
//!
//! The runtime's reader (Go, `encoding/json`) takes a key for a field's though its case differs, or it is spelled with a long s or
//! the sign of Kelvin, and of a key that is given twice it takes both. Ours does neither.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

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

/// The form in which the runtime's reader compares keys.
fn fold(key: &str) -> String {
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.collect()
}

/// Sees to it that every key is given once, and spelled as the field is that the runtime takes it for.
///
/// # Errors
/// When it is not so, or the bytes are no JSON; names the line and column.
pub(super) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Walk { free: false }.deserialize(&mut reader)?;
    reader.end()
}

/// Goes through a value.
#[derive(Clone, Copy)]
struct Walk {
    /// Whether its own keys are chosen by somebody.
    free: bool,
}

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Walk { free: false })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            let form = if self.free { key.to_string() } else { fold(&key) };
            if !self.free
                && let Some(known) = FOLDED.get(&form)
                && **known != *key
            {
                return Err(A::Error::custom(format!(
                    "{key:?} would be taken for `{known}` by the runtime: spell it so"
                )));
            }
            if !seen.insert(form) {
                return Err(A::Error::custom(format!("{key:?} is given twice")));
            }
            let free = !self.free && FREE.contains(&&*key);
            members.next_value_seed(Walk { free })?;
        }
        Ok(())
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
