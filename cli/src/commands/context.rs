//! `context`: which cluster this person talks to.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;
use verger_transport::files::{create as create_file, replace};
use verger_transport::{Identity, KeyPair, Label};
use zeroize::Zeroizing;

use crate::args::{ContextCommand, Format};
use crate::connect::{Session, call, request_id};
use crate::context::{Context, place};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{Column, Sheet, document, emit, for_people, note, print};
use crate::signer;

use super::docker_env::docker_env;
use super::token::{address, trusted_pin};

const COLUMNS: &[Column] = &[
    Column::new("PERSON"),
    Column::new("CLUSTER"),
    Column::new("ADDRESSES"),
    Column::new("CERTIFICATE ENDS"),
    Column::new("SEALING KEY"),
    Column::wide("CA PINS"),
    Column::wide("FILE"),
];

pub(super) async fn context(
    command: ContextCommand,
    named: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let place = place(named)?;
    let context = match command {
        ContextCommand::Show => Context::load(&place)?,
        ContextCommand::Use { file, key } => take(&file, key, &place)?,
        ContextCommand::Create { person, out } => {
            let context = create(person, &out, named).await?;
            print(&sheet(&context, &out)?, format)?;
            return Ok(Exit::Clean);
        }
        ContextCommand::Revoke { person, reason, lift } => {
            let reason = reason.unwrap_or_default();
            return revoke(person, reason, lift, named, format).await;
        }
        ContextCommand::Invite => return invite(named, format).await,
        ContextCommand::DockerEnv { host, out } => return docker_env(&host, &out, named, format).await,
        ContextCommand::Renew => {
            let held = Context::load(&place)?;
            anyhow::ensure!(
                held.login.is_none(),
                Failure::new(
                    Exit::Violation,
                    "this login ends, and is not renewed; log in again: verger login"
                )
            );
            Session::open(named).await?.renew().await?;
            Context::load(&place)?
        }
    };
    print(&sheet(&context, &place)?, format)?;
    Ok(Exit::Clean)
}

/// Makes a key for somebody, has it certified, and writes the context file to hand over.
async fn create(person: String, out: &Path, named: Option<&Path>) -> anyhow::Result<Context> {
    let _: Label = person
        .parse()
        .map_err(|error| Failure::input(format!("--person `{}`: {error}", printable(&person))))?;
    anyhow::ensure!(
        out.symlink_metadata().is_err(),
        Failure::input(format!("--out {}: it exists; name another file", out.display()))
    );
    let mut session = Session::open(named).await?;
    let key = KeyPair::generate()?;
    let request = pb::CreateLoginRequest {
        request_id: request_id(),
        person: person.clone(),
        csr: key.request()?.into(),
    };
    let answer = session
        .insist(|session| {
            let (mut client, request) = (session.certificates(), call(request.clone()));
            async move { client.create_login(request).await }
        })
        .await?
        .into_inner();
    let identity = Identity::new(answer.chain.into_iter().map(Into::into).collect(), &key);
    let context = Context {
        certificate: identity.chain_pem(),
        key: Zeroizing::new(identity.key_pem().to_owned()),
        person,
        sealing_key: None,
        login: None,
        ..session.context().for_another()
    };
    create_file(out, &context.to_json())?;
    note(&format!(
        "hand {} over, and remove it here; its owner runs: verger context use FILE --key KEY",
        out.display()
    ));
    Ok(context)
}

/// Takes somebody's login out of use, or lifts that.
async fn revoke(
    person: String,
    reason: String,
    lift: bool,
    named: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let mut session = Session::open(named).await?;
    let request = pb::RevokeLoginRequest {
        request_id: request_id(),
        person: person.clone(),
        reason,
        lift,
    };
    session
        .insist(|session| {
            let (mut client, request) = (session.certificates(), call(request.clone()));
            async move { client.revoke_login(request).await }
        })
        .await?;
    if for_people(format) && lift {
        note(&format!("{} may log in again", printable(&person)));
    } else if for_people(format) {
        note(&format!(
            "no login of {} serves any more; `verger context create --person {}` gives another one",
            printable(&person),
            printable(&person)
        ));
    } else {
        emit(&document(
            &json!({ "person": person, "decided": if lift { "restored" } else { "revoked" } }),
            format,
        )?)?;
    }
    Ok(Exit::Clean)
}

/// Prints the command by which somebody logs in who has nothing yet. It holds no secret; what it pins is this context's.
async fn invite(named: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let session = Session::open(named).await?;
    let status = session
        .ask(pb::GetStatusRequest {}, async |session, request| {
            session.cluster().get_status(request).await
        })
        .await?
        .into_inner();
    let pin = trusted_pin(&session, &status)?;
    anyhow::ensure!(
        !status.oidc_issuer.is_empty(),
        Failure::new(
            Exit::Violation,
            "this cluster has no identity provider: set `[oidc]` in the controllers' configuration, or give a login with \
             `verger context create`"
        )
    );
    let command = format!(
        "verger login --oidc --enrol {} --cluster-id {} --ca-pin {pin}",
        address("enrol_address", &status.enrol_address)?,
        session.context().cluster_id
    );
    if for_people(format) {
        note(&format!("whoever has an account at {} runs:", status.oidc_issuer));
        emit(&format!("{command}\n"))?;
    } else if format == Format::Name {
        emit(&format!("{command}\n"))?;
    } else {
        let object = json!({ "command": command, "issuer": status.oidc_issuer });
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

/// Copies a context file to its place.
fn take(file: &Path, key: Option<PathBuf>, place: &Path) -> anyhow::Result<Context> {
    let mut context = Context::load(file)?;
    context.identity()?;
    if let Some(key) = key {
        // Read once, so that a wrong path shows now and not at the next change.
        signer::public(&key)?;
        context.sealing_key = Some(std::path::absolute(&key)?);
    }
    files::make_room(place)?;
    replace(place, &context.to_json())?;
    note(&format!("written to {}", place.display()));
    Ok(context)
}

fn sheet(context: &Context, place: &Path) -> anyhow::Result<Sheet> {
    let ends = Timestamp::from_second(context.identity()?.not_after()?)?.to_string();
    let pins = context.pins()?;
    let key = context.sealing_key.as_ref().map(|key| key.display().to_string());
    let cells = vec![
        context.person.clone(),
        context.cluster_id.clone(),
        context.addresses.join(","),
        ends.clone(),
        key.clone().unwrap_or_else(|| "none".to_owned()),
        pins.join(","),
        place.display().to_string(),
    ];
    let object = json!({
        "person": context.person,
        "clusterId": context.cluster_id,
        "addresses": context.addresses,
        "certificateEnds": ends,
        "sealingKey": key,
        "caPins": pins,
        "file": place.display().to_string(),
    });
    let mut sheet = Sheet::one(COLUMNS);
    sheet.push(context.cluster_id.clone(), cells, object);
    Ok(sheet)
}
