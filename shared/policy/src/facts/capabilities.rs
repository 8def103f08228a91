//! Capabilities by number and name; sets of them as masks (bit n is capability number n of capabilities(7)).

use crate::model::CAPABILITIES;

/// The capabilities that Docker, Podman and containerd give a container by default (moby `oci/caps/defaults.go`).
pub const RUNTIME_DEFAULT: u64 = mask_of(&[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
]);

/// Every capability this version knows.
pub const ALL: u64 = (1 << CAPABILITIES.len()) - 1;

/// The mask of names known at build time; a name that is none does not compile.
pub(crate) const fn mask_of(names: &[&str]) -> u64 {
    let mut mask = 0;
    let mut i = 0;
    while i < names.len() {
        mask |= 1 << const_number(names[i]);
        i += 1;
    }
    mask
}

const fn const_number(name: &str) -> usize {
    let mut n = 0;
    while n < CAPABILITIES.len() {
        let (a, b) = (CAPABILITIES[n].as_bytes(), name.as_bytes());
        let mut same = a.len() == b.len();
        let mut i = 0;
        while same && i < a.len() {
            same = a[i] == b[i];
            i += 1;
        }
        if same {
            return n;
        }
        n += 1;
    }
    panic!("no such capability");
}

/// The name of a capability.
pub fn name(number: u32) -> Option<&'static str> {
    CAPABILITIES.get(usize::try_from(number).ok()?).copied()
}

/// The number of a capability, by its name with or without `CAP_`, in any case.
pub fn number(name: &str) -> Option<u32> {
    let bare = |text: &str| match text.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => 4,
        _ => 0,
    };
    let name = &name[bare(name)..];
    CAPABILITIES
        .iter()
        .position(|known| known[4..].eq_ignore_ascii_case(name))
        .and_then(|place| u32::try_from(place).ok())
}

/// The names in a mask, in the order of their numbers; numbers without a name as `CAP_<number>`.
pub fn names(mask: u64) -> impl Iterator<Item = String> {
    (0..u64::BITS)
        .filter(move |n| mask & (1 << n) != 0)
        .map(|n| match name(n) {
            Some(name) => name.to_owned(),
            None => format!("CAP_{n}"),
        })
}

/// The names in a mask, joined by commas; `none` for the empty one.
pub fn list(mask: u64) -> String {
    match mask {
        0 => "none".to_owned(),
        mask => names(mask).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for n in 0..u32::try_from(CAPABILITIES.len()).unwrap() {
            assert_eq!(number(name(n).unwrap()), Some(n));
        }
        assert_eq!(number("net_admin"), Some(12));
        assert_eq!(number("Cap_Sys_Admin"), Some(21));
        assert_eq!(number("ALL"), None);
        assert_eq!(number("ü"), None);
    }

    #[test]
    fn default_mask_is_what_proc_shows() {
        // CapBnd of a plain container, read from /proc/PID/status.
        assert_eq!(RUNTIME_DEFAULT, 0xa804_25fb);
        assert_eq!(list(1 << 45), "CAP_45");
    }
}
