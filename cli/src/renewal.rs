//! The person's certificate renews itself: whoever uses the program more often than every half of its life never sees one end.
//! A login by an identity provider, and one of an emergency, end.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use tonic::transport::Channel;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_transport::{Client, files};

use crate::connect::call;
use crate::context::{Context, LoginKind};
use crate::exit::{Exit, Failure};
use crate::output::note;

/// Renews the certificate once half of its life is over. What fails is said, and keeps nobody from what he came for.
pub(crate) async fn keep(context: &mut Context, place: &Path, client: &Arc<Client>, channel: &Channel) {
    if context.login.is_some() {
        return;
    }
    let Ok(identity) = context.identity() else {
        return;
    };
    let Ok((begin, end)) = identity.validity() else {
        return;
    };
    let left = end.saturating_sub(Timestamp::now().as_second());
    if left >= end.saturating_sub(begin) / 2 {
        return;
    }
    if let Err(error) = renew(context, place, client, channel).await {
        let days = left / 86_400;
        note(&format!(
            "your certificate ends in {days} days and could not be renewed: {error:#}"
        ));
    }
}

/// Takes over the certificate that another run renewed meanwhile. A file that is gone, damaged, or another person's is left alone.
pub(crate) fn reload(context: &mut Context, place: &Path, client: &Client) {
    let Ok(newer) = Context::load(place) else {
        return;
    };
    let (Ok(held), Ok(identity)) = (context.identity(), newer.identity()) else {
        return;
    };
    if newer.cluster_id == context.cluster_id
        && newer.certificate != context.certificate
        && identity.replaces(&held).is_ok()
        && client.replace(&identity).is_ok()
    {
        *context = newer;
    }
}

/// Fails once the certificate has ended: nobody is reached with it any more.
///
/// # Errors
/// Says when it ended, and how another is got.
pub(crate) fn refuse_ended(context: &Context) -> anyhow::Result<()> {
    let end = Timestamp::from_second(context.identity()?.not_after()?)?;
    if end > Timestamp::now() {
        return Ok(());
    }
    let remedy = match context.login {
        Some(LoginKind::Oidc { .. }) => "Log in again: verger login".to_owned(),
        Some(LoginKind::BreakGlass) => "The emergency is over: go on with your own login".to_owned(),
        None => format!(
            "Have a new one issued on a member's host (verger-controller recover-login --person {}), then: verger context use FILE",
            context.person
        ),
    };
    let text = format!("your certificate ended at {end}, and no controller takes it any more. {remedy}");
    Err(Failure::new(Exit::Violation, text).into())
}

/// Renews the certificate with its own key, and writes it to the context's file.
///
/// # Errors
/// When the cluster gives none, or the file cannot be written: then the old one stays.
pub(crate) async fn renew(
    context: &mut Context,
    place: &Path,
    client: &Arc<Client>,
    channel: &Channel,
) -> anyhow::Result<()> {
    let held = context.identity()?;
    let request = pb::RenewCertificateRequest {
        csr: held.key()?.request()?.into(),
    };
    let mut certificates = CertificateServiceClient::new(channel.clone());
    let answer = certificates.renew_certificate(call(request)).await?;
    let pb::RenewCertificateResponse { chain, not_after: _ } = answer.into_inner();
    // Refuses what is of no use before anything is overwritten.
    let identity = held
        .renewed(chain.into_iter().map(Into::into).collect())
        .and_then(|identity| Ok((identity.not_after()?, identity)));
    let (end, identity) = identity.context("the certificate that was issued cannot be used")?;
    client.replace(&identity)?;
    let until = Timestamp::from_second(end)?;
    context.certificate = identity.chain_pem();
    files::replace(place, &context.to_json())?;
    note(&format!("your certificate was renewed; it ends {until}"));
    Ok(())
}
