//! Reads trees into typed values, collecting every problem on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::node::{Key, Node, Place, Value, is_ambiguous_word};
use super::problem::{Problem, Problems, nearest, quoted};
use crate::model::{Stated, printable_within};

/// A value, or the proof that what is wrong with it was reported.
pub(super) type Got<T> = Result<T, Reported>;

/// Only [`Reader::report`] makes one: a decoder cannot fail in silence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported(());

/// How quantities are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people: `512Mi`, `1.5` cores.
    Draft,
    /// Canonical bytes: plain integers of the model's units.
    Canonical,
}

/// Where in a document the reading is, and what was wrong so far.
pub(super) struct Reader<'f> {
    file: &'f str,
    pub(super) form: Form,
    path: String,
    problems: &'f mut Problems,
}

impl<'f> Reader<'f> {
    pub(super) const fn new(file: &'f str, form: Form, problems: &'f mut Problems) -> Self {
        Self {
            file,
            form,
            path: String::new(),
            problems,
        }
    }

    pub(super) fn report(
        &mut self,
        place: Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Reported {
        let Self {
            file, path, problems, ..
        } = self;
        problems.push(|| Problem {
            file: (*file).to_owned(),
            line: place.line,
            column: place.column,
            field: path.clone(),
            message: message.into(),
            remedy: remedy.into(),
        });
        Reported(())
    }

    /// Reports a value of the wrong sort.
    pub(super) fn wrong_sort<T>(&mut self, node: &Node, wanted: &str) -> Got<T> {
        let remedy = match node.value {
            Value::Null => "write a value, or remove the field".to_owned(),
            _ => format!("write {wanted}"),
        };
        Err(self.report(node.place, format!("is {}, not {wanted}", node.sort()), remedy))
    }

    /// Reads something under a field.
    pub(super) fn under<T>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(&printable_within(field, 60));
        let got = read(self);
        self.path.truncate(before);
        got
    }

    /// Reads one item of a list.
    fn item<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        write!(self.path, "[{index}]").expect("a String takes everything");
        let got = read(self);
        self.path.truncate(before);
        got
    }

    /// Opens a map with known fields.
    pub(super) fn open<'n>(&mut self, node: &'n Node) -> Got<Fields<'n>> {
        match &node.value {
            Value::Map(entries) => Ok(Fields {
                entries,
                place: node.place,
                known: Vec::new(),
            }),
            _ => self.wrong_sort(node, "a map"),
        }
    }

    /// Reads a list, item by item.
    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        mut read: impl FnMut(&mut Self, &Node) -> Got<T>,
    ) -> Got<Vec<T>> {
        let Value::List(items) = &node.value else {
            return self.wrong_sort(node, "a list");
        };
        let all: Vec<Got<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.item(index, |reader| read(reader, item)))
            .collect();
        all.into_iter().collect()
    }

    /// Reads a list that is a set: its order means nothing, and nothing is in it twice.
    pub(super) fn set<T: Ord + Clone>(
        &mut self,
        node: &Node,
        read: impl FnMut(&mut Self, &Node) -> Got<T>,
    ) -> Got<BTreeSet<T>> {
        Ok(self.records(node, "value", read, T::clone)?.into_iter().collect())
    }

    /// Reads a list that is a set of records with distinct keys, and sorts it by key.
    pub(super) fn records<T, K: Ord>(
        &mut self,
        node: &Node,
        key_name: &str,
        mut read: impl FnMut(&mut Self, &Node) -> Got<T>,
        key: impl Fn(&T) -> K,
    ) -> Got<Vec<T>> {
        let mut sorted = BTreeMap::new();
        let items = self.list(node, |reader, item| {
            let record = read(reader, item)?;
            match sorted.insert(key(&record), record) {
                None => Ok(()),
                Some(_) => Err(reader.report(
                    item.place,
                    format!("the same {key_name} is in the list twice"),
                    "keep one of the two",
                )),
            }
        });
        items?;
        Ok(sorted.into_values().collect())
    }

    /// Reads a map whose keys are free.
    pub(super) fn map<V>(
        &mut self,
        node: &Node,
        mut check_key: impl FnMut(&mut Self, &Key) -> Got<()>,
        mut read: impl FnMut(&mut Self, &Node) -> Got<V>,
    ) -> Got<BTreeMap<String, V>> {
        let Value::Map(entries) = &node.value else {
            return self.wrong_sort(node, "a map");
        };
        let all: Vec<Got<(String, V)>> = entries
            .iter()
            .map(|(key, value)| {
                self.under(&key.text, |reader| {
                    let checked = check_key(reader, key);
                    let value = read(reader, value)?;
                    checked.map(|()| (key.text.to_string(), value))
                })
            })
            .collect();
        all.into_iter().collect()
    }

    /// Reads text. Unquoted text that YAML takes for something else is refused, as is NUL.
    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Got<&'n str> {
        let fault = match &node.value {
            Value::Text { text, quoted: false } if is_ambiguous_word(text) => {
                format!(
                    "{} without quotes is true or false to other YAML readers",
                    quoted(text)
                )
            }
            Value::Text { text, .. } if text.contains('\0') => {
                return Err(self.report(node.place, "has a NUL character in it", "remove it"));
            }
            Value::Text { text, .. } => return Ok(text),
            Value::Number(text) => format!("{} without quotes is a number, not text", quoted(text)),
            Value::Bool(value) => format!("`{value}` without quotes is a truth value, not text"),
            Value::Null | Value::List(_) | Value::Map(_) => return self.wrong_sort(node, "text"),
        };
        Err(self.report(node.place, fault, "put it in quotes"))
    }

    /// Reads true or false.
    pub(super) fn truth(&mut self, node: &Node) -> Got<bool> {
        match &node.value {
            Value::Bool(value) => Ok(*value),
            _ => self.wrong_sort(node, "`true` or `false`"),
        }
    }

    /// Reads text and parses it; `wanted` says what it should be, as the remedy.
    pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        node: &Node,
        wanted: &str,
    ) -> Got<T> {
        let text = self.text(node)?;
        text.parse().map_err(|error: T::Err| {
            self.report(
                node.place,
                format!("{} is not valid: {error}", quoted(text)),
                wanted,
            )
        })
    }

    /// Reads one of the words of an enum.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        all: &[T],
        spelling: impl Fn(T) -> &'static str,
    ) -> Got<T> {
        let text = self.text(node)?;
        if let Some(found) = all.iter().find(|value| spelling(**value) == text) {
            return Ok(*found);
        }
        let words: Vec<&str> = all.iter().map(|value| spelling(*value)).collect();
        let remedy = match nearest(text, &words) {
            Some(word) => format!("did you mean `{word}`? Write one of: {}", words.join(", ")),
            None => format!("write one of: {}", words.join(", ")),
        };
        Err(self.report(node.place, format!("unknown word {}", quoted(text)), remedy))
    }

    /// Reads a value or the word `any`.
    pub(super) fn or_any<T>(
        &mut self,
        node: &Node,
        read: impl FnOnce(&mut Self, &Node) -> Got<T>,
    ) -> Got<Stated<T>> {
        match &node.value {
            Value::Text { text, .. } if &**text == "any" => Ok(Stated::Any),
            _ => read(self, node).map(Stated::Is),
        }
    }
}

