//! The identity provider, over OpenID Connect (Core 1.0, Discovery 1.0; the authorization code flow with PKCE, RFC 7636).
//!
//! The code is redeemed here and not by the CLI: a secret of the client, where the provider wants one, stays with the
//! controllers, and no token leaves them. What the provider publishes about itself is kept for an hour, and asked for again when
//! a token is signed with a key that is not among those, at most once a minute.

#[cfg(test)]
mod fuzz;
mod mapping;
mod settings;
mod verify;
mod web;

use std::io::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreErrorResponseType, CoreProviderMetadata, CoreTokenResponse,
};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, DiscoveryError, IssuerUrl, Nonce, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, StandardErrorResponse,
};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use verger_controller_api::identity_provider::{Attempt, IdentityProvider, Known, ProviderError, Redemption};
use verger_policy::model::printable_within;
use verger_transport::WebRoots;
use zeroize::Zeroizing;

pub(crate) use settings::OidcConfig;
use settings::Settings;
use web::{Web, WebError};

/// How long what the provider publishes is kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How old it is at least before it is asked for again on account of a token.
const FRESH: Duration = Duration::from_secs(60);
/// How many may be talking to the provider at a time: whoever begins a login has no certificate, and may be anybody.
const AT_ONCE: usize = 8;
/// How long one login may take here. The listener gives up after ten seconds.
const LIMIT: Duration = Duration::from_secs(8);
/// The longest text of a provider that is told on, characters.
const SHOWN: usize = 200;

/// The provider.
pub(crate) struct Oidc {
    settings: Settings,
    secret: Option<Zeroizing<String>>,
    web: Web,
    published: Mutex<Option<Published>>,
    talking: Semaphore,
}

/// What the provider says of itself.
#[derive(Clone)]
struct Published {
    at: Instant,
    metadata: CoreProviderMetadata,
}

impl Oidc {
    /// Reads what the configuration names. The provider itself is not asked before somebody logs in, so that a cluster starts
    /// without it.
    ///
    /// # Errors
    /// When a value is not valid, or a file cannot be read: names it.
    pub(crate) fn new(config: &OidcConfig) -> anyhow::Result<Self> {
        let settings = Settings::check(config)?;
        let secret = config.secret()?;
        let roots = match settings.issuer.as_str().starts_with("https:") {
            true => Some(WebRoots::load(&config.ca_file)?),
            false => None,
        };
        Ok(Self {
            settings,
            secret,
            web: Web::new(roots),
            published: Mutex::new(None),
            talking: Semaphore::new(AT_ONCE),
        })
    }

