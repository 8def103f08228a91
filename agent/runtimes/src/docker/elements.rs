//! Splits a JSON array that arrives in pieces into its elements, in bounded memory.
//!
//! A listing holds every container's labels, so its size is in the hands of whoever may create a container: no limit
//! on the whole is right. Each element is bounded instead, and one that is bigger is reported by its beginning.

/// One element of the array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Element<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Bigger than the limit: as much of its beginning as the limit allows.
    Cut(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Before,
    Inside,
    After,
    NoArray,
}

/// Finds the elements. It checks no syntax beyond nesting and strings: elements are parsed by their reader.
#[derive(Debug)]
pub(super) struct Splitter {
    stage: Stage,
    limit: usize,
    held: Vec<u8>,
    cut: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Splitter {
    /// Splits into elements of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            stage: Stage::Before,
            limit,
            held: Vec::new(),
            cut: false,
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }

    /// Takes the next piece, and gives each element it completes.
    pub(super) fn push(&mut self, piece: &[u8], mut each: impl FnMut(Element<'_>)) {
        for &byte in piece {
            match (self.stage, byte) {
                (Stage::NoArray, _) => return,
                (Stage::Inside, _) => self.inside(byte, &mut each),
                (_, b' ' | b'\n' | b'\r' | b'\t') => {}
                (Stage::Before, b'[') => self.stage = Stage::Inside,
                (Stage::Before | Stage::After, _) => self.stage = Stage::NoArray,
            }
        }
    }

    fn inside(&mut self, byte: u8, each: &mut impl FnMut(Element<'_>)) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return self.hold(byte);
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b'}' if self.depth == 0 => {
                self.finish(each);
                self.stage = if byte == b']' {
                    Stage::After
                } else {
                    Stage::NoArray
                };
                return;
            }
            b']' | b'}' => self.depth -= 1,
            b',' if self.depth == 0 => return self.finish(each),
            b' ' | b'\n' | b'\r' | b'\t' if self.depth == 0 => return,
            _ => {}
        }
        self.hold(byte);
    }

    /// Whether what came was one array, from its beginning to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == Stage::After
    }

    fn hold(&mut self, byte: u8) {
        if self.held.len() < self.limit {
            self.held.push(byte);
        } else {
            self.cut = true;
        }
    }

    fn finish(&mut self, each: &mut impl FnMut(Element<'_>)) {
        if !self.held.is_empty() {
            each(if self.cut {
                Element::Cut(&self.held)
            } else {
                Element::Whole(&self.held)
            });
        }
        self.held.clear();
        self.held.shrink_to(1 << 20);
        self.cut = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn split(limit: usize, pieces: &[&[u8]]) -> (Vec<(bool, String)>, bool) {
        let mut splitter = Splitter::new(limit);
        let mut found = Vec::new();
        for piece in pieces {
            splitter.push(piece, |element| {
                let (whole, bytes) = match element {
                    Element::Whole(bytes) => (true, bytes),
                    Element::Cut(bytes) => (false, bytes),
                };
                found.push((whole, String::from_utf8(bytes.to_vec()).unwrap()));
            });
        }
        (found, splitter.is_complete())
    }

    #[test]
    fn elements_are_found_wherever_the_pieces_are_cut() {
        let text = br#"[{"a":"]},\"[","b":[1,{"c":2}]}, {"d":"\\"} ,3]"#;
        let expected: Vec<serde_json::Value> = serde_json::from_slice(text).unwrap();
        for at in 0..text.len() {
            let (found, complete) = split(1000, &[&text[..at], &text[at..]]);
            let parsed: Vec<serde_json::Value> = found
                .iter()
                .map(|(whole, text)| (assert!(whole), serde_json::from_str(text).unwrap()).1)
                .collect();
            assert_eq!(parsed, expected);
            assert!(complete);
        }
    }

    #[test]
    fn an_oversized_element_is_cut_and_its_neighbours_survive() {
        let big = format!(
            r#"[{{"Id":"1"}},{{"Id":"2","Labels":"{}"}},{{"Id":"3"}}]"#,
            "x".repeat(100)
        );
        let (found, complete) = split(20, &[big.as_bytes()]);
        assert!(complete);
        assert_eq!(found[0], (true, r#"{"Id":"1"}"#.to_owned()));
        assert_eq!(found[1], (false, big[12..32].to_owned()));
        assert_eq!(found[2], (true, r#"{"Id":"3"}"#.to_owned()));
    }

    #[test]
    fn an_empty_array_has_no_element_and_a_broken_one_is_not_complete() {
        assert_eq!(split(10, &[b"[]\n"]), (vec![], true));
        for text in [
            "",
            " ",
            "[",
            "[{\"a\":1}",
            "[\"abc",
            "[]]",
            "[}",
            "{\"message\":1}",
            "null",
            "[] x",
        ] {
            assert!(!split(10, &[text.as_bytes()]).1, "{text}");
        }
    }
}
