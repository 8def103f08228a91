//! A cluster of so many members, each in a folder of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use verger_controller_raft::{Change, Member, MemberConfig, Node, ProposeError, Stores};
use verger_controller_state::{Action, Command, Response, State, Tree};
use verger_policy::digest::Digest;

use crate::lossy::{Lossy, Switches};
use crate::router::Router;
use crate::shared::{command, founding};

/// What does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct World {
    pub(crate) router: Arc<Router>,
    folders: BTreeMap<u64, TempDir>,
    members: BTreeMap<u64, Arc<Member>>,
    starts: AtomicU64,
}

pub(crate) fn name(id: u64) -> String {
    format!("c{id}")
}

fn node(id: u64) -> Node {
    Node {
        name: name(id),
        address: format!("host-{id}:1"),
        ..Node::default()
    }
}

/// Gives somebody a login with the key of this number.
pub(crate) fn login(person: &str, key: u64) -> Command {
    command(Action::CreateLogin {
        person: person.to_owned(),
        key: Digest::of(&key.to_le_bytes()),
    })
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(LOOK).await;
    }
}

impl World {
    /// Founded by member 1; the others join, and vote.
    pub(crate) async fn of(members: u64) -> Self {
        let mut world = Self {
            router: Arc::default(),
            folders: BTreeMap::new(),
            members: BTreeMap::new(),
            starts: AtomicU64::new(1),
        };
        world.begin(1).await;
        let first = world.member(1);
        first.wait_until_leading(PATIENCE).await.unwrap();
        let founded = first.propose(&founding()).await.unwrap();
        assert!(matches!(founded, Response::Founded(_)), "{founded:?}");
        for id in 2..=members {
            world.join(id).await;
            world.promote(id).await;
        }
        world
    }

    /// Makes a member, and has the leader know it as a learner.
    pub(crate) async fn join(&mut self, id: u64) {
        self.begin(id).await;
        let leader = self.leader().await;
        let change = Change::Add { id, node: node(id) };
        leader.change(change, false).await.unwrap();
    }

    /// Has a learner vote, once it has what the others have.
    pub(crate) async fn promote(&self, id: u64) {
        let leader = self.leader().await;
        until("the learner to have caught up", || {
            leader.standing().check(&Change::Promote(id), false).is_ok()
        })
        .await;
        leader.change(Change::Promote(id), false).await.unwrap();
    }

    async fn begin(&mut self, id: u64) {
        let folder = tempfile::tempdir().unwrap();
        Member::create(folder.path()).unwrap();
        self.folders.insert(id, folder);
        self.start(id).await;
    }

    pub(crate) async fn start(&mut self, id: u64) {
        self.start_without(id, None).await;
    }

    /// Starts it, and this row is gone. Gives what has more happen to its rows.
    pub(crate) async fn start_without(
        &mut self,
        id: u64,
        lost: Option<(Tree, &'static [u8])>,
    ) -> Arc<Switches> {
        let switches = Arc::<Switches>::default();
        let config = MemberConfig {
            id,
            node: node(id),
            is_first: id == 1,
            start: self.starts.fetch_add(1, Ordering::Relaxed),
        };
        let dir = self.folders[&id].path().to_owned();
        let peers = self.router.peers_of(&name(id));
        let member = match lost {
            None => Member::open(config, dir, peers).await,
            Some((tree, key)) => {
                let mut stores = Stores::open(&dir).unwrap();
                stores.state = Arc::new(Lossy {
                    rows: stores.state,
                    tree: tree.name(),
                    key,
                    switches: Arc::clone(&switches),
                });
                Member::open_on(config, stores, peers).await
            }
        };
        let member = Arc::new(member.unwrap());
        *self.router.seat(&name(id)).write().await = Some(Arc::clone(&member));
        self.members.insert(id, member);
        switches
    }

    pub(crate) async fn stop(&mut self, id: u64) {
        *self.router.seat(&name(id)).write().await = None;
        let mut member = self.members.remove(&id).unwrap();
        // Calls that are on their way let go of it.
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Arc::try_unwrap(member) {
                Ok(member) => return member.stop().await,
                Err(held) => member = held,
            }
            assert!(Instant::now() < deadline, "somebody holds member {id}");
            sleep(LOOK).await;
        }
    }

    pub(crate) fn member(&self, id: u64) -> Arc<Member> {
        Arc::clone(&self.members[&id])
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (u64, &Arc<Member>)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Who leads, once somebody does.
    pub(crate) async fn leader(&self) -> Arc<Member> {
        self.leader_but(None).await
    }

    /// Who leads of the others.
    pub(crate) async fn leader_but(&self, but: Option<u64>) -> Arc<Member> {
        let mut leader = None;
        until("somebody to lead", || {
            let mut members = self.members().filter(|(id, _)| Some(*id) != but);
            leader = members
                .find(|(_, member)| member.is_leading())
                .map(|(_, member)| Arc::clone(member));
            leader.is_some()
        })
        .await;
        leader.unwrap()
    }

    /// Cuts every way between these and the others.
    pub(crate) fn part(&self, some: &[u64]) {
        for (one, _) in self.members() {
            for (other, _) in self.members() {
                if some.contains(&one) != some.contains(&other) {
                    self.router.cut(&name(one), &name(other));
                }
            }
        }
    }

    /// Proposes until somebody takes it: giving somebody the same login twice is giving it once.
    pub(crate) async fn propose(&self, at: u64, command: &Command) -> Response {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.member(at).propose(command).await {
                Ok(response) => return response,
                Err(ProposeError::NotLeader | ProposeError::Unknown(_)) if Instant::now() < deadline => {}
                Err(error) => panic!("at {at}: {error}"),
            }
        }
    }

    /// Waits until all have applied as much, and all are the same.
    pub(crate) async fn agree(&self) {
        let revision = self.leader().await.read(State::revision);
        for (id, member) in self.members() {
            until(&format!("member {id} to come to {revision}"), || {
                member.read(State::revision) >= revision
            })
            .await;
        }
        until("all to be the same", || {
            let mut states = self.members().map(|(_, member)| member.read(State::clone));
            let first = states.next().unwrap();
            states.all(|state| state == first)
        })
        .await;
    }
}

/// Whether this member has applied that login.
pub(crate) fn knows(member: &Member, person: &str, key: u64) -> bool {
    member.read(|state| {
        state
            .login(person)
            .is_some_and(|login| login.key == Digest::of(&key.to_le_bytes()))
    })
}
