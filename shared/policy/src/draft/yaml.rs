//! YAML text to trees, within a budget.
//!
//! The parser's events are untrusted in number and depth. Every node that an alias stands for is charged as if it
//! had been written out, in nodes, in bytes and in depth, *before* it is used; the tree itself is shared. So an
//! alias bomb costs what its own text costs.

use std::cell::Cell;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::node::{Key, Node, Place, Value, is_ambiguous_word, resolve};
use super::problem::{MAX_PROBLEMS, Problem, Problems, quoted};

/// The most bytes of one draft file: 64 MiB.
pub const MAX_BYTES: usize = 64 << 20;
/// How deep maps and lists may nest.
pub const MAX_DEPTH: usize = 64;
/// The most values of one draft file, with aliases expanded.
pub const MAX_NODES: usize = 1_000_000;

/// The most bytes of one text, comment, or `[…]` or `{…}` with all that is in it. The parser holds as much at once.
pub const MAX_STRETCH: usize = 1 << 20;

/// Reads all documents up to the first fault of syntax. A duplicate key does not end the reading.
pub(super) fn documents(file: &str, text: &[u8], problems: &mut Problems) -> Vec<Node> {
    let mut builder = Builder::default();
    if let Err(fault) = builder.build(text) {
        builder.faults.push(fault);
    }
    for fault in builder.faults {
        problems.push(|| fault.problem(file));
    }
    builder.documents
}

/// What keeps the text from being a tree.
struct Fault {
    place: Place,
    message: String,
    remedy: String,
}

impl Fault {
    fn problem(self, file: &str) -> Problem {
        let Self {
            place: Place { line, column },
            message,
            remedy,
        } = self;
        Problem {
            file: file.to_owned(),
            line,
            column,
            field: String::new(),
            message,
            remedy,
        }
    }
}

/// The characters of `text`, ending early where no event came of `left` bytes: the parser would read an endless flow
/// collection to its end, and keep a token for each of its characters, before it tells of the first.
fn within<'t>(text: &'t str, left: &'t Cell<usize>) -> impl Iterator<Item = char> + 't {
    text.chars().take_while(|c| {
        left.set(left.get().saturating_sub(c.len_utf8()));
        left.get() > 0
    })
}

fn too_long(place: Place) -> Fault {
    Fault {
        place,
        message: format!("what follows is one text, comment, list or map of more than {MAX_STRETCH} bytes"),
        remedy: "state less in one object, or write lists and maps on lines of their own".to_owned(),
    }
}

fn too_deep(place: Place) -> Fault {
    Fault {
        place,
        message: format!("maps and lists nest deeper than {MAX_DEPTH}"),
        remedy: "no policy object needs that; look for a stray bracket or alias".to_owned(),
    }
}

fn not_utf8(text: &[u8], at: usize) -> Fault {
    let good = &text[..at];
    let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = good
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let column = String::from_utf8_lossy(&good[start..]).chars().count() + 1;
    Fault {
        place: Place {
            line: small(line),
            column: small(column),
        },
        message: "is not UTF-8".to_owned(),
        remedy: "save the file as UTF-8 text".to_owned(),
    }
}

fn place(mark: Marker) -> Place {
    Place {
        line: small(mark.line()),
        column: small(mark.col() + 1),
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What a tree costs, aliases expanded.
#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
}

struct Anchor {
    node: Node,
    cost: Cost,
    height: usize,
}

/// A map or list that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    start: Cost,
    height: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
    },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    faults: Vec<Fault>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchor>,
    spent: Cost,
    last: Place,
}

