//! `trust`: the trust root, whose first version founds a cluster.

use std::path::Path;

use serde_json::json;
use verger_policy::model::printable;
use verger_seal::{InvalidKey, MAX_ENVELOPE_BYTES, PublicKey, Refusal, Terms, TrustRoot, TrustedKey};
use verger_transport::files::replace;

use super::rotation;
use crate::args::{Format, TrustCommand};
use crate::consent::{Matter, named};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{Column, Sheet, for_people, note, print};
use crate::signer;

const COLUMNS: &[Column] = &[
    Column::new("CLUSTER"),
    Column::new("VERSION"),
    Column::new("THRESHOLD"),
    Column::new("KEYS"),
    Column::new("MEMBERS"),
    Column::wide("KEY IDS"),
];

pub(super) async fn trust(
    command: TrustCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let root = match command {
        TrustCommand::Rotate {
            add,
            remove,
            add_member,
            remove_member,
            threshold,
            valid_days,
            out,
        } => {
            let change = rotation::Change {
                keys: rotation::Swap {
                    add: others("--add", &add)?,
                    remove,
                    flag: "--remove",
                },
                members: rotation::Swap {
                    add: others("--add-member", &add_member)?,
                    remove: remove_member,
                    flag: "--remove-member",
                },
                threshold,
                valid_days,
            };
            return rotation::rotate(change, &out, context, format).await;
        }
        TrustCommand::Submit { file } => return rotation::submit(&file, context, format).await,
        TrustCommand::Sign { file, key, digest } if rotation::is_one(&read(&file)?) => {
            return rotation::sign(&file, &key, digest.as_deref(), context, format).await;
        }
        TrustCommand::Show { file } if rotation::is_one(&read(&file)?) => {
            return rotation::show(&file, context, format).await;
        }
        TrustCommand::Init {
            key,
            name,
            with,
            threshold,
            members,
            out,
        } => {
            let key = signer::Key::open(&key)?;
            let mut keys = vec![TrustedKey {
                name,
                public: key.public(),
            }];
            keys.extend(others("--with", &with)?);
            let terms = Terms {
                keys,
                threshold,
                members: others("--member", &members)?,
            };
            if terms.members.is_empty() {
                note(
                    "it names no controller: nobody will say how fresh a policy set is. `verger-controller member-key` prints what \
                     --member takes",
                );
            }
            let mut envelope = TrustRoot::draft(&terms, &[]).map_err(|refusal| {
                Failure::input(format!("--name, --with, --member, --threshold: {refusal}"))
            })?;
            key.sign(&mut envelope)?;
            files::create(&out, &envelope.to_json())?;
            signed(&out, &envelope.to_json())?
        }
        TrustCommand::Sign { file, key, digest } => return sign(&file, &key, digest.as_deref(), format),
        TrustCommand::Show { file } => load(&file)?,
    };
    print(&sheet(&root), format)?;
    Ok(Exit::Clean)
}

/// Shows version 1, and signs it if that is what the person means.
fn sign(file: &Path, key: &Path, digest: Option<&str>, format: Format) -> anyhow::Result<Exit> {
    let look = format!("verger trust show --file {}", file.display());
    let digest = named("--digest", digest, &look)?;
    let key = signer::Key::open(key)?;
    let (draft, mut envelope) = TrustRoot::read_draft(&read(file)?)
        .map_err(|refusal| Failure::input(format!("{}: {refusal}", file.display())))?;
    if !draft.keys().iter().any(|trusted| trusted.public == key.public()) {
        return Err(Failure::input(format!(
            "{} does not name the key {}; nothing was signed",
            file.display(),
            key.public().id()
        ))
        .into());
    }
    if for_people(format) {
        print(&sheet(&draft), Format::Wide)?;
    }
    if envelope.signers([key.public()]).is_empty() {
        let matter = Matter {
            what: &file.display().to_string(),
            of: "cluster id",
            found: draft.digest(),
            flag: "--digest",
            look: &look,
        };
        matter.consent(digest, format)?;
        key.sign(&mut envelope)?;
        replace(file, &envelope.to_json())?;
    }
    let root = signed(file, &envelope.to_json())?;
    if !for_people(format) {
        print(&sheet(&root), format)?;
    }
    Ok(Exit::Clean)
}

fn others(flag: &str, texts: &[String]) -> anyhow::Result<Vec<TrustedKey>> {
    texts.iter().map(|text| other(flag, text)).collect()
}

/// `NAME=PUBLIC_KEY`.
fn other(flag: &str, text: &str) -> anyhow::Result<TrustedKey> {
    let wrong = |what: String| Failure::input(format!("{flag} `{}`: {what}", printable(text)));
    let (name, public) = text.split_once('=').ok_or_else(|| {
        wrong("write NAME=PUBLIC_KEY; `verger keys show --key FILE` prints the key, and an SSH key is what stands in its .pub file".to_owned())
    })?;
    let public: PublicKey = public
        .parse()
        .map_err(|error: InvalidKey| wrong(error.to_string()))?;
    Ok(TrustedKey {
        name: name.to_owned(),
        public,
    })
}

/// What a file says, with a word on whose signatures are missing.
fn signed(file: &Path, envelope: &[u8]) -> anyhow::Result<TrustRoot> {
    let (root, envelope) = TrustRoot::read_draft(envelope)
        .map_err(|refusal| anyhow::anyhow!("{}: {refusal}", file.display()))?;
    let signers = envelope.signers(root.keys().iter().map(|key| key.public));
    let missing = root.threshold().saturating_sub(signers.len());
    if missing > 0 {
        let whose: Vec<&str> = root
            .keys()
            .iter()
            .filter(|key| !signers.contains(&key.public))
            .map(|key| key.name.as_str())
            .collect();
        note(&format!(
            "{missing} more must sign before it founds a cluster, of: {}. Each looks at it and runs: verger trust sign --file {} --key KEY",
            whose.join(", "),
            file.display()
        ));
    }
    Ok(root)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = files::document(file)?;
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(Failure::input(format!("{}: too large to be a trust root", file.display())).into());
    }
    Ok(bytes)
}

fn load(file: &Path) -> anyhow::Result<TrustRoot> {
    let bytes = read(file)?;
    match TrustRoot::open_first(&bytes) {
        Err(Refusal::BelowThreshold { .. }) => signed(file, &bytes),
        opened => opened.map_err(|refusal| {
            Failure::input(format!("{}: not a valid trust root: {refusal}", file.display())).into()
        }),
    }
}

fn sheet(root: &TrustRoot) -> Sheet {
    let id = root.cluster_id().hex();
    let keys = root.keys();
    let join = |texts: Vec<String>| texts.join(",");
    let cells = vec![
        id.clone(),
        root.version().to_string(),
        root.threshold().to_string(),
        join(keys.iter().map(|key| key.name.clone()).collect()),
        join(root.members().iter().map(|key| key.name.clone()).collect()),
        join(keys.iter().map(|key| key.public.id()).collect()),
    ];
    let listed = |keys: &[TrustedKey]| -> Vec<_> {
        keys.iter()
            .map(|key| json!({ "name": key.name, "algorithm": key.public.algorithm(), "publicKey": key.public.to_string(), "id": key.public.id() }))
            .collect()
    };
    let object = json!({
        "clusterId": id, "digest": root.digest(), "version": root.version(), "threshold": root.threshold(),
        "keys": listed(keys), "members": listed(root.members()),
    });
    let mut sheet = Sheet::one(COLUMNS);
    sheet.push(id, cells, object);
    sheet
}
