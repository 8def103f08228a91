//! `login`: by the cluster's identity provider.
//!
//! Nothing is taken on the controller's word but where the browser is to go: the connection is to who holds the pinned authority,
//! the key never leaves this machine, and what the provider vouches for is bound to that key and to this attempt.

mod callback;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use verger_policy::digest::Digest;
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::login_service_client::LoginServiceClient;
use verger_transport::files::replace;
use verger_transport::{Client, Identity, KeyPair, certificate_pem, channel, spki_pin};
use verger_wire::instant;
use zeroize::Zeroizing;

use crate::args::{Format, LoginArgs};
use crate::connect::call;
use crate::context::{Context, LoginKind, place};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{Column, Sheet, note, print};
use crate::signer;

use callback::Callback;

const COLUMNS: &[Column] = &[
    Column::new("PERSON"),
    Column::new("GROUPS"),
    Column::new("UNTIL"),
    Column::wide("FILE"),
];

/// Where to log in.
struct Gate {
    enrol: String,
    cluster: String,
    ca_pin: String,
}

impl Gate {
    /// As the command line says, or else the context.
    fn of(args: &LoginArgs, held: Option<&Context>, place: &Path) -> Result<Self, Failure> {
        if let (Some(enrol), Some(cluster), Some(ca_pin)) = (&args.enrol, &args.cluster_id, &args.ca_pin) {
            let id: Result<Digest, _> = format!("sha256:{cluster}").parse();
            if id.is_err() {
                return Err(Failure::input("--cluster-id is 64 lower-case hex digits"));
            }
            if ca_pin.parse::<Digest>().is_err() {
                return Err(Failure::input(
                    "--ca-pin is `sha256:` and 64 lower-case hex digits",
                ));
            }
            return Ok(Self {
                enrol: enrol.clone(),
                cluster: cluster.clone(),
                ca_pin: ca_pin.clone(),
            });
        }
        match held {
            Some(Context {
                login: Some(LoginKind::Oidc { enrol, ca_pin }),
                cluster_id,
                ..
            }) => Ok(Self {
                enrol: enrol.clone(),
                cluster: cluster_id.clone(),
                ca_pin: ca_pin.clone(),
            }),
            _ => Err(Failure::input(format!(
                "{} does not say where to log in; the first time, run the command that `verger context invite` prints to somebody \
                 who has a login: verger login --oidc --enrol HOST:PORT --cluster-id ID --ca-pin PIN",
                place.display()
            ))),
        }
    }
}

/// What is at the context's place, if anything is.
fn held(place: &Path) -> anyhow::Result<Option<Context>> {
    match place.symlink_metadata() {
        Ok(_) => Context::load(place).map(Some),
        Err(_) => Ok(None),
    }
}

pub(super) async fn login(args: LoginArgs, named: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let place = place(named)?;
    // One that is damaged is no reason not to log in anew, if that is asked for.
    let held = match held(&place) {
        Err(_) if args.replace => None,
        other => other?,
    };
    let gate = Gate::of(&args, held.as_ref(), &place)?;
    let same = held
        .as_ref()
        .filter(|held| held.cluster_id == gate.cluster && matches!(held.login, Some(LoginKind::Oidc { .. })));
    if held.is_some() && same.is_none() && !args.replace {
        return Err(Failure::input(format!(
            "{} holds another login, whose key would be lost; name another file with --context, or give --replace",
            place.display()
        ))
        .into());
    }
    let sealing_key = match &args.key {
        Some(key) => {
            signer::public(key)?;
            Some(std::path::absolute(key)?)
        }
        None => held.as_ref().and_then(|held| held.sealing_key.clone()),
    };
    let (context, answer) = attempt(&args, &gate).await?;
    let context = Context {
        sealing_key,
        addresses: known(context.addresses, same.map_or(&[], |held| &held.addresses)),
        ..context
    };
    files::make_room(&place)?;
    replace(&place, &context.to_json())?;
    note(&format!("written to {}", place.display()));
    let until = answer.not_after.map(|at| instant("not_after", at)).transpose()?;
    let until = until.map(|at| at.to_string()).unwrap_or_default();
    let groups = if answer.groups.is_empty() {
        "none".to_owned()
    } else {
        answer.groups.join(", ")
    };
    let mut sheet = Sheet::one(COLUMNS);
    let object = json!({
        "person": answer.person, "groups": answer.groups, "ends": until, "file": place.display().to_string(),
    });
    let cells = vec![answer.person.clone(), groups, until, place.display().to_string()];
    sheet.push(answer.person, cells, object);
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

/// The addresses of who gave the login, and then those of the other members that were known before, each once.
fn known(mut addresses: Vec<String>, before: &[String]) -> Vec<String> {
    for address in before {
        if !addresses.contains(address) {
            addresses.push(address.clone());
        }
    }
    addresses
}

/// Goes to the provider and back, and has a new key certified.
async fn attempt(args: &LoginArgs, gate: &Gate) -> anyhow::Result<(Context, pb::CompleteLoginResponse)> {
    let key = KeyPair::generate()?;
    let csr: bytes::Bytes = key.request()?.into();
    let (verifier, state) = (secret()?, secret()?);
    let callback = Callback::listen(args.port).await?;
    let client = Arc::new(Client::pinned(&gate.cluster, &gate.ca_pin)?);
    let channel = channel(client, std::slice::from_ref(&gate.enrol)).await?;
    let mut service = LoginServiceClient::new(channel);
    let request = pb::BeginLoginRequest {
        csr: csr.clone(),
        port: callback.port().into(),
        state: state.to_string(),
        code_challenge: URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes()),
    };
    let pb::BeginLoginResponse { url, issuer } = service.begin_login(call(request)).await?.into_inner();
    send_browser(&url, &issuer, args.no_browser)?;
    let code = callback.code(&state, args.no_browser).await?;
    let request = pb::CompleteLoginRequest {
        csr,
        port: callback.port().into(),
        code,
        code_verifier: verifier.to_string(),
    };
    let answer = service.complete_login(call(request)).await?.into_inner();
    let context = context_of(gate, &key, &answer)?;
    Ok((context, answer))
}

