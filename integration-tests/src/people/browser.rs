//! A browser that follows where it is sent, and the CLI that waits for it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Nothing on loopback takes longer.
const LIMIT: Duration = Duration::from_secs(20);

/// How a login ended.
#[derive(Debug)]
pub struct Login {
    /// Whether the CLI ended with 0.
    pub done: bool,
    /// What it printed, and said.
    pub out: String,
    /// What it said on standard error.
    pub err: String,
    /// Where the provider sent the browser.
    pub back: String,
}

/// Opens an address: the status line with the headers, and what follows.
///
/// # Errors
/// When nobody answers there.
pub fn open(url: &str) -> Result<String> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("{url} is not of this machine"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).with_context(|| format!("connecting to {host}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Where an answer sends the browser.
fn target(answer: &str) -> Result<String> {
    let mut headers = answer.lines().filter_map(|line| line.split_once(": "));
    headers
        .find_map(|(name, value)| {
            name.eq_ignore_ascii_case("location")
                .then(|| value.trim().to_owned())
        })
        .with_context(|| format!("the provider sends nobody anywhere: {answer}"))
}

/// Runs `verger login --no-browser`, goes where it says, and comes back, unless `comes_back` takes the address in its place.
///
/// # Errors
/// When the program cannot be run, or names no address.
pub fn log_in(mut command: Command, comes_back: impl FnOnce(&str) -> Result<()>) -> Result<Login> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting verger")?;
    let mut errors = BufReader::new(child.stderr.take().context("it has a standard error")?);
    let (mut err, mut back) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        if errors.read_line(&mut line)? == 0 {
            break;
        }
        err.push_str(&line);
        if line.contains("/authorize?") {
            back = target(&open(line.trim())?)?;
            break;
        }
    }
    if !back.is_empty() {
        comes_back(&back)?;
    }
    errors.read_to_string(&mut err)?;
    let Output { status, stdout, .. } = child.wait_with_output()?;
    Ok(Login {
        done: status.success(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err,
        back,
    })
}
