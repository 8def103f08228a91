//! A restored cluster is the one of before to people and agents, and another to its members.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::init::tests::Place;
use crate::recover::tests::opened;
use crate::roots::{RootsCommand, roots};

/// Of another member, which has nothing yet.
fn config(place: &Place, member: &str) -> Config {
    let file = place.path(&format!("{member}.toml"));
    let text = format!(
        "data_dir = {:?}\nmember = \"{member}\"\nlisten = \"127.0.0.1:7500\"\nenrol_listen = \"127.0.0.1:7501\"\n",
        place.path(&format!("data-{member}"))
    );
    std::fs::write(&file, text).unwrap();
    Config::load(&file).unwrap()
}

/// A founded cluster, its snapshot and its roots; the member is stopped.
fn kept() -> (Place, PathBuf, PathBuf) {
    let place = Place::new();
    place.init("root.json", &place.path("ada.json")).unwrap();
    let (file, dir) = (place.path("cluster.vsnap"), place.path("roots"));
    let member = opened(&place);
    place.runtime.block_on(async {
        let mut saved = member.save().await.unwrap();
        let mut out = File::create(&file).unwrap();
        loop {
            let (back, piece) = saved.read(1 << 20).await.unwrap();
            saved = back;
            if piece.is_empty() {
                break;
            }
            out.write_all(&piece).unwrap();
        }
        member.stop().await;
    });
    roots(&place.config, &RootsCommand::Export { to: dir.clone() }).unwrap();
    (place, file, dir)
}

fn restored(place: &Place, config: &Config, snapshot: &Path, roots: &Path) -> Result<(), String> {
    let args = RestoreArgs {
        snapshot: snapshot.to_owned(),
        roots: roots.to_owned(),
    };
    let done = place.runtime.block_on(restore(config, &args));
    done.map_err(|error| format!("{error:#}"))
}

#[test]
fn it_goes_on_as_the_same_cluster_with_one_new_member() {
    let (place, snapshot, roots) = kept();
    let config = config(&place, "c9");
    restored(&place, &config, &snapshot, &roots).unwrap();
    let seat = Seat::load(&config.raft_dir()).unwrap().unwrap();
    let context: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("ada.json")).unwrap()).unwrap();
    assert_eq!(context["clusterId"], seat.cluster_id.as_str());
    for purpose in Purpose::ALL {
        let of = |config: &Config| {
            Authority::load(&config.pki_dir(), purpose)
                .unwrap()
                .certificate()
                .to_vec()
        };
        assert_eq!(of(&config), of(&place.config), "{purpose}");
    }
    place.runtime.block_on(async {
        let opened = wire_up::open_member(&config).await.unwrap();
        opened.ready().await.unwrap();
        let member = &opened.member;
        let standing = member.standing();
        let names: Vec<_> = standing.members.iter().map(|member| &*member.node.name).collect();
        assert_eq!((names, standing.leader), (vec!["c9"], Some(seat.number)));
        member.read(|state| {
            assert!(state.login("ada").is_some());
            let bytes = std::fs::read(&snapshot).unwrap();
            let from = &state.restored().unwrap().from;
            assert!(bytes.ends_with(from.digest.as_bytes()));
            let founder = state.member(&"c1".parse().unwrap()).unwrap();
            assert_eq!(founder.number(), Some(1), "{founder:?}");
            assert!(state.revision() >= seat.number);
        });
    });
    // Once.
    let again = restored(&place, &config, &snapshot, &roots).unwrap_err();
    assert!(again.contains("already holds a member"), "{again}");
}

#[test]
fn what_is_to_be_done_next_is_told_also_of_what_came_after_the_snapshot() {
    let place = Place::new();
    let from = RestoredFrom {
        index: 7,
        term: 3,
        digest: [1; 32],
        members: Vec::new(),
        number: 1 << 40,
    };
    let held = Held {
        cluster: "ab".to_owned(),
        epoch: 9,
        hosts: 2,
        time: jiff::Timestamp::UNIX_EPOCH,
        names_members: true,
    };
    let text = told(&config(&place, "c9"), &from, &held);
    let at = |wanted: &str| text.find(wanted).unwrap_or_else(|| panic!("{wanted}: {text}"));
    let joined = at("members that joined after 1970-01-01T00:00:00Z");
    assert!(at("`verger cluster remove NAME --force`") > joined);
    assert!(joined < at("`verger cluster add NAME`"), "names first: {text}");
    let enrolled = at("hosts that enrolled after 1970-01-01T00:00:00Z");
    assert!(enrolled < text.rfind("--above-epoch N").unwrap(), "{text}");
    assert_eq!(text.matches("--above-epoch N").count(), 2, "{text}");
}

#[test]
fn what_is_wrong_is_said_and_leaves_nothing() {
    let (place, snapshot, roots) = kept();
    let damaged = place.path("damaged");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let swapped = place.path("swapped");
    make_private_dir(&swapped).unwrap();
    for (of, named) in [("agents", "members"), ("agents", "agents"), ("people", "people")] {
        let bytes = verger_transport::files::read(&roots.join(format!("root-{of}.pem"))).unwrap();
        verger_transport::files::create(&swapped.join(format!("root-{named}.pem")), &bytes).unwrap();
    }
    let missing = place.path("missing");
    for (member, snapshot, roots, wanted) in [
        ("c1", &snapshot, &roots, "a name is used once"),
        ("c9", &damaged, &roots, "another copy of this snapshot"),
        ("c9", &missing, &roots, "--snapshot"),
        ("c9", &snapshot, &missing, "--roots"),
        ("c9", &snapshot, &swapped, "of another kind of certificates"),
    ] {
        let config = config(&place, member);
        let refused = restored(&place, &config, snapshot, roots).unwrap_err();
        assert!(refused.contains(wanted), "{wanted}: {refused}");
        let left = std::fs::read_dir(&config.data_dir).unwrap().count();
        assert_eq!(left, 0, "{wanted}");
    }
    let config = config(&place, "c9");
    restored(&place, &config, &snapshot, &roots).unwrap();
}

#[test]
fn roots_of_another_cluster_are_refused() {
    let (place, _, roots) = kept();
    let dir = place.path("pki-of-another");
    make_private_dir(&dir).unwrap();
    let other = "ab".repeat(32);
    let refused = Authority::take_root(&dir, Purpose::Members, &roots, &other)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("another cluster"), "{refused}");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}
