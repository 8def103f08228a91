//! The head and the framing of a call, and what can be done to them.

use crate::dice::Dice;

use super::seeds::Seed;

/// A call on its way to bytes.
pub(super) struct Draft {
    method: String,
    version: String,
    path: String,
    query: Vec<(String, String)>,
    protocol: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    framing: Framing,
    end: &'static str,
    /// A request before it on the connection.
    first: &'static str,
}

/// How the length of a body is told.
enum Framing {
    Length,
    Chunks,
    /// By headers that say this, whatever the body is.
    Said(Vec<(&'static str, String)>, bool),
}

/// A seed, with this body.
pub(super) fn draft(seed: &Seed, body: Vec<u8>) -> Draft {
    let mut headers = vec![
        ("Host".to_owned(), "docker".to_owned()),
        ("Connection".to_owned(), "close".to_owned()),
    ];
    if seed.document.is_some() {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    } else if seed.stream.is_some() {
        headers.push(("Content-Type".to_owned(), "application/x-tar".to_owned()));
    }
    Draft {
        method: seed.method.to_owned(),
        version: "/v1.41".to_owned(),
        path: seed.path.to_owned(),
        query: seed
            .query
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        protocol: "HTTP/1.1",
        headers,
        body,
        framing: Framing::Length,
        end: "\r\n",
        first: "",
    }
}

/// Any place in a text where a letter begins.
fn place(text: &str, dice: &mut Dice) -> usize {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    dice.pick(&places).copied().unwrap_or(0)
}

impl Draft {
    pub(super) fn path(&mut self, dice: &mut Dice) {
        let at = place(&self.path, dice);
        match dice.below(14) {
            0 => {
                if let Some(letter) = self.path[at..].chars().next() {
                    let end = at + letter.len_utf8();
                    self.path
                        .replace_range(at..end, &format!("%{:02x}", u32::from(letter)));
                }
            }
            1 => self.path = self.path.replacen('/', "//", 1),
            2 => self.path = self.path.replacen('/', "/./", 1),
            3 => self.path = self.path.replacen('/', "/x/../", 1),
            4 => self.path.push('/'),
            5 => self.path = self.path.to_uppercase(),
            6 => self.path = self.path.replace('/', "%2f"),
            7 => self.path.push_str(
                dice.pick(&["%00", ";x=y", "#x", "%20", "\\", "%3f", "?", "%252e"])
                    .unwrap_or(&""),
            ),
            8 => self.path = self.path.replacen('c', "%2563", 1),
            9 => {
                self.path = dice
                    .pick(&[
                        "/containers/create",
                        "/containers/WEB/start",
                        "/containers/WEB/exec",
                        "/containers/WEB/update",
                        "/volumes/create",
                        "/networks/create",
                        "/build",
                        "/plugins/pull",
                        "/images/load",
                    ])
                    .unwrap_or(&"/")
                    .to_string();
            }
            10 => self.version = format!("http://docker{}", self.version),
            _ => {
                self.version = (*dice
                    .pick(&[
                        "",
                        "/v1.24",
                        "/v1.30",
                        "/v1.40",
                        "/v1.23",
                        "/v1.12",
                        "/v1.42",
                        "/v1.99",
                        "/v1.041",
                        "/V1.41",
                        "/v1.41/v1.41",
                        "/v2.0",
                        "/v1",
                        "/v1.",
                        "/v1.4.1",
                        "/v01.41",
                    ])
                    .unwrap_or(&""))
                .to_owned();
            }
        }
    }

    pub(super) fn query(&mut self, dice: &mut Dice) {
        let at = usize::try_from(dice.below(self.query.len() as u64)).unwrap_or(0);
        match (dice.below(8), self.query.is_empty()) {
            (0, false) => {
                let (key, value) = self.query[at].clone();
                let value = (*dice.pick(&[value.as_str(), "", "host", "1"]).unwrap_or(&"")).to_owned();
                self.query.push((key, value));
            }
            (1, false) => self.query[at].0 = self.query[at].0.to_uppercase(),
            (2, false) => {
                let key = &mut self.query[at].0;
                if let Some(letter) = key.chars().next() {
                    key.replace_range(..letter.len_utf8(), &format!("%{:02X}", u32::from(letter)));
                }
            }
            (3, false) => {
                self.query.remove(at);
            }
            (4, false) => self.query[at].1.push_str(
                dice.pick(&["%zz", "%", ";networkmode=host", "+", "%00", "%ff", "&&", "#"])
                    .unwrap_or(&""),
            ),
            _ => {
                let pair = dice
                    .pick(&[
                        ("name", "verger-x"),
                        ("platform", ""),
                        ("networkmode", "host"),
                        ("checkpoint", "x"),
                        ("checkpoint-dir", "/tmp"),
                        ("securityopt", "%5B%22seccomp=unconfined%22%5D"),
                        ("cgroupparent", "x"),
                        ("force", "1"),
                        ("x", "y"),
                        ("HostConfig", "%7B%7D"),
                        ("Privileged", "true"),
                        ("", ""),
                    ])
                    .unwrap_or(&("", ""));
                self.query.push((pair.0.to_owned(), pair.1.to_owned()));
            }
        }
    }

    pub(super) fn line(&mut self, dice: &mut Dice) {
        match dice.below(8) {
            0 => self.method = self.method.to_lowercase(),
            1 => {
                self.method = (*dice
                    .pick(&[
                        "GET", "PUT", "HEAD", "PATCH", "DELETE", "OPTIONS", "CONNECT", "POS", "POST\t",
                    ])
                    .unwrap_or(&""))
                .to_owned()
            }
            2 => {
                self.protocol = dice
                    .pick(&["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "", "HTTP/1.1 x"])
                    .unwrap_or(&"")
            }
            3 => self.end = "\n",
            4 => self.first = "\r\n",
            5 => self.first = "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n",
            6 => {
                self.first = "POST /v1.41/containers/WEB/wait HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            }
            // What goes by the length takes what follows for part of its body.
            _ => {
                self.first = "POST /v1.41/containers/WEB/wait HTTP/1.1\r\nHost: docker\r\nContent-Length: 400\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            }
        }
    }

    pub(super) fn headers(&mut self, dice: &mut Dice) {
        let length = self.body.len();
        let said = |name: &'static str, value: String| (name, value);
        match dice.below(16) {
            0..=2 => self.framing = Framing::Chunks,
            3 => {
                let told = match dice.below(9) {
                    0 => format!("+{length}"),
                    1 => format!("0x{length:x}"),
                    2 => format!("{length}, {length}"),
                    3 => format!("{length},{}", length / 2),
                    4 => (length / 2).to_string(),
                    5 => (length + 7).to_string(),
                    6 => "0".to_owned(),
                    7 => format!("00{length}"),
                    _ => "-1".to_owned(),
                };
                self.framing = Framing::Said(vec![said("Content-Length", told)], false);
            }
            4 => {
                let second = if dice.below(2) == 0 { length } else { 0 };
                self.framing = Framing::Said(
                    vec![
                        said("Content-Length", length.to_string()),
                        said("Content-Length", second.to_string()),
                    ],
                    false,
                );
            }
            5 => {
                let lengths = [length, 0, 5];
                let told = dice.pick(&lengths).copied().unwrap_or(0);
                self.framing = Framing::Said(
                    vec![
                        said("Content-Length", told.to_string()),
                        said("Transfer-Encoding", "chunked".to_owned()),
                    ],
                    true,
                );
            }
            6 => {
                let coding = dice
                    .pick(&[
                        "Chunked",
                        " chunked",
                        "chunked, chunked",
                        "identity",
                        "gzip, chunked",
                        "chunked, identity",
                        "xchunked",
                        "\x0bchunked",
                        "chunked;a=b",
                    ])
                    .unwrap_or(&"");
                self.framing = Framing::Said(vec![said("Transfer-Encoding", (*coding).to_owned())], true);
            }
            7 => self.framing = Framing::Said(Vec::new(), false),
            8 => self.framing = Framing::Said(vec![said("Content-Length", format!("\r\n {length}"))], false),
            9 => self.framing = Framing::Said(vec![said("Content-Length ", length.to_string())], false),
            10 => {
                let kind = dice
                    .pick(&[
                        "application/x-www-form-urlencoded",
                        "multipart/form-data; boundary=x",
                        "text/plain",
                        "",
                        "application/json; charset=utf-16",
                        "APPLICATION/JSON",
                    ])
                    .unwrap_or(&"");
                self.headers.retain(|(name, _)| name != "Content-Type");
                self.headers.push(("Content-Type".to_owned(), (*kind).to_owned()));
            }
            11 => {
                let protocol = dice.pick(&["tcp", "h2c", "websocket", "TCP, h2c"]).unwrap_or(&"");
                self.headers.push(("Upgrade".to_owned(), (*protocol).to_owned()));
                self.headers[1].1 = "Upgrade".to_owned();
            }
            12 => self
                .headers
                .push(("Expect".to_owned(), "100-continue".to_owned())),
            13 => {
                let header = dice
                    .pick(&[
                        ("Host", "elsewhere"),
                        ("X-HTTP-Method-Override", "GET"),
                        ("Content-Encoding", "gzip"),
                        ("Verger-Mark", "0"),
                        ("Content-Type", "application/json"),
                        ("Connection", "Content-Type, Content-Length"),
                        ("X-Registry-Auth", "e30="),
                        ("Trailer", "Content-Length"),
                        ("TE", "trailers"),
                        ("Bad Name", "x"),
                        ("X", "\x01"),
                    ])
                    .unwrap_or(&("X", ""));
                self.headers.push((header.0.to_owned(), header.1.to_owned()));
            }
            14 => {
                for (name, _) in &mut self.headers {
                    *name = name.to_uppercase();
                }
            }
            _ => {
                if let Some((_, value)) = self.headers.last_mut() {
                    // What begins with a space goes on with the line before.
                    value.insert_str(0, "\r\n\t");
                }
            }
        }
    }

    pub(super) fn bytes(&self, dice: &mut Dice) -> Vec<u8> {
        let mut target = format!("{}{}", self.version, self.path);
        for (place, (key, value)) in self.query.iter().enumerate() {
            target.push(if place == 0 { '?' } else { '&' });
            target.push_str(&format!("{key}={value}"));
        }
        let end = self.end;
        let mut head = format!("{}{} {target} {}{end}", self.first, self.method, self.protocol);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}{end}"));
        }
        let (said, is_chunked) = match &self.framing {
            Framing::Length if self.body.is_empty() => (Vec::new(), false),
            Framing::Length => (vec![("Content-Length", self.body.len().to_string())], false),
            Framing::Chunks => (vec![("Transfer-Encoding", "chunked".to_owned())], true),
            Framing::Said(said, is_chunked) => (said.clone(), *is_chunked),
        };
        for (name, value) in &said {
            head.push_str(&format!("{name}: {value}{end}"));
        }
        head.push_str(end);
        let mut bytes = head.into_bytes();
        match is_chunked {
            true => chunked(&self.body, end, dice, &mut bytes),
            false => bytes.extend_from_slice(&self.body),
        }
        bytes
    }
}

/// Writes a body in chunks of any size.
fn chunked(body: &[u8], end: &str, dice: &mut Dice, into: &mut Vec<u8>) {
    let mut rest = body;
    while !rest.is_empty() {
        let most = rest.len().min(1 << 16);
        let size = usize::try_from(dice.spread(16)).unwrap_or(1).min(most);
        let (chunk, left) = rest.split_at(size);
        rest = left;
        let size = match dice.below(40) {
            0 => format!("{size:X};a=\"b\""),
            1 => format!("000{size:x}"),
            2 => format!("{size:x} "),
            3 => format!("0x{size:x}"),
            _ => format!("{size:x}"),
        };
        into.extend(size.as_bytes());
        into.extend(end.as_bytes());
        into.extend(chunk);
        into.extend(end.as_bytes());
    }
    let trailer = if dice.below(20) == 0 {
        "Content-Length: 5"
    } else {
        ""
    };
    into.extend(format!("0{end}").as_bytes());
    if !trailer.is_empty() {
        into.extend(format!("{trailer}{end}").as_bytes());
    }
    into.extend(end.as_bytes());
}
