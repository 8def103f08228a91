//! Requests of HTTP, read as laxly as any server might.

/// A request, as somebody might take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// In capitals.
    pub(super) method: String,
    /// Decoded, cleaned, in small letters, without the version.
    pub(super) path: Vec<String>,
    /// Keys in small letters, both decoded, with those of a form in the body.
    pub(super) query: Vec<(String, String)>,
    /// What the body may be: by each length that is given, and by the chunks.
    pub(super) bodies: Vec<Vec<u8>>,
}

/// Requests of one connection that are looked for at most.
const MOST: usize = 4;

/// All requests that somebody could find in what one connection carries.
pub(super) fn messages(bytes: &[u8]) -> Vec<Message> {
    let mut found = Vec::new();
    let mut begins = vec![(0, bytes)];
    while let Some((number, bytes)) = begins.pop() {
        let Some((message, ends)) = message(bytes) else {
            continue;
        };
        found.push(message);
        if number + 1 < MOST {
            begins.extend(
                ends.into_iter()
                    .map(|end| (number + 1, bytes.get(end..).unwrap_or_default())),
            );
        }
    }
    found
}

/// The first request, and where it may end.
fn message(bytes: &[u8]) -> Option<(Message, Vec<usize>)> {
    let start = bytes.iter().position(|byte| !b"\r\n".contains(byte))?;
    let mut at = start;
    let mut lines: Vec<String> = Vec::new();
    loop {
        let length = bytes[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len() - at);
        let line = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        at = (at + length + 1).min(bytes.len());
        let line = line.trim_end_matches('\r').to_owned();
        if line.is_empty() {
            break;
        }
        // What begins with a space goes on with the line before (RFC 9112, 5.2).
        match lines.last_mut() {
            Some(before) if line.starts_with([' ', '\t']) => before.push_str(&line),
            _ => lines.push(line),
        }
        if at >= bytes.len() {
            break;
        }
    }
    let mut words = lines.first()?.split_whitespace();
    let (method, target) = (words.next()?.to_uppercase(), words.next()?.to_owned());
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_lowercase()))
        .collect();
    let of = |name: &'static str| headers.iter().filter(move |(key, _)| key == name);

    let rest = &bytes[at..];
    let mut bodies = Vec::new();
    let mut ends = Vec::new();
    for (_, value) in of("content-length") {
        for length in value.split(',') {
            let digits: String = length.chars().filter(char::is_ascii_digit).collect();
            let length = digits.parse().unwrap_or(usize::MAX).min(rest.len());
            bodies.push(rest[..length].to_vec());
            ends.push(at + length);
        }
    }
    if of("transfer-encoding").any(|(_, value)| value.contains("chunked")) {
        let (body, length) = chunks(rest);
        bodies.push(body);
        ends.push(at + length);
    }
    if ends.is_empty() {
        ends.push(at);
    }
    ends.sort_unstable();
    ends.dedup();
    let (path, mut query) = target_of(&target);
    if of("content-type").any(|(_, value)| value.contains("form")) {
        for body in &bodies {
            query.extend(pairs(&String::from_utf8_lossy(body)));
        }
    }
    Some((
        Message {
            method,
            path,
            query,
            bodies,
        },
        ends,
    ))
}

fn target_of(target: &str) -> (Vec<String>, Vec<(String, String)>) {
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
        None => target,
    };
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut decoded = path.to_owned();
    // Once is what Go does; whoever does it twice is laxer.
    for _ in 0..3 {
        decoded = percent(&decoded, false);
    }
    let mut segments: Vec<String> = Vec::new();
    for segment in decoded.replace('\\', "/").split('/') {
        let segment = segment
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_matches(['\0', ' ']);
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other.to_lowercase()),
        }
    }
    let is_version = |segment: &String| {
        segment
            .strip_prefix('v')
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    if segments.first().is_some_and(is_version) {
        segments.remove(0);
    }
    (segments, pairs(query))
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(['&', ';']).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent(key, true).to_lowercase(), percent(value, true))
        })
        .collect()
}

/// Decodes escapes, and leaves what is none.
fn percent(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (bytes[at], escaped) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) if is_query => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What chunks hold, and how far they go.
fn chunks(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len() - at);
        let line = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
        at = (at + length + 1).min(bytes.len());
        let digits: String = line
            .trim()
            .trim_start_matches("0x")
            .chars()
            .take_while(char::is_ascii_hexdigit)
            .collect();
        let Ok(size) = usize::from_str_radix(&digits, 16) else {
            break;
        };
        if size == 0 {
            // Trailers end at an empty line.
            while at < bytes.len() {
                let length = bytes[at..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .unwrap_or(bytes.len() - at);
                let is_empty = bytes[at..at + length].iter().all(|byte| *byte == b'\r');
                at = (at + length + 1).min(bytes.len());
                if is_empty {
                    break;
                }
            }
            break;
        }
        let end = at.saturating_add(size).min(bytes.len());
        body.extend_from_slice(&bytes[at..end]);
        at = end;
        while bytes.get(at) == Some(&b'\r') || bytes.get(at) == Some(&b'\n') {
            at += 1;
        }
    }
    (body, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(bytes: &[u8]) -> Vec<String> {
        messages(bytes)
            .iter()
            .map(|message| message.path.join("/"))
            .collect()
    }

    #[test]
    fn heads_are_read_however_they_are_written() {
        for head in [
            "POST /v1.41/containers/create HTTP/1.1",
            "post /v1.41/%63ontainers//x/../create;a=b?x=y HTTP/1.0",
            "POST http://x/V1.23/containers/%2563reate#f",
            "\r\nPOST \\containers\\create",
        ] {
            assert_eq!(
                paths(format!("{head}\r\nHost: x\r\n\r\n").as_bytes()),
                ["containers/create"],
                "{head}"
            );
        }
    }

    #[test]
    fn a_body_is_whatever_somebody_could_take_it_for() {
        let found = messages(
            b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        );
        assert!(found[0].bodies.contains(&b"2\r\n".to_vec()) && found[0].bodies.contains(&b"{}".to_vec()));
        assert!(found.iter().any(|message| message.path == ["b"]));
        let form = messages(b"POST /a?x=1;X=%32 HTTP/1.1\nContent-Type: x-form\nContent-Length: 3\n\ny=3");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(form[0].query, [pair("x", "1"), pair("x", "2"), pair("y", "3")]);
    }
}
