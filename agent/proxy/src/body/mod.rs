//! Documents that come with calls: read strictly, and asked what they reach.

mod create;
pub(crate) mod effective;
mod modest;
pub(crate) mod podman;
pub(crate) mod shapes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use verger_policy::json::{self, strict};
use verger_policy::model::{Resource, Verb};

use crate::call::{On, Wish};
use crate::{Refusal, shown};

use crate::table::Engine;

pub use crate::table::Document;

/// The longest document, bytes. Docker's own plugins for authorization see none over 1 MiB, and the daemon takes them all.
pub const JSON_BYTES: usize = 1 << 20;

/// A document and what it asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    value: Value,
    /// What is done to other things.
    pub(crate) wishes: BTreeSet<Wish>,
    /// What is done besides to the container that the path names.
    pub(crate) of_own: BTreeSet<Verb>,
    /// The image of a container that is made, and the labels it is given.
    pub(crate) image: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Where the document names containers.
    named: Vec<Named>,
}

/// A place that names a container: where, how it is written around the name, and the name.
#[derive(Clone, Debug)]
struct Named {
    pointer: String,
    before: &'static str,
    reference: String,
    after: String,
}

impl Read {
    fn of(value: Value) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    fn wish(&mut self, verb: Verb, on: On) {
        self.wishes.insert(Wish { verb, on });
    }

    fn all(&mut self, verb: Verb, resource: Resource) {
        self.wish(verb, On::All(resource));
    }

    /// The document as it is sent on.
    pub(crate) fn written(&self, ids: &BTreeMap<String, String>) -> Vec<u8> {
        let mut value = self.value.clone();
        for Named {
            pointer,
            before,
            reference,
            after,
        } in &self.named
        {
            let id = ids.get(reference).unwrap_or(reference);
            if let Some(place) = value.pointer_mut(pointer) {
                *place = Value::String(format!("{before}{id}{after}"));
            }
        }
        value.to_string().into_bytes()
    }
}

/// Reads a document of a shape, and what it asks for. `runtimes` are those that a container may name.
///
/// # Errors
/// When the daemon could read it otherwise, or when nobody may have what it asks for.
pub(crate) fn read(
    engine: Engine,
    document: Document,
    bytes: &[u8],
    runtimes: &BTreeSet<String>,
) -> Result<Read, Refusal> {
    if bytes.len() > JSON_BYTES {
        return Err(Refusal {
            status: 413,
            message: format!("verger: a document of more than {JSON_BYTES} bytes is refused"),
        });
    }
    let is_nothing = bytes.is_empty() && document == Document::Commit;
    let bytes = if is_nothing { b"null" } else { bytes };
    let unclear = |error: serde_json::Error| {
        Refusal::unclear(format!(
            "verger: the document could be read otherwise: {}",
            shown(&error.to_string())
        ))
    };
    strict::check(bytes, document.shape()).map_err(unclear)?;
    let value = json::parse(bytes).map_err(unclear)?;
    if !value.is_object() && document != Document::Commit {
        return Err(Refusal::unclear("verger: the document is no object"));
    }
    match document {
        Document::Create => match engine {
            Engine::Docker => create::read(value, runtimes),
            Engine::Podman => podman::of_docker(create::read(value, runtimes)?),
        },
        Document::Spec => podman::spec(value, runtimes),
        Document::Limits => podman::limits(value),
        Document::Exec => Ok(modest::exec(value)),
        Document::Update => Ok(modest::update(value)),
        Document::Connect => modest::membership(value, Verb::Connect, "Container"),
        Document::ConnectOfPodman => modest::membership(value, Verb::Connect, "container"),
        Document::Disconnect => modest::membership(value, Verb::Disconnect, "Container"),
        Document::Network => modest::network(value),
        Document::NetworkOfPodman => podman::network(value),
        Document::Volume => modest::volume(value),
        Document::VolumeOfPodman => podman::volume(value),
        Document::Auth | Document::Commit | Document::ExecStart => Ok(Read::of(value)),
    }
}

/// Whether a value says nothing: what Go leaves at its zero.
fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Bool(true)) => false,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
    }
}

fn unfit(key: &str, what: &str) -> Refusal {
    Refusal::unclear(format!("verger: `{key}` is no {what}"))
}

/// The text of a key, empty where there is none.
///
/// # Errors
/// When it is something else: whoever reads more laxly finds a text in it, or takes its place for what it is not.
fn text<'a>(of: &'a Value, key: &str) -> Result<&'a str, Refusal> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(unfit(key, "text")),
    }
}

/// The list of a key, empty where there is none.
///
/// # Errors
/// As [`text`].
fn items<'a>(of: &'a Value, key: &str) -> Result<&'a [Value], Refusal> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(unfit(key, "list")),
    }
}

/// The object of a key, null where there is none.
///
/// # Errors
/// As [`text`].
fn object<'a>(of: &'a Value, key: &str) -> Result<&'a Value, Refusal> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(&Value::Null),
        Some(object @ Value::Object(_)) => Ok(object),
        Some(_) => Err(unfit(key, "object")),
    }
}

/// The texts in the list of a key. A single text is a list of one to Docker where it reads a command or capabilities.
///
/// # Errors
/// As [`text`].
fn texts<'a>(of: &'a Value, key: &str) -> Result<Vec<&'a str>, Refusal> {
    if let Some(Value::String(text)) = of.get(key) {
        return Ok(vec![text]);
    }
    let texts = items(of, key)?.iter().map(Value::as_str);
    texts
        .collect::<Option<_>>()
        .ok_or_else(|| unfit(key, "list of texts"))
}

#[cfg(test)]
mod tests;
