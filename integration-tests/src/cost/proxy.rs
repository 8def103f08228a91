//! What the proxy adds to `inspect`, and what it keeps of the throughput of streams.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::pairs::{HEAD, Pairs};
use crate::point::Verdict;
use crate::programs::Programs;
use crate::runtime_proxy::Front;
use crate::scene::Docker;

/// Calls of `inspect`, each once in either way.
const INSPECTS: usize = 400;
/// Streams of each kind, each once in either way.
const STREAMS: usize = 10;
/// Before anything counts.
const WARM: usize = 20;
/// Bytes of a stream, at least.
const BYTES: u64 = 256 << 20;
/// Milliseconds that an `inspect` may take longer, at the middle.
const ADDED: f64 = 1.0;
/// Of the throughput of streams, at the middle.
const KEPT: f64 = 0.9;
/// A line of what a container says.
const LINE: usize = 1_023;

/// Measures; writes a table into `folder`.
///
/// # Errors
/// When an answer is not the same in both ways.
pub fn run(folder: &Path) -> Result<Verdict> {
    super::is_optimised()?;
    let front = Front::found(
        &Programs::find_optimised(&["verger-agent", "verger-gate"])?,
        Docker::find()?,
    )?;
    let name = front.docker.name("says");
    let lines = BYTES / (LINE as u64 + 1);
    let says = format!(
        "head -c {BYTES} /dev/zero > /tmp/big; yes $(head -c {LINE} /dev/zero | tr '\\0' x) | head -n {lines}; echo all; exec sleep 3600"
    );
    // Of an image whose first process is a shell.
    front.docker.run(&name, &["verger-test/app", &says])?;
    front.scene.wait_for("all of it to be said", || {
        Ok((front.say(&["logs", "--tail", "1", &name])? == "all").then_some(()))
    })?;

    let mut direct = Client::at(front.docker.socket())?;
    let mut through = Client::at(&front.socket())?;
    let path = format!("/v1.41/containers/{name}/json");
    let mut inspects = Pairs::default();
    for number in 0..WARM + INSPECTS {
        let (first, second) = match number % 2 {
            0 => {
                let first = direct.get(&path)?;
                (first, through.get(&path)?)
            }
            _ => {
                let second = through.get(&path)?;
                (direct.get(&path)?, second)
            }
        };
        ensure!(
            first.bytes == second.bytes && first.bytes > 1_000,
            "two answers of one container"
        );
        if number >= WARM {
            inspects.add(first.took, second.took);
        }
    }
    let logs = format!("/v1.41/containers/{name}/logs?stdout=1&tail=all");
    let copied = format!("/v1.41/containers/{name}/archive?path=%2Ftmp%2Fbig");
    let [logs, copied] = [logs, copied].map(|path| streams(&front, &path));
    let (logs, copied) = (logs?, copied?);
    let figure = format!(
        "`inspect` {:+.2} ms at the middle of {} pairs, at most {ADDED}; of the throughput of {} MiB `logs` keeps {:.2} and `cp` {:.2}, at least {KEPT}",
        inspects.added(),
        inspects.len(),
        BYTES >> 20,
        logs.kept(),
        copied.kept()
    );
    let rows = [
        inspects.row("`inspect` over a kept connection"),
        logs.row("`logs`, 256 MiB"),
        copied.row("`cp` out, 256 MiB"),
    ]
    .concat();
    super::write(folder, "proxy_streams", &format!("{figure}\n\n{HEAD}{rows}"))?;
    Ok(Verdict {
        holds: inspects.added() <= ADDED && logs.kept() >= KEPT && copied.kept() >= KEPT,
        figure,
    })
}

fn streams(front: &Front, path: &str) -> Result<Pairs> {
    let mut pairs = Pairs::default();
    let fetch = |socket: &Path| -> Result<Told> { Client::at(socket)?.get(path) };
    for number in 0..=STREAMS {
        let (real, proxy) = (front.docker.socket(), front.socket());
        let (direct, through) = match number % 2 {
            0 => {
                let direct = fetch(real)?;
                (direct, fetch(&proxy)?)
            }
            _ => {
                let through = fetch(&proxy)?;
                (fetch(real)?, through)
            }
        };
        ensure!(
            direct.bytes == through.bytes && direct.bytes >= BYTES - (1 << 20),
            "{path}: {} bytes past the proxy and {} through it",
            direct.bytes,
            through.bytes
        );
        // The first reads the files for both.
        if number > 0 {
            pairs.add(direct.took, through.took);
        }
    }
    Ok(pairs)
}

/// A client of HTTP that keeps its connection, and costs next to nothing itself.
struct Client(BufReader<UnixStream>);

/// An answer that was read.
struct Told {
    bytes: u64,
    took: Duration,
}

impl Client {
    fn at(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        Ok(Self(BufReader::with_capacity(1 << 18, stream)))
    }

    /// Asks, and reads the answer to its end.
    fn get(&mut self, path: &str) -> Result<Told> {
        let began = Instant::now();
        let head = format!("GET {path} HTTP/1.1\r\nHost: docker\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes())?;
        let status = self.line()?;
        ensure!(status.contains(" 200 "), "{path}: {status}");
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => is_chunked = value.contains("chunked"),
                Some(_) => {}
            }
        }
        let mut bytes = 0;
        if is_chunked {
            loop {
                let line = self.line()?;
                let size =
                    u64::from_str_radix(line.trim(), 16).with_context(|| format!("a chunk of {line:?}"))?;
                self.pass(size)?;
                self.line()?;
                if size == 0 {
                    break;
                }
                bytes += size;
            }
        } else {
            self.pass(length)?;
            bytes = length;
        }
        Ok(Told {
            bytes,
            took: began.elapsed(),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.0.read_line(&mut line)? > 0, "the connection ended");
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn pass(&mut self, length: u64) -> Result<()> {
        let passed = std::io::copy(&mut (&mut self.0).take(length), &mut std::io::sink())?;
        ensure!(passed == length, "{passed} bytes came of {length}");
        Ok(())
    }
}
