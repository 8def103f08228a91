//! What is taken away from a launch, where its workload lets that be done in place of refusing it.

use verger_policy::compile::Compiled;
use verger_policy::drift::{Claim, claim};
use verger_policy::facts::{Evidence, Filter, Instance, SeccompFacts, capabilities};
use verger_policy::model::{Rootfs, Seccomp, Stated, Tighten};

/// What is taken away. Fields of which the workload says nothing stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tightening {
    /// The capabilities that may stay, by name.
    pub capabilities: Option<Vec<&'static str>>,
    /// NoNewPrivs is set.
    pub no_new_privileges: bool,
    /// The root file system is mounted read-only.
    pub read_only_rootfs: bool,
    /// The seccomp filter that is to be on; never [`Seccomp::Unconfined`].
    pub seccomp: Option<Seccomp>,
}

/// What the workload of an instance has taken away from its launches; nothing where it is of several workloads or of none.
pub fn tightening(compiled: &Compiled, instance: &Instance) -> Option<Tightening> {
    let Claim::Workload { name, .. } = claim(compiled, instance) else {
        return None;
    };
    let workload = compiled
        .workloads()
        .iter()
        .find(|workload| workload.key.name == name)?;
    let config = &workload.spec.config;
    let mut tightening = Tightening::default();
    for field in &workload.spec.tighten {
        match field {
            Tighten::Capabilities => {
                let stays = match &config.capabilities {
                    Stated::Any => continue,
                    Stated::Absent => Vec::new(),
                    Stated::Is(names) => {
                        let numbers = names.iter().filter_map(|name| capabilities::number(name));
                        numbers.filter_map(capabilities::name).collect()
                    }
                };
                tightening.capabilities = Some(stays);
            }
            Tighten::NoNewPrivileges => {
                tightening.no_new_privileges =
                    matches!(config.no_new_privileges, Stated::Absent | Stated::Is(true));
            }
            Tighten::Rootfs => {
                tightening.read_only_rootfs =
                    matches!(config.rootfs, Stated::Absent | Stated::Is(Rootfs::ReadOnly));
            }
            Tighten::Seccomp => {
                tightening.seccomp = match &config.seccomp {
                    Stated::Any | Stated::Is(Seccomp::Unconfined) => continue,
                    Stated::Absent => Some(Seccomp::Default),
                    Stated::Is(seccomp) => Some(seccomp.clone()),
                };
            }
        }
    }
    (tightening != Tightening::default()).then_some(tightening)
}

/// Whether this filter is seen to be on.
pub fn is_on(seccomp: &Seccomp, facts: &Evidence<SeccompFacts>) -> bool {
    match (seccomp, facts) {
        (Seccomp::Default, Evidence::Seen(SeccompFacts::Profile { runtime_default, .. })) => {
            *runtime_default == Evidence::Seen(true)
        }
        (Seccomp::Profile(wanted), Evidence::Seen(SeccompFacts::Profile { digest, .. })) => {
            *digest == Evidence::Seen(*wanted)
        }
        (Seccomp::Unconfined, Evidence::Seen(SeccompFacts::Unconfined)) => true,
        _ => false,
    }
}

/// Capabilities for which a runtime's default filter lets more through, so that it is laxer than what is blessed when they are taken away
/// (moby, profiles/seccomp): BPF, DAC_READ_SEARCH, PERFMON, SYSLOG, and of SYS_ those that are named ADMIN, BOOT, MODULE, NICE, PACCT, PTRACE, RAWIO, TIME and
/// TTY_CONFIG. What SYS_CHROOT adds is chroot(2), which needs the capability itself.
const SHAPING: [u32; 13] = [2, 16, 17, 19, 20, 21, 22, 23, 25, 26, 34, 38, 39];

/// Whether the runtime's default filter was made for more than what is left of these capabilities, as bits. Where either is unknown it may have been.
pub fn is_made_for_more(asked: Option<u64>, left: Option<u64>) -> bool {
    match (asked, left) {
        (Some(asked), Some(left)) => SHAPING.iter().any(|number| (asked & !left) >> number & 1 == 1),
        _ => true,
    }
}

/// Whether a filter in the place of what was asked for, which may be none, takes away and is seen to give nothing: whoever asks for a stricter
/// one than is blessed is refused, and gets no laxer one.
pub fn takes_away(filter: &[u8], asked: Option<&[u8]>) -> bool {
    let Some(asked) = asked else { return true };
    let read = (Filter::read(filter), Filter::read(asked));
    matches!(read, (Ok(filter), Ok(asked)) if filter.lets_no_more_through_than(&asked))
}
