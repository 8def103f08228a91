//! Which machine this is: an agent's identity belongs to one.

use std::path::Path;

use bytes::Bytes;
use verger_policy::digest::Digest;

/// What the digest is for, so that it means nothing to anybody else.
const DOMAIN: &[u8] = b"verger/v1/machine\0";

/// The digest of this machine's id for one cluster: the id itself, which other programs go by, is told to nobody (machine-id(5)).
/// Empty where the machine has none: a host that is enrolled so is bound to nothing, and one that was enrolled with an id is refused.
pub(crate) fn digest(file: &Path, cluster: &Digest) -> Bytes {
    let id = std::fs::read_to_string(file).ok();
    let id = id.as_deref().and_then(parse);
    if id.is_none() {
        tracing::warn!(
            file = %file.display(),
            "this machine has no id: if the host was enrolled with one, controllers refuse it; if not, a copy of this agent's data_dir on another machine is not noticed. Run `systemd-machine-id-setup`"
        );
    }
    id.map(|id| of(id, cluster)).unwrap_or_default()
}

/// 32 lower-case hex digits, and not all of them 0; `uninitialized` is no id.
fn parse(text: &str) -> Option<&str> {
    let id = text.trim_end_matches('\n');
    let is_hex = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == 32 && is_hex && id.bytes().any(|byte| byte != b'0')).then_some(id)
}

fn of(id: &str, cluster: &Digest) -> Bytes {
    let bytes = [DOMAIN, cluster.as_bytes(), id.as_bytes()].concat();
    Bytes::copy_from_slice(Digest::of(&bytes).as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_machine_is_the_same_to_one_cluster_and_another_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("machine-id");
        let (ours, theirs) = (Digest::of(b"ours"), Digest::of(b"theirs"));
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let told = digest(&file, &ours);
        assert_eq!((told.len(), &told), (32, &digest(&file, &ours)));
        assert_ne!(told, digest(&file, &theirs));
        std::fs::write(&file, "1123456789abcdef0123456789abcdef\n").unwrap();
        assert_ne!(told, digest(&file, &ours));
    }

    #[test]
    fn the_digest_never_changes() {
        let told = of("0123456789abcdef0123456789abcdef", &Digest::of(b"cluster"));
        assert_eq!(
            hex::encode(told),
            "f749a5a5fc8c60f795cfd9ed6b2c5238e0d164f1b1190715cbc4afcf0b11da4e"
        );
    }

    #[test]
    fn what_is_no_id_binds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("machine-id");
        assert!(digest(&file, &Digest::of(b"ours")).is_empty());
        for text in [
            "",
            "uninitialized\n",
            &"0".repeat(32),
            &"A".repeat(32),
            &"a".repeat(33),
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(digest(&file, &Digest::of(b"ours")).is_empty(), "{text:?}");
        }
    }
}