/// Checks what was given before anything is overwritten.
fn context_of(gate: &Gate, key: &KeyPair, answer: &pb::CompleteLoginResponse) -> anyhow::Result<Context> {
    let authorities: Vec<Vec<u8>> = answer
        .member_cas
        .iter()
        .map(|authority| authority.to_vec())
        .collect();
    // The connection was to who holds this authority; what it names must be it.
    let pinned = |authority: &Vec<u8>| spki_pin(authority).as_ref() == Some(&gate.ca_pin);
    anyhow::ensure!(
        !authorities.is_empty() && authorities.iter().all(pinned),
        Failure::new(
            Exit::Violation,
            "the controller names another members' authority than --ca-pin; ask whoever runs the controllers"
        )
    );
    let identity = Identity::new(answer.chain.iter().map(|part| part.to_vec()).collect(), key);
    Client::new(&gate.cluster, &identity, &authorities).map_err(|error| {
        anyhow::Error::from(error).context("the certificate that was issued cannot be used")
    })?;
    Ok(Context {
        cluster_id: gate.cluster.clone(),
        addresses: vec![answer.address.clone()],
        member_cas: authorities
            .iter()
            .map(|authority| certificate_pem(authority))
            .collect(),
        certificate: identity.chain_pem(),
        key: Zeroizing::new(identity.key_pem().to_owned()),
        person: answer.person.clone(),
        sealing_key: None,
        login: Some(LoginKind::Oidc {
            enrol: gate.enrol.clone(),
            ca_pin: gate.ca_pin.clone(),
        }),
    })
}

/// Something that cannot be guessed, in letters that a URL takes as they are.
fn secret() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// Shows where to go, and opens it.
fn send_browser(url: &str, issuer: &str, no_browser: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        (url.starts_with("https://") || url.starts_with("http://"))
            && url.bytes().all(|byte| byte.is_ascii_graphic()),
        Failure::new(
            Exit::Violation,
            "the controller names no address that a browser can open"
        )
    );
    note(&format!("log in at {}, with a browser:", printable(issuer)));
    note(url);
    if no_browser {
        note(
            "if the browser is on another machine, paste the address that it ends at (http://127.0.0.1:…) here:",
        );
        return Ok(());
    }
    let started = std::process::Command::new("xdg-open")
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if started.is_err() {
        note("no browser could be started: open the address yourself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn a_login_anew_keeps_where_the_other_members_are_called() {
        let all = |of: &[&str]| of.iter().map(|address| (*address).to_owned()).collect::<Vec<_>>();
        let before = all(&["h1:7400", "h2:7400", "h3:7400"]);
        assert_eq!(
            known(all(&["h2:7400"]), &before),
            all(&["h2:7400", "h1:7400", "h3:7400"])
        );
        assert_eq!(known(all(&["h4:7400"]), &[]), all(&["h4:7400"]));
    }
}
