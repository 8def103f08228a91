#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

// Made by `ssh-keygen` of OpenSSH 9.2 for this test.
const ED25519: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACBmwr6qC6KY7xtYC7p2V5Q1MqXOYjv06eBvL910/UfBbwAAAIjrGRJT6xkS\nUwAAAAtzc2gtZWQyNTUxOQAAACBmwr6qC6KY7xtYC7p2V5Q1MqXOYjv06eBvL910/UfBbw\nAAAEDrURIxyilo6JRGHZzHZU66GXxPC9yo7gHYCkzlI+P5zGbCvqoLopjvG1gLunZXlDUy\npc5iO/Tp4G8v3XT9R8FvAAAAA2FkYQEC\n-----END OPENSSH PRIVATE KEY-----\n";
const P256: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS\n1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQTS7MJrIYWpWD0/iJ5AtcJM9i/BZYVq\nbNxzxuAZvLxg+mCzg0rEp0CK7aZ3mqS749wuY2uPmIJ87OoB03sgHYJTAAAAoIQEhECEBI\nRAAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNLswmshhalYPT+I\nnkC1wkz2L8FlhWps3HPG4Bm8vGD6YLODSsSnQIrtpneapLvj3C5ja4+Ygnzs6gHTeyAdgl\nMAAAAgPPx2nmL+U6qDzY7MLgPvmoLDV+4LyoW1DQKNsKB0DVYAAAADYWRhAQIDBAU=\n-----END OPENSSH PRIVATE KEY-----\n";
const LOCKED: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBBzRj5ZU\nvtjWoRoj9foZxnAAAAAQAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIAYkY+Oqn82xbXwo\nvHwevvHGZFj67EM9QMNZLGS0OdvoAAAAkHvG+YNUzHgC2n8OUd5mWsmM94LljJBKrPmLhU\ntkFEIituvUVjdXMXNG75ghzQqLJZSCvEMSqmE6d2XMlNH4UeMJ/a1GFDXWvar2yLaYLqiU\nIi08lRa6cCpi/Op1AXnooLOeJFLGoyvOG2ooemHU5iMeeqFV8JxwtCSY2Lc9XHbMdgYy+i\nTRvPJdx2fnHhom/w==\n-----END OPENSSH PRIVATE KEY-----\n";
const LOCKED_GCM: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAAFmFlczI1Ni1nY21Ab3BlbnNzaC5jb20AAAAGYmNyeXB0AA\nAAGAAAABCMndmRmeF12o/Ee/FS2yuFAAAAAQAAAAEAAABoAAAAE2VjZHNhLXNoYTItbmlz\ndHAyNTYAAAAIbmlzdHAyNTYAAABBBJ7vH+maomxS/F9EOh2qtDdgswvFHVni/KEZtFT2LR\nymrcatc2BY6zA3Bq4CaQX8633sVI9RWYjNkI1oPGohurUAAACge4dhvcT/AjJT9hNQ7pDT\nFzibNTWRrsOqSgoZvsU/ytfSIkCvp6azW46fIh6rogVI+vwJl5TSisAl/LNcHD9o9TtSCq\nfHpbBNsxBVQEQOI8X5fVM6Gxcwy+hpUp2H6daKbEWQKG4JAaYwKah06Q6QXyWZqFjDhLn1\n9a7QnToVB2tdkJLtO+IOZFLOzUix1RWRTHgddobNW8rGsZRjSXYimCHFgw4HgwD/huc5yv\ntoCxc=\n-----END OPENSSH PRIVATE KEY-----\n";
const P384: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAiAAAABNlY2RzYS\n1zaGEyLW5pc3RwMzg0AAAACG5pc3RwMzg0AAAAYQS9yGIgo8xDlv/jhWkL0WX/lxa3KSwF\nW9jIgcVeJS/E3o+3sPpoZ9Oy4ztl6aenOZ/GZSWdPMgD4+lcefcI3TmwMHGl4vQOfQk/2h\n20cSf+r5p53fO1bSNa4yyIaN1MINkAAADQjyGtI48hrSMAAAATZWNkc2Etc2hhMi1uaXN0\ncDM4NAAAAAhuaXN0cDM4NAAAAGEEvchiIKPMQ5b/44VpC9Fl/5cWtyksBVvYyIHFXiUvxN\n6Pt7D6aGfTsuM7ZemnpzmfxmUlnTzIA+PpXHn3CN05sDBxpeL0Dn0JP9odtHEn/q+aed3z\ntW0jWuMsiGjdTCDZAAAAMEg0bWI+AQCBa+kJEFGTubVhqMexOSEHyUonKqjwGm/kmdRYbI\nNec6dsIZCBuT4bkgAAAANhZGEBAgMEBQ==\n-----END OPENSSH PRIVATE KEY-----\n";
const SLOW: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABCpICeiab\nFersGOLpVibfbRAAATiAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIMeF2lcfn9csp2BI\nGQKuNg7tt9SUBpdIX9FHbrCFtd2pAAAAkL/V3UC+2YpaBD1nn+PDvJ/YRRO9v/tbwHhRmt\nco7om32oLLLKI/+GyYwFsrwhJgZ/3mvLtInHhJ87orn09+DESUD+n3BhZCMNPkm6AwdvM4\njpeYlrEsL+EPfQ+IZI2AEzFOstcR7MpqnhUs09w01Zet4suv9FSSCA/FWRqfhy52FHzBdv\nudSDsfVMxU1/fhGQ==\n-----END OPENSSH PRIVATE KEY-----\n";
/// What is valid, and its public half.
pub(in crate::signer) const FILES: [(&str, &str); 4] = [
    (
        ED25519,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGbCvqoLopjvG1gLunZXlDUypc5iO/Tp4G8v3XT9R8Fv",
    ),
    (
        P256,
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNLswmshhalYPT+InkC1wkz2L8FlhWps3HPG4Bm8vGD6YLODSsSnQIrtpneapLvj3C5ja4+Ygnzs6gHTeyAdglM=",
    ),
    (
        LOCKED,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAYkY+Oqn82xbXwovHwevvHGZFj67EM9QMNZLGS0Odvo",
    ),
    (
        LOCKED_GCM,
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBJ7vH+maomxS/F9EOh2qtDdgswvFHVni/KEZtFT2LRymrcatc2BY6zA3Bq4CaQX8633sVI9RWYjNkI1oPGohurU=",
    ),
];
const PASSPHRASE: &[u8] = b"correct horse";

