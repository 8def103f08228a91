//! A security key as an agent shows it: its part is played by a key in software, which the real agent uses.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use verger_policy::digest::Digest;
use verger_seal::{PublicKey, Reader, put_string};

use super::{Agent, HOST, found, keygen, run_with};
use crate::cluster::Cluster;
use crate::program::Program;

const APPLICATION: &[u8] = b"ssh:verger";

/// Reads one message, without its length.
fn receive(stream: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).unwrap();
    message
}

fn send(stream: &mut UnixStream, kind: u8, parts: &[&[u8]], end: &[u8]) {
    let mut body = vec![kind];
    for part in parts {
        put_string(&mut body, part);
    }
    body.extend(end);
    let mut message = Vec::new();
    put_string(&mut message, &body);
    stream.write_all(&message).unwrap();
}

/// The key in software, and the security key it stands for.
#[derive(Clone)]
struct Pair {
    software: Vec<u8>,
    hardware: Vec<u8>,
    flags: u8,
    real: PathBuf,
}

impl Pair {
    fn new(software: &PublicKey, flags: u8, real: &Path) -> Self {
        let software = software.ssh_wire().unwrap();
        let mut reader = Reader::new(&software);
        let kind = match reader.string().unwrap() {
            b"ssh-ed25519" => "sk-ssh-ed25519@openssh.com",
            _ => "sk-ecdsa-sha2-nistp256@openssh.com",
        };
        let mut hardware = Vec::new();
        put_string(&mut hardware, kind.as_bytes());
        hardware.extend(reader.rest());
        put_string(&mut hardware, APPLICATION);
        Self {
            software,
            hardware,
            flags,
            real: real.to_owned(),
        }
    }

    /// What a security key answers (PROTOCOL.u2f): a signature over the application, the flags, a counter and the message.
    fn sign(&self, data: &[u8]) -> Vec<u8> {
        let trailer = [self.flags, 0, 0, 0, 9];
        let mut signed = Digest::of(APPLICATION).as_bytes().to_vec();
        signed.extend(trailer);
        signed.extend(Digest::of(data).as_bytes());
        let mut real = UnixStream::connect(&self.real).unwrap();
        send(&mut real, 13, &[&self.software, &signed], &[0; 4]);
        let answer = receive(&mut real);
        let mut reader = Reader::new(&answer);
        assert_eq!(reader.byte(), Some(14));
        let mut proper = Reader::new(reader.string().unwrap());
        proper.string().unwrap();
        let mut out = Vec::new();
        put_string(&mut out, Reader::new(&self.hardware).string().unwrap());
        put_string(&mut out, proper.string().unwrap());
        out.extend(trailer);
        out
    }

    /// Answers as an agent that holds it, on so many connections.
    fn serve(self, socket: &Path, connections: usize) -> JoinHandle<()> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                let question = receive(&mut stream);
                let mut reader = Reader::new(&question);
                if reader.byte() == Some(11) {
                    let mut keys = 1_u32.to_be_bytes().to_vec();
                    put_string(&mut keys, &self.hardware);
                    put_string(&mut keys, b"a security key");
                    send(&mut stream, 12, &[], &keys);
                } else {
                    assert_eq!(reader.string(), Some(&*self.hardware));
                    let signature = self.sign(reader.string().unwrap());
                    send(&mut stream, 14, &[&signature], &[]);
                }
            }
        })
    }
}

#[test]
fn a_security_key_seals_with_a_touch_and_without_one_it_does_not() {
    for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "256"]] {
        let program = Program::new();
        let agent = Agent::start(&program);
        let software: PublicKey = keygen(&program, "id_soft", kind).parse().unwrap();
        agent.add(&program, &["-q", "id_soft"]);
        let touched = Pair::new(&software, 1, &agent.socket);
        let public = PublicKey::from_ssh_wire(&touched.hardware).unwrap();
        program.write("id_sk.pub", public.to_string());

        let socket = program.path("untouched.sock");
        let serving = Pair::new(&software, 0, &agent.socket).serve(&socket, 2);
        let refused = found(&program, &[("SSH_AUTH_SOCK", &socket)], "id_sk.pub").ends(1);
        assert!(
            refused.err.contains("nobody touched the security key"),
            "{}",
            refused.err
        );
        serving.join().unwrap();
        assert!(!program.path("root.json").exists());

        let socket = program.path("touched.sock");
        let serving = touched.serve(&socket, 4);
        let with = [("SSH_AUTH_SOCK", socket.as_path())];
        let founded = found(&program, &with, "id_sk.pub").ends(0);
        assert!(founded.err.contains("touch the security key"), "{}", founded.err);
        assert_eq!(founded.json()["keys"][0]["algorithm"], public.algorithm());
        let cluster = Cluster::sealed_by(&program, "id_sk.pub");
        let file = program.write("host.yaml", HOST);
        run_with(&program, &with, &["apply", "-f", &file]).ends(0);
        assert_eq!(cluster.world().set.epoch(), 1);
        serving.join().unwrap();
        program.run(&["list", "-o", "name"]).ends(0);
    }
}
