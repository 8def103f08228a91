//! Values bigger than one record, cut into several.

use verger_agent_core::store::StoreError;

use crate::journal::{Changes, Journal};
use crate::record::MAX_PAYLOAD;

/// Replaces the parts under `prefix` by those of `bytes`; none of no bytes.
pub(crate) fn put(
    journal: &Journal,
    prefix: &[u8],
    bytes: &[u8],
    changes: &mut Changes,
) -> Result<(), StoreError> {
    journal.scan(prefix, prefix, |key, _| {
        changes.insert(key.to_vec(), None);
        Ok(true)
    })?;
    for (part, chunk) in bytes.chunks(MAX_PAYLOAD).enumerate() {
        let part = u16::try_from(part).expect("the size was checked").to_be_bytes();
        changes.insert([prefix, &part].concat(), Some(chunk.to_vec()));
    }
    Ok(())
}

/// Reads the payloads under `prefix`, in order.
pub(crate) fn all(journal: &Journal, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut found = Vec::new();
    journal.scan(prefix, prefix, |_, payload| {
        found.push(payload);
        Ok(true)
    })?;
    Ok(found)
}
