//! Policy objects.

mod changing;
mod watchers;

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use verger_controller_state::{Action, ObjectChange, Place, State};
use verger_policy::model::{Kind, ObjectKey, Resource, Verb};
use verger_policy::set::{Body, PolicySet};
use verger_proto::policy::v1 as pb;
use verger_proto::policy::v1::policy_service_server::PolicyService;
use verger_wire::{FromWire as _, IntoWire as _, digest_bytes, parse, required};

use crate::authorizer::{Authorizer, Change, as_it_is};
use crate::paging;
use crate::ports::{Ambient, Replicated, read};
use crate::quotas::take_place;
use crate::stamp::stamp_of;
use crate::status::{invalid, not_found};
use crate::watch::{self, Stream};
use changing::ChangeRequest;
pub(crate) use changing::fits;
use watchers::Watchers;

/// The service.
pub struct Policy {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    authorizer: Arc<Authorizer>,
    watchers: Watchers,
}

fn object(set: &PolicySet, key: &ObjectKey) -> Option<pb::GetResponse> {
    let (entry, body) = (set.entry(key)?, set.body(key)?);
    let body: &Body = body;
    Some(pb::GetResponse {
        entry: Some(entry.into_wire()),
        body: Some(body.into_wire()),
    })
}

impl Policy {
    /// Serves from the replicated state.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            authorizer,
            watchers: Watchers::default(),
        }
    }

    /// Looks at the state as it is here, which was brought up to date when the caller was let in.
    fn now<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        read(&*self.replicated, look)
    }
}

/// Key of a message, as it is named in `field`.
pub(crate) fn key_in(field: &str, key: Option<pb::ObjectKey>) -> Result<ObjectKey, Status> {
    let key = required(field, key).map_err(invalid)?;
    ObjectKey::from_wire(key).map_err(|error| invalid(error.within(field)))
}

/// The bytes of a seal; empty where there is none.
pub(crate) fn seal_in(seal: Option<pb::Envelope>) -> Bytes {
    seal.map(|pb::Envelope { json }| json).unwrap_or_default()
}