impl Builder {
    fn build(&mut self, text: &[u8]) -> Result<(), Fault> {
        if text.len() > MAX_BYTES {
            return Err(Fault {
                place: Place::default(),
                message: format!("is {} bytes long; the limit is {MAX_BYTES}", text.len()),
                remedy: "split it into several files".to_owned(),
            });
        }
        let text = std::str::from_utf8(text).map_err(|error| not_utf8(text, error.valid_up_to()))?;
        let left = Cell::new(MAX_STRETCH);
        let mut parser = Parser::new_from_iter(within(text.strip_prefix('\u{feff}').unwrap_or(text), &left));
        while let Some(event) = parser.next_event() {
            match event {
                _ if left.get() == 0 => return Err(too_long(self.last)),
                Ok((event, span)) => self.take(event, span)?,
                // The parser reads ahead on a line, and has a limit of its own beyond ours.
                Err(error) if error.info() == "recursion limit exceeded" => {
                    return Err(too_deep(place(*error.marker())));
                }
                Err(error) => {
                    return Err(Fault {
                        place: place(*error.marker()),
                        message: format!("is not YAML: {}", error.info()),
                        remedy: "see the YAML 1.2 specification, or quote the text".to_owned(),
                    });
                }
            }
            left.set(MAX_STRETCH);
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let place = place(span.start);
        self.last = place;
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let start = self.spent;
                self.charge(
                    Cost {
                        nodes: 1,
                        bytes: text.len(),
                    },
                    place,
                )?;
                let value = scalar(&text, style, tag.as_deref(), place)?;
                self.finish(Node { value, place }, anchor, start, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", place)?;
                self.begin(Content::List(Vec::new()), anchor, place)
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map", place)?;
                self.begin(
                    Content::Map {
                        entries: Vec::new(),
                        key: None,
                    },
                    anchor,
                    place,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, place),
        }
    }

    fn charge(&mut self, cost: Cost, place: Place) -> Result<(), Fault> {
        let spent = Cost {
            nodes: self.spent.nodes.saturating_add(cost.nodes),
            bytes: self.spent.bytes.saturating_add(cost.bytes),
        };
        if spent.nodes > MAX_NODES || spent.bytes > MAX_BYTES {
            return Err(Fault {
                place,
                message: format!(
                    "the file holds more than {MAX_NODES} values or {MAX_BYTES} bytes of text, with aliases expanded"
                ),
                remedy: "split it into several files, and write fewer aliases".to_owned(),
            });
        }
        self.spent = spent;
        Ok(())
    }

    fn check_depth(&self, more: usize, place: Place) -> Result<(), Fault> {
        if self.open.len() + more > MAX_DEPTH {
            Err(too_deep(place))
        } else {
            Ok(())
        }
    }

    fn begin(&mut self, content: Content, anchor: usize, place: Place) -> Result<(), Fault> {
        self.check_depth(1, place)?;
        let start = self.spent;
        self.charge(Cost { nodes: 1, bytes: 0 }, place)?;
        self.open.push(Open {
            place,
            anchor,
            start,
            height: 0,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open {
            place,
            anchor,
            start,
            height,
            content,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let value = match content {
            Content::List(items) => Value::List(items.into()),
            Content::Map { entries, .. } => {
                self.faults
                    .extend(duplicates(&entries).take(MAX_PROBLEMS.saturating_sub(self.faults.len())));
                Value::Map(entries.into())
            }
        };
        self.finish(Node { value, place }, anchor, start, height + 1)
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Fault> {
        let Some(Anchor { node, cost, height }) = self.anchors.get(&id) else {
            return Err(Fault {
                place,
                message: "an alias stands inside the value it refers to".to_owned(),
                remedy: "write the value out".to_owned(),
            });
        };
        let (value, cost, height) = (node.value.clone(), *cost, *height);
        self.check_depth(height, place)?;
        self.charge(cost, place)?;
        self.put(Node { value, place }, height)
    }

    fn finish(&mut self, node: Node, anchor: usize, start: Cost, height: usize) -> Result<(), Fault> {
        if anchor != 0 {
            let cost = Cost {
                nodes: self.spent.nodes - start.nodes,
                bytes: self.spent.bytes - start.bytes,
            };
            self.anchors.insert(
                anchor,
                Anchor {
                    node: node.clone(),
                    cost,
                    height,
                },
            );
        }
        self.put(node, height)
    }

    fn put(&mut self, node: Node, height: usize) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            if !matches!(node.value, Value::Null) {
                self.documents.push(node);
            }
            return Ok(());
        };
        open.height = open.height.max(height);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(as_key(node)?),
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<Key, Fault> {
    let Node { value, place } = node;
    let fault = |message: String, remedy: &str| {
        Err(Fault {
            place,
            message,
            remedy: remedy.to_owned(),
        })
    };
    match value {
        Value::Text { text, quoted: true } => Ok(Key { text, place }),
        Value::Text { text, .. } if &*text == "<<" => fault(
            "merge keys (`<<`) are not part of YAML 1.2".to_owned(),
            "write the fields out",
        ),
        Value::Text { text, .. } if is_ambiguous_word(&text) => fault(
            format!(
                "the key {} is a word that other YAML readers take for true or false",
                quoted(&text)
            ),
            "put it in quotes",
        ),
        Value::Text { text, .. } => Ok(Key { text, place }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            fault("a key is not text".to_owned(), "put it in quotes")
        }
        Value::List(_) | Value::Map(_) => fault("a key is a list or a map".to_owned(), "write a text as key"),
    }
}

fn duplicates(entries: &[(Key, Node)]) -> impl Iterator<Item = Fault> {
    let mut order: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
    order.sort_by(|a, b| a.text.cmp(&b.text));
    let mut pairs = Vec::new();
    for pair in order
        .windows(2)
        .filter(|pair| pair[0].text == pair[1].text)
        .take(MAX_PROBLEMS)
    {
        pairs.push(Fault {
            place: pair[1].place,
            message: format!(
                "the key {} is there twice, before on line {}",
                quoted(&pair[1].text),
                pair[0].place.line
            ),
            remedy: "keep one of the two".to_owned(),
        });
    }
    pairs.into_iter()
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Place) -> Result<Value, Fault> {
    let as_text = || Value::Text {
        text: text.into(),
        quoted: true,
    };
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain {
            resolve(text)
        } else {
            as_text()
        });
    };
    let resolved = resolve(text);
    match (core_suffix(tag), &resolved) {
        (Some("str"), _) => Ok(as_text()),
        (Some("null"), Value::Null)
        | (Some("bool"), Value::Bool(_))
        | (Some("int" | "float"), Value::Number(_)) => Ok(resolved),
        _ => Err(bad_tag(tag, place)),
    }
}

fn collection_tag(tag: Option<&Tag>, wanted: &str, place: Place) -> Result<(), Fault> {
    match tag {
        Some(tag) if core_suffix(tag) != Some(wanted) => Err(bad_tag(tag, place)),
        _ => Ok(()),
    }
}

fn core_suffix(tag: &Tag) -> Option<&str> {
    (tag.handle == "tag:yaml.org,2002:").then_some(tag.suffix.as_str())
}

fn bad_tag(tag: &Tag, place: Place) -> Fault {
    Fault {
        place,
        message: format!(
            "the tag {} does not fit here",
            quoted(&format!("{}{}", tag.handle, tag.suffix))
        ),
        remedy: "remove the tag".to_owned(),
    }
}
