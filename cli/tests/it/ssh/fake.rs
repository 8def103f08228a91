//! What an agent must not get away with, by one that is scripted.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread::JoinHandle;

use verger_seal::{PublicKey, put_string};

use super::{found, keygen};
use crate::program::Program;

/// Answers one question after the other, each on a connection of its own, and then no more.
struct Fake {
    socket: PathBuf,
    thread: JoinHandle<()>,
}

impl Fake {
    fn start(program: &Program, answers: Vec<Vec<u8>>) -> Self {
        let socket = program.path("fake.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut question).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        Self { socket, thread }
    }
}

fn framed(kind: u8, strings: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![kind];
    if kind == 12 {
        body.extend((strings.len() as u32 / 2).to_be_bytes());
    }
    for string in strings {
        put_string(&mut body, string);
    }
    let mut out = Vec::new();
    put_string(&mut out, &body);
    out
}

#[test]
fn an_agent_that_refuses_lies_or_is_none_founds_nothing_and_is_named() {
    let program = Program::new();
    let public: PublicKey = keygen(&program, "id_ann", &["-t", "ed25519"]).parse().unwrap();
    let other: PublicKey = keygen(&program, "id_bob", &["-t", "ed25519"]).parse().unwrap();
    let wire = public.ssh_wire().unwrap();
    let held = framed(12, &[&wire, b"a comment\x1b[31m"]);
    let mut forged = Vec::new();
    put_string(&mut forged, b"ssh-ed25519");
    put_string(&mut forged, &[7; 64]);
    let cases = [
        (vec![held.clone(), framed(5, &[])], 1, "refuses to sign"),
        (vec![held.clone(), framed(14, &[&forged])], 1, "does not count"),
        (vec![held.clone(), framed(14, &[b""])], 1, "does not count"),
        (vec![held.clone(), held.clone()], 1, "no ssh-agent"),
        (vec![held.clone(), b"\0\0\0\x08\x0e".to_vec()], 2, "broke off"),
        (vec![held.clone(), Vec::new()], 2, "broke off"),
        (vec![b"HTTP/1.1 400\r\n\r\n".to_vec()], 1, "no ssh-agent"),
        (vec![framed(5, &[])], 1, "no ssh-agent"),
        (vec![framed(12, &[])], 2, "it holds no key that can seal"),
        (
            vec![framed(12, &[&other.ssh_wire().unwrap(), b"", b"junk", b""])],
            2,
            "it holds 1 other that can seal",
        ),
    ];
    for (answers, code, what) in cases {
        let fake = Fake::start(&program, answers);
        let with = [("SSH_AUTH_SOCK", fake.socket.as_path())];
        let refused = found(&program, &with, "id_ann.pub").ends(code);
        assert!(
            refused.err.contains(what) && !refused.err.contains('\x1b'),
            "{what}: {}",
            refused.err
        );
        assert!(!program.path("root.json").exists(), "{what}");
        fake.thread.join().unwrap();
        std::fs::remove_file(&fake.socket).unwrap();
    }
    let nobody = program.path("nobody.sock");
    let gone = found(&program, &[("SSH_AUTH_SOCK", &nobody)], "id_ann.pub").ends(2);
    assert!(gone.err.contains("nobody.sock"), "{}", gone.err);
    assert!(gone.err.contains("id_ann.pub is a public key"), "{}", gone.err);
}

#[test]
fn a_security_key_is_said_to_want_a_touch() {
    let program = Program::new();
    let line = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINSoElFleH+nN83FoLqqepJjN+y7Gs5lrn7qXjBqQZyuAAAABHNzaDo= ann";
    program.write("id_sk.pub", line);
    let public: PublicKey = line.parse().unwrap();
    let held = framed(12, &[&public.ssh_wire().unwrap(), b""]);
    // Of the right form, and nobody touched it.
    let mut untouched = Vec::new();
    put_string(&mut untouched, b"sk-ssh-ed25519@openssh.com");
    put_string(&mut untouched, &[7; 64]);
    untouched.extend([0, 0, 0, 0, 1]);
    let fake = Fake::start(&program, vec![held, framed(14, &[&untouched])]);
    let with = [("SSH_AUTH_SOCK", fake.socket.as_path())];
    let refused = found(&program, &with, "id_sk.pub").ends(1);
    assert!(
        refused.err.contains("touch the security key to sign")
            && refused.err.contains("nobody touched the security key"),
        "{}",
        refused.err
    );
    fake.thread.join().unwrap();
}
