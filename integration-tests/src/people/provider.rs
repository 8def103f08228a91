//! A small OpenID provider on loopback: discovery, keys (ES256), authorization with PKCE that everybody consents to, and tokens,
//! about which it lies where it is told to.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What the controllers are to it.
const CLIENT: &str = "verger";
/// The largest form it takes, bytes.
const FORM_BYTES: usize = 64 << 10;

/// Who sits in front of the browser.
#[derive(Clone, Debug)]
struct Account {
    /// The claim `preferred_username`.
    name: String,
    /// The claim `sub`.
    subject: String,
    /// The claim `groups`.
    groups: Vec<String>,
}

/// What is wrong with the next token.
#[derive(Clone, Debug)]
pub enum Lie {
    /// A claim says something else.
    Claim(&'static str, Value),
    /// It is over, and was long ago.
    Old,
    /// It is signed with a key that is not published, under the name of one that is.
    OtherKey,
    /// It is not signed.
    Unsigned,
    /// It is this one, of another login.
    Token(String),
}

struct Consent {
    nonce: String,
    challenge: String,
    redirect: String,
    client: String,
}

#[derive(Default)]
struct World {
    account: Option<Account>,
    codes: BTreeMap<String, Consent>,
    lie: Option<Lie>,
    /// The last token given.
    last: Option<String>,
    made: u64,
}

struct Keys {
    good: EcdsaKeyPair,
    other: EcdsaKeyPair,
}

/// The provider. It stops with this value.
pub struct Provider {
    issuer: String,
    world: Arc<Mutex<World>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn new_key() -> Result<EcdsaKeyPair> {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let failed = |_| anyhow::anyhow!("the provider's key cannot be made");
    let bytes = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
    EcdsaKeyPair::from_pkcs8(algorithm, bytes.as_ref(), &random)
        .map_err(|error| anyhow::anyhow!("the provider's key cannot be read: {error}"))
}

impl Provider {
    /// Starts one, at which nobody is known yet.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let keys = Arc::new(Keys {
            good: new_key()?,
            other: new_key()?,
        });
        let world: Arc<Mutex<World>> = Arc::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .context("listening")?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let (serving, of) = (Arc::clone(&world), issuer.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    _ = stopped => {}
                    () = serve(listener, serving, keys, of) => {}
                }
            });
        });
        Ok(Self {
            issuer,
            world,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `[oidc]` of a controller that takes its word.
    pub fn configuration(&self) -> String {
        format!(
            "\n[oidc]\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\n",
            self.issuer
        )
    }

    /// Its name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this person sits in front of the browser.
    pub fn seat(&self, name: &str, subject: &str, groups: &[&str]) {
        self.world().account = Some(Account {
            name: name.to_owned(),
            subject: subject.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        });
    }

    /// The next token is not what it should be.
    pub fn lie(&self, lie: Lie) {
        self.world().lie = Some(lie);
    }

    /// The last token that it gave.
    pub fn last_token(&self) -> Option<String> {
        self.world().last.clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, world: Arc<Mutex<World>>, keys: Arc<Keys>, issuer: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (world, keys, issuer) = (Arc::clone(&world), Arc::clone(&keys), issuer.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (world, keys, issuer) = (Arc::clone(&world), Arc::clone(&keys), issuer.clone());
                async move { Ok::<_, Infallible>(answer(request, &world, &keys, &issuer).await) }
            });
            // Whoever hangs up is gone.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

fn said(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    answer
}

fn refused(error: &str, why: &str) -> Answer {
    said(
        StatusCode::BAD_REQUEST,
        &json!({ "error": error, "error_description": why }),
    )
}

async fn answer(request: Request<Incoming>, world: &Mutex<World>, keys: &Keys, issuer: &str) -> Answer {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/.well-known/openid-configuration" => said(
            StatusCode::OK,
            &json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        ),
        "/keys" => said(StatusCode::OK, &json!({ "keys": [published(&keys.good)] })),
        "/authorize" => {
            let query = form(request.uri().query().unwrap_or_default());
            authorize(&query, &mut world.lock().unwrap_or_else(PoisonError::into_inner))
        }
        "/token" => {
            let body = Limited::new(request.into_body(), FORM_BYTES).collect().await;
            let Ok(body) = body else {
                return refused("invalid_request", "too long");
            };
            let form = form(&String::from_utf8_lossy(&body.to_bytes()));
            token(
                &form,
                &mut world.lock().unwrap_or_else(PoisonError::into_inner),
                keys,
                issuer,
            )
        }
        _ => said(StatusCode::NOT_FOUND, &json!({})),
    }
}

