//! Fuzz target: addresses that a browser, or a person, brings.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::*;
use crate::output::fuzz::assert_shown;

#[test]
fn hostile_addresses_bring_nothing_without_the_state_of_the_attempt() {
    let seeds = [
        "/callback?code=c%2Fd&state=s3cret",
        "http://127.0.0.1:4000/callback?state=s3cret&error=access_denied&error_description=no%1b%5B2J#x",
    ];
    check!()
        .with_generator(Damaged::bytes(seeds))
        .with_iterations(20_000)
        .for_each(|bytes| {
            let text = bytes.text();
            match read(&text, "s3cret") {
                Back::Stray => {}
                Back::Refused(why) => assert_shown(&why),
                Back::Code(code) => {
                    assert!(!code.is_empty());
                    assert_eq!(read(&text, "another"), Back::Stray, "{text:?}");
                }
            }
        });
}
