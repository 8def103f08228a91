//! How a row's tree and key lie in one key, and how large they may be: rules shared by every implementation.
//!
//! `tree length u8, tree, key`. Keys of one tree stand together, and a tree whose name begins as another's does
//! not stand among them. Length 0 is no tree's: an implementation keeps its own there.

use crate::StoreError;
use crate::state_db::{MAX_KEY_BYTES, MAX_ROW_BYTES, MAX_TREE_BYTES};

/// Joins tree and key, or refuses them.
pub(crate) fn join(tree: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
    if tree.is_empty() {
        return Err(StoreError::Refused {
            what: "a row without the name of its tree".to_owned(),
        });
    }
    limit("the name of a tree", tree.len(), MAX_TREE_BYTES)?;
    limit("the key of a row", key.len(), MAX_KEY_BYTES)?;
    let mut full = Vec::with_capacity(1 + tree.len() + key.len());
    full.push(u8::try_from(tree.len()).expect("bounded above"));
    full.extend_from_slice(tree.as_bytes());
    full.extend_from_slice(key);
    Ok(full)
}

/// Takes a joined key apart; `None` when it is none.
pub(crate) fn split(full: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = full.split_first()?;
    let (tree, key) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(tree).ok()?, key))
}

/// Refuses a value that is too large.
pub(crate) fn limit_value(value: &[u8]) -> Result<(), StoreError> {
    limit("a row", value.len(), MAX_ROW_BYTES)
}

fn limit(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit {
        Err(StoreError::TooLarge { what, size, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bytes_of_a_key_are_frozen() {
        assert_eq!(join("hosts", b"a").unwrap(), b"\x05hostsa");
    }

    #[test]
    fn what_was_joined_comes_apart_and_nothing_else_does() {
        assert_eq!(split(&join("t", b"\0\xff").unwrap()), Some(("t", &b"\0\xff"[..])));
        for none in [&b""[..], b"\x02t", b"\x01\xff"] {
            assert_eq!(split(none), None, "{none:?}");
        }
    }
}
