//! What is taken away from a launch, where its workload lets that be done in place of refusing it.

use verger_policy::compile::Compiled;
use verger_policy::drift::{Claim, claim};
use verger_policy::facts::{Instance, capabilities};
use verger_policy::model::{Rootfs, Stated, Tighten};

/// What is taken away. Fields of which the workload says nothing stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tightening {
    /// The capabilities that may stay, by name.
    pub capabilities: Option<Vec<&'static str>>,
    /// NoNewPrivs is set.
    pub no_new_privileges: bool,
    /// The root file system is mounted read-only.
    pub read_only_rootfs: bool,
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
        }
    }
    (tightening != Tightening::default()).then_some(tightening)
}
