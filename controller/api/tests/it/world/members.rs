//! The members of the control plane, as a test has them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use verger_controller_api::ports::{
    MemberChange, Membership, NotChanged, NotSaved, SnapshotStream, Snapshots, Unavailable,
};
use verger_proto::cluster::v1 as pb;

/// Does what it is told, and remembers it.
pub(crate) struct Members {
    pub(crate) names: Mutex<Vec<(String, u64)>>,
    pub(crate) made: Mutex<Vec<(MemberChange, bool)>>,
    /// What the next changes are refused with.
    pub(crate) refused: Mutex<Option<NotChanged>>,
    pub(crate) closed: Mutex<Option<String>>,
    /// What comes between while the next change is made.
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// What a snapshot holds, in pieces; and why there is none.
    pub(crate) pieces: Mutex<Vec<Result<Bytes, Unavailable>>>,
    pub(crate) not_saved: Mutex<Option<NotSaved>>,
    /// Snapshots whose file is read now.
    pub(crate) reading: Arc<AtomicUsize>,
    /// Where agents call whom.
    addresses: Mutex<BTreeMap<String, String>>,
}

impl Members {
    /// Two of them, of which the first leads.
    pub(crate) fn new() -> Self {
        Self {
            names: Mutex::new(vec![("c1".to_owned(), 1), ("c2".to_owned(), 2)]),
            made: Mutex::default(),
            refused: Mutex::default(),
            closed: Mutex::default(),
            meanwhile: Mutex::default(),
            pieces: Mutex::new(vec![Ok(Bytes::from_static(b"VGRSNAP"))]),
            not_saved: Mutex::default(),
            reading: Arc::default(),
            addresses: Mutex::default(),
        }
    }

    /// Has agents call a member there.
    pub(crate) fn call(&self, name: &str, address: &str) {
        let mut addresses = self.addresses.lock().unwrap();
        addresses.insert(name.to_owned(), address.to_owned());
    }

    pub(crate) fn made(&self) -> Vec<(MemberChange, bool)> {
        self.made.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl Snapshots for Members {
    async fn save(&self) -> Result<SnapshotStream, NotSaved> {
        if let Some(error) = self.not_saved.lock().unwrap().clone() {
            return Err(error);
        }
        let all = self.pieces.lock().unwrap().clone();
        let size = all.iter().flatten().map(|piece| piece.len() as u64).sum();
        let (ready, pieces) = tokio::sync::mpsc::channel(1);
        let reading = Arc::clone(&self.reading);
        reading.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            for piece in all {
                if ready.send(piece).await.is_err() {
                    break;
                }
            }
            reading.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(SnapshotStream { size, pieces })
    }
}

#[tonic::async_trait]
impl Membership for Members {
    fn standing(&self) -> pb::ListMembersResponse {
        let names = self.names.lock().unwrap();
        let addresses = self.addresses.lock().unwrap();
        let members = names.iter().map(|(name, number)| pb::Member {
            address: addresses.get(name).cloned().unwrap_or_default(),
            name: name.clone(),
            number: *number,
            voter: true,
            ..pb::Member::default()
        });
        pb::ListMembersResponse {
            answered_by: "c1".to_owned(),
            leader: "c1".to_owned(),
            members: members.collect(),
            ..pb::ListMembersResponse::default()
        }
    }

    fn closed(&self) -> Option<String> {
        self.closed.lock().unwrap().clone()
    }

    async fn change(&self, change: MemberChange, is_forced: bool) -> Result<(), NotChanged> {
        if let Some(refused) = self.refused.lock().unwrap().clone() {
            return Err(refused);
        }
        if let Some(other) = self.meanwhile.lock().unwrap().take() {
            other();
        }
        let mut names = self.names.lock().unwrap();
        if let MemberChange::Remove(name) = &change
            && !names.iter().any(|(other, _)| other == name)
        {
            return Err(NotChanged {
                is_passing: false,
                reason: "NO_SUCH_MEMBER".to_owned(),
                detail: format!("there is no member {name}"),
            });
        }
        match &change {
            MemberChange::Add(new) => names.push((new.name.clone(), new.number)),
            MemberChange::Remove(name) => names.retain(|(other, _)| other != name),
            MemberChange::Promote(_) | MemberChange::Demote(_) | MemberChange::Lead(_) => {}
        }
        self.made.lock().unwrap().push((change, is_forced));
        Ok(())
    }
}
