//! The first enforcer: nftables closes the network of instances.
//!
//! One table of Verger's own, `bridge verger`, drops every frame from and to the host's ends of the links of closed instances. Frames
//! pass the hooks of a bridge whatever addresses they bear, of whichever protocol, whether `br_netfilter` hands them to the hooks of IP
//! or not, and whether they are for a neighbour, another bridge, a published port or the host itself; and which port a frame came
//! through is not in the sender's hands. Tables of others are never touched, and what they accept is dropped here all the same.
//!
//! Which ports an instance has, the kernel says over rtnetlink(7), from outside: nothing enters the instance's namespace. One that has
//! any other way out (the host's own network, macvlan, ipvlan, a link that ends elsewhere than on a bridge of the host) cannot be closed
//! so, and that is said.
//!
//! The table stays when the agent ends. What somebody changed of it is seen at the next look, and put there anew.

#[cfg(test)]
mod fuzz;
mod kernel;
mod links;
mod program;
mod rules;

use std::collections::BTreeSet;
use std::path::PathBuf;

use verger_agent_core::enforcer::{Attachment, Enforcer, EnforcerError, Observed, Port, Step, Subject};
use verger_agent_core::mode::Capability;

use kernel::Kernel;

/// What it is called.
const NAME: &str = "nftables";

/// The enforcer of the network namespace that its thread is in: it is made and used by one thread.
#[derive(Debug)]
pub struct Nftables {
    program: PathBuf,
    kernel: Kernel,
}

fn failed(problem: impl ToString) -> EnforcerError {
    EnforcerError {
        enforcer: NAME,
        problem: problem.to_string(),
    }
}

impl Nftables {
    /// One that uses this program as nft(8), in the network namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel gives no socket for rtnetlink(7), or does not say which namespace this is.
    pub fn new(program: PathBuf) -> Result<Self, EnforcerError> {
        let kernel = Kernel::open().map_err(failed)?;
        Ok(Self { program, kernel })
    }

    /// Has the calling thread, and the programs it starts from then on, act in another network namespace. Needs `CAP_SYS_ADMIN`.
    ///
    /// # Errors
    /// When the path is none of a network namespace, or it may not be entered.
    pub fn enter(namespace: &std::path::Path) -> Result<(), EnforcerError> {
        kernel::enter(namespace).map_err(|error| {
            failed(format!(
                "the network namespace {} cannot be entered (it takes CAP_SYS_ADMIN): {error}",
                namespace.display()
            ))
        })
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, EnforcerError> {
        program::run(&self.program, arguments, input).map_err(failed)
    }
}

impl Enforcer for Nftables {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: BTreeSet::new(),
            limit: "the network of its instances is closed where nftables can (what it cannot is refused at launch, or the finding host/open-network); what they share with others besides a network (volumes, memory, processes) is not, so this is not called enforced".to_owned(),
        }
    }

    fn observe(&mut self, subjects: &[Subject]) -> Result<Observed, EnforcerError> {
        // Links first: a port that is made after this look is not taken for closed.
        let host = self.kernel.host_links().map_err(failed)?;
        let attachments = subjects
            .iter()
            .map(|subject| {
                let attachment = self.kernel.attachment(subject.pid, &host);
                let attachment = attachment.unwrap_or_else(|error| Attachment::Unseen(error.to_string()));
                (subject.instance.clone(), attachment)
            })
            .collect();
        let listed = self.run(&["-j", "list", "ruleset", "bridge"], b"")?;
        let (standing, closed) = rules::read(&listed).map_err(failed)?;
        Ok(Observed {
            standing,
            closed,
            links: host.iter().filter_map(|link| Port::new(&link.name)).collect(),
            attachments,
        })
    }

    fn apply(&mut self, steps: &[Step]) -> Result<(), EnforcerError> {
        if steps.is_empty() {
            return Ok(());
        }
        let transaction = rules::lower(steps);
        self.run(&["-j", "-f", "-"], transaction.to_string().as_bytes())
            .map(drop)
    }
}
