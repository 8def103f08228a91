//! Enrolling: the first contact, authenticated by what a person brought along.

mod waiting;

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use verger_agent_core::ledger::LedgerState;
use verger_agent_core::store::LedgerStore as _;
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_proto::agent::v1 as pb;
use verger_transport::files::{self, SecretFileError};
use verger_transport::{Client, Identity, JoinCommand, KeyPair, spki_pin};

use crate::config::Config;
use crate::enrolment::Enrolment;
use crate::floor::FloorFile;
use crate::machine;

#[derive(Args)]
pub(crate) struct JoinArgs {
    /// The id this host will have.
    #[arg(long)]
    agent: String,
    /// Where to enrol: HOST:PORT.
    #[arg(long)]
    enrol: String,
    /// Where to connect afterwards: HOST:PORT.
    #[arg(long)]
    controller: String,
    /// The cluster's id: the digest of the trust root that founded it.
    #[arg(long)]
    cluster_id: String,
    /// The pin of the members' authority.
    #[arg(long)]
    ca_pin: String,
    /// The token. Better in VERGER_JOIN_TOKEN than on a command line that others can see.
    #[arg(long, env = "VERGER_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    /// Seconds to wait, where a person has to approve this host. The same command, run again, goes on waiting.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    wait: u32,
}

pub(crate) async fn join(config: &Config, args: &JoinArgs) -> anyhow::Result<()> {
    let JoinArgs {
        agent,
        enrol,
        controller,
        cluster_id,
        ca_pin,
        token,
        wait,
    } = args;
    let command = JoinCommand::check(enrol, controller, cluster_id, ca_pin, agent, token)?;
    let agent: AgentId = agent.parse().with_context(|| format!("--agent {agent}"))?;
    anyhow::ensure!(
        !Enrolment::exists(config),
        "this host is enrolled already ({}); to enrol it anew, stop the agent and remove {}",
        config.cluster_file().display(),
        config.data_dir.display()
    );
    let cluster: Digest = format!("sha256:{cluster_id}").parse()?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data_dir)
        .with_context(|| format!("cannot make {}", config.data_dir.display()))?;
    let key = key_of(config, &agent)?;
    let request = pb::EnrolRequest {
        token: command.token.reveal().to_string(),
        csr: key.request()?.into(),
        agent_id: agent.to_string(),
        machine: machine::digest(&config.machine_id, &cluster),
    };
    let limit = Duration::from_secs(u64::from(*wait));
    let response = waiting::ask(&command, &request, limit).await?;
    let pb::EnrolResponse {
        chain,
        member_cas,
        trust_root,
        waiting: _,
    } = response;
    let member_cas: Vec<Vec<u8>> = member_cas.into_iter().map(Into::into).collect();
    // The connection was to who holds this authority; what it names must be it.
    anyhow::ensure!(
        member_cas
            .iter()
            .all(|authority| spki_pin(authority).as_deref() == Some(ca_pin.as_str())),
        "the controller names another members' authority than --ca-pin"
    );
    let identity = Identity::new(chain.into_iter().map(Into::into).collect(), &key);
    Client::new(&command.cluster_id, &identity, &member_cas)
        .context("the certificate that the controller issued cannot be used")?;
    let envelope = trust_root.context("the controller sent no trust root")?.json;
    let (founded, delta) = LedgerState::found(agent.clone(), &cluster, &envelope)?;
    let (ledger, _) = verger_agent_store::open(&config.store_dir(), &verger_agent_store::Options::default())?;
    let image = ledger.load()?;
    if image.trust_roots.is_empty() {
        ledger.commit(&delta)?;
    } else {
        // An attempt cut short left it, or this host is enrolled again: what it holds is not begun anew.
        let held = LedgerState::restore(agent.clone(), image)?;
        anyhow::ensure!(
            held.cluster_id() == founded.cluster_id(),
            "{} is of another cluster; to leave that one for good, remove {}",
            config.store_dir().display(),
            config.data_dir.display()
        );
    }
    // What says that nothing was lost, when it is there the next time.
    FloorFile::new(config, cluster).begin()?;
    identity.save(&config.identity_file())?;
    // What says that the host is enrolled.
    let enrolment = Enrolment {
        cluster,
        agent: agent.clone(),
        controllers: vec![command.address],
        member_cas,
    };
    enrolment.save(config)?;
    let kept = config.joining_file(&agent);
    std::fs::remove_file(&kept).with_context(|| format!("cannot remove {}", kept.display()))?;
    writeln!(std::io::stdout(), "Enrolled as {agent}. Next: verger-agent run")?;
    Ok(())
}

/// The key that this host joins with: one that an attempt left behind, or a new one. The controller answers the token to the same
/// key again; so an attempt whose answer was lost spends no token for nothing.
fn key_of(config: &Config, agent: &AgentId) -> anyhow::Result<KeyPair> {
    let file = config.joining_file(agent);
    let damaged = || format!("{}: remove it, and make another token", file.display());
    match files::read(&file) {
        Ok(pem) => KeyPair::from_pem(std::str::from_utf8(&pem).with_context(damaged)?).with_context(damaged),
        Err(SecretFileError::Missing(_)) => {
            let key = KeyPair::generate()?;
            files::replace(&file, key.to_pem().as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
