//! The person's certificate renews itself: whoever uses the program more often than every other week never sees one end.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use tonic::transport::Channel;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_transport::{Client, Identity, files};

use crate::connect::call;
use crate::context::Context;
use crate::output::note;

/// Renews the certificate once half of its life is over. What fails is said, and keeps nobody from what he came for.
pub(crate) async fn keep(context: &mut Context, place: &Path, client: &Arc<Client>, channel: &Channel) {
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
    let key = context.identity()?.key()?;
    let request = pb::RenewCertificateRequest {
        csr: key.request()?.into(),
    };
    let mut certificates = CertificateServiceClient::new(channel.clone());
    let answer = certificates.renew_certificate(call(request)).await?;
    let pb::RenewCertificateResponse { chain, not_after: _ } = answer.into_inner();
    let identity = Identity::new(chain.into_iter().map(Into::into).collect(), &key);
    // Refuses what does not belong to the key, before anything is overwritten.
    client
        .replace(&identity)
        .context("the certificate that was issued cannot be used")?;
    let until = Timestamp::from_second(identity.not_after()?)?;
    context.certificate = identity.chain_pem();
    files::replace(place, &context.to_json())?;
    note(&format!("your certificate was renewed; it ends {until}"));
    Ok(())
}
