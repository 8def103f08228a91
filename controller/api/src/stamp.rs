//! What members have signed of the cluster's freshness, as it is sent. Whoever reads it verifies it.

use verger_controller_state::State;
use verger_proto::policy::v1::Envelope;

/// The last stamp that a majority has signed.
pub(crate) fn stamp_of(state: &State) -> Option<Envelope> {
    let stamped = state.stamp()?;
    Some(Envelope {
        json: stamped.envelope.to_json().into(),
    })
}

/// Every version of the trust root, the first one first.
pub(crate) fn trust_roots(state: &State) -> Vec<Envelope> {
    let versions = state.cluster().into_iter();
    versions
        .flat_map(|cluster| std::iter::once(&cluster.envelope).chain(&cluster.later))
        .map(|json| Envelope { json: json.clone() })
        .collect()
}
