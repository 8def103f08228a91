//! Which workload an instance is held to: hints oblige, digests entitle.

use super::sheet::Sheet;
use super::{Check, Claim};
use crate::compile::{Compiled, CompiledWorkload, full_repository};
use crate::digest::Digest;
use crate::facts::Instance;
use crate::model::{ContainerHint, Labels, Name, UnknownInstances};
use crate::rules;

/// A workload that an instance is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Its place in the compiled set.
    pub(super) place: usize,
    /// Whether the instance's digest is listed.
    pub(super) entitled: bool,
}

/// What of an instance says which workload it is of.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Digest of the image config it is made of.
    pub image: Option<&'a Digest>,
    /// Repository name the launcher used, without tag and digest. A hint.
    pub image_name: Option<&'a str>,
    /// Its labels. Hints.
    pub labels: &'a Labels,
}

impl<'a> From<&'a Instance> for Identity<'a> {
    fn from(instance: &'a Instance) -> Self {
        Self {
            image: instance.image.seen(),
            image_name: instance.image_name.as_deref(),
            labels: &instance.labels,
        }
    }
}

/// The workloads an instance is held to. One whose digest is listed wins over one whose hints are met; of several
/// that list the digest, those whose hints are met win too (they are told apart by a label). More than one is left:
/// ambiguous.
pub(super) fn held<'a>(compiled: &Compiled, instance: impl Into<Identity<'a>>) -> Vec<Held> {
    let identity = instance.into();
    let listing = identity.image.map_or(&[][..], |image| compiled.listing(image));
    let meets = |place: usize| meets(&compiled.workloads()[place].spec.hint, identity);
    let entitled: Vec<Held> = listing
        .iter()
        .map(|place| Held {
            place: *place,
            entitled: true,
        })
        .collect();
    let both: Vec<Held> = entitled
        .iter()
        .copied()
        .filter(|held| meets(held.place))
        .collect();
    if !both.is_empty() {
        return both;
    }
    if !entitled.is_empty() {
        return entitled;
    }
    let mut hinted: Vec<Held> = compiled
        .hinted(identity.image_name)
        .filter(|place| meets(*place))
        .map(|place| Held {
            place,
            entitled: false,
        })
        .collect();
    hinted.sort_by_key(|held| held.place);
    hinted
}

/// The workloads that an instance could be of besides those that it is held to: those that list its digest, which its labels make
/// another's; and, where its labels are not read, those whose hints it would meet with the right ones.
pub(super) fn rivals(compiled: &Compiled, instance: &Instance, held: &[Held]) -> Vec<Held> {
    let identity = Identity::from(instance);
    let listing = identity.image.map_or(&[][..], |image| compiled.listing(image));
    let is_rival = |place: &usize| held.iter().all(|held| held.place != *place);
    if listing.is_empty() && !instance.id.runtime.tells_labels() {
        let is_possible = |place: &usize| {
            let hint = &compiled.workloads()[*place].spec.hint;
            !hint.labels.is_empty() && is_of_image(hint, identity)
        };
        let mut possible: Vec<usize> = compiled
            .hinted(identity.image_name)
            .filter(|place| is_possible(place) && is_rival(place))
            .collect();
        possible.sort_unstable();
        let held = |place| Held {
            place,
            entitled: false,
        };
        return possible.into_iter().map(held).collect();
    }
    let rival = |place: &usize| Held {
        place: *place,
        entitled: true,
    };
    listing
        .iter()
        .filter(|place| is_rival(place))
        .map(rival)
        .collect()
}

fn meets(hint: &ContainerHint, identity: Identity<'_>) -> bool {
    !hint.is_empty() && is_of_image(hint, identity) && hint.labels.select(identity.labels)
}

fn is_of_image(hint: &ContainerHint, identity: Identity<'_>) -> bool {
    hint.image.as_deref().is_none_or(|wanted| {
        identity
            .image_name
            .is_some_and(|name| full_repository(name) == full_repository(wanted))
    })
}

pub(super) fn claim(compiled: &Compiled, held: &[Held]) -> Claim {
    let name = |held: &Held| -> Name { compiled.workloads()[held.place].key.name.clone() };
    match held {
        [] => Claim::Unknown,
        [only] => Claim::Workload {
            name: name(only),
            entitled: only.entitled,
        },
        several => Claim::Ambiguous(several.iter().map(name).collect()),
    }
}

/// Checks about the claim itself.
pub(super) fn judge(sheet: &mut Sheet, compiled: &Compiled, workloads: &[&CompiledWorkload]) {
    sheet.decided_by(None);
    match workloads {
        [] => unknown(sheet, compiled),
        [_] => {}
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|workload| workload.key.name.as_str())
                .collect();
            sheet.fail(&rules::AMBIGUOUS, "match", "one workload", &names.join(", "));
        }
    }
}

fn unknown(sheet: &mut Sheet, compiled: &Compiled) {
    let strictest = compiled
        .guardrails()
        .iter()
        .filter(|guardrail| guardrail.selects(std::iter::empty()))
        .max_by_key(|guardrail| {
            (
                guardrail.unknown == Some(UnknownInstances::Refuse),
                std::cmp::Reverse(&guardrail.key),
            )
        });
    match strictest {
        Some(guardrail) => {
            sheet.decided_by(Some(&guardrail.key));
            sheet.fail(
                &rules::UNKNOWN_INSTANCE,
                "match",
                "an instance of a workload",
                "of no workload",
            );
        }
        None => sheet.skip(
            &rules::UNKNOWN_INSTANCE,
            "match",
            "no workload claims this instance, and no guardrail holds for unknown instances here",
        ),
    }
}

/// Whether a check is the one about unknown instances.
pub(crate) fn is_unknown_instance(check: &Check) -> bool {
    check.rule.as_str() == rules::UNKNOWN_INSTANCE.id
}
