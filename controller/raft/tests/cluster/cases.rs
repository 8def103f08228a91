//! What holds of a cluster.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use verger_controller_raft::{
    CHECKPOINT_EVERY, Change, ChangeError, Member, Node, Part, ProposeError, Verdict,
};
use verger_controller_state::{Action, Command, Response, State, Tree};

use crate::shared::command;
use crate::world::{World, knows, login, name, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_takes_commands_and_gives_current_reads() {
    let world = World::of(3).await;
    for at in 1..=3 {
        let person = format!("of-{at}");
        let response = world.propose(at, &login(&person, at)).await;
        assert_eq!(response, Response::LoginCreated, "at member {at}");
        // Who was answered finds it where it was answered, without asking anybody.
        assert!(knows(&world.member(at), &person, at));
        for (id, member) in world.members() {
            member.catch_up().await.unwrap();
            assert!(
                knows(member, &person, at),
                "member {id} is behind after a read index"
            );
        }
    }
    world.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_refused_where_it_was_taken() {
    let world = World::of(3).await;
    let leader = world.leader().await.standing().id;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    // A name that is kept for broken glass.
    let refused = world.propose(follower, &login("break-glass.ada", 1)).await;
    assert!(matches!(refused, Response::Refused(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_confirms_nothing_and_the_others_go_on() {
    let world = World::of(3).await;
    world.propose(1, &login("ada", 1)).await;
    let old = world.leader().await;
    let old_id = old.standing().id;
    world.part(&[old_id]);
    let new = world.leader_but(Some(old_id)).await;
    let at = new.standing().id;
    assert_eq!(world.propose(at, &login("ada", 2)).await, Response::LoginCreated);
    // Who was left alone says nothing that is old, and takes nothing that may be lost.
    assert!(old.catch_up().await.is_err());
    let taken = old.propose(&login("bob", 1)).await;
    assert!(
        matches!(taken, Err(ProposeError::NotLeader | ProposeError::Unknown(_))),
        "{taken:?}"
    );
    world.router.heal();
    old.catch_up().await.unwrap();
    assert!(knows(&old, "ada", 2));
    world.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_catches_up_and_one_that_is_stopped_is_not_missed() {
    let mut world = World::of(3).await;
    world.stop(3).await;
    for number in 0..50 {
        world.propose(1, &login("ada", number)).await;
    }
    world.start(3).await;
    let third = world.member(3);
    until("the third to catch up", || knows(&third, "ada", 49)).await;
    world.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_is_given_a_snapshot() {
    let mut world = World::of(1).await;
    for number in 0..200 {
        world
            .propose(1, &login(&format!("person-{number}"), number))
            .await;
    }
    let first = world.member(1);
    first.snapshot_and_purge().await.unwrap();
    until("the log to be purged", || first.standing().purged > 100).await;
    world.join(2).await;
    let second = world.member(2);
    until("the second to have everything", || {
        knows(&second, "person-0", 0) && knows(&second, "person-199", 199)
    })
    .await;
    world.promote(2).await;
    world.propose(2, &login("last", 1)).await;
    world.agree().await;
    // It has it on its own disk.
    drop(second);
    world.stop(2).await;
    world.start(2).await;
    let second = world.member(2);
    assert!(knows(&second, "person-0", 0), "{}", second.read(State::revision));
    world.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_promoted_demoted_and_removed() {
    let mut world = World::of(3).await;
    world.join(4).await;
    let part = |world: &World, of: u64| {
        let members = world.member(1).standing().members;
        members
            .into_iter()
            .find(|member| member.id == of)
            .map(|member| member.part)
    };
    until("all to know the learner", || {
        part(&world, 4) == Some(Part::Learner)
    })
    .await;
    let leader = world.leader().await;
    let follower = (1..=3).find(|id| *id != leader.standing().id).unwrap();
    world.promote(4).await;
    until("it to vote", || part(&world, 4) == Some(Part::Voter)).await;
    // At any member: whoever leads does it.
    let asked = world.member(follower);
    asked.change(Change::Demote(4), false).await.unwrap();
    let again = asked.change(Change::Demote(4), false).await;
    let reason = again.as_ref().map_err(ChangeError::reason);
    assert_eq!(reason, Err("ALREADY_SO"), "{again:?}");
    until("it to learn", || part(&world, 4) == Some(Part::Learner)).await;
    leader.change(Change::Remove(4), false).await.unwrap();
    until("it to be gone", || part(&world, 4).is_none()).await;
    // Who is not there cannot be done without.
    world.router.cut(&name(follower), &name(leader.standing().id));
    world.router.cut(&name(leader.standing().id), &name(follower));
    let other = (1..=3)
        .find(|id| ![follower, leader.standing().id].contains(id))
        .unwrap();
    until("the follower to be missed", || {
        matches!(
            leader.standing().check(&Change::Remove(other), false),
            Err(ChangeError::NoQuorum { .. })
        )
    })
    .await;
    let refused = leader.change(Change::Remove(other), false).await;
    assert!(
        matches!(refused, Err(ChangeError::NoQuorum { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_nobody_goes_on_with_is_finished_and_costs_nobody_else_its_place() {
    let world = World::of(4).await;
    let leader = world.leader().await;
    let others = (1..=4).filter(|id| *id != leader.standing().id);
    let [demoted, removed, last] = others.collect::<Vec<_>>().try_into().unwrap();
    let part = |of: u64| leader.standing().of(of).map(|member| member.part);
    // Its first entry is written, and whoever wanted the second is gone.
    let begun = |change| assert!(leader.change(change, false).now_or_never().is_none());
    begun(Change::Demote(demoted));
    until("the change to be under way", || leader.standing().is_changing).await;
    // Another change goes on with it, once the first entry is committed.
    while let Err(error) = leader.change(Change::Remove(removed), false).await {
        let waits = ["CHANGE_FAILED", "UNKNOWN_OUTCOME", "NO_LEADER"];
        assert!(waits.contains(&error.reason()), "{error}");
    }
    assert_eq!((part(demoted), part(removed)), (Some(Part::Learner), None));
    // Where there is none, whoever leads does.
    begun(Change::Demote(last));
    until("the next to be under way", || leader.standing().is_changing).await;
    until("it to be finished", || !leader.standing().is_changing).await;
    assert_eq!(part(last), Some(Part::Learner));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_hands_over_when_it_is_asked_to() {
    let world = World::of(3).await;
    let old = world.leader().await.standing().id;
    let to = (1..=3).find(|id| *id != old).unwrap();
    world.member(old).change(Change::Lead(to), false).await.unwrap();
    let new = world.member(to);
    new.wait_until_leading(Duration::from_secs(20)).await.unwrap();
    world.propose(old, &login("ada", 1)).await;
    world.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_to_go_has_another_lead_first() {
    for asked_at_leader in [true, false] {
        let world = World::of(3).await;
        let old = world.leader().await.standing().id;
        let other = (1..=3).find(|id| *id != old).unwrap();
        let asked = world.member(if asked_at_leader { old } else { other });
        asked.change(Change::Remove(old), false).await.unwrap();
        let left = world.member(other);
        until("it to be gone", || {
            left.standing().members.iter().all(|member| member.id != old)
        })
        .await;
        assert_ne!(left.standing().leader, Some(old));
        world.propose(other, &login("ada", 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_to_be_stopped_and_leads_leaves_the_others_with_a_leader() {
    let mut world = World::of(1).await;
    let alone = world.member(1);
    assert_eq!(alone.step_aside().await, Ok(false));
    for id in [2, 3] {
        world.join(id).await;
        world.promote(id).await;
    }
    let old = world.leader().await;
    let id = old.standing().id;
    assert_eq!(old.step_aside().await, Ok(true));
    let mut next = None;
    until("it to say who leads", || {
        next = old.standing().leader.filter(|next| *next != id);
        next.is_some()
    })
    .await;
    assert_eq!(old.step_aside().await, Ok(false));
    // Nobody is there to take it.
    world.part(&[next.unwrap()]);
    let leader = world.leader_but(next).await;
    let last = leader.standing().id;
    world.part(&[last]);
    let refused = leader.step_aside().await;
    assert!(refused != Ok(true), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_lost_is_made_again_though_the_same_member_leads_on() {
    let world = World::of(3).await;
    let leader = world.leader().await.standing().id;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    // It hears the leader, and is not heard.
    world.router.cut(&name(follower), &name(leader));
    let began = std::time::Instant::now();
    let (reader, writer) = (world.member(follower), world.member(follower));
    let read = tokio::spawn(async move { reader.catch_up().await });
    let written = tokio::spawn(async move { writer.propose(&login("ada", 7)).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!read.is_finished() && !written.is_finished());
    world.router.heal();
    read.await.unwrap().unwrap();
    assert_eq!(written.await.unwrap().unwrap(), Response::LoginCreated);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_write_its_rows_says_so_before_anything_is_to_be_applied() {
    use std::sync::atomic::Ordering;
    let mut world = World::of(3).await;
    world.stop(3).await;
    let switches = world.start_without(3, Some((Tree::Logins, b"nobody"))).await;
    let third = world.member(3);
    let goes_on = tokio::time::timeout(Duration::from_millis(1_500), third.failure()).await;
    assert!(goes_on.is_err(), "{goes_on:?}");
    switches.has_failed.store(true, Ordering::Relaxed);
    let why = tokio::time::timeout(Duration::from_secs(20), third.failure())
        .await
        .unwrap();
    assert!(why.contains("its rows cannot be written"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_whether_a_member_fails_does_other_things_while_a_snapshot_takes_its_rows_place() {
    let mut world = World::of(1).await;
    world.stop(1).await;
    let switches = world.start_without(1, Some((Tree::Logins, b"nobody"))).await;
    let member = world.member(1);
    member.wait_until_leading(Duration::from_secs(20)).await.unwrap();
    let (has_gone_on, ends) = std::sync::mpsc::sync_channel::<()>(1);
    let (holds, held) = tokio::sync::oneshot::channel();
    let replacing = std::thread::spawn(move || {
        let _held = switches.replacing.lock().unwrap();
        holds.send(()).unwrap();
        // Whoever waits for it meanwhile waits for long.
        ends.recv_timeout(Duration::from_secs(20)).is_ok()
    });
    held.await.unwrap();
    let goes_on = tokio::time::timeout(Duration::from_millis(1_500), member.failure()).await;
    assert!(goes_on.is_err(), "{goes_on:?}");
    let _ = has_gone_on.send(());
    assert!(
        replacing.join().unwrap(),
        "who waited was held up until the rows were there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_another_led_since_its_start_knows() {
    let mut world = World::of(3).await;
    let led = |world: &World| [1, 2, 3].map(|id| world.member(id).has_followed());
    until("those who joined to be led", || {
        led(&world) == [false, true, true]
    })
    .await;
    world.member(1).change(Change::Lead(2), false).await.unwrap();
    until("the second to lead", || world.member(2).is_leading()).await;
    until("the first to be led", || led(&world) == [true; 3]).await;
    // All are off, and one starts before there can be a leader.
    for id in 1..=3 {
        world.stop(id).await;
    }
    world.start(1).await;
    assert!(!world.member(1).has_followed());
    for id in 2..=3 {
        world.start(id).await;
    }
    let leader = world.leader().await.standing().id;
    until("the others to be led", || {
        (1..).zip(led(&world)).all(|(id, is_led)| is_led || id == leader)
    })
    .await;
}

type Asked = tokio::task::JoinHandle<Result<Response, ProposeError>>;

/// Cuts off whoever leads, and has them take as many commands as may be on their way while they still lead by their lease, which is short.
async fn cut_off_with_all_they_can_take(
    world: &World,
    command: impl Fn(u64) -> Command,
) -> (Arc<Member>, Vec<Asked>) {
    for _ in 0..20 {
        let old = world.leader().await;
        world.part(&[old.standing().id]);
        let mut asked = Vec::new();
        let takes = async {
            for number in 0..3 {
                let (of, command, before) = (Arc::clone(&old), command(number), old.standing().last);
                asked.push(tokio::spawn(async move { of.propose(&command).await }));
                until("it to be in the log", || old.standing().last > before).await;
            }
        };
        let has_taken = tokio::time::timeout(Duration::from_secs(1), takes).await;
        if has_taken.is_ok() {
            return (old, asked);
        }
        world.router.heal();
        world.agree().await;
    }
    panic!("nobody takes three commands within a lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_leader_took_that_is_cut_off_is_said_to_be_unknown_in_time_and_not_done_later() {
    let world = World::of(3).await;
    world.propose(1, &login("ada", 1)).await;
    // What was given to one that took too little may be done.
    let attempt = std::cell::Cell::new(0);
    let late = |number: u64| {
        if number == 0 {
            attempt.set(attempt.get() + 1);
        }
        login(&format!("late-{}-{number}", attempt.get()), 1)
    };
    let (old, mut asked) = cut_off_with_all_they_can_take(&world, &late).await;
    let old_id = old.standing().id;
    // These wait; who asked goes away.
    for number in 3..6 {
        let command = late(number);
        assert!(old.propose(&command).now_or_never().is_none());
    }
    // And who asked these waits for long.
    for number in 6..9 {
        let (of, command) = (Arc::clone(&old), late(number));
        asked.push(tokio::spawn(async move { of.propose(&command).await }));
    }
    let new = world.leader_but(Some(old_id)).await;
    assert_eq!(
        world.propose(new.standing().id, &login("ada", 2)).await,
        Response::LoginCreated
    );
    let told = tokio::time::timeout(Duration::from_secs(30), futures::future::join_all(asked)).await;
    let told = told.expect("whoever asks is told in time");
    let told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
    for taken in &told[..3] {
        assert!(matches!(taken, Err(ProposeError::Unknown(_))), "{told:?}");
    }
    for waited in &told[3..] {
        assert_eq!(*waited, Err(ProposeError::NotLeader), "{told:?}");
    }
    world.router.heal();
    old.catch_up().await.unwrap();
    world.propose(old_id, &login("ada", 3)).await;
    world.agree().await;
    for number in 0..9 {
        let person = format!("late-{}-{number}", attempt.get());
        assert!(!knows(&old, &person, 1), "{person} was done after all");
    }
}

fn elsewhere(id: u64) -> Node {
    Node {
        name: name(id),
        address: "elsewhere:1".to_owned(),
        api: "elsewhere:2".to_owned(),
        enrol: String::new(),
    }
}

/// Whether all know a member as that.
fn is_known_as(world: &World, id: u64, node: &Node) -> bool {
    let mut members = world.members().map(|(_, member)| member.standing());
    members.all(|standing| standing.of(id).is_some_and(|known| known.node == *node))
}

/// Has the second be elsewhere, where nobody calls it, and do that; then it says so, and takes part again. Says who led before, and who does.
async fn second_moves(world: &World, meanwhile: impl AsyncFnOnce(u64)) -> [u64; 2] {
    let leader = world.leader().await;
    let at = leader.standing().id;
    world.router.move_to(&name(2), &elsewhere(2).address);
    until("the second to be called in vain", || {
        let standing = leader.standing();
        let heard = standing.of(2).and_then(|second| second.heard);
        heard.is_none_or(|heard| heard > Duration::from_secs(1))
    })
    .await;
    meanwhile(at).await;
    let second = world.member(2);
    let says = tokio::spawn(async move { second.keep_known_as(elsewhere(2)).await });
    until("all to know", || is_known_as(world, 2, &elsewhere(2))).await;
    world.member(2).catch_up().await.unwrap();
    assert_eq!(world.propose(2, &login("dan", 2)).await, Response::LoginCreated);
    says.abort();
    world.agree().await;
    [at, world.leader().await.standing().id]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moved_is_called_where_it_is_by_who_leads_already() {
    let world = World::of(3).await;
    let [before, after] = second_moves(&world, async |at| {
        world.propose(at, &login("eve", 1)).await;
        assert!(!knows(&world.member(2), "eve", 1));
    })
    .await;
    assert_eq!(before, after);
    assert!(knows(&world.member(2), "eve", 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_members_one_moves() {
    // Without it nothing is decided, nor that it moved.
    second_moves(&World::of(2).await, async |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_moved_while_another_came_to_lead_is_called_where_it_is() {
    let mut world = World::of(3).await;
    let led = world.leader().await.standing().id;
    assert_eq!(led, 1);
    world.agree().await;
    world.stop(2).await;
    world.member(1).change(Change::Lead(3), false).await.unwrap();
    world.propose(1, &login("ada", 1)).await;
    world.router.move_to(&name(2), &elsewhere(2).address);
    world.start(2).await;
    assert_eq!(second_moves(&world, async |_| {}).await, [3, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_member_does_not_answer_nobody_is_to_call_it() {
    let world = World::of(3).await;
    world.router.move_to(&name(2), "host-2:1");
    let moved = Change::Move {
        id: 2,
        node: elsewhere(2),
    };
    let refused = world.member(2).change(moved.clone(), false).await.unwrap_err();
    assert_eq!(refused.reason(), "MEMBER_NOT_THERE");
    let why = refused.to_string();
    assert!(why.contains("does not reach member c2 at elsewhere:1"), "{why}");
    assert!(!is_known_as(&world, 2, &elsewhere(2)));
    world.agree().await;
    // Nor where it leads itself.
    world.member(1).change(Change::Lead(2), false).await.unwrap();
    until("the second to lead", || world.member(2).is_leading()).await;
    let refused = world.member(2).change(moved.clone(), false).await.unwrap_err();
    assert_eq!(refused.reason(), "MEMBER_NOT_THERE");
    assert!(!is_known_as(&world, 2, &elsewhere(2)));
    world.agree().await;
    // Who means it may.
    world.member(1).change(moved, true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_moves_under_its_name_to_where_nobody_is() {
    let world = World::of(3).await;
    let node = elsewhere(2);
    let change = |id, node: &Node| Change::Move {
        id,
        node: node.clone(),
    };
    world.member(2).change(change(2, &node), false).await.unwrap();
    until("all to know", || is_known_as(&world, 2, &node)).await;
    let renamed = world.member(1).change(change(3, &node), false).await;
    assert_eq!(
        renamed.map_err(|error| error.reason().to_owned()),
        Err("MEMBER_RENAMED".to_owned())
    );
    let there = Node {
        name: name(3),
        ..node
    };
    let taken = world.member(1).change(change(3, &there), false).await;
    assert_eq!(
        taken.map_err(|error| error.reason().to_owned()),
        Err("MEMBER_TAKEN".to_owned())
    );
}

/// Gives somebody logins until a checkpoint was noted at all of them, and says after which entry.
async fn noted_by_all(world: &World) -> u64 {
    let leader = world.leader().await;
    let at = leader.standing().id;
    let due = (leader.read(State::revision) / CHECKPOINT_EVERY + 1) * CHECKPOINT_EVERY;
    let mut number = 0;
    while leader.read(State::revision) < due {
        number += 1;
        world.propose(at, &login("eve", number)).await;
    }
    for (id, member) in world.members() {
        until(&format!("member {id} to note {due}"), || {
            member.checkpoints().iter().any(|at| at.index == due)
        })
        .await;
    }
    due
}

fn chain_at(member: &Member, index: u64) -> String {
    let checkpoints = member.checkpoints();
    checkpoints.iter().find(|at| at.index == index).unwrap().hex()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_a_row_is_found_once_anything_hangs_on_it_and_by_nobody_before() {
    let mut world = World::of(3).await;
    for person in ["ada", "bob"] {
        world.propose(1, &login(person, 1)).await;
    }
    world.agree().await;
    world.stop(3).await;
    world.start_without(3, Some((Tree::Logins, b"ada"))).await;
    // It says that it applied what the others did: nothing was decided by it.
    world.propose(1, &login("bob", 2)).await;
    let [one, two, third] = [1, 2, 3].map(|id| world.member(id));
    until("all to have the same chain", || {
        let chain = one.chain();
        chain.is_some() && third.chain() == chain && two.chain() == chain
    })
    .await;
    assert_ne!(third.read(State::clone), one.read(State::clone));
    let revoked = command(Action::RevokeLogin {
        person: "ada".to_owned(),
        reason: "lost".to_owned(),
    });
    let leader = world.leader().await.standing().id;
    world.propose(leader, &revoked).await;
    let noted = noted_by_all(&world).await;
    for healthy in [&one, &two] {
        let Verdict::Differs(difference) = healthy.compare().await else {
            panic!("nobody differs from it");
        };
        assert_eq!((difference.own.index, difference.members), (noted, vec![name(3)]));
    }
    let Verdict::Diverged(difference) = third.compare().await else {
        panic!("it goes on");
    };
    assert_eq!(difference.own.hex(), chain_at(&third, noted));
    assert_eq!(difference.other.hex(), chain_at(&one, noted));
    assert_eq!(difference.members, [name(1), name(2)]);
    // Who hears nobody accuses nobody.
    world.part(&[3]);
    assert_eq!(third.compare().await, Verdict::Same);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_one_goes_on_alone_when_the_other_votes_no_more_before_it_stops() {
    let mut world = World::of(2).await;
    let leader = world.leader().await.standing().id;
    let other = 3 - leader;
    world
        .member(other)
        .change(Change::Demote(other), false)
        .await
        .unwrap();
    world.stop(other).await;
    world.propose(leader, &login("ada", 1)).await;
    world
        .member(leader)
        .change(Change::Remove(other), false)
        .await
        .unwrap();
}