    /// Prints what its part of the file means.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn explain(&self) -> anyhow::Result<()> {
        let Settings {
            issuer,
            client_id,
            mapping,
            seconds,
            ..
        } = &self.settings;
        writeln!(
            std::io::stdout(),
            "people log in at {issuer}, where this cluster is {client_id}{} · {mapping} · for {} h",
            self.secret.as_ref().map_or("", |_| " and has a secret"),
            seconds / 3_600
        )?;
        Ok(())
    }

    /// What the provider publishes; of no more than this age, if it can be had.
    async fn published(&self, oldest: Duration) -> Result<CoreProviderMetadata, ProviderError> {
        // Held while it is asked: everybody waits for the same answer.
        let mut published = self.published.lock().await;
        if let Some(known) = published.as_ref().filter(|known| known.at.elapsed() < oldest) {
            return Ok(known.metadata.clone());
        }
        let issuer = IssuerUrl::new(self.settings.issuer.clone())
            .map_err(|error| ProviderError::Unreachable(error.to_string()))?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.web).await;
        let metadata = metadata.map_err(|error| ProviderError::Unreachable(discovery(&error)))?;
        *published = Some(Published {
            at: Instant::now(),
            metadata: metadata.clone(),
        });
        Ok(metadata)
    }

    async fn limited<T>(
        &self,
        talk: impl Future<Output = Result<T, ProviderError>> + Send,
    ) -> Result<T, ProviderError> {
        let Ok(_turn) = self.talking.try_acquire() else {
            return Err(ProviderError::Unreachable(
                "too many people log in at once; try again in a moment".to_owned(),
            ));
        };
        match tokio::time::timeout(LIMIT, talk).await {
            Ok(done) => done,
            Err(_) => Err(ProviderError::Unreachable(format!(
                "it does not answer within {} s",
                LIMIT.as_secs()
            ))),
        }
    }

    async fn url(&self, attempt: Attempt) -> Result<String, ProviderError> {
        let Attempt {
            redirect,
            state,
            challenge,
            nonce,
        } = attempt;
        let metadata = self.published(KEPT).await?;
        let client = CoreClient::from_provider_metadata(metadata, self.client_id(), None)
            .set_redirect_uri(redirect_url(&redirect.url())?);
        let request = client.authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            move || CsrfToken::new(state),
            move || Nonce::new(nonce),
        );
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let (url, _, _) = request
            .add_scopes(scopes)
            .add_extra_param("code_challenge", challenge)
            .add_extra_param("code_challenge_method", "S256")
            .url();
        Ok(url.to_string())
    }

    fn client_id(&self) -> ClientId {
        ClientId::new(self.settings.client_id.clone())
    }

    async fn known(&self, redemption: Redemption) -> Result<Known, ProviderError> {
        let Redemption {
            redirect,
            code,
            verifier,
            nonce,
        } = redemption;
        let metadata = self.published(KEPT).await?;
        let secret = self
            .secret
            .as_ref()
            .map(|secret| ClientSecret::new(secret.to_string()));
        let client = CoreClient::from_provider_metadata(metadata.clone(), self.client_id(), secret)
            .set_redirect_uri(redirect_url(&redirect.url())?);
        let exchange = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| ProviderError::Unreachable("it publishes no token endpoint".to_owned()))?;
        let answer: Result<CoreTokenResponse, _> = exchange
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&self.web)
            .await;
        let answer = answer.map_err(|error| refused_code(&error))?;
        let expected = verify::Expected {
            issuer: &self.settings.issuer,
            client: &self.settings.client_id,
            nonce: &nonce,
            now: Timestamp::now(),
        };
        let token = answer.extra_fields().id_token().map(ToString::to_string);
        let token = token.ok_or_else(|| {
            verify::fault(
                "TOKEN_MISSING",
                "it sent none; see that the scope `openid` is allowed to this client",
            )
        })?;
        let claims = match verify::claims(&token, metadata.jwks(), &expected) {
            // The provider may sign with a new key by now.
            Err(ProviderError::Token {
                word: verify::SIGNATURE,
                ..
            }) => {
                let newer = self.published(FRESH).await?;
                verify::claims(&token, newer.jwks(), &expected)?
            }
            other => other?,
        };
        self.settings.mapping.known(&self.settings, &claims)
    }
}

#[async_trait]
impl IdentityProvider for Oidc {
    fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    async fn begin(&self, attempt: Attempt) -> Result<String, ProviderError> {
        self.limited(self.url(attempt)).await
    }

    async fn redeem(&self, redemption: Redemption) -> Result<Known, ProviderError> {
        self.limited(self.known(redemption)).await
    }
}

fn redirect_url(url: &str) -> Result<RedirectUrl, ProviderError> {
    RedirectUrl::new(url.to_owned()).map_err(|error| ProviderError::Refused(error.to_string()))
}

fn shown(text: &str) -> String {
    printable_within(text, SHOWN)
}

fn discovery(error: &DiscoveryError<WebError>) -> String {
    let text = match error {
        DiscoveryError::Request(error) => error.to_string(),
        DiscoveryError::Response(status, _, _) => format!("what it publishes is answered with {status}"),
        DiscoveryError::Parse(error) => format!("what it publishes cannot be read: {error}"),
        other => other.to_string(),
    };
    shown(&text)
}

fn refused_code(
    error: &RequestTokenError<WebError, StandardErrorResponse<CoreErrorResponseType>>,
) -> ProviderError {
    match error {
        RequestTokenError::ServerResponse(said) => {
            let what = said.error_description().map_or("", |text| text.as_str());
            let word = said.error().as_ref();
            ProviderError::Refused(shown(format!("{word} {what}").trim()))
        }
        RequestTokenError::Request(error) => ProviderError::Unreachable(shown(&error.to_string())),
        RequestTokenError::Parse(error, _) => verify::fault(
            "TOKEN_MALFORMED",
            &shown(&format!("its answer cannot be read: {error}")),
        ),
        RequestTokenError::Other(text) => ProviderError::Unreachable(shown(text)),
    }
}