fn published(key: &EcdsaKeyPair) -> Value {
    // Uncompressed: 4, then both coordinates.
    let point = key.public_key().as_ref();
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k1",
        "x": encode(&point[1..33]), "y": encode(&point[33..]),
    })
}

/// A query, or a form.
fn form(text: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((first, more)) = rest.split_first() {
            let hex = more.get(..2).and_then(|hex| hex::decode(hex).ok());
            match (first, hex) {
                (b'%', Some(value)) => {
                    bytes.extend(value);
                    rest = &more[2..];
                }
                (b'+', _) => {
                    bytes.push(b' ');
                    rest = more;
                }
                _ => {
                    bytes.push(*first);
                    rest = more;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn authorize(query: &BTreeMap<String, String>, world: &mut World) -> Answer {
    let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let asked = get("response_type") == "code"
        && get("scope").split(' ').any(|scope| scope == "openid")
        && get("code_challenge_method") == "S256"
        && get("redirect_uri").starts_with("http://127.0.0.1:");
    if !asked || get("client_id").is_empty() || get("code_challenge").is_empty() {
        return refused("invalid_request", "not what this provider is asked");
    }
    let redirect = get("redirect_uri").to_owned();
    let state = get("state");
    let target = if world.account.is_some() {
        world.made += 1;
        let code = format!("code-{}", world.made);
        let consent = Consent {
            nonce: get("nonce").to_owned(),
            challenge: get("code_challenge").to_owned(),
            redirect: redirect.clone(),
            client: get("client_id").to_owned(),
        };
        world.codes.insert(code.clone(), consent);
        format!("{redirect}?code={code}&state={state}")
    } else {
        format!("{redirect}?error=access_denied&error_description=nobody+is+there&state={state}")
    };
    let mut answer = said(StatusCode::FOUND, &json!({}));
    if let Ok(target) = target.parse() {
        answer.headers_mut().insert(hyper::header::LOCATION, target);
    }
    answer
}

fn token(form: &BTreeMap<String, String>, world: &mut World, keys: &Keys, issuer: &str) -> Answer {
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    // A code is good once, whatever becomes of it.
    let Some(consent) = world.codes.remove(get("code")) else {
        return refused("invalid_grant", "the code is unknown or used");
    };
    let verifier = encode(digest(&SHA256, get("code_verifier").as_bytes()).as_ref());
    if verifier != consent.challenge {
        return refused("invalid_grant", "the verifier is not that of the challenge");
    }
    if get("redirect_uri") != consent.redirect || get("client_id") != consent.client {
        return refused("invalid_grant", "the code is of another client");
    }
    let Some(account) = world.account.clone() else {
        return refused("invalid_grant", "nobody is there");
    };
    let now = Timestamp::now().as_second();
    let mut claims = json!({
        "iss": issuer, "aud": consent.client, "azp": consent.client, "sub": account.subject,
        "nonce": consent.nonce, "iat": now, "exp": now + 300,
        "preferred_username": account.name, "groups": account.groups,
    });
    let lie = world.lie.take();
    if let Some(Lie::Claim(name, value)) = &lie {
        claims[*name] = value.clone();
    }
    if matches!(lie, Some(Lie::Old)) {
        claims["iat"] = json!(now - 7_200);
        claims["exp"] = json!(now - 3_600);
    }
    let token = match lie {
        Some(Lie::Token(token)) => token,
        Some(Lie::OtherKey) => signed(&keys.other, &claims),
        Some(Lie::Unsigned) => {
            let header = encode(json!({ "alg": "none" }).to_string().as_bytes());
            format!("{header}.{}.", encode(claims.to_string().as_bytes()))
        }
        _ => signed(&keys.good, &claims),
    };
    world.last = Some(token.clone());
    said(
        StatusCode::OK,
        &json!({ "access_token": "of no use", "token_type": "Bearer", "expires_in": 300, "id_token": token }),
    )
}

fn signed(key: &EcdsaKeyPair, claims: &Value) -> String {
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" }).to_string();
    let text = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = key
        .sign(&SystemRandom::new(), text.as_bytes())
        .map(|signature| encode(signature.as_ref()))
        .unwrap_or_default();
    format!("{text}.{signature}")
}
