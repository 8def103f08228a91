//! An expression as words (cel-spec, "Syntax").

use std::iter::Peekable;
use std::str::Chars;

use super::fault::{Fault, Place, quoted};

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name: `user`, `size`.
    Name(String),
    /// `true` or `false`.
    Truth(bool),
    /// An integer without sign, at most 2^63.
    Number(u64),
    /// Text, its escapes resolved.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// Longest first: the first that fits is meant.
const SIGNS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "!", "<", ">", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")",
    "[", "]", "in",
];

/// Words that CEL keeps for itself or for later.
const RESERVED: [&str; 20] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
    "null",
    "struct",
    "type",
];

struct Reading<'t> {
    left: Peekable<Chars<'t>>,
    place: Place,
}

/// Splits an expression into words.
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Place)>, Fault> {
    let mut reading = Reading {
        left: text.chars().peekable(),
        place: Place::START,
    };
    let mut tokens = Vec::new();
    while let Some(next) = reading.left.peek().copied() {
        let place = reading.place;
        if matches!(next, ' ' | '\t' | '\n' | '\r' | '\x0c') {
            reading.take();
        } else if next == '_' || next.is_ascii_alphabetic() {
            tokens.push((reading.word(place)?, place));
        } else if next.is_ascii_digit() {
            tokens.push((reading.number(place)?, place));
        } else if matches!(next, '"' | '\'') {
            tokens.push((reading.text(place)?, place));
        } else if let Some(sign) = reading.sign(place)? {
            tokens.push((Token::Sign(sign), place));
        }
    }
    Ok(tokens)
}

impl Reading<'_> {
    fn take(&mut self) -> Option<char> {
        let taken = self.left.next()?;
        if taken == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(taken)
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(next) = self.left.peek().copied().filter(|next| fits(*next)) {
            self.take();
            taken.push(next);
        }
        taken
    }

    fn word(&mut self, place: Place) -> Result<Token, Fault> {
        let word = self.take_while(|c| c == '_' || c.is_ascii_alphanumeric());
        if matches!(self.left.peek(), Some('"' | '\'')) {
            return Err(place.fault(
                format!(
                    "{} before a quote makes bytes or raw text, which are left out",
                    quoted(&word)
                ),
                "write text in quotes, with \\\\ for a backslash",
            ));
        }
        match word.as_str() {
            "true" => Ok(Token::Truth(true)),
            "false" => Ok(Token::Truth(false)),
            "in" => Ok(Token::Sign("in")),
            reserved if RESERVED.contains(&reserved) => Err(place.fault(
                format!("{} is a reserved word", quoted(reserved)),
                "use another name",
            )),
            _ => Ok(Token::Name(word)),
        }
    }

    fn number(&mut self, place: Place) -> Result<Token, Fault> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric());
        let of_point = self.left.peek() == Some(&'.') && word.bytes().all(|b| b.is_ascii_digit());
        let read = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        match read {
            Ok(number) if number <= 1 << 63 && !of_point => Ok(Token::Number(number)),
            _ => Err(place.fault(
                format!("{} is not a whole number of 64 bits", quoted(&word)),
                "write digits, or 0x and hexadecimal ones; fractions and unsigned numbers are left out",
            )),
        }
    }

    fn text(&mut self, place: Place) -> Result<Token, Fault> {
        let quote = self.take();
        let mut text = String::new();
        loop {
            let at = self.place;
            match self.take() {
                None | Some('\n' | '\r') => {
                    return Err(place.fault("the text does not end", "close its quotes on the same line"));
                }
                taken if taken == quote => break,
                Some('\\') => text.push(self.escaped(at)?),
                Some(plain) => text.push(plain),
            }
        }
        // Three quotes begin text over several lines in CEL, and never empty text.
        if text.is_empty() && self.left.peek().copied() == quote {
            return Err(place.fault(
                "text in three quotes is left out",
                "write it in one pair of quotes",
            ));
        }
        Ok(Token::Text(text))
    }

    fn escaped(&mut self, place: Place) -> Result<char, Fault> {
        let found = match self.take() {
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some(plain @ ('\\' | '"' | '\'' | '`' | '?')) => Some(plain),
            Some('u') => {
                let digits: String = (0..4).filter_map(|_| self.take()).collect();
                let all_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                all_hex
                    .then(|| u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32))
                    .flatten()
            }
            _ => None,
        };
        found.ok_or_else(|| {
            place.fault(
                "unknown escape",
                "write \\\\, \\\", \\', \\`, \\?, \\n, \\r, \\t or \\u and four hexadecimal digits",
            )
        })
    }

    /// A sign; none for a comment, which is passed over.
    fn sign(&mut self, place: Place) -> Result<Option<&'static str>, Fault> {
        let ahead: String = self.left.clone().take(2).collect();
        if ahead == "//" {
            self.take_while(|c| c != '\n');
            return Ok(None);
        }
        let Some(sign) = SIGNS.iter().find(|sign| ahead.starts_with(**sign)) else {
            let shown: String = ahead.chars().take(1).collect();
            return Err(place.fault(
                format!("{} means nothing here", quoted(&shown)),
                "remove it; put text in quotes",
            ));
        };
        for _ in 0..sign.len() {
            self.take();
        }
        Ok(Some(sign))
    }
}
