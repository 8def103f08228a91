//! Somebody who watches, and what has been seen.

use std::time::Duration;

use tokio::time::timeout;
use tonic::codec::Streaming;
use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;
use verger_proto::policy::v1::watch_response::Type;

use crate::world::{Caller, World, soon};

/// One change as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    pub(super) revision: u64,
    /// Of what.
    pub(super) name: String,
    /// What it is now; for an object `ADDED`, `MODIFIED` or `DELETED` with its digest, for a finding its counts.
    pub(super) what: String,
}

/// One message.
#[derive(Debug)]
pub(super) enum Heard {
    Change(Seen),
    /// Everything up to here has been sent.
    Bookmark(u64),
}

/// A message of a watch.
pub(super) trait Message: Sized {
    async fn open(caller: &Caller, after: u64) -> Result<Streaming<Self>, Status>;
    fn heard(self) -> Heard;
}

/// The digest of canonical bytes, short.
pub(super) fn short(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()[..8].to_owned()
}

impl Message for pb::WatchResponse {
    async fn open(caller: &Caller, after: u64) -> Result<Streaming<Self>, Status> {
        let request = pb::WatchRequest {
            after_revision: after,
        };
        caller
            .policy()
            .watch(request)
            .await
            .map(tonic::Response::into_inner)
    }

    fn heard(self) -> Heard {
        let (kind, revision) = (self.r#type(), self.revision);
        let Some(pb::GetResponse { entry, body }) = self.object else {
            assert_eq!(kind, Type::Bookmark);
            return Heard::Bookmark(revision);
        };
        let (entry, key) = {
            let mut entry = entry.unwrap();
            let key = entry.key.take().unwrap();
            (entry, key)
        };
        let what = match (kind, body) {
            (Type::Deleted, None) => "DELETED".to_owned(),
            (Type::Added | Type::Modified, Some(body)) => {
                let bytes = &body.canonical;
                assert_eq!(entry.digest, verger_wire::digest_bytes(&Digest::of(bytes)));
                format!(
                    "{} {}",
                    kind.as_str_name().trim_start_matches("TYPE_"),
                    short(bytes)
                )
            }
            other => panic!("{other:?}"),
        };
        Heard::Change(Seen {
            revision,
            name: format!("{}/{}", key.kind, key.name),
            what,
        })
    }
}

impl Message for fpb::WatchResponse {
    async fn open(caller: &Caller, after: u64) -> Result<Streaming<Self>, Status> {
        let request = fpb::WatchRequest {
            after_revision: after,
            ..Default::default()
        };
        caller
            .findings()
            .watch(request)
            .await
            .map(tonic::Response::into_inner)
    }

    fn heard(self) -> Heard {
        use fpb::watch_response::Type as Told;
        let kind = self.r#type();
        let Some(finding) = self.finding else {
            assert_eq!(kind, Told::Bookmark);
            return Heard::Bookmark(self.revision);
        };
        assert_eq!(finding.revision, self.revision);
        if kind == Told::Deleted {
            return Heard::Change(Seen {
                revision: self.revision,
                name: Digest::from_bytes(finding.uid.as_ref().try_into().unwrap()).hex(),
                what: "DELETED".to_owned(),
            });
        }
        assert_eq!(kind, Told::Changed);
        let affected: u64 = finding.hosts.values().map(|count| count.affected).sum();
        Heard::Change(Seen {
            revision: self.revision,
            name: finding.check.as_ref().unwrap().field.clone(),
            what: format!(
                "{} {affected}",
                finding.lifecycle().as_str_name().trim_start_matches("LIFECYCLE_")
            ),
        })
    }
}

/// Somebody who watches.
pub(super) struct Follower<M> {
    caller: Caller,
    stream: Streaming<M>,
    /// Everything up to here has been seen.
    pub(super) complete: u64,
    /// Seen since.
    pub(super) since: Vec<Seen>,
}

impl<M: Message> Follower<M> {
    pub(super) async fn start(world: &World, after: u64) -> Self {
        let caller = world.ada();
        Self {
            stream: M::open(&caller, after).await.unwrap(),
            caller,
            complete: after,
            since: Vec::new(),
        }
    }

    /// The next message, if there is one without anything more happening.
    pub(super) async fn hear(&mut self) -> Option<Heard> {
        let message = timeout(Duration::from_millis(1), self.stream.message())
            .await
            .ok()?;
        Some(message.unwrap().expect("a watch goes on").heard())
    }

    /// Reads everything there is, which must end in a bookmark; gives the changes.
    pub(super) async fn all(&mut self) -> Vec<Seen> {
        let mut changes = Vec::new();
        let mut ended = true;
        while let Some(heard) = self.hear().await {
            ended = matches!(heard, Heard::Bookmark(_));
            match heard {
                Heard::Change(seen) => changes.push(seen),
                Heard::Bookmark(revision) => {
                    assert!(revision >= self.complete, "never back");
                    self.complete = revision;
                }
            }
        }
        assert!(ended, "a bookmark ends what was sent");
        changes
    }

    /// The connection breaks; goes on from what is complete.
    pub(super) async fn resume(&mut self) {
        self.since.clear();
        self.stream = M::open(&self.caller, self.complete).await.unwrap();
    }

    /// How the stream goes on: nothing if it ended well.
    pub(super) async fn end(&mut self) -> Result<Option<M>, Status> {
        timeout(Duration::from_secs(1), self.stream.message())
            .await
            .unwrap()
    }
}

/// What a watch that is refused at once, or in its first message, is told.
pub(super) async fn refusal<M: Message>(world: &World, after: u64) -> Status {
    match M::open(&world.ada(), after).await {
        Err(status) => status,
        Ok(mut stream) => soon(stream.message()).await.map(drop).expect_err("refused"),
    }
}

/// Asserts that resuming there is refused, and that a program can tell why.
pub(super) async fn is_expired<M: Message>(world: &World, after: u64) {
    let status = refusal::<M>(world, after).await;
    crate::world::refused::<()>(Err(status), Code::OutOfRange, "RESUME_TOKEN_EXPIRED");
}
