//! The facts of an instance that could not be read.

use verger_policy::facts::{ConfigFacts, Evidence, Instance, InstanceId};
use verger_policy::model::Labels;

/// An instance of which nothing but the id is known, and why: judged *not evaluated*, never overlooked.
pub(crate) fn unknown_instance(id: InstanceId, reason: &str) -> Instance {
    Instance {
        name: id.id.clone(),
        id,
        image: Evidence::missing(reason),
        image_name: None,
        image_defaults: Evidence::missing(reason),
        labels: Labels::default(),
        config: ConfigFacts::missing(reason),
        live: Evidence::missing(reason),
    }
}
