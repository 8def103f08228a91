//! Differences that no container of the test daemon can show, on the recorded configuration of a real container.
//!
//! Whose user namespace a container has is a setting of the daemon (`--userns-remap`): without it every container has the host's,
//! whatever its flags, and a daemon with it would need a data root of its own, in which none of the other cases' images are.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use verger_policy::bless::bless;
use verger_policy::compile::compile;
use verger_policy::drift::judge_recorded;
use verger_policy::facts::{Evidence, Instance, image, inspect, merge, oci};
use verger_policy::model::{Control, Labels};

/// A change of an OCI config, and the field of the one finding it makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) finding: &'static str,
    change: fn(&mut Value),
}

/// A container as Docker started it, in the host's user namespace.
const CONFIG: &[u8] = include_bytes!("../../../shared/policy/tests/fixtures/plain.config.json");
const INSPECT: &[u8] = include_bytes!("../../../shared/policy/tests/fixtures/plain.inspect.json");
const IMAGE: &[u8] = include_bytes!("../../../shared/policy/tests/fixtures/image.inspect.json");

pub(super) const RECORDED: &[Recorded] = &[Recorded {
    finding: "namespaces.user",
    // As `--userns-remap` has it. The ids inside stay what they were.
    change: |config| {
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.push(json!({ "type": "user" }));
        }
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
    },
}];

impl Recorded {
    /// Blesses the container as it was recorded, and gives the fields that differ after the change.
    pub(super) fn show(&self) -> Result<Vec<String>> {
        let mut config: Value = serde_json::from_slice(CONFIG)?;
        let before = instance(&config)?;
        let object = bless(&before, "canonical/recorded".parse()?).context("blessing")?;
        let compiled = compile([&object], &Labels::default(), 1);
        let differing = |instance: &Instance| -> Vec<String> {
            let judgement = judge_recorded(&compiled, instance, jiff::Timestamp::UNIX_EPOCH);
            let config = judgement
                .failing()
                .filter(|check| check.control == Control::Config);
            config.map(|check| check.field.to_string()).collect()
        };
        let drift = differing(&before);
        ensure!(
            drift.is_empty(),
            "what was just blessed differs already: {drift:?}"
        );
        (self.change)(&mut config);
        Ok(differing(&instance(&config)?))
    }
}

fn instance(config: &Value) -> Result<Instance> {
    let config = oci::parse(&serde_json::to_vec(config)?)?;
    let live = Evidence::missing("it is a record");
    Ok(merge::instance(
        inspect::parse(INSPECT)?,
        Some(config),
        Evidence::Seen(image::parse(IMAGE)?.defaults),
        live,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recorded_difference_is_one_finding() {
        for case in RECORDED {
            let found = case.show().expect("the record can be read and blessed");
            assert_eq!(found, [case.finding]);
        }
    }
}
