#![allow(clippy::unwrap_used)]

use verger_policy::model::printable;

use super::*;

fn head() -> FindingsHead {
    FindingsHead {
        cluster: Digest::of(b"cluster"),
        agent: "web-1".parse().unwrap(),
        told: Told {
            chain: Chain {
                sequence: u64::MAX,
                digest: Digest::of(b"chain"),
            },
            open: 3,
            table: Digest::of(b"table"),
        },
        at: Timestamp::from_millisecond(1_800_000_000_007).unwrap(),
    }
}

fn key(seed: u8) -> AgentKey {
    AgentKey::from_scalar([seed; 32]).unwrap()
}

#[test]
fn what_is_signed_never_changes() {
    let json = concat!(
        r#"{"agent":"web-1","at":"2027-01-15T08:00:00.007Z","chain":"sha256:CHAIN","clusterId":"sha256:CLUSTER","#,
        r#""open":"3","sequence":"18446744073709551615","table":"sha256:TABLE"}"#
    );
    let json = json
        .replace("CHAIN", &Digest::of(b"chain").hex())
        .replace("CLUSTER", &Digest::of(b"cluster").hex())
        .replace("TABLE", &Digest::of(b"table").hex());
    let signed = format!(
        "DSSEv1 44 application/vnd.verger.findings-head.v1+json {} {json}",
        json.len()
    );
    assert_eq!(String::from_utf8(head().to_sign()).unwrap(), signed);
}

#[test]
fn a_head_that_its_agent_signed_is_read() {
    let signed = key(1).sign_head(&head());
    assert_eq!(signed.open(), Ok(head()));
    assert_eq!(signed.key_digest(), Digest::of(&key(1).public_info()));
    assert_eq!(
        hex::encode(&signed.key[..26]),
        "3059301306072a8648ce3d020106082a8648ce3d030107034200"
    );
}

#[test]
fn no_bit_of_a_head_can_be_changed() {
    let signed = key(1).sign_head(&head());
    assert!(signed.open().is_ok());
    for place in 0..signed.statement.len() * 8 {
        let mut altered = signed.clone();
        altered.statement[place / 8] ^= 1 << (place % 8);
        assert_eq!(
            altered.open(),
            Err(HeadRefusal::Signature),
            "statement bit {place}"
        );
    }
    for place in 0..64 * 8 {
        let mut altered = signed.clone();
        altered.signature[place / 8] ^= 1 << (place % 8);
        assert_eq!(
            altered.open(),
            Err(HeadRefusal::Signature),
            "signature bit {place}"
        );
    }
    for place in 0..signed.key.len() * 8 {
        let mut altered = signed.clone();
        altered.key[place / 8] ^= 1 << (place % 8);
        assert!(altered.open().is_err(), "key bit {place}");
    }
}

#[test]
fn a_signature_of_another_key_or_for_another_purpose_serves_nothing() {
    let signed = key(1).sign_head(&head());
    assert!(signed.open().is_ok());
    let others = SignedHead {
        key: key(2).public_info(),
        ..signed.clone()
    };
    assert_eq!(others.open(), Err(HeadRefusal::Signature));
    for made_for_something_else in [
        head().canonical_bytes(),
        dsse::encoding(crate::SET_PAYLOAD_TYPE, &head().canonical_bytes()),
    ] {
        let moved = SignedHead {
            signature: key(1).sign(&made_for_something_else),
            ..signed.clone()
        };
        assert_eq!(moved.open(), Err(HeadRefusal::Signature));
    }
}

/// Signs these bytes as a statement, as a key that is held by somebody who means harm does.
fn signed(statement: Vec<u8>) -> SignedHead {
    SignedHead {
        signature: key(1).sign(&dsse::encoding(FINDINGS_HEAD_PAYLOAD_TYPE, &statement)),
        statement,
        key: key(1).public_info(),
    }
}

#[test]
fn there_is_one_spelling_of_a_statement() {
    let text = String::from_utf8(head().canonical_bytes()).unwrap();
    assert!(signed(text.clone().into_bytes()).open().is_ok());
    for (from, to) in [
        ("\"open\":\"3\"", "\"open\":3"),
        ("\"open\":\"3\"", "\"open\":\"03\""),
        ("\"open\":\"3\"", "\"open\":\"+3\""),
        ("{", "{ "),
        (".007Z", ".0070Z"),
        (".007Z", ".007+00:00"),
        ("\"open\":\"3\"", "\"more\":\"1\",\"open\":\"3\""),
        ("web-1", "web 1"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        let refused = signed(other.into_bytes()).open();
        assert!(
            matches!(refused, Err(HeadRefusal::Malformed(_))),
            "{to}: {refused:?}"
        );
    }
}

/// Fuzz target: what a signature that is good may be over.
mod fuzz {
    use bolero::check;
    use verger_fuzz::Damaged;

    use super::*;

    #[test]
    fn hostile_statements_that_are_signed_are_refused_or_read_to_the_same() {
        check!()
            .with_generator(Damaged::json([head().canonical_bytes()]))
            .with_iterations(500)
            .for_each(|bytes| match signed(bytes.to_vec()).open() {
                Ok(head) => assert_eq!(head.canonical_bytes(), **bytes),
                Err(refusal) => {
                    let told = refusal.to_string();
                    assert_eq!(printable(&told), told);
                }
            });
    }
}
