//! `keys`: sealing keys.

use serde_json::json;
use verger_seal::SealingKey;
use zeroize::Zeroizing;

use crate::args::{Format, KeysCommand};
use crate::exit::Exit;
use crate::files;
use crate::output::{Column, Sheet, print};

const COLUMNS: &[Column] = &[Column::new("PUBLIC KEY"), Column::new("ID")];

pub(super) fn keys(command: KeysCommand, format: Format) -> anyhow::Result<Exit> {
    let key = match command {
        KeysCommand::Generate { out } => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(seed.as_mut_slice())
                .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
            let key = SealingKey::from_seed(*seed);
            let pem = key
                .to_pem()
                .ok_or_else(|| anyhow::anyhow!("only a key of Verger's own has PEM"))?;
            files::create(&out, pem.as_bytes())?;
            key
        }
        KeysCommand::Show { key } => files::sealing_key(&key)?,
    };
    let (public, id) = (key.public().to_string(), key.public().id());
    let mut sheet = Sheet::one(COLUMNS);
    sheet.push(
        id.clone(),
        vec![public.clone(), id.clone()],
        json!({ "algorithm": key.public().algorithm(), "publicKey": public, "id": id }),
    );
    print(&sheet, format)?;
    Ok(Exit::Clean)
}
