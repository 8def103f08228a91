//! `keys`: sealing keys.

use std::path::{Path, PathBuf};

use serde_json::json;
use verger_seal::{PublicKey, SealingKey};
use zeroize::Zeroizing;

use super::rotation;
use crate::args::{Format, KeysCommand, SetArgs};
use crate::connect::Session;
use crate::exit::Exit;
use crate::output::{Column, Sheet, note, print};
use crate::signer::{self, Agent};
use crate::{files, sealed};

const COLUMNS: &[Column] = &[Column::new("PUBLIC KEY"), Column::new("ID")];
const LISTED: &[Column] = &[
    Column::new("NAME"),
    Column::new("KIND"),
    Column::new("ID"),
    Column::new("TRUSTED"),
    Column::new("HERE"),
    Column::wide("PUBLIC KEY"),
];

pub(super) async fn keys(
    command: KeysCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let public = match command {
        KeysCommand::Generate { out, passphrase } => generate(&out, passphrase)?,
        KeysCommand::Show { key } => signer::public(&key)?,
        KeysCommand::Rotate {
            key,
            new,
            valid_days,
            out,
        } => {
            let keys = [signer::Key::open(&key)?, signer::Key::open(&new)?];
            return rotation::replace_key(&keys, valid_days, &out, context, format).await;
        }
        KeysCommand::List => {
            print(&list(context).await?, format)?;
            return Ok(Exit::Clean);
        }
    };
    let (text, id) = (public.to_string(), public.id());
    let mut sheet = Sheet::one(COLUMNS);
    sheet.push(
        id.clone(),
        vec![text.clone(), id.clone()],
        json!({ "algorithm": public.algorithm(), "publicKey": text, "id": id }),
    );
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

/// Makes a key: of Verger's own, or an SSH key that a passphrase protects.
fn generate(out: &Path, passphrase: bool) -> anyhow::Result<PublicKey> {
    let mut seed = Zeroizing::new([0; 32]);
    random(seed.as_mut_slice())?;
    if passphrase {
        let passphrase = signer::choose_passphrase(out)?;
        let (mut salt, mut check) = ([0; 16], [0; 4]);
        random(&mut salt)?;
        random(&mut check)?;
        let text = signer::lock(&seed, passphrase.as_bytes(), salt, u32::from_be_bytes(check))?;
        files::create(out, text.as_bytes())?;
        return Ok(SealingKey::ssh_ed25519(*seed).public());
    }
    let key = SealingKey::from_seed(*seed);
    let pem = key.to_pem().expect("a key of Verger's own has PEM");
    files::create(out, pem.as_bytes())?;
    Ok(key.public())
}

fn random(bytes: &mut [u8]) -> anyhow::Result<()> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))
}

/// A key that can be used, or that somebody else has.
struct Listed {
    public: PublicKey,
    /// Whose it is, if it is of the trust root in force.
    name: Option<String>,
    /// The context's file.
    file: Option<PathBuf>,
    agent: bool,
}

/// The keys of the trust root in force and the context's own, and where each is.
async fn list(context: Option<&Path>) -> anyhow::Result<Sheet> {
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &SetArgs::default()).await?;
    let own = match session.context().sealing_key.clone() {
        None => None,
        Some(file) => match signer::public(&file) {
            Ok(public) => Some((public, file)),
            Err(error) => {
                note(&format!("the context's sealing key cannot be used: {error}"));
                None
            }
        },
    };
    let in_agent = Agent::open().and_then(|mut agent| agent.keys());
    let in_agent = in_agent.unwrap_or_else(|error| {
        note(&format!("{error}"));
        Vec::new()
    });
    let keys = held.trust_root.keys().iter();
    let mut found: Vec<Listed> = keys
        .map(|key| Listed {
            public: key.public,
            name: Some(key.name.clone()),
            file: None,
            agent: in_agent.contains(&key.public),
        })
        .collect();
    if let Some((public, file)) = own {
        match found.iter_mut().find(|listed| listed.public == public) {
            Some(listed) => listed.file = Some(file),
            None => found.push(Listed {
                public,
                name: None,
                file: Some(file),
                agent: in_agent.contains(&public),
            }),
        }
    }
    let mut sheet = Sheet::list(LISTED, "no keys");
    for listed in found {
        row(&mut sheet, listed);
    }
    Ok(sheet)
}

fn row(sheet: &mut Sheet, listed: Listed) {
    let Listed {
        public,
        name,
        file,
        agent,
    } = listed;
    let file = file.map(|file| file.display().to_string());
    let mut places: Vec<String> = file.iter().cloned().collect();
    if agent {
        places.push("ssh-agent".to_owned());
    }
    let places = if places.is_empty() {
        "no".to_owned()
    } else {
        places.join(", ")
    };
    let trusted = name.is_some();
    let object = json!({
        "name": name, "algorithm": public.algorithm(), "publicKey": public.to_string(), "id": public.id(),
        "trusted": trusted, "file": file, "agent": agent,
    });
    let cells = vec![
        name.unwrap_or_default(),
        public.algorithm().to_owned(),
        public.id(),
        if trusted { "yes" } else { "no" }.to_owned(),
        places,
        public.to_string(),
    ];
    sheet.push(public.id(), cells, object);
}
