//! The public API, insisted upon through the controller's restarts.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_policy::model::PolicyObject;
use verger_policy::set::{PolicySet, diff};
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::{CreateLoginRequest, CreateLoginResponse};
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_proto::policy::v1::{ApplyRequest, Envelope, GetSetRequest};
use verger_seal::{SealingKey, SetStatement, TrustRoot};
use verger_transport::{Client, Identity, channel};
use verger_wire::IntoWire as _;

use crate::scene::Scene;

/// Nobody stays away longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// A call that is not answered within this is made again.
const CALL: Duration = Duration::from_secs(5);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(20);

/// What is asked for to put `next` in the place of `set`.
pub(crate) fn apply_request(set: &PolicySet, next: &PolicySet, seal: Vec<u8>) -> ApplyRequest {
    let upserts = diff(set, next).upserts;
    ApplyRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        expected_epoch: set.epoch(),
        upserts: upserts
            .iter()
            .filter_map(|(_, body)| body.as_deref())
            .map(|body| body.into_wire())
            .collect(),
        deletes: Vec::new(),
        seal: Some(Envelope { json: seal.into() }),
        dry_run: false,
    }
}

/// Who asks, and where.
#[derive(Clone)]
pub(crate) struct Access {
    cluster: String,
    member_cas: Vec<Vec<u8>>,
    client: Arc<Client>,
    addresses: Vec<String>,
    pub(crate) key: Arc<SealingKey>,
}

impl Access {
    /// As the scene's administrator.
    pub(crate) fn of(scene: &Scene) -> Result<Self> {
        let key = std::fs::read_to_string(scene.path("sealing-key.pem"))?;
        let key = SealingKey::from_pem(&key).context("the sealing key")?;
        Self::with(&scene.context(), key)
    }

    /// As whom a context file names, with a sealing key.
    pub(crate) fn with(context: &Path, key: SealingKey) -> Result<Self> {
        let context: Value = serde_json::from_slice(&std::fs::read(context)?)?;
        let text = |field: &str| {
            context[field]
                .as_str()
                .with_context(|| format!("the context has no {field}"))
        };
        let list = |field: &str| -> Vec<String> {
            let items = context[field].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let identity = Identity::from_pem(text("certificate")?, text("key")?)?;
        let mut authorities = Vec::new();
        for pem in list("memberCas") {
            let found =
                verger_transport::certificates(pem.as_bytes()).context("an authority in the context")?;
            authorities.extend(found.into_iter().map(|certificate| certificate.to_vec()));
        }
        Ok(Self {
            client: Arc::new(Client::new(text("clusterId")?, &identity, &authorities)?),
            cluster: text("clusterId")?.to_owned(),
            member_cas: authorities,
            addresses: list("addresses"),
            key: Arc::new(key),
        })
    }

    /// The same, beginning with another address.
    pub(crate) fn beginning(&self, with: usize) -> Self {
        let mut turned = self.clone();
        let count = turned.addresses.len().max(1);
        turned.addresses.rotate_left(with % count);
        turned
    }

    /// The addresses asked.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The same as somebody else.
    pub(crate) fn as_somebody(&self, identity: &Identity) -> Result<Self> {
        let client = Client::new(&self.cluster, identity, &self.member_cas)?;
        Ok(Self {
            client: Arc::new(client),
            ..self.clone()
        })
    }

    /// The same, with one address alone.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self {
            addresses: vec![address.to_owned()],
            ..self.clone()
        }
    }

    /// The TLS side.
    pub(crate) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// A connection, for who does not insist.
    pub(crate) async fn channel(&self) -> Result<Channel> {
        Ok(channel(Arc::clone(&self.client), &self.addresses).await?)
    }

    /// Makes the same request until it is answered: a refusal is an answer too, a lost connection is not.
    pub(crate) async fn insist<T, F>(&self, what: &str, mut attempt: impl FnMut(Channel) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        let mut addresses = self.addresses.clone();
        while Instant::now() < deadline {
            let connected = channel(Arc::clone(&self.client), &addresses).await;
            // Whoever was asked may be there, and decide nothing: the next one is asked first.
            if !addresses.is_empty() {
                addresses.rotate_left(1);
            }
            match connected {
                Ok(channel) => match tokio::time::timeout(CALL, attempt(channel)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(status)) if is_lost(&status) => last = status.to_string(),
                    Ok(Err(status)) => bail!("{what}: {status}"),
                    Err(_) => last = format!("no answer within {CALL:?}"),
                },
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(AGAIN).await;
        }
        bail!("{what}: not answered within {PATIENCE:?}: {last}")
    }
}

