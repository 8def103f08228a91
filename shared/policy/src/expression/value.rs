//! What an expression looks at, as values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::types::{MAX_INNER, MAX_MEMBERS, MAX_TEXT};

/// A value. Its parts are of the types that the table of fields says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// A list; its members are all of one type.
    List(Vec<Value<'a>>),
    /// Texts by text.
    Map(BTreeMap<Cow<'a, str>, Cow<'a, str>>),
    /// The members of a record, in the order of its type.
    Record(Vec<Value<'a>>),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn texts<T: Into<Cow<'a, str>>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// What of it is larger than an expression may see.
    pub(super) fn excess(&self) -> Option<String> {
        self.excess_over(MAX_MEMBERS)
    }

    fn excess_over(&self, most: usize) -> Option<String> {
        let long = |text: &str| {
            (text.len() > MAX_TEXT).then(|| {
                format!(
                    "a text has {} bytes; an expression sees at most {MAX_TEXT}",
                    text.len()
                )
            })
        };
        let many = |count: usize| {
            (count > most).then(|| format!("there are {count} members; an expression sees at most {most}"))
        };
        match self {
            Self::Bool(_) | Self::Int(_) => None,
            Self::Text(text) => long(text),
            Self::List(members) => many(members.len())
                .or_else(|| members.iter().find_map(|member| member.excess_over(MAX_INNER))),
            Self::Map(members) => many(members.len()).or_else(|| {
                members
                    .iter()
                    .find_map(|(key, value)| long(key).or_else(|| long(value)))
            }),
            Self::Record(members) => members.iter().find_map(|member| member.excess_over(MAX_INNER)),
        }
    }
}
