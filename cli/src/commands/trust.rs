//! `trust`: the trust root, whose first version founds a cluster.

use std::path::Path;

use serde_json::json;
use verger_seal::{MAX_ENVELOPE_BYTES, TrustRoot};

use crate::args::{Format, TrustCommand};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{Column, Sheet, print};

const COLUMNS: &[Column] = &[
    Column::new("CLUSTER"),
    Column::new("VERSION"),
    Column::new("THRESHOLD"),
    Column::new("KEYS"),
    Column::wide("KEY IDS"),
];

pub(super) fn trust(command: TrustCommand, format: Format) -> anyhow::Result<Exit> {
    let root = match command {
        TrustCommand::Init { key, name, out } => {
            let key = files::sealing_key(&key)?;
            let (root, envelope) = TrustRoot::found(&[(name, &key)], 1)
                .map_err(|refusal| Failure::input(format!("--name: {refusal}")))?;
            files::create(&out, &envelope.to_json())?;
            root
        }
        TrustCommand::Show { file } => load(&file)?,
    };
    print(&sheet(&root), format)?;
    Ok(Exit::Clean)
}

fn load(file: &Path) -> anyhow::Result<TrustRoot> {
    let bytes = files::document(file)?;
    if bytes.len() > MAX_ENVELOPE_BYTES {
        return Err(Failure::input(format!("{}: too large to be a trust root", file.display())).into());
    }
    TrustRoot::open_first(&bytes).map_err(|refusal| {
        Failure::input(format!("{}: not a valid trust root: {refusal}", file.display())).into()
    })
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
        join(keys.iter().map(|key| key.public.id()).collect()),
    ];
    let listed: Vec<_> = keys
        .iter()
        .map(|key| json!({ "name": key.name, "algorithm": "ed25519", "publicKey": key.public.hex(), "id": key.public.id() }))
        .collect();
    let object =
        json!({ "clusterId": id, "version": root.version(), "threshold": root.threshold(), "keys": listed });
    let mut sheet = Sheet::one(COLUMNS);
    sheet.push(id, cells, object);
    sheet
}
