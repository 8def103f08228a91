//! Fuzz target: context files, which hold a private key.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::*;
use crate::output::fuzz::assert_shown;

#[test]
fn hostile_contexts_are_refused_without_their_key_or_written_back_to_the_same() {
    let authority = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let context = Context {
        cluster_id: "ab".repeat(32),
        addresses: vec!["controller.example:7400".to_owned()],
        member_cas: vec![authority.to_owned()],
        certificate: authority.to_owned(),
        key: Zeroizing::new(
            "-----BEGIN PRIVATE KEY-----\nTHE/SECRET\n-----END PRIVATE KEY-----\n".to_owned(),
        ),
        person: "ada".to_owned(),
        sealing_key: Some("/home/ada/key.pem".into()),
        login: Some(LoginKind::Oidc {
            enrol: "controller.example:7401".to_owned(),
            ca_pin: format!("sha256:{}", "cd".repeat(32)),
        }),
    };
    check!()
        .with_generator(Damaged::json([context.to_json().as_slice()]))
        .with_iterations(5_000)
        .for_each(|bytes| match Context::parse(bytes) {
            Ok(context) => {
                assert_eq!(context.cluster().hex(), context.cluster_id);
                assert!(!context.addresses.is_empty() && !context.authorities().unwrap().is_empty());
                let _ = (context.pins(), context.identity());
                let again = Context::parse(&context.to_json()).unwrap();
                assert_eq!(again.to_json(), context.to_json());
                assert!(!format!("{context:?}").contains("THE/SECRET"));
            }
            Err(what) => {
                assert_shown(&what);
                assert!(!what.contains("THE/SECRET") && what.len() < 1_000, "{what}");
            }
        });
}
