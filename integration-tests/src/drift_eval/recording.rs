//! Facts as a daemon and a kernel gave them.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use verger_agent_runtimes::proc::scan;
use verger_policy::facts::{
    Evidence, ImageDefaults, Instance, InstanceId, LiveFacts, image, inspect, merge, oci,
};
use verger_policy::model::RuntimeKind;

use super::{CONFIGURATIONS, not_recorded};
use crate::scene::Docker;

/// Tells the configurations apart.
pub(super) const LABEL: &str = "bench.number";

/// What was read of one container.
#[derive(Clone)]
pub(super) struct Recording {
    pub(super) number: usize,
    pub(super) id: String,
    inspect: Vec<u8>,
    config: Vec<u8>,
    image: ImageDefaults,
    live: LiveFacts,
}

impl Recording {
    /// The documents to be read.
    pub(super) fn documents(&self) -> [&[u8]; 2] {
        [&self.inspect, &self.config]
    }

    pub(super) fn bytes(&self) -> usize {
        self.documents().iter().map(|document| document.len()).sum()
    }

    /// The same container as another would be, whose id differs.
    pub(super) fn under_another_id(&self, number: usize) -> Self {
        let id = format!("{number:064x}");
        let renamed = |document: &[u8]| {
            let text = String::from_utf8_lossy(document);
            text.replace(&self.id, &id).into_bytes()
        };
        Self {
            inspect: renamed(&self.inspect),
            config: renamed(&self.config),
            id,
            ..self.clone()
        }
    }

    /// The facts in it, as the agent reads them.
    pub(super) fn read(&self) -> Result<Instance> {
        let inspected = inspect::parse(&self.inspect).context("the inspection")?;
        let config = oci::parse(&self.config).context("the OCI config")?;
        let image = Evidence::Seen(self.image.clone());
        Ok(merge::instance(
            inspected,
            Some(config),
            image,
            Evidence::Seen(self.live.clone()),
        ))
    }
}

/// Runs a container of each configuration, and reads them all.
pub(super) fn record(docker: &Docker) -> Result<Vec<Recording>> {
    let mut ids = Vec::new();
    for number in 0..CONFIGURATIONS {
        let name = docker.name(&format!("bench-{number}"));
        let flags = flags(number);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        ids.push(docker.run(&name, &flags)?);
    }
    let image = docker.say(&["image", "inspect", "--format", "{{json .}}", "verger-test/app"])?;
    let image = image::parse(image.as_bytes()).context("the image's inspection")?;
    let mut inits = Vec::new();
    for id in &ids {
        let instance = InstanceId {
            runtime: RuntimeKind::Docker,
            id: id.clone(),
        };
        inits.push((instance, docker.pid(id)?.parse()?));
    }
    let mut live: BTreeMap<InstanceId, Evidence<LiveFacts>> = scan(&inits);
    let mut recorded = Vec::new();
    for (number, (instance, _)) in inits.into_iter().enumerate() {
        let inspect = docker.say(&["inspect", "--format", "{{json .}}", &instance.id])?;
        let config = docker.bundles().join(&instance.id).join("config.json");
        let live = match live.remove(&instance).unwrap_or_else(not_recorded) {
            Evidence::Seen(live) => live,
            Evidence::Missing(reason) => anyhow::bail!("{instance}: {reason}"),
        };
        recorded.push(Recording {
            number,
            inspect: inspect.into_bytes(),
            config: fs::read(&config).with_context(|| format!("reading {}", config.display()))?,
            image: image.defaults.clone(),
            live,
            id: instance.id,
        });
    }
    Ok(recorded)
}

/// A configuration that no other number has: the number's digits choose.
fn flags(number: usize) -> Vec<String> {
    let mut flags = vec![
        format!("--label={LABEL}={number}"),
        format!("--env=NUMBER={number}"),
        format!("--pids-limit={}", 100 + number),
    ];
    let mut when = |holds: bool, words: &[&str]| {
        if holds {
            flags.extend(words.iter().map(|word| (*word).to_owned()));
        }
    };
    when(number % 2 == 1, &["--read-only", "--tmpfs=/tmp:size=1m"]);
    when(number % 3 == 1, &["--cap-drop=ALL", "--cap-add=CHOWN"]);
    when(number % 3 == 2, &["--security-opt=no-new-privileges"]);
    when(number % 5 == 1, &["--memory=64m", "--cpus=0.5"]);
    when(number % 5 == 2, &["--volume=verger-bench:/data:ro"]);
    when(
        number % 5 == 3,
        &["--mount=type=bind,src=/var/tmp,dst=/host,readonly"],
    );
    when(number % 7 == 1, &["--user=1000:1000", "--group-add=7"]);
    when(number % 7 == 2, &["--network=none"]);
    when(number % 7 == 3, &["--ulimit=nofile=64:128", "--ulimit=core=0"]);
    when(
        number % 7 == 4,
        &["--sysctl=net.ipv4.ip_forward=0", "--workdir=/tmp"],
    );
    when(number % 11 == 1, &["--device=/dev/fuse"]);
    when(number % 11 == 2, &["--security-opt=seccomp=unconfined"]);
    flags.push("verger-test/app".to_owned());
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn configurations_differ() {
        let all: BTreeSet<Vec<String>> = (0..CONFIGURATIONS)
            .map(|number| flags(number)[1..].to_vec())
            .collect();
        assert_eq!(all.len(), CONFIGURATIONS);
    }
}