#[tonic::async_trait]
impl PolicyService for Policy {
    async fn get_set(
        &self,
        request: Request<pb::GetSetRequest>,
    ) -> Result<Response<pb::GetSetResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may_with_every_kind(Verb::Get)
            .await?;
        take_place(&request).await?;
        let pb::GetSetRequest { with_bodies } = request.into_inner();
        let response = self.now(|state| pb::GetSetResponse {
            epoch: state.set().epoch(),
            root: digest_bytes(&state.set().root()),
            entries: state.set().entries().map(|entry| entry.into_wire()).collect(),
            seal: state.seal().map(|json| pb::Envelope { json: json.clone() }),
            bodies: if with_bodies {
                bodies(state.set())
            } else {
                Vec::new()
            },
            trust_root: state.cluster().map(|cluster| pb::Envelope {
                json: cluster.envelope.clone(),
            }),
            revision: state.revision(),
            later_trust_roots: state
                .cluster()
                .map(|cluster| cluster.later.as_slice())
                .unwrap_or_default()
                .iter()
                .map(|json| pb::Envelope { json: json.clone() })
                .collect(),
            stamp: stamp_of(state),
        });
        Ok(Response::new(response))
    }

    async fn rotate_trust_root(
        &self,
        request: Request<pb::RotateTrustRootRequest>,
    ) -> Result<Response<pb::RotateTrustRootResponse>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Rotate, Resource::TrustRoot);
        let asker = permit.await?.asker();
        let pb::RotateTrustRootRequest {
            request_id,
            trust_root,
            seal,
        } = request.into_inner();
        let (trust_root, seal) = (seal_in(trust_root), seal_in(seal));
        fits(std::slice::from_ref(&trust_root), &[], &seal)?;
        let action = Action::RotateTrustRoot { trust_root, seal };
        let (epoch, root, revision) = self.make(asker, &request_id, action).await?;
        Ok(Response::new(pb::RotateTrustRootResponse {
            epoch,
            root,
            revision,
        }))
    }

    async fn apply(&self, request: Request<pb::ApplyRequest>) -> Result<Response<pb::ApplyResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::ApplyRequest {
            request_id,
            expected_epoch,
            upserts,
            deletes,
            seal,
            dry_run,
        } = request.into_inner();
        let deletes = deletes
            .into_iter()
            .enumerate()
            .map(|(index, key)| key_in(&format!("deletes[{index}]"), Some(key)))
            .collect::<Result<_, _>>()?;
        let upserts = upserts
            .into_iter()
            .map(|pb::Body { key: _, canonical }| canonical)
            .collect();
        let seal = seal_in(seal);
        let request = ChangeRequest {
            request_id,
            change: Change {
                expected_epoch,
                upserts,
                deletes,
            },
            seal,
            dry_run,
        };
        let (epoch, root, revision) = self.change(caller, request).await?;
        Ok(Response::new(pb::ApplyResponse {
            epoch,
            root,
            revision,
        }))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::GetRequest { key } = request.into_inner();
        let key = key_in("key", key)?;
        caller
            .may_all(|state| vec![as_it_is(state.set(), Verb::Get, &key)])
            .await?;
        let found = self.now(|state| object(state.set(), &key));
        found
            .map(Response::new)
            .ok_or_else(|| not_found(&key.to_string()))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::ListRequest {
            kind,
            page_size,
            page_token,
        } = request.get_ref().clone();
        let kind: Option<Kind> = if kind.is_empty() {
            None
        } else {
            Some(parse("kind", &kind).map_err(invalid)?)
        };
        let after: Option<ObjectKey> = paging::after(&page_token)?;
        match kind {
            Some(kind) => caller.may(Verb::List, Resource::of_kind(kind)).await?,
            None => caller.may_with_every_kind(Verb::List).await?,
        };
        take_place(&request).await?;
        let response = self.now(|state| {
            let set = state.set();
            let keys = set
                .entries()
                .map(|entry| &entry.key)
                .filter(|key| kind.is_none_or(|kind| key.kind == kind))
                .filter(|key| after.as_ref().is_none_or(|after| *key > after));
            let (keys, next_page_token) = paging::page(keys, paging::size(page_size), ToString::to_string);
            pb::ListResponse {
                objects: keys.into_iter().filter_map(|key| object(set, key)).collect(),
                next_page_token,
                epoch: set.epoch(),
                revision: state.revision(),
            }
        });
        Ok(Response::new(response))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRequest>,
    ) -> Result<Response<pb::DeleteResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::DeleteRequest {
            request_id,
            expected_epoch,
            key,
            seal,
            dry_run,
        } = request.into_inner();
        let key = key_in("key", key)?;
        let seal = seal_in(seal);
        let request = ChangeRequest {
            request_id,
            change: Change {
                expected_epoch,
                upserts: Vec::new(),
                deletes: vec![key],
            },
            seal,
            dry_run,
        };
        let (epoch, root, revision) = self.change(caller, request).await?;
        Ok(Response::new(pb::DeleteResponse {
            epoch,
            root,
            revision,
        }))
    }

    type WatchStream = Stream<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = self.authorizer.person(&request)?;
        let permit = caller.may_with_every_kind(Verb::Watch).await?;
        let pb::WatchRequest { after_revision } = request.into_inner();
        watch::reached(self.now(State::revision), after_revision)?;
        let watcher = self.watchers.begin(permit.name_and_key().0)?;
        let changes = move |state: &State, place: &Place<ObjectKey>| {
            let _open = &watcher;
            permit.holds(state)?;
            let changed = state.objects_changed(place).ok_or_else(watch::expired)?;
            let at = |change: &ObjectChange<'_>| (change.revision, change.key.clone());
            let complete = place.complete;
            Ok(watch::page(state.revision(), place, changed, at, |change| {
                Some(change_of(state, &change, complete))
            }))
        };
        let bookmark = |state: &State, revision| pb::WatchResponse {
            r#type: pb::watch_response::Type::Bookmark.into(),
            revision,
            epoch: state.set().epoch(),
            object: None,
        };
        Ok(Response::new(watch::follow(
            Arc::clone(&self.replicated),
            after_revision,
            changes,
            bookmark,
        )))
    }
}

fn bodies(set: &PolicySet) -> Vec<pb::Body> {
    set.parts()
        .filter_map(|(_, body)| body)
        .map(|body| (&**body).into_wire())
        .collect()
}

/// A change, as it is told to a watcher that knows everything up to `complete`.
fn change_of(state: &State, change: &ObjectChange<'_>, complete: u64) -> pb::WatchResponse {
    use pb::watch_response::Type;
    let ObjectChange { revision, key, born } = *change;
    let object = object(state.set(), key);
    let kind = match born {
        None => Type::Deleted,
        // One that was deleted and made again is another: its watcher sees the old one replaced.
        Some(born) if born > complete => Type::Added,
        // To a watcher that starts from nothing everything is new.
        Some(_) if complete == 0 => Type::Added,
        Some(_) => Type::Modified,
    };
    let named = || pb::GetResponse {
        entry: Some(pb::Entry {
            key: Some(key.into_wire()),
            ..pb::Entry::default()
        }),
        body: None,
    };
    pb::WatchResponse {
        r#type: kind.into(),
        revision,
        epoch: state.set().epoch(),
        object: Some(object.unwrap_or_else(named)),
    }
}
