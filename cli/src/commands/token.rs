//! `token create`: the join command of one agent.

use std::path::Path;

use serde_json::json;
use verger_policy::model::AgentId;
use verger_proto::cluster::v1 as pb;
use verger_transport::{JoinCommand, is_address};
use verger_wire::instant;

use crate::args::{Format, TokenCommand};
use crate::connect::{Session, call, request_id};
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people, note};

pub(super) async fn token(
    command: TokenCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let TokenCommand::Create { agent, ttl, approval } = command;
    let agent: AgentId = agent
        .parse()
        .map_err(|error| Failure::input(format!("--agent `{agent}`: {error}")))?;
    let mut session = Session::open(context).await?;
    let (status, pin) = trusted_status(&session).await?;

    let request = pb::CreateJoinTokenRequest {
        request_id: request_id(),
        agent_id: agent.to_string(),
        ttl_seconds: ttl,
        approval,
    };
    let answer = session
        .insist(|session| {
            let (mut client, request) = (session.cluster(), call(request.clone()));
            async move { client.create_join_token(request).await }
        })
        .await?;
    let pb::CreateJoinTokenResponse { token, expires } = answer.into_inner();
    let expires = expires.map(|at| instant("expires", at)).transpose()?;

    let cluster = &session.context().cluster_id;
    let join = JoinCommand::check(
        address("enrol_address", &status.enrol_address)?,
        address("address", &status.address)?,
        cluster,
        &pin,
        agent.as_str(),
        &token,
    )?;
    let command = join.reveal();
    if for_people(format) {
        if let Some(expires) = expires {
            note(&format!(
                "run this on the agent's host before {expires}; it works once:"
            ));
        }
        emit(&format!("{}\n", command.as_str()))?;
        if approval {
            note(&format!(
                "it shows the host's key and waits; to let it in: verger hosts {agent} --approve --key KEY"
            ));
        }
    } else if format == Format::Name {
        emit(&format!("{token}\n"))?;
    } else {
        let expires = expires.map(|at| at.to_string());
        let object =
            json!({ "agent": agent, "command": command.as_str(), "expires": expires, "approval": approval });
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

/// What the controller says of the cluster, and the pin that whoever joins is given.
pub(super) async fn trusted_status(session: &Session) -> anyhow::Result<(pb::GetStatusResponse, String)> {
    let status = session
        .ask(pb::GetStatusRequest {}, async |session, request| {
            session.cluster().get_status(request).await
        })
        .await?
        .into_inner();
    let pin = trusted_pin(session, &status)?;
    Ok((status, pin))
}

/// The pin the agent is given: of the authority in the context. The controller may say nothing else.
pub(super) fn trusted_pin(session: &Session, status: &pb::GetStatusResponse) -> anyhow::Result<String> {
    let context = session.context();
    let pins = context.pins()?;
    if status.cluster_id != context.cluster_id || !pins.contains(&status.ca_pin) {
        return Err(Failure::new(
            Exit::Violation,
            "the controller names another cluster, or another authority of members, than your context; nothing was made. \
             Ask whoever runs the controllers",
        )
        .into());
    }
    Ok(status.ca_pin.clone())
}

/// An address that can stand in a command line: the controller's word goes into a person's shell.
pub(super) fn address<'a>(field: &str, text: &'a str) -> Result<&'a str, Failure> {
    match is_address(text) {
        true => Ok(text),
        false => Err(Failure::new(
            Exit::Violation,
            format!("the controller's `{field}` is not HOST:PORT; no command can be made"),
        )),
    }
}