/// The fields of one map: every one is asked for by name, and what nobody asked for is unknown.
pub(super) struct Fields<'n> {
    entries: &'n [(Key, Node)],
    place: Place,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Where the map begins.
    pub(super) const fn place(&self) -> Place {
        self.place
    }

    /// The node of a field.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        self.entries
            .iter()
            .find(|(key, _)| &*key.text == name)
            .map(|(_, node)| node)
    }

    /// Reads a field that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'_>, &'n Node) -> Got<T>,
    ) -> Got<Option<T>> {
        self.take(name)
            .map(|node| reader.under(name, |reader| read(reader, node)))
            .transpose()
    }

    /// Reads a field that must be there; `example` is what a person could write.
    pub(super) fn required<T>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        example: &str,
        read: impl FnOnce(&mut Reader<'_>, &'n Node) -> Got<T>,
    ) -> Got<T> {
        let place = self.place;
        match self.optional(reader, name, read)? {
            Some(value) => Ok(value),
            None => Err(reader.under(name, |reader| {
                reader.report(place, "is missing", format!("add `{name}: {example}`"))
            })),
        }
    }

    /// Reads a field that may be absent or `any`.
    pub(super) fn stated<T>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'_>, &Node) -> Got<T>,
    ) -> Got<Stated<T>> {
        Ok(self
            .optional(reader, name, |reader, node| reader.or_any(node, read))?
            .unwrap_or_default())
    }

    /// Reports every field that nobody asked for.
    pub(super) fn close(self, reader: &mut Reader<'_>) -> Got<()> {
        let Self { entries, known, .. } = self;
        let mut all = Ok(());
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&&*key.text)) {
            let remedy = match nearest(&key.text, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("remove it; known here: {}", known.join(", ")),
            };
            let unknown = |reader: &mut Reader<'_>| {
                reader.report(key.place, format!("unknown field {}", quoted(&key.text)), remedy)
            };
            all = Err(reader.under(&key.text, unknown));
        }
        all
    }
}
