//! Objects from canonical bytes: the only form agents and controllers accept.

use std::fmt;

use serde_json::Value as Json;

use super::node::{Key, Node, Place, Value};
use super::object::object;
use super::problem::{Problem, Problems};
use super::reader::{Form, Reader};
use crate::model::PolicyObject;

/// The most canonical bytes one object may have: 1 MiB.
pub const MAX_OBJECT_BYTES: usize = 1 << 20;

/// Why bytes are not the canonical bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidObject {
    /// More than [`MAX_OBJECT_BYTES`].
    #[error("the object has {0} canonical bytes; the limit is {MAX_OBJECT_BYTES}")]
    TooLarge(usize),
    /// They do not begin with `verger/v1/object\0`.
    #[error("the bytes are not a policy object of version 1")]
    Prefix,
    /// What follows is not JSON.
    #[error("the object is not JSON")]
    NotJson,
    /// The object breaks rules of the model.
    #[error("{}", Joined(.0))]
    Problems(Vec<Problem>),
    /// The object is good, but another spelling of it is canonical.
    #[error("the object is not in its canonical form")]
    NotCanonical,
}

struct Joined<'a>(&'a [Problem]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl PolicyObject {
    /// Reads canonical bytes, prefix included. Annotations are never in them.
    ///
    /// # Errors
    /// When they are not exactly the bytes that [`Self::canonical_bytes`] gives for the object they state.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, InvalidObject> {
        if bytes.len() > MAX_OBJECT_BYTES {
            return Err(InvalidObject::TooLarge(bytes.len()));
        }
        let json = bytes
            .strip_prefix(crate::model::OBJECT_PREFIX)
            .ok_or(InvalidObject::Prefix)?;
        let json = crate::json::parse(json).map_err(|_| InvalidObject::NotJson)?;
        let mut problems = Problems::default();
        let Ok(read) = object(
            &mut Reader::new("object", Form::Canonical, &mut problems),
            &node(&json),
        ) else {
            return Err(InvalidObject::Problems(problems.finish("object")));
        };
        if read.canonical_bytes() != bytes {
            return Err(InvalidObject::NotCanonical);
        }
        Ok(read)
    }
}

// The depth is bounded by serde_json's own limit of 128.
fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Number(number.to_string().into()),
        Json::String(text) => Value::Text {
            text: text.as_str().into(),
            quoted: true,
        },
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(map) => Value::Map(
            map.iter()
                .map(|(key, value)| {
                    (
                        Key {
                            text: key.as_str().into(),
                            place: Place::default(),
                        },
                        node(value),
                    )
                })
                .collect(),
        ),
    };
    Node {
        value,
        place: Place::default(),
    }
}
