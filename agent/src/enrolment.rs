//! What joining left on disk.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_transport::{Client, Identity, files};

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
        let stored = Stored {
            format: 1,
            cluster_id: self.cluster.hex(),
            agent: self.agent.to_string(),
            controllers: self.controllers.clone(),
            member_cas: self.member_cas.iter().map(hex::encode).collect(),
        };
        Ok(files::create(
            &config.cluster_file(),
            &serde_json::to_vec_pretty(&stored)?,
        )?)
    }

    pub(crate) fn load(config: &Config) -> anyhow::Result<Self> {
        let file = config.cluster_file();
        anyhow::ensure!(
            Self::exists(config),
            "this host is not enrolled ({} is not there): run the command that `verger token create` prints",
            file.display()
        );
        let stored: Stored = serde_json::from_slice(&files::read(&file)?)
            .with_context(|| format!("{} is damaged", file.display()))?;
        let Stored {
            format,
            cluster_id,
            agent,
            controllers,
            member_cas,
        } = stored;
        anyhow::ensure!(
            format == 1,
            "{} has format {format}; this agent knows 1",
            file.display()
        );
        Ok(Self {
            cluster: format!("sha256:{cluster_id}").parse()?,
            agent: agent.parse()?,
            controllers,
            member_cas: member_cas.iter().map(hex::decode).collect::<Result<_, _>>()?,
        })
    }

    /// The TLS side of a client under the stored identity.
    pub(crate) fn client(&self, config: &Config) -> anyhow::Result<Client> {
        let identity = Identity::load(&config.identity_file())?;
        Ok(Client::new(&self.cluster.hex(), &identity, &self.member_cas)?)
    }
}
