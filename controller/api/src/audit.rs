//! The audit, for people.

mod filter;
mod look;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use verger_controller_state::AuditHead;
use verger_policy::model::{Resource, Verb};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::audit_service_server::AuditService;
use verger_wire::digest_bytes;

use crate::authorizer::{Authorizer, Permit};
use crate::paging;
use crate::ports::{AuditRows, Replicated, read};
use crate::quotas::take_place;
use crate::stamp::{stamp_of, trust_roots};
use crate::watch::{Stream, expired, reached};
use filter::Filter;
use look::{Looked, Way};

/// Answers that wait for a slow reader.
const READY: usize = 64;

/// The service.
#[derive(Clone)]
pub struct Audit {
    replicated: Arc<dyn Replicated>,
    rows: Arc<dyn AuditRows>,
    authorizer: Arc<Authorizer>,
}

impl Audit {
    /// Serves from the replicated state and from the store.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        rows: Arc<dyn AuditRows>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self {
            replicated,
            rows,
            authorizer,
        }
    }

    fn head(&self) -> AuditHead {
        read(&*self.replicated, |state| state.audit_head())
    }

    /// The key of the row of a number, which is not dropped.
    fn key(&self, number: u64) -> Option<Vec<u8>> {
        read(&*self.replicated, |state| {
            let mut places = state.audit_places(number..number.saturating_add(1));
            places.next().map(|place| place.key)
        })
    }

    /// Sends rows from a number on, and each later one, until the reader is gone.
    async fn follow(
        &self,
        permit: &Permit,
        mut next: u64,
        filter: &Filter,
        ready: &Ready,
    ) -> Result<(), Status> {
        let mut revisions = self.replicated.revisions();
        let mut due = true;
        loop {
            revisions.borrow_and_update();
            read(&*self.replicated, |state| permit.holds(state))?;
            let Looked { rows, reached, more } = self
                .look(Way::Onwards(next), filter, paging::MOST as usize)
                .await?;
            due |= !rows.is_empty();
            for row in rows {
                let message = pb::WatchResponse {
                    position: row.number,
                    position_key: row.key.clone(),
                    row: Some(row),
                };
                if ready.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(reached) = reached {
                next = reached.saturating_add(1);
            }
            // Where the reader is, it is told first of all, and then after everything it is told.
            if due && !more {
                due = false;
                let position = next.saturating_sub(1);
                let message = pb::WatchResponse {
                    row: None,
                    position,
                    position_key: self.key(position).unwrap_or_default().into(),
                };
                if ready.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
            if more {
                if ready.is_closed() {
                    return Ok(());
                }
                continue;
            }
            tokio::select! {
                moved = revisions.changed() => if moved.is_err() { return Ok(()) },
                () = ready.closed() => return Ok(()),
            }
        }
    }
}

type Ready = mpsc::Sender<Result<pb::WatchResponse, Status>>;

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::List, Resource::Audit)
            .await?;
        take_place(&request).await?;
        let pb::ListRequest {
            filter,
            page_size,
            page_token,
            newest_first,
        } = request.into_inner();
        let filter = Filter::parse(filter)?;
        let after: Option<u64> = paging::after(&page_token)?;
        let way = match (after, newest_first) {
            (None, true) => Way::Back(u64::MAX),
            (Some(after), true) => Way::Back(after),
            (None, false) => Way::Onwards(0),
            (Some(after), false) => Way::Onwards(after.saturating_add(1)),
        };
        let Looked { rows, reached, more } = self.look(way, &filter, paging::size(page_size)).await?;
        let next_page_token = match reached {
            Some(reached) if more => reached.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(pb::ListResponse {
            rows,
            next_page_token,
        }))
    }

    type WatchStream = Stream<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Watch, Resource::Audit);
        let permit = permit.await?;
        let pb::WatchRequest {
            filter,
            after,
            after_key,
        } = request.into_inner();
        let filter = Filter::parse(filter)?;
        reached(self.head().written, after)?;
        // Of one that is dropped nobody knows any more.
        if !after_key.is_empty() && self.key(after).is_some_and(|key| key != after_key) {
            return Err(expired());
        }
        let next = if after == 0 { 0 } else { after.saturating_add(1) };
        let (ready, messages) = mpsc::channel(READY);
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(status) = this.follow(&permit, next, &filter, &ready).await {
                // Who is gone need not know.
                let _ = ready.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn head(&self, request: Request<pb::HeadRequest>) -> Result<Response<pb::HeadResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::List, Resource::Audit)
            .await?;
        let pb::HeadRequest {} = request.into_inner();
        let (head, stamp, trust_roots) = read(&*self.replicated, |state| {
            (state.audit_head(), stamp_of(state), trust_roots(state))
        });
        let AuditHead {
            written,
            dropped,
            head,
        } = head;
        Ok(Response::new(pb::HeadResponse {
            written,
            dropped,
            head: digest_bytes(&head),
            stamp,
            trust_roots,
        }))
    }
}
