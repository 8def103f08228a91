//! JSON, read as laxly as any reader might: keys are folded, what is given twice counts twice, and what is cut off is as good as ended.

/// Levels that are looked into.
const DEPTH: usize = 300;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lax {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Lax>),
    /// Keys as they are spelled, and as often as they are given.
    Object(Vec<(String, Lax)>),
}

impl Lax {
    /// Every value of a field, however it is spelled, of an object or of those in a list.
    pub(super) fn of<'a>(&'a self, key: &str) -> Vec<&'a Self> {
        match self {
            Self::Object(members) => {
                let of_key = members.iter().filter(|(name, _)| fold(name) == key);
                of_key.map(|(_, value)| value).collect()
            }
            Self::List(items) => items.iter().flat_map(|item| item.of(key)).collect(),
            _ => Vec::new(),
        }
    }

    /// Keys that somebody chose, which no reader folds, with what they say.
    pub(super) fn chosen(&self) -> Vec<(&str, &Self)> {
        match self {
            Self::Object(members) => members
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .collect(),
            Self::List(items) => items.iter().flat_map(Self::chosen).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a lax reader takes it for a yes.
    pub(super) fn is_yes(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(yes) => *yes,
            Self::Number(number) => *number != 0.0,
            Self::Text(text) => !matches!(
                text.trim().to_lowercase().as_str(),
                "" | "0" | "f" | "false" | "no"
            ),
            Self::List(items) => items.iter().any(Self::is_yes),
            Self::Object(members) => members.iter().any(|(_, value)| value.is_yes()),
        }
    }

    /// Whether it says anything at all.
    pub(super) fn says(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(yes) => *yes,
            Self::Number(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Object(members) => !members.is_empty(),
        }
    }

    /// All texts in it, at whatever level of lists.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::List(items) => items.iter().flat_map(Self::texts).collect(),
            _ => Vec::new(),
        }
    }

    /// It, or what is in it if it is a list.
    pub(super) fn each(&self) -> Vec<&Self> {
        match self {
            Self::List(items) => items.iter().flat_map(Self::each).collect(),
            other => vec![other],
        }
    }

    /// The number it is or says.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// Folds one letter onto all that Go takes for it (`bytes.EqualFold`): the long s is an s, the sign of Kelvin a k.
fn fold(key: &str) -> String {
    key.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Every document in these bytes.
pub(super) fn documents(bytes: &[u8]) -> Vec<Lax> {
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader {
        chars: text.chars().collect(),
        at: 0,
    };
    let mut found = Vec::new();
    while let Some(value) = reader.value(0) {
        found.push(value);
    }
    found
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn skip(&mut self) {
        while self
            .peek()
            .is_some_and(|c| c.is_whitespace() || c.is_control() || c == '\u{feff}')
        {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Lax> {
        self.skip();
        if depth > DEPTH {
            return None;
        }
        match self.peek()? {
            '{' => {
                self.at += 1;
                let mut members = Vec::new();
                while let Some(key) = self.member() {
                    let value = self.value(depth + 1).unwrap_or(Lax::Null);
                    members.push((key, value));
                }
                Some(Lax::Object(members))
            }
            '[' => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.separators();
                    if self.peek() == Some(']') {
                        self.at += 1;
                        break;
                    }
                    match self.value(depth + 1) {
                        Some(item) => items.push(item),
                        None => break,
                    }
                }
                Some(Lax::List(items))
            }
            '"' => self.text().map(Lax::Text),
            _ => self.word(),
        }
    }

    fn separators(&mut self) {
        self.skip();
        while self.peek() == Some(',') {
            self.at += 1;
            self.skip();
        }
    }

    /// The next key of an object, with what stands behind it; none at its end.
    fn member(&mut self) -> Option<String> {
        self.separators();
        if self.peek()? == '}' {
            self.at += 1;
            return None;
        }
        let key = self.text()?;
        self.skip();
        if self.peek() == Some(':') {
            self.at += 1;
        }
        Some(key)
    }

    fn text(&mut self) -> Option<String> {
        if self.peek()? != '"' {
            return None;
        }
        self.at += 1;
        let mut text = String::new();
        while let Some(c) = self.take() {
            match c {
                '"' => break,
                '\\' => match self.take() {
                    Some('u') => text.push(self.escape()),
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('b') => text.push('\u{8}'),
                    Some('f') => text.push('\u{c}'),
                    Some(other) => text.push(other),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Some(text)
    }

    fn four(&mut self) -> Option<u32> {
        let digits: String = self.chars.get(self.at..self.at + 4)?.iter().collect();
        let code = u32::from_str_radix(&digits, 16).ok()?;
        self.at += 4;
        Some(code)
    }

    fn escape(&mut self) -> char {
        const UNKNOWN: char = char::REPLACEMENT_CHARACTER;
        let Some(first) = self.four() else {
            return UNKNOWN;
        };
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).unwrap_or(UNKNOWN);
        }
        // The second half of a pair, if there is one.
        let before = self.at;
        if (self.take(), self.take()) == (Some('\\'), Some('u'))
            && let Some(second) = self.four()
            && (0xdc00..0xe000).contains(&second)
        {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(code).unwrap_or(UNKNOWN);
        }
        self.at = before;
        UNKNOWN
    }

    fn word(&mut self) -> Option<Lax> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_alphanumeric() || "+-._".contains(c))
        {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match word.to_lowercase().as_str() {
            "" => None,
            "null" => Some(Lax::Null),
            "true" => Some(Lax::Bool(true)),
            "false" => Some(Lax::Bool(false)),
            other => Some(
                other
                    .parse()
                    .map_or_else(|_| Lax::Text(word.clone()), Lax::Number),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spelled_otherwise_given_twice_or_cut_off_counts() {
        for text in [
            r#"{"HostConfig":{"Privileged":true}}"#,
            r#"{"hOSTCONFIG":{"PRIVILEGED":true}}"#,
            "{\"Ho\u{17f}tConfig\":{\"Privileged\":true}}",
            r#"{"Ho\u017ftConfig":{"Privilege\u0064":true}}"#,
            r#"{"HostConfig":{"Privileged":true},"HostConfig":{"Privileged":false}}"#,
            r#"{"HostConfig":{},"hostconfig":{"Privileged":true"#,
            "\u{feff} {,\"HostConfig\" : {\"Privileged\":true,},}",
            r#"{"Image":"a"} {"HostConfig":{"Privileged":true}}"#,
        ] {
            let found = documents(text.as_bytes());
            let hosts = found.iter().flat_map(|document| document.of("hostconfig"));
            assert!(
                hosts.flat_map(|host| host.of("privileged")).any(Lax::is_yes),
                "{text}: {found:?}"
            );
        }
        assert_eq!(
            documents("{\"Networ\u{212a}Mode\":\"h\\u006fst\"}".as_bytes())[0].of("networkmode")[0].texts(),
            ["host"]
        );
        assert_eq!(
            documents(r#""\ud83d\ude00\ud800""#.as_bytes()),
            [Lax::Text("\u{1f600}\u{fffd}".to_owned())]
        );
    }

    #[test]
    fn what_is_no_document_ends() {
        for text in ["", "}", "]", ":", "{]", "[}", "{\"a\"", "\"", "[[[["] {
            documents(text.as_bytes());
        }
        documents("[".repeat(100_000).as_bytes());
    }
}
