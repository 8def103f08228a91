//! Images that a change blesses and that no host has shown: most often the digest of a manifest or an index where that of
//! the image's config is meant, or one copied from elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use verger_policy::digest::Digest;
use verger_policy::model::{ObjectKey, Spec};
use verger_policy::set::PolicySet;

use super::instances;
use crate::connect::Session;
use crate::exit::Failure;
use crate::sealed::{Held, Next};

/// An agent tells of a container that has just been started within this; so long an image may be missing.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two questions.
const AGAIN: Duration = Duration::from_millis(200);

/// Refuses a change that blesses an image which runs nowhere and was not blessed before.
pub(super) async fn refuse(session: &Session, held: &Held, next: &Next) -> anyhow::Result<()> {
    let mut new = images(&next.set);
    for known in images(&held.set).keys() {
        new.remove(known);
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !new.is_empty() {
        for instance in instances::all(session).await? {
            if let Ok(image) = instance.image.parse::<Digest>() {
                new.remove(&image);
            }
        }
        if new.is_empty() || tokio::time::Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(AGAIN).await;
    }
    match new.first_key_value() {
        None => Ok(()),
        Some((image, of)) => Err(Failure::input(format!(
            "{of}: `spec.config.images`: no host runs, and nothing blesses yet, {image}{}; nothing was changed. It must be the digest of the \
             image's config (`docker image inspect --format '{{{{.Id}}}}' IMAGE`), not of a manifest or an index. To bless an image \
             before its first launch, give --unseen-images",
            match new.len() {
                1 => String::new(),
                more => format!(" (and {} more)", more - 1),
            }
        ))
        .into()),
    }
}

/// The images that workloads list, each with the first workload that does.
fn images(set: &PolicySet) -> BTreeMap<Digest, ObjectKey> {
    let mut found = BTreeMap::new();
    for object in set.objects() {
        if let Spec::Workload(workload) = &object.spec {
            for image in &workload.config.images {
                found.entry(*image).or_insert_with(|| object.key());
            }
        }
    }
    found
}
