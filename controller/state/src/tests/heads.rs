//! The chain over what hosts tell, and what their agents sign of it.

use verger_policy::finding::{Chain, Lifecycle, Standing, Told};
use verger_seal::{AgentKey, FindingsHead, SignedHead};

use super::*;
use crate::fuzz::transition;

fn agent_key() -> AgentKey {
    AgentKey::from_scalar([7; 32]).unwrap()
}

fn enrolled() -> Member {
    let mut member = Member::founded();
    member.enrol("h1", &agent_key().public_info());
    member
}

fn chain_of(transitions: &[Transition]) -> Chain {
    let link = |chain: Chain, transition: &Transition| chain.then(&transition.digest());
    transitions.iter().fold(Chain::START, link)
}

fn signed(member: &Member, chain: Chain, standing: &[Transition]) -> SignedHead {
    let mut table = Standing::default();
    standing.iter().for_each(|row| table.note(row));
    let head = FindingsHead {
        cluster: member.state.cluster().unwrap().id,
        agent: "h1".parse().unwrap(),
        told: Told {
            chain,
            open: table.count(),
            table: table.digest(),
        },
        at: at(77),
    };
    agent_key().sign_head(&head)
}

fn ingest(first_sequence: u64, transitions: &[Transition], head: Option<SignedHead>) -> Action {
    Action::Ingest {
        agent: "h1".parse().unwrap(),
        first_sequence,
        transitions: transitions.to_vec(),
        anew: false,
        chain_before: None,
        head,
    }
}

fn host(member: &Member) -> crate::Host {
    member.state.host(&"h1".parse().unwrap()).unwrap().clone()
}

#[test]
fn a_head_that_fits_is_kept_over_a_restart() {
    let mut member = enrolled();
    let rows = [transition(1, Lifecycle::Open), transition(2, Lifecycle::Open)];
    let head = signed(&member, chain_of(&rows), &rows);
    let told = ingest(1, &rows, Some(head.clone()));
    assert_eq!(
        member.checked(&command(member.now(), None, told)),
        Response::Ingested(2)
    );
    assert_eq!(
        (host(&member).chain, host(&member).head),
        (Some(chain_of(&rows).digest), Some(head))
    );
    // Enrolled anew, under another key, it begins again.
    member.enrol("h1", b"another");
    assert_eq!(
        (host(&member).chain, host(&member).head),
        (Some(Chain::START.digest), None)
    );
}

#[test]
fn a_row_of_before_takes_the_chain_from_what_the_agent_signs_next() {
    let mut member = enrolled();
    member.tell("h1", vec![transition(1, Lifecycle::Open)]);
    let place = (Tree::Hosts, b"h1".to_vec());
    let row = stored::HostRow {
        chain: Bytes::new(),
        ..stored::HostRow::decode(member.rows[&place].as_slice()).unwrap()
    };
    member.rows.insert(place, row.encode_to_vec());
    member.state = member.rebuilt();
    assert_eq!(host(&member).chain, None);
    let next = [transition(2, Lifecycle::Open)];
    member.checked(&command(member.now(), None, ingest(2, &next, None)));
    assert_eq!(host(&member).chain, None, "nobody can know it");
    let there = Chain {
        sequence: 2,
        digest: Digest::of(b"what the agent has"),
    };
    let head = signed(&member, there, &next);
    member.checked(&command(member.now(), None, ingest(3, &[], Some(head.clone()))));
    assert_eq!(
        (host(&member).chain, host(&member).head),
        (Some(there.digest), Some(head))
    );
    member.checked(&command(member.now(), None, ingest(3, &next, None)));
    assert_eq!(host(&member).chain, Some(there.then(&next[0].digest()).digest));
}

#[test]
fn an_agent_that_keeps_no_chain_leaves_none() {
    let mut member = enrolled();
    let anew = |chain_before| Action::Ingest {
        agent: "h1".parse().unwrap(),
        first_sequence: 5,
        transitions: vec![],
        anew: true,
        chain_before,
        head: None,
    };
    let before = Digest::of(b"before");
    member.checked(&command(member.now(), None, anew(Some(before))));
    assert_eq!(
        (host(&member).last_sequence, host(&member).chain),
        (4, Some(before))
    );
    // Without a transition since, it is told anew again.
    member.checked(&command(member.now(), None, anew(None)));
    assert_eq!((host(&member).last_sequence, host(&member).chain), (4, None));
}

#[test]
fn stored_bytes_of_heads_never_change() {
    let head = SignedHead {
        statement: b"s".to_vec(),
        key: b"k".to_vec(),
        signature: b"n".to_vec(),
    };
    let told = Command {
        actor: "a".to_owned(),
        ..command(
            2,
            None,
            Action::Ingest {
                agent: "h1".parse().unwrap(),
                first_sequence: 7,
                transitions: vec![],
                anew: true,
                chain_before: Some(Digest::from_bytes([0xab; 32])),
                head: Some(head.clone()),
            },
        )
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    // Format, stamp, actor; then the action: agent, first sequence, anew, head, chain.
    let frozen = format!(
        "0801 10d00f 1a0161 7235 0a026831 1007 2001 5209 0a0173 12016b 1a016e 5a20{}",
        "ab".repeat(32)
    );
    assert_eq!(hex(&told.encode()), frozen.replace(' ', ""));
    assert_eq!(Command::decode(told.encode()).unwrap(), told);
    let row = stored::HostRow {
        format: 1,
        chain: Bytes::from_static(b"c"),
        head: Some(crate::convert::stored_head(&head)),
        ..stored::HostRow::default()
    };
    assert_eq!(
        hex(&row.encode_to_vec()),
        "0801f201016 3fa01090a017312016b1a016e".replace(' ', "")
    );
    let long = SignedHead {
        statement: vec![0; crate::limits::HEAD_BYTES + 1],
        ..head
    };
    let mut over = told;
    if let Action::Ingest { head, .. } = &mut over.action {
        *head = Some(long);
    }
    assert_eq!(
        Command::decode(over.encode()),
        Err(crate::InvalidCommand::Field("head"))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However transitions are cut into batches and repeated, the chain is the one that the agent has.
    #[test]
    fn the_chain_is_that_of_the_transitions_in_whatever_batches_they_come(
        told in prop::collection::vec((0_u8..9, any::<bool>()), 1..40),
        cuts in prop::collection::vec((0_usize..6, 0_usize..4), 1..30),
    ) {
        let rows: Vec<Transition> = told
            .iter()
            .map(|(number, open)| transition(*number, if *open { Lifecycle::Open } else { Lifecycle::Resolved }))
            .collect();
        let mut member = enrolled();
        let mut taken: usize = 0;
        for (size, again) in cuts {
            // Some come again, after an acknowledgement was lost.
            let again = again.min(taken);
            let from = taken - again;
            let to = (from + again + size).min(rows.len());
            let part = &rows[from..to.max(from)];
            member.run(&command(member.now(), None, ingest(from as u64 + 1, part, None)));
            taken = taken.max(to);
            prop_assert_eq!(host(&member).last_sequence, taken as u64);
            prop_assert_eq!(host(&member).chain, Some(chain_of(&rows[..taken]).digest));
        }
        prop_assert_eq!(member.rebuilt(), member.state);
    }
}
