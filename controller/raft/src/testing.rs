//! What the tests within this crate share: a cluster of one member, and what it is told to do.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use verger_controller_state::{Action, Command, Response};

use crate::member::{Member, MemberConfig, MemberError};
use crate::peers::NoPeers;
use crate::types::Node;

/// Whatever is waited for comes within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the first member of a cluster.
pub(crate) async fn open(dir: &Path) -> Result<Member, MemberError> {
    let config = MemberConfig {
        id: 1,
        node: Node::default(),
        is_first: true,
        start: 1,
    };
    Member::open(config, dir.to_owned(), Arc::new(NoPeers)).await
}

/// One of its commands.
pub(crate) fn command(action: Action) -> Command {
    Command::of_member("c1", jiff::Timestamp::UNIX_EPOCH, action)
}

/// What founds a cluster.
pub(crate) fn found() -> Action {
    let key = verger_seal::SealingKey::from_seed([1; 32]);
    let (_, envelope) = verger_seal::TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
    Action::Found {
        trust_root: envelope.to_json().into(),
    }
}

/// Has a member found its cluster, once it leads.
pub(crate) async fn found_by(member: &Member) {
    member.wait_until_leading(PATIENCE).await.unwrap();
    let founded = member.propose(&command(found())).await.unwrap();
    assert!(matches!(founded, Response::Founded(_)), "{founded:?}");
}
