//! Bytes at the controller's door: strangers who speak no TLS or have no certificate, and a person whose messages make no
//! sense. The door stays open to the others, and costs no memory to speak of.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tonic::Code;

use super::{Tally, raw};
use crate::access::Access;
use crate::dice::Dice;
use crate::scene::Scene;

/// A door that says nothing for so long has closed itself, or never will.
const SILENCE: Duration = Duration::from_secs(15);
/// One call.
const CALL: Duration = Duration::from_secs(30);
/// Over every limit on messages.
const HUGE: usize = 40 << 20;

/// Methods that a person may call.
const METHODS: &[&str] = &[
    "/verger.policy.v1.PolicyService/GetSet",
    "/verger.policy.v1.PolicyService/Apply",
    "/verger.policy.v1.PolicyService/Get",
    "/verger.policy.v1.PolicyService/List",
    "/verger.policy.v1.PolicyService/Delete",
    "/verger.policy.v1.PolicyService/Watch",
    "/verger.findings.v1.FindingsService/List",
    "/verger.findings.v1.FindingsService/Get",
    "/verger.findings.v1.FindingsService/Watch",
    "/verger.findings.v1.FindingsService/Ack",
    "/verger.cluster.v1.ClusterService/GetStatus",
    "/verger.cluster.v1.ClusterService/ListHosts",
    "/verger.cluster.v1.ClusterService/GetHost",
    "/verger.cluster.v1.ClusterService/ListInstances",
    "/verger.cluster.v1.ClusterService/GetInstance",
    "/verger.agent.v1.SessionService/Connect",
    "/verger.agent.v1.SessionService/Report",
    "/verger.agent.v1.SessionService/Renew",
    "/verger.agent.v1.EnrolmentService/Enrol",
    "/verger.nothing.v1.Nothing/Nothing",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

pub(super) fn feed(scene: &Scene, count: usize) -> Result<Tally> {
    let mut tally = Tally::new("hostile connections and messages refused");
    let pid = scene.controller.pid()?;
    let seed = Dice::seed()?;
    let mut dice = Dice::new(seed);
    let idle = memory(pid, "VmRSS")?;
    // Forgets the peak so far (proc(5), clear_refs).
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("resetting the peak of memory")?;
    for address in doors(scene)? {
        for (what, bytes) in strangers(&mut dice) {
            let answer = knock(&address, &bytes).with_context(|| format!("{what} at {address}"))?;
            let served =
                answer.windows(6).any(|window| window == b"verger") || answer.starts_with(b"HTTP/1.1 2");
            tally.count(served.then(|| format!("{what} at {address} is answered: {answer:?}")));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let access = Access::of(scene)?;
    runtime.block_on(messages(&access, &mut dice, count, &mut tally))?;
    let peak = memory(pid, "VmHWM")?;
    tally.note = format!(
        " (seed {seed}; the controller's memory {} KiB, at most {} KiB)",
        idle, peak
    );
    tally.count((peak > 2 * idle).then(|| format!("memory rose from {idle} to {peak} KiB")));
    Ok(tally)
}

/// Where the controller listens.
fn doors(scene: &Scene) -> Result<Vec<String>> {
    let config = std::fs::read_to_string(scene.path("controller.toml"))?;
    let doors: Vec<String> = config
        .lines()
        .filter(|line| line.contains("listen"))
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect();
    ensure!(doors.len() == 2, "the controller has two doors: {doors:?}");
    Ok(doors)
}

/// What strangers say.
fn strangers(dice: &mut Dice) -> Vec<(&'static str, Vec<u8>)> {
    let mut said = vec![
        ("nothing", Vec::new()),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: verger\r\n\r\n".to_vec()),
        (
            "plain HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec(),
        ),
        (
            "a TLS record of 64 KiB that never comes",
            vec![22, 3, 1, 255, 255, 1],
        ),
        ("a TLS alert", vec![21, 3, 3, 0, 2, 2, 40]),
        ("an SSL 2 hello", vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 16]),
    ];
    for _ in 0..20 {
        let noise = (0..dice.spread(12)).map(|_| dice.roll() as u8).collect();
        said.push(("noise", noise));
    }
    said
}

/// Says something and reads until the door closes; a door that stays open for [`SILENCE`] is shut from here.
fn knock(address: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SILENCE))?;
    // A door that is shut already is an answer too.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
    let mut answer = Vec::new();
    let _ = stream.take(4_096).read_to_end(&mut answer);
    Ok(answer)
}

async fn messages(access: &Access, dice: &mut Dice, count: usize, tally: &mut Tally) -> Result<()> {
    let channel = access.channel().await?;
    let huge = raw::call(channel, METHODS[1], Bytes::from(vec![0; HUGE])).await;
    tally.count(match huge {
        Err(status) if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted) => None,
        other => Some(format!("a message of {HUGE} bytes: {other:?}")),
    });
    let mut channel = access.channel().await?;
    for number in 0..count {
        let method = METHODS[number % METHODS.len()];
        let message = message(dice);
        let answer = tokio::time::timeout(CALL, raw::call(channel.clone(), method, message.clone())).await;
        let shown = || hex::encode(&message[..message.len().min(64)]);
        tally.count(match answer {
            Err(_) => Some(format!("{method} does not answer {}", shown())),
            Ok(Ok(())) => None,
            Ok(Err(status)) => match status.code() {
                // It would mean a panic, or an error that nobody thought of.
                Code::Internal
                    if !status.message().contains("decode") && !status.message().contains("Protobuf") =>
                {
                    Some(format!("{method} answers {} with {status}", shown()))
                }
                Code::Unavailable | Code::Cancelled => {
                    channel = access.channel().await?;
                    None
                }
                _ => None,
            },
        });
    }
    Ok(())
}

/// A message of random fields: small enough to be read, and mostly well-formed protobuf, so that it gets past the first
/// byte.
fn message(dice: &mut Dice) -> Bytes {
    let mut bytes = Vec::new();
    for _ in 0..dice.roll() % 6 {
        let field = 1 + dice.roll() % 15;
        match dice.roll() % 4 {
            0 => {
                bytes.push((field << 3) as u8);
                let number = dice.roll() >> (dice.roll() % 64);
                bytes.extend(varint(number));
            }
            1 => {
                bytes.push((field << 3 | 2) as u8);
                let text: Vec<u8> = (0..dice.spread(7)).map(|_| dice.roll() as u8).collect();
                bytes.extend(varint(text.len() as u64));
                bytes.extend(text);
            }
            2 => {
                bytes.push((field << 3 | 2) as u8);
                let inner = message(dice);
                bytes.extend(varint(inner.len() as u64));
                bytes.extend(inner);
            }
            _ => bytes.push(dice.roll() as u8),
        }
    }
    bytes.into()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A figure of `/proc/PID/status`, KiB.
fn memory(pid: u32, figure: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'))
        .with_context(|| format!("no {figure} in the status"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_paths_and_each_is_once() {
        for (at, method) in METHODS.iter().enumerate() {
            assert!(
                method.starts_with('/') && method.matches('/').count() == 2,
                "{method}"
            );
            assert!(!METHODS[..at].contains(method), "{method} twice");
        }
    }

    #[test]
    fn varints_are_as_the_encoding_says() {
        assert_eq!(varint(1), [1]);
        assert_eq!(varint(300), [0xac, 0x02]);
    }
}