/// A connection kept between calls, made again when it is lost.
pub(crate) struct Line<'a> {
    access: &'a Access,
    channel: Option<Channel>,
}

impl<'a> Line<'a> {
    pub(crate) const fn new(access: &'a Access) -> Self {
        Self {
            access,
            channel: None,
        }
    }

    pub(crate) const fn access(&self) -> &'a Access {
        self.access
    }

    /// Gives somebody a login for the key of this request.
    ///
    /// # Errors
    /// When that is refused, or nobody answers in time.
    pub(crate) async fn give_login(&mut self, person: &str, csr: &[u8]) -> Result<CreateLoginResponse> {
        let request = CreateLoginRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            person: person.to_owned(),
            csr: csr.to_vec().into(),
        };
        self.insist("a login", |channel| {
            let request = request.clone();
            async move {
                let answer = CertificateServiceClient::new(channel)
                    .create_login(request)
                    .await?;
                Ok(answer.into_inner())
            }
        })
        .await
    }

    /// As [`Access::insist`], over the kept connection first.
    pub(crate) async fn insist<T, F>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut(Channel) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        if let Some(channel) = &self.channel {
            match tokio::time::timeout(CALL, attempt(channel.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) if !is_lost(&status) => bail!("{what}: {status}"),
                _ => {}
            }
        }
        let mut used = None;
        let answer = self
            .access
            .insist(what, |channel| {
                used = Some(channel.clone());
                attempt(channel)
            })
            .await;
        self.channel = used;
        answer
    }
}

/// A chain of sealed policy sets, each the successor of the one before.
pub(crate) struct SetChain {
    set: PolicySet,
    trust_root: TrustRoot,
}

impl SetChain {
    /// Of a cluster that has no set yet.
    pub(crate) async fn fetch(access: &Access) -> Result<Self> {
        let answer = access
            .insist("the set", |channel| async move {
                let request = GetSetRequest { with_bodies: true };
                Ok(PolicyServiceClient::new(channel)
                    .get_set(request)
                    .await?
                    .into_inner())
            })
            .await?;
        anyhow::ensure!(answer.epoch == 0, "the chain of sets begins at the first");
        let envelope = answer.trust_root.context("a cluster has a trust root")?;
        Ok(Self {
            set: PolicySet::empty(),
            trust_root: TrustRoot::open_first(&envelope.json)?,
        })
    }

    /// The epoch that was acknowledged last.
    pub(crate) const fn epoch(&self) -> u64 {
        self.set.epoch()
    }

    /// Has the next set put in force, with these objects in it; `asks` is told of it first. Gives its epoch, and what is wrong with the
    /// answer.
    pub(crate) async fn go_on(
        &mut self,
        line: &mut Line<'_>,
        objects: Vec<PolicyObject>,
        asks: impl FnOnce(u64, Digest),
    ) -> Result<(u64, Option<String>)> {
        let next = self.set.change(objects, [])?;
        let (epoch, root) = (next.epoch(), next.root());
        let end = Timestamp::now() + SignedDuration::from_hours(24);
        let statement = SetStatement::new(&self.trust_root, epoch, root, next.len() as u64, end);
        let seal = statement.seal(&[&line.access().key]).to_json();
        let request = apply_request(&self.set, &next, seal);
        asks(epoch, root);
        let answer = line
            .insist("a set", |channel| {
                let request = request.clone();
                async move {
                    Ok(PolicyServiceClient::new(channel)
                        .apply(request)
                        .await?
                        .into_inner())
                }
            })
            .await?;
        let is_it = answer.epoch == epoch && *answer.root == *root.as_bytes();
        self.set = next;
        Ok((
            epoch,
            (!is_it).then(|| {
                format!(
                    "epoch {epoch} was asked for and epoch {} was acknowledged",
                    answer.epoch
                )
            }),
        ))
    }
}

/// Whether nothing is known of what became of a request.
fn is_lost(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
    )
}
