//! `context docker-env`: what Docker's own CLI takes to reach a runtime behind an agent's proxy.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;
use verger_policy::model::{AgentId, printable};
use verger_proto::cluster::v1 as pb;
use verger_transport::certificate_pem;
use verger_transport::files::replace;

use crate::args::Format;
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people};

/// Writes the files, and prints what to set.
pub(super) async fn docker_env(
    host: &str,
    out: &Path,
    named: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    agent_and_port(host).map_err(|why| Failure::input(format!("--host `{}`: {why}", printable(host))))?;
    let session = Session::open(named).await?;
    let answer = session
        .ask(pb::WhoAmIRequest {}, async |session, request| {
            session.certificates().who_am_i(request).await
        })
        .await?;
    let agents = answer.into_inner().agent_cas;
    anyhow::ensure!(
        !agents.is_empty(),
        Failure::new(
            Exit::Violation,
            "the controller does not say by which authority agents are known: it is older than this command"
        )
    );
    let identity = session.context().identity()?;
    let out = std::path::absolute(out)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    let folder = std::fs::metadata(&out)?;
    let mode = folder.permissions().mode() & 0o777;
    let is_own = folder.uid() == rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        mode & 0o022 == 0 && is_own,
        Failure::input(format!(
            "--out {}: others may write there (mode {mode:03o}, of uid {}); name a folder of your own",
            out.display(),
            folder.uid()
        ))
    );
    let authorities: String = agents.iter().map(|der| certificate_pem(der)).collect();
    replace(&out.join("ca.pem"), authorities.as_bytes())?;
    replace(&out.join("cert.pem"), identity.chain_pem().as_bytes())?;
    replace(&out.join("key.pem"), identity.key_pem().as_bytes())?;
    let folder = out.display().to_string();
    if for_people(format) {
        emit(&format!(
            "export DOCKER_HOST=tcp://{host}\nexport DOCKER_TLS_VERIFY=1\nexport DOCKER_CERT_PATH={}\n",
            quoted(&folder)
        ))?;
    } else {
        let object = json!({ "dockerHost": format!("tcp://{host}"), "dockerCertPath": folder });
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

/// Checks `AGENT:PORT`: it is printed for a shell.
fn agent_and_port(host: &str) -> Result<(), &'static str> {
    let (agent, port) = host.rsplit_once(':').ok_or("it is AGENT:PORT")?;
    let _: AgentId = agent.parse().map_err(|_| "that is no agent's name")?;
    if agent.contains('/') {
        return Err("that is no agent's name");
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err("a port is 1 to 65535"),
    }
}

/// A word as a shell takes it for itself.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agent_and_a_port_are_taken() {
        for good in ["web-1:2376", "web-1.eu:1", "192.0.2.1:2376"] {
            assert_eq!(agent_and_port(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "web-1",
            "web-1:",
            "web-1:0",
            "web-1:70000",
            ":2376",
            "$(id):2376",
            "a b:1",
            "a/b:1",
            "web-1:1;id",
        ] {
            assert!(agent_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_printed_for_a_shell_is_one_word() {
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("/it's $(id)"), "'/it'\\''s $(id)'");
    }
}