fn opened(text: &str) -> Result<SealingKey, Unusable> {
    match read(text)? {
        Stored::Open(key) => Ok(key),
        Stored::Locked(locked) => locked.unlock(PASSPHRASE),
    }
}

fn refusal(text: &str) -> Unusable {
    opened(text).map(|_| ()).unwrap_err()
}

#[test]
fn keys_of_ssh_keygen_are_read_with_and_without_a_passphrase() {
    for (text, public) in FILES {
        assert!(is_one(text));
        assert_eq!(opened(text).unwrap().public().to_string(), public);
    }
}

#[test]
fn files_are_armoured_as_ssh_keygen_does_it() {
    let inside = PrivateKey::from_openssh(ED25519).unwrap().to_bytes().unwrap();
    assert_eq!(armoured(&inside), ED25519);
}

#[test]
fn the_public_half_of_a_locked_key_needs_no_passphrase_and_a_wrong_one_opens_nothing() {
    for (text, public) in &FILES[2..] {
        let Stored::Locked(locked) = read(text).unwrap() else {
            panic!("protected")
        };
        assert_eq!(locked.public().to_string(), *public);
        for wrong in [&b""[..], b"correct hors", b"correct horse\n"] {
            assert_eq!(locked.unlock(wrong).map(|_| ()), Err(Unusable::Passphrase));
        }
    }
}

#[test]
fn a_key_that_is_locked_here_opens_with_its_passphrase_alone() {
    let seed = [7; 32];
    let text = lock(&seed, PASSPHRASE, [1; 16], 5).unwrap();
    let public = SealingKey::ssh_ed25519(seed).public();
    assert_eq!(opened(&text).unwrap().public(), public);
    let Stored::Locked(locked) = read(&text).unwrap() else {
        panic!("protected")
    };
    assert_eq!(locked.unlock(b"other").map(|_| ()), Err(Unusable::Passphrase));
    assert!(!text.contains(&*hex(&seed)));
    lock(&seed, b"", [1; 16], 5).unwrap_err();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_that_do_not_seal_are_refused_with_their_reason() {
    assert_eq!(refusal(P384), Unusable::Kind(InvalidKey::Curve));
    assert_eq!(refusal(SLOW), Unusable::Rounds(5000));
    assert_eq!(refusal(&ED25519[..ED25519.len() / 2]), Unusable::Damaged);
    assert_eq!(refusal(""), Unusable::Damaged);
    assert!(!is_one("-----BEGIN PRIVATE KEY-----"));
}

#[test]
fn a_private_half_under_another_public_key_is_damaged() {
    let key = PrivateKey::from_openssh(ED25519).unwrap();
    let pair = key.key_data().ed25519().unwrap();
    let other = pair_of_another(pair);
    let text = PrivateKey::new(KeypairData::from(other), "x")
        .unwrap()
        .to_openssh(LineEnding::LF)
        .unwrap();
    assert_eq!(refusal(&text), Unusable::Damaged);
}

/// The public half of one key with the private half of another, which the file alone does not show.
fn pair_of_another(pair: &Ed25519Keypair) -> Ed25519Keypair {
    Ed25519Keypair {
        public: pair.public,
        private: ssh_key::private::Ed25519PrivateKey::from_bytes(&[3; 32]),
    }
}

/// The file of these bytes.
pub(in crate::signer) fn armoured(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(70)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let end = BEGINNING.replace("BEGIN", "END");
    format!("{BEGINNING}\n{}\n{end}\n", lines.join("\n"))
}

#[test]
fn the_file_that_names_a_security_key_says_where_to_turn() {
    let put = verger_seal::put_string;
    let (kind, point) = ("sk-ssh-ed25519@openssh.com", [0; 32]);
    let (kind, point, application) = (kind.as_bytes(), point_of(point), b"ssh:");
    let mut public = Vec::new();
    for part in [kind, &point, application] {
        put(&mut public, part);
    }
    // PROTOCOL.u2f: the private half of such a file is flags, a handle, and something reserved.
    let mut private = [5_u32.to_be_bytes(); 2].concat();
    for part in [kind, &point, application] {
        put(&mut private, part);
    }
    private.push(1);
    for part in [&b"handle"[..], b"", b"ada"] {
        put(&mut private, part);
    }
    private.extend((1..).take((8 - private.len() % 8) % 8));
    let mut file = b"openssh-key-v1\0".to_vec();
    for part in [&b"none"[..], b"none", b""] {
        put(&mut file, part);
    }
    file.extend(1_u32.to_be_bytes());
    put(&mut file, &public);
    put(&mut file, &private);
    assert_eq!(refusal(&armoured(&file)), Unusable::Hardware);
}

fn point_of(seed: [u8; 32]) -> [u8; 32] {
    let wire = SealingKey::ssh_ed25519(seed).public().ssh_wire().unwrap();
    wire[wire.len() - 32..].try_into().unwrap()
}
