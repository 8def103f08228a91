//! What joining left on disk.

use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, damaged_json};
use verger_transport::{Client, Identity, PeopleDoor, files};

use crate::config::Config;

/// `cluster.json`: which cluster, and how to reach and recognise it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    format: u32,
    cluster_id: String,
    agent: String,
    controllers: Vec<String>,
    /// DER, hex.
    member_cas: Vec<String>,
}

/// An enrolled agent.
#[derive(Debug)]
pub(crate) struct Enrolment {
    pub(crate) cluster: Digest,
    pub(crate) agent: AgentId,
    pub(crate) controllers: Vec<String>,
    pub(crate) member_cas: Vec<Vec<u8>>,
}

impl Enrolment {
    /// Whether this host is enrolled.
    pub(crate) fn exists(config: &Config) -> bool {
        config.cluster_file().exists()
    }

    pub(crate) fn save(&self, config: &Config) -> anyhow::Result<()> {
        Ok(files::create(&config.cluster_file(), &self.to_json()?)?)
    }

    fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Stored {
            format: 1,
            cluster_id: self.cluster.hex(),
            agent: self.agent.to_string(),
            controllers: self.controllers.clone(),
            member_cas: self.member_cas.iter().map(hex::encode).collect(),
        })
    }

    /// Reads what joining left.
    ///
    /// # Errors
    /// When this host is not enrolled, or the file is damaged: names it, the line, and what to do.
    pub(crate) fn load(config: &Config) -> anyhow::Result<Self> {
        let file = config.cluster_file();
        anyhow::ensure!(
            Self::exists(config),
            "this host is not enrolled ({} is not there): run the command that `verger token create` prints",
            file.display()
        );
        parse(&files::read(&file)?).map_err(|what| {
            anyhow::anyhow!(
                "{}: {what}. Restore the file from a backup; or enrol this host again: remove it, and run the command that \
                 `verger token create` prints",
                file.display()
            )
        })
    }

    /// The door for people under the stored identity.
    pub(crate) fn door(&self, config: &Config) -> anyhow::Result<PeopleDoor> {
        let identity = Identity::load(&config.identity_file())?;
        Ok(PeopleDoor::new(&self.cluster.hex(), &identity)?)
    }

    /// The TLS side of a client under the stored identity.
    pub(crate) fn client(&self, config: &Config) -> anyhow::Result<Client> {
        let identity = Identity::load(&config.identity_file())?;
        Ok(Client::new(&self.cluster.hex(), &identity, &self.member_cas)?)
    }
}

/// What is wrong is said in words that may be shown: the file may hold anything.
fn parse(bytes: &[u8]) -> Result<Enrolment, String> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged_json(&error))?;
    let Stored {
        format,
        cluster_id,
        agent,
        controllers,
        member_cas,
    } = stored;
    if format != 1 {
        return Err(format!("it has format {format}, and this agent knows 1"));
    }
    let damaged = |field: &str, what: &str| format!("damaged: `{field}` {what}");
    let cluster = format!("sha256:{cluster_id}")
        .parse()
        .map_err(|_| damaged("clusterId", "is not 64 lower-case hex digits"))?;
    let agent = agent
        .parse()
        .map_err(|_| damaged("agent", "is not an agent's name"))?;
    if controllers.is_empty() {
        return Err(damaged("controllers", "names none"));
    }
    let member_cas: Vec<Vec<u8>> = member_cas
        .iter()
        .map(hex::decode)
        .collect::<Result<_, _>>()
        .map_err(|_| damaged("memberCas", "holds what is not hex"))?;
    if member_cas.is_empty() {
        return Err(damaged("memberCas", "holds no certificate"));
    }
    Ok(Enrolment {
        cluster,
        agent,
        controllers,
        member_cas,
    })
}

#[cfg(test)]
mod tests;
