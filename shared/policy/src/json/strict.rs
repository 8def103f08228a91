//! Documents that two readers could read as two things are not read at all.
//!
//! The other reader here is that of programs in Go (`encoding/json`): it takes a key for a field's though its case differs, or it
//! is spelled with a long s or the sign of Kelvin, and of a key that is given twice it takes both. Ours does neither.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Which keys an object may have.
pub trait Keys: Copy {
    /// Whether somebody chose them: then they are no fields, and compared as they are.
    fn are_chosen(self) -> bool;

    /// What holds for the value of a key.
    ///
    /// # Errors
    /// Why there may be no such key.
    fn below(self, key: &str) -> Result<Self, String>;

    /// What holds for the items of a list.
    ///
    /// # Errors
    /// Why there may be no list.
    fn item(self) -> Result<Self, String>;
}

/// The form in which the other reader compares keys.
pub fn fold(key: &str) -> String {
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.collect()
}

/// Sees to it that every key may be there and is given once, and that nothing follows.
///
/// # Errors
/// When it is not so, or the bytes are no JSON; names the line and column.
pub fn check(bytes: &[u8], keys: impl Keys) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Walk(keys).deserialize(&mut reader)?;
    reader.end()
}

/// Goes through a value.
#[derive(Clone, Copy)]
struct Walk<K>(K);

impl<'de, K: Keys> DeserializeSeed<'de> for Walk<K> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Keys> Visitor<'de> for Walk<K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let item = self.0.item().map_err(A::Error::custom)?;
        while items.next_element_seed(Walk(item))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self(keys) = self;
        let mut seen = BTreeSet::new();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            let below = keys.below(&key).map_err(A::Error::custom)?;
            let form = match keys.are_chosen() {
                true => key.to_string(),
                false => fold(&key),
            };
            if !seen.insert(form) {
                return Err(A::Error::custom(format!("{key:?} is given twice")));
            }
            members.next_value_seed(Walk(below))?;
        }
        Ok(())
    }
}
