//! Authorities of members that joined: below the root, with keys of their own.

use verger_transport::{Authority, AuthorityError, KeyPair, Purpose, SpiffeId, spki_pin};

use crate::cluster::{Cluster, HOUR, issue, peer};
use crate::listener::Listener;

const UNKNOWN: &str = "UnknownIssuer";

/// The authorities of a member that joined, in a folder of their own.
struct Joined {
    dir: tempfile::TempDir,
    members: Authority,
    agents: Authority,
    people: Authority,
}

fn id(cluster: &Cluster, name: &str) -> SpiffeId {
    SpiffeId {
        cluster: cluster.id.clone(),
        peer: peer(name),
    }
}

fn join(cluster: &Cluster, name: &str) -> Joined {
    let dir = tempfile::tempdir().unwrap();
    let below = |root: &Authority, purpose| {
        let key = KeyPair::generate().unwrap();
        let request = key.request().unwrap();
        let made = root.below(&request, purpose, &id(cluster, name)).unwrap();
        Authority::keep_below(dir.path(), purpose, &key, &made, root.certificate()).unwrap()
    };
    Joined {
        members: below(&cluster.members, Purpose::Members),
        agents: below(&cluster.agents, Purpose::Agents),
        people: below(&cluster.people, Purpose::People),
        dir,
    }
}

#[tokio::test]
async fn what_a_member_that_joined_issues_is_known_by_the_root() {
    let cluster = Cluster::new('a');
    let joined = join(&cluster, "controller/c2");
    assert_eq!(joined.members.certificate(), cluster.members.certificate());
    let member = issue(&joined.members, &cluster.id, "controller/c2", HOUR);
    let mut listener = Listener::mutual(&cluster.server(&member)).await;
    for (authority, name) in [
        (&joined.agents, "agent/web-1"),
        (&joined.people, "person/ada"),
        (&joined.members, "controller/c2"),
    ] {
        let client = cluster.client(&issue(authority, &cluster.id, name, HOUR));
        assert_eq!(listener.accepts(&client).await, Some(peer(name)));
    }
    let first = cluster.client(&cluster.identity("controller/c1"));
    assert_eq!(listener.accepts(&first).await, Some(peer("controller/c1")));
}

#[tokio::test]
async fn a_member_that_joined_makes_no_other_members_certificate() {
    let cluster = Cluster::new('a');
    let joined = join(&cluster, "controller/c2");
    let forged = issue(&joined.members, &cluster.id, "controller/c1", HOUR);
    let agent = cluster.client(&cluster.identity("agent/web-1"));
    Listener::mutual(&cluster.server(&forged))
        .await
        .is_refused_by(&agent, UNKNOWN)
        .await;
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/c1"))).await;
    listener.refuses(&cluster.client(&forged), UNKNOWN).await;
    // Nor does its authority for one kind make another kind's.
    let agent = issue(&joined.agents, &cluster.id, "controller/c2", HOUR);
    listener.refuses(&cluster.client(&agent), UNKNOWN).await;
    let own = issue(&joined.members, &cluster.id, "controller/c2", HOUR);
    assert_eq!(
        listener.accepts(&cluster.client(&own)).await,
        Some(peer("controller/c2"))
    );
}

#[tokio::test]
async fn a_pin_of_the_root_admits_a_member_that_joined() {
    let cluster = Cluster::new('a');
    let joined = join(&cluster, "controller/c2");
    let client = |pin: &str| std::sync::Arc::new(verger_transport::Client::pinned(&cluster.id, pin).unwrap());
    let member = issue(&joined.members, &cluster.id, "controller/c2", HOUR);
    let mut listener = Listener::enrolment(&cluster.server(&member)).await;
    assert_eq!(listener.accepts(&client(&cluster.pin())).await, None);
    let other = Cluster::new('a');
    listener.is_refused_by(&client(&other.pin()), UNKNOWN).await;
    let forged = issue(&joined.members, &cluster.id, "controller/c1", HOUR);
    let mut listener = Listener::enrolment(&cluster.server(&forged)).await;
    listener.is_refused_by(&client(&cluster.pin()), UNKNOWN).await;
}

#[tokio::test]
async fn where_one_member_is_called_no_other_may_answer() {
    let cluster = Cluster::new('a');
    let own = verger_transport::Own::new(&cluster.identity("controller/c1")).unwrap();
    let roots = [cluster.members.certificate().to_vec()];
    let client = |name: &str| {
        let client =
            verger_transport::Client::of_member(&cluster.id, &own, &roots, &name.parse().unwrap()).unwrap();
        std::sync::Arc::new(client)
    };
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/c2"))).await;
    assert_eq!(listener.accepts(&client("c2")).await, Some(peer("controller/c1")));
    listener.is_refused_by(&client("c3"), "NotValidForName").await;
}

#[test]
fn only_the_root_puts_authorities_below_itself_and_only_for_the_key_that_asked() {
    let cluster = Cluster::new('a');
    let joined = join(&cluster, "controller/c2");
    let key = KeyPair::generate().unwrap();
    let request = key.request().unwrap();
    let c3 = id(&cluster, "controller/c3");
    let refused = joined.members.below(&request, Purpose::Members, &c3);
    assert!(matches!(refused, Err(AuthorityError::NoneBelow)), "{refused:?}");

    let made = cluster.members.below(&request, Purpose::Members, &c3).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = cluster.members.certificate();
    let keep = |key: &KeyPair, made: &[u8], root: &[u8]| {
        Authority::keep_below(dir.path(), Purpose::Members, key, made, root).map(drop)
    };
    let other = KeyPair::generate().unwrap();
    let foreign = Cluster::new('b');
    for (key, made, root) in [
        (&other, &*made, root),
        (&key, &*made, foreign.members.certificate()),
        (&key, root, root),
        (&key, &[0; 40][..], root),
    ] {
        assert!(matches!(keep(key, made, root), Err(AuthorityError::NotBelow)));
    }
    keep(&key, &made, root).unwrap();
}

#[test]
fn a_root_is_brought_to_a_member_that_joined_and_to_no_other_cluster() {
    let cluster = Cluster::new('a');
    let joined = join(&cluster, "controller/c2");
    let kept = tempfile::tempdir().unwrap();
    let of = Purpose::Members;
    let missing = Authority::load_root(joined.dir.path(), of).err().unwrap();
    assert!(
        missing.to_string().contains("does not have the root keys"),
        "{missing}"
    );
    assert!(Authority::copy_root(joined.dir.path(), of, kept.path()).is_err());

    Authority::copy_root(cluster.dir(), of, kept.path()).unwrap();
    Authority::bring_root(joined.dir.path(), of, kept.path()).unwrap();
    let root = Authority::load_root(joined.dir.path(), of).unwrap();
    assert_eq!(
        spki_pin(root.certificate()),
        spki_pin(cluster.members.certificate())
    );
    let request = KeyPair::generate().unwrap().request().unwrap();
    root.below(&request, of, &id(&cluster, "controller/c3")).unwrap();
    // Once, and never another cluster's.
    assert!(Authority::bring_root(joined.dir.path(), of, kept.path()).is_err());
    let foreign = join(&Cluster::new('a'), "controller/c2");
    assert!(Authority::bring_root(foreign.dir.path(), of, kept.path()).is_err());
    // From there it goes on.
    let again = tempfile::tempdir().unwrap();
    Authority::copy_root(joined.dir.path(), of, again.path()).unwrap();
}
