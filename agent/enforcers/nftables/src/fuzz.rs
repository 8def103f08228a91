//! Fuzz targets: what is read of the kernel and of nft(8).

use bolero::check;
use verger_agent_core::enforcer::Standing;
use verger_fuzz::Damaged;

use crate::links::{self, attachment, messages};
use crate::rules;

#[test]
fn rules_that_are_not_those_that_were_given_do_not_stand() {
    let given = rules::tests::LISTED;
    let altered = rules::tests::ALTERATIONS
        .iter()
        .map(|(from, to)| given.replacen(from, to, 1));
    check!()
        .with_generator(Damaged::json(altered.chain([given.to_owned()])))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Ok((standing, closed)) = rules::read(bytes) else {
                return;
            };
            if standing == Standing::Absent {
                assert!(closed.is_empty(), "what is closed is closed by something");
            }
        });
}

#[test]
fn hostile_links_are_read_or_refused() {
    let host = links::tests::host();
    let seeds: Vec<Vec<u8>> = host.iter().map(links::tests::told).collect();
    let whole = seeds.concat();
    check!()
        .with_generator(
            Damaged::bytes(seeds.into_iter().chain([whole])).framed(|bytes| messages(bytes).is_ok()),
        )
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Ok(messages) = messages(bytes) else { return };
            let read: Vec<_> = messages.iter().filter_map(|one| links::link(one).ok()?).collect();
            let ports = attachment(3, &read, &host).ports().count();
            assert!(ports <= 1, "the host has one port of that namespace");
        });
}
