//! Whether a launch waits until its instance has no network.

use verger_policy::compile::Compiled;
use verger_policy::drift::{self, Claim};
use verger_policy::facts::{Evidence, Instance, NamespaceOwner};
use verger_policy::model::{Control, Mode, RuntimeKind, printable_within};

/// The longest reason that is told, characters.
const REASON: usize = 400;

/// What a launch waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing.
    Free,
    /// That its instance's network is closed.
    Closed,
    /// It does not happen, for this reason.
    Refused(String),
}

/// Whether anything on this host is to have no network.
pub fn is_held_here(compiled: &Compiled) -> bool {
    drift::wishes(compiled).get(&Control::Channels) == Some(&Mode::Enforce)
}

/// What a launch waits for, of what is known, or is not, for the reason given. `peer` looks up the instance whose network it shares.
///
/// An instance whose control `channels` is enforced has no network: there is nothing yet by which it could be allowed any. Nor does one
/// that shares the network of such an instance, and only one of the same workload may.
pub fn hold(
    compiled: &Compiled,
    known: Result<&Instance, &str>,
    peer: impl FnOnce(&str) -> Result<Instance, String>,
) -> Hold {
    if !is_held_here(compiled) {
        return Hold::Free;
    }
    let refused = |why: &str| {
        Hold::Refused(format!(
            "{}; policy of epoch {} enforces `channels`",
            printable_within(why, REASON),
            compiled.epoch()
        ))
    };
    let identified = known.and_then(|instance| match &instance.image {
        Evidence::Seen(_) => Ok(instance),
        Evidence::Missing(why) => Err(why),
    });
    let instance = match identified {
        Ok(instance) => instance,
        Err(why) => return refused(&format!("whether it may have a network cannot be told: {why}")),
    };
    let is_closed = wants_none(compiled, instance);
    if is_closed && instance.id.runtime == RuntimeKind::Podman {
        return refused(
            "it is to have no network, and to keep those of Podman's containers closed is not supported; run it by Docker",
        );
    }
    match &instance.config.namespaces.network {
        Evidence::Seen(NamespaceOwner::Instance(id)) => match peer(id) {
            Ok(other) if !is_closed && !wants_none(compiled, &other) => Hold::Free,
            Ok(other) if is_same(compiled, instance, &other) => Hold::Closed,
            Ok(_) => refused(&format!(
                "it would share the network of {id}, which is not of the same workload; give it one of its own"
            )),
            Err(why) => refused(&format!("whose network it would share cannot be told: {why}")),
        },
        Evidence::Seen(NamespaceOwner::Host) if is_closed => refused(
            "it would have the host's network, which cannot be closed to it; give it one of its own, or none",
        ),
        Evidence::Missing(why) if is_closed => {
            refused(&format!("whose network it would have cannot be told: {why}"))
        }
        _ if is_closed => Hold::Closed,
        _ => Hold::Free,
    }
}

fn wants_none(compiled: &Compiled, instance: &Instance) -> bool {
    drift::wanted_mode(compiled, instance, Control::Channels) == Mode::Enforce
}

/// Whether both are of one workload, and by their digests: labels and names anybody can give.
fn is_same(compiled: &Compiled, one: &Instance, other: &Instance) -> bool {
    match (drift::claim(compiled, one), drift::claim(compiled, other)) {
        (
            Claim::Workload {
                name: one,
                entitled: true,
            },
            Claim::Workload {
                name: other,
                entitled: true,
            },
        ) => one == other,
        _ => false,
    }
}
