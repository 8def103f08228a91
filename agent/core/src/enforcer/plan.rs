//! From what is wanted and what there is to steps. Pure.

use std::collections::BTreeSet;

use verger_policy::facts::InstanceId;

use super::{Attachment, Observed, Port, Standing, Step};

/// What to change so that the instances in `closed` have no network, and those in `free` have theirs.
///
/// What is closed and of neither stays closed while its interface is there: it may be of an instance that is only being started. So does
/// what was closed before (`kept`), if the kernel has lost it.
/// Rules `stand` while any policy may need them, and are taken away once nothing is closed any more.
pub fn plan(
    closed: &BTreeSet<InstanceId>,
    free: &BTreeSet<InstanceId>,
    kept: &BTreeSet<Port>,
    observed: &Observed,
    stand: bool,
) -> Vec<Step> {
    let freed = observed.ports(free);
    let kept = kept
        .iter()
        .filter(|port| observed.links.contains(*port) && !freed.contains(*port))
        .cloned();
    let wanted: BTreeSet<Port> = observed.ports(closed).into_iter().chain(kept).collect();
    let released: BTreeSet<Port> = observed
        .closed
        .iter()
        .filter(|port| !wanted.contains(port))
        .filter(|port| freed.contains(*port) || !observed.links.contains(*port))
        .cloned()
        .collect();
    let missing: BTreeSet<Port> = wanted.difference(&observed.closed).cloned().collect();
    let after: BTreeSet<Port> = observed
        .closed
        .difference(&released)
        .chain(&missing)
        .cloned()
        .collect();
    if after.is_empty() && !stand {
        return match observed.standing {
            Standing::Absent => Vec::new(),
            Standing::Altered | Standing::Whole => vec![Step::Remove],
        };
    }
    if observed.standing != Standing::Whole {
        return vec![Step::Install(after)];
    }
    let steps = [Step::Close(missing), Step::Release(released)];
    let changes = |step: &Step| match step {
        Step::Close(ports) | Step::Release(ports) => !ports.is_empty(),
        Step::Install(_) | Step::Remove => true,
    };
    steps.into_iter().filter(changes).collect()
}

/// Why an instance has a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Open {
    /// Nothing can close it.
    #[error("its network cannot be closed: {0}")]
    Beyond(String),
    /// It could not be looked at.
    #[error("its network could not be seen: {0}")]
    Unseen(String),
    /// It is not closed now.
    #[error("its network is not seen to be closed")]
    NotYet,
}

/// Whether the kernel has an instance closed.
///
/// # Errors
/// Why not.
pub fn confirm(instance: &InstanceId, observed: &Observed) -> Result<(), Open> {
    match observed.attachments.get(instance) {
        None => Err(Open::Unseen("it was not looked at".to_owned())),
        Some(Attachment::Beyond { why, .. }) => Err(Open::Beyond(why.clone())),
        Some(Attachment::Unseen(why)) => Err(Open::Unseen(why.clone())),
        Some(Attachment::Ports(ports)) if ports.is_empty() => Ok(()),
        Some(Attachment::Ports(ports))
            if observed.standing == Standing::Whole && ports.is_subset(&observed.closed) =>
        {
            Ok(())
        }
        Some(Attachment::Ports(_)) => Err(Open::NotYet),
    }
}
