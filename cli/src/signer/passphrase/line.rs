//! One line as it is typed on a terminal that does not edit it. Pure.

use zeroize::Zeroizing;

/// The longest passphrase, bytes.
pub(super) const MOST_BYTES: usize = 1024;

/// A line that is being typed.
#[derive(Default)]
pub(super) struct Line(Zeroizing<Vec<u8>>);

/// What a typed byte did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The line goes on.
    More,
    /// It is complete.
    Done,
    /// The person wants out.
    GivenUp,
}

impl Line {
    /// Takes the next byte. What is over the limit is dropped, so that the passphrase is wrong and not cut.
    pub(super) fn take(&mut self, byte: u8) -> Step {
        match byte {
            b'\r' | b'\n' => return Step::Done,
            // Ctrl-C, and Ctrl-D at the beginning.
            3 => return Step::GivenUp,
            4 if self.0.is_empty() => return Step::GivenUp,
            // Backspace takes the whole of the last character; Ctrl-U takes all.
            8 | 0x7f => while self.0.pop().is_some_and(|last| last & 0xc0 == 0x80) {},
            0x15 => self.0.clear(),
            _ if self.0.len() > MOST_BYTES => {}
            other => {
                // Grown by hand: a vector that grows leaves its old bytes behind.
                if self.0.capacity() == self.0.len() {
                    let mut grown = Zeroizing::new(Vec::with_capacity(MOST_BYTES + 1));
                    grown.extend_from_slice(&self.0);
                    self.0 = grown;
                }
                self.0.push(other);
            }
        }
        Step::More
    }

    /// The line, if it is text and not too long.
    pub(super) fn text(&self) -> Option<Zeroizing<String>> {
        if self.0.len() > MOST_BYTES {
            return None;
        }
        let text = std::str::from_utf8(&self.0).ok()?;
        Some(Zeroizing::new(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn typed(bytes: &[u8]) -> (Step, Option<String>) {
        let mut line = Line::default();
        let mut last = Step::More;
        for byte in bytes {
            last = line.take(*byte);
            if last != Step::More {
                break;
            }
        }
        (last, line.text().map(|text| text.to_string()))
    }

    #[test]
    fn a_line_is_what_was_typed_up_to_return() {
        assert_eq!(typed(b"secret\nmore"), (Step::Done, Some("secret".to_owned())));
        assert_eq!(typed(b"\r"), (Step::Done, Some(String::new())));
        assert_eq!(typed(b"a b\x04c\n").1.unwrap(), "a bc".replace('c', "\u{4}c"));
    }

    #[test]
    fn backspace_takes_whole_characters_and_ctrl_u_all() {
        assert_eq!(typed("aé\u{7f}b\n".as_bytes()).1.unwrap(), "ab");
        assert_eq!(typed(b"\x7f\x08a\n").1.unwrap(), "a");
        assert_eq!(typed(b"wrong\x15right\n").1.unwrap(), "right");
    }

    #[test]
    fn a_person_can_give_up() {
        assert_eq!(typed(b"ab\x03").0, Step::GivenUp);
        assert_eq!(typed(b"\x04").0, Step::GivenUp);
    }

    #[test]
    fn what_is_too_long_or_no_text_is_no_passphrase() {
        let most = vec![b'a'; MOST_BYTES];
        assert_eq!(typed(&most).1.unwrap().len(), MOST_BYTES);
        assert_eq!(typed(&vec![b'a'; MOST_BYTES + 5000]).1, None);
        assert_eq!(typed(b"\xff\n").1, None);
    }
}
