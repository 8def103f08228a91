//! What a person wrote: YAML text to policy objects, or every problem at once with file, line and column.
//!
//! Reading is strict (YAML 1.2 core schema, no unknown or duplicate field, no custom tag, no merge key) and bounded:
//! [`MAX_BYTES`], [`MAX_STRETCH`], [`MAX_DEPTH`] and [`MAX_NODES`] hold before anything is built from the text.

mod canonical;
mod config;
mod env;
mod exception;
mod guardrail;
mod mount;
mod node;
mod object;
mod port;
mod problem;
mod reader;
mod role;
mod scalar;
mod workload;
mod write;
mod yaml;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub use canonical::{InvalidObject, MAX_OBJECT_BYTES};
pub(crate) use problem::nearest;
pub use problem::{MAX_PROBLEMS, Problem};
pub use write::write;
pub use yaml::{MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_STRETCH};

use crate::model::{PolicyObject, Spec};
use node::{Node, Place};
use problem::Problems;
use reader::{Form, Reader};

/// One document of a file: well-formed YAML, nothing else is known of it yet.
#[derive(Clone, Debug)]
pub struct Draft {
    file: String,
    node: Node,
}

impl Draft {
    /// The line it begins on.
    pub const fn line(&self) -> u32 {
        self.node.place.line
    }

    /// Checks it.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn check(self) -> Result<PolicyObject, Vec<Problem>> {
        self.checked(None)
    }

    /// [`Self::check`] for a draft that is about to be signed: an exception without `notBefore` begins `now`.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn check_at(self, now: Timestamp) -> Result<PolicyObject, Vec<Problem>> {
        self.checked(Some(now))
    }

    fn checked(self, now: Option<Timestamp>) -> Result<PolicyObject, Vec<Problem>> {
        let mut problems = Problems::default();
        self.read(now, &mut problems)
            .ok_or_else(|| problems.finish(&self.file))
    }

    /// Reads the object; where there is none, `problems` has got the reason.
    fn read(&self, now: Option<Timestamp>, problems: &mut Problems) -> Option<PolicyObject> {
        let mut reader = Reader::new(&self.file, Form::Draft, problems);
        let object = object::object(&mut reader, &self.node).ok()?;
        fits(&mut reader, self.node.place, &object, now).ok()?;
        Some(object)
    }
}

/// What only the whole object shows.
fn fits(
    reader: &mut Reader<'_>,
    place: Place,
    object: &PolicyObject,
    now: Option<Timestamp>,
) -> reader::Got<()> {
    let size = object.canonical_bytes().len();
    if size > MAX_OBJECT_BYTES {
        return Err(reader.report(
            place,
            format!("the object has {size} canonical bytes; the limit is {MAX_OBJECT_BYTES}"),
            "state less in one object",
        ));
    }
    match &object.spec {
        Spec::Exception(exception) => exception.check_window(now).map_err(|fault| {
            reader.under("spec", |reader| {
                reader.under("notAfter", |reader| {
                    reader.report(place, fault.to_string(), exception::window_remedy(fault))
                })
            })
        }),
        Spec::Guardrail(guardrail) => {
            let name = &object.metadata.name;
            match guardrail.checks.iter().find(|check| check.rule(name).is_none()) {
                None => Ok(()),
                Some(check) => Err(reader.report(
                    place,
                    format!(
                        "the name with that of its check {} is too long for a rule",
                        check.id
                    ),
                    "give the guardrail or the check a shorter name",
                )),
            }
        }
        _ => Ok(()),
    }
}

/// Splits a file into its documents. Empty documents are passed over.
///
/// # Errors
/// Every fault of syntax, and every problem of the documents before the one that ends the reading.
pub fn parse(file: &str, text: &[u8]) -> Result<Vec<Draft>, Vec<Problem>> {
    let mut problems = Problems::default();
    let drafts = split(file, text, &mut problems);
    if problems.is_empty() {
        return Ok(drafts);
    }
    for draft in drafts {
        draft.read(None, &mut problems);
    }
    Err(problems.finish(file))
}

/// Reads every object of a file. A file without a document gives none.
///
/// # Errors
/// Every problem there is, by line.
pub fn read(file: &str, text: &[u8]) -> Result<Vec<PolicyObject>, Vec<Problem>> {
    read_all(file, text, None)
}

/// [`read`] for drafts that are about to be signed: an exception without `notBefore` begins `now`.
///
/// # Errors
/// Every problem there is, by line.
pub fn read_at(file: &str, text: &[u8], now: Timestamp) -> Result<Vec<PolicyObject>, Vec<Problem>> {
    read_all(file, text, Some(now))
}

fn split(file: &str, text: &[u8], problems: &mut Problems) -> Vec<Draft> {
    let nodes = yaml::documents(file, text, problems);
    nodes
        .into_iter()
        .map(|node| Draft {
            file: file.to_owned(),
            node,
        })
        .collect()
}

fn read_all(file: &str, text: &[u8], now: Option<Timestamp>) -> Result<Vec<PolicyObject>, Vec<Problem>> {
    let mut problems = Problems::default();
    let drafts = split(file, text, &mut problems);
    let mut objects = Vec::with_capacity(drafts.len());
    let mut lines = BTreeMap::new();
    for draft in drafts {
        let Some(object) = draft.read(now, &mut problems) else {
            continue;
        };
        let Place { line, column } = draft.node.place;
        match lines.insert(object.key(), line) {
            None => objects.push(object),
            Some(first) => problems.push(|| Problem {
                file: file.to_owned(),
                line,
                column,
                field: "metadata.name".to_owned(),
                message: format!("{} is in this file twice, first on line {first}", object.key()),
                remedy: "keep one of the two".to_owned(),
            }),
        }
    }
    if problems.is_empty() {
        Ok(objects)
    } else {
        Err(problems.finish(file))
    }
}
