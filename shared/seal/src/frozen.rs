//! Bytes that must never change: they are signed, stored, and pinned by people. Computed once by an independent
//! implementation (Python's `json`, `hashlib` and `cryptography`) from the same seeds and fields.

#![allow(clippy::unwrap_used)]

use verger_policy::digest::Digest;

use crate::{Envelope, SealingKey, SetStatement, Terms, TrustRoot, TrustedKey, verify_set};

const TRUST_ROOT: &str = r#"{"apiVersion":"verger/v1","keys":[{"algorithm":"ed25519","name":"ada","public":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"}],"kind":"TrustRoot","threshold":1,"version":1}"#;
const CLUSTER_ID: &str = r#"sha256:9f235b6c6df1facf1e84f1c4e535f2e5549cb14dee34b05cc398ef36b6eadad7"#;
const TRUST_ROOT_ENVELOPE: &str = r#"{"payloadType":"application/vnd.verger.trust-root.v1+json","payload":"eyJhcGlWZXJzaW9uIjoidmVyZ2VyL3YxIiwia2V5cyI6W3siYWxnb3JpdGhtIjoiZWQyNTUxOSIsIm5hbWUiOiJhZGEiLCJwdWJsaWMiOiI4YTg4ZTNkZDc0MDlmMTk1ZmQ1MmRiMmQzY2JhNWQ3MmNhNjcwOWJmMWQ5NDEyMWJmMzc0ODgwMWI0MGY2ZjVjIn1dLCJraW5kIjoiVHJ1c3RSb290IiwidGhyZXNob2xkIjoxLCJ2ZXJzaW9uIjoxfQ==","signatures":[{"keyid":"sha256:a1eafa8ea43338939f161eaa66d1c6795e679d463144a88239eeb7eb9f5194f7","sig":"vAKJOIUcDSj8NC67ycbCsx+EF8Q8gmGJf4C1r4qA7kDctZPQfqFmt0GZUbrvKOxn7PPbjI9y/OqEUb4lDENDDQ=="}]}"#;
const SECOND: &str = r#"{"apiVersion":"verger/v1","keys":[{"algorithm":"ed25519","name":"ada","public":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"},{"algorithm":"ed25519","name":"grace","public":"8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"}],"kind":"TrustRoot","previous":"sha256:9f235b6c6df1facf1e84f1c4e535f2e5549cb14dee34b05cc398ef36b6eadad7","threshold":1,"version":2}"#;
const SECOND_ENVELOPE: &str = r#"{"payloadType":"application/vnd.verger.trust-root.v1+json","payload":"eyJhcGlWZXJzaW9uIjoidmVyZ2VyL3YxIiwia2V5cyI6W3siYWxnb3JpdGhtIjoiZWQyNTUxOSIsIm5hbWUiOiJhZGEiLCJwdWJsaWMiOiI4YTg4ZTNkZDc0MDlmMTk1ZmQ1MmRiMmQzY2JhNWQ3MmNhNjcwOWJmMWQ5NDEyMWJmMzc0ODgwMWI0MGY2ZjVjIn0seyJhbGdvcml0aG0iOiJlZDI1NTE5IiwibmFtZSI6ImdyYWNlIiwicHVibGljIjoiODEzOTc3MGVhODdkMTc1ZjU2YTM1NDY2YzM0YzdlY2NjYjhkOGE5MWI0ZWUzN2EyNWRmNjBmNWI4ZmM5YjM5NCJ9XSwia2luZCI6IlRydXN0Um9vdCIsInByZXZpb3VzIjoic2hhMjU2OjlmMjM1YjZjNmRmMWZhY2YxZTg0ZjFjNGU1MzVmMmU1NTQ5Y2IxNGRlZTM0YjA1Y2MzOThlZjM2YjZlYWRhZDciLCJ0aHJlc2hvbGQiOjEsInZlcnNpb24iOjJ9","signatures":[{"keyid":"sha256:a1eafa8ea43338939f161eaa66d1c6795e679d463144a88239eeb7eb9f5194f7","sig":"cC5S8oBE1KA7Ol5q+YXcXUt2+dS3Oa9oibZzGXXuW8QexXnUeKfHgJpLHKq0UgOx1XV2a/1k8ovFnxP9PskuCQ=="}]}"#;
const STATEMENT: &str = r#"{"clusterId":"sha256:9f235b6c6df1facf1e84f1c4e535f2e5549cb14dee34b05cc398ef36b6eadad7","entryCount":3,"epoch":7,"notAfter":"2026-12-24T12:00:00Z","root":"sha256:6ee0eb490ff832101cf82a3d387c35f29e4230be786978f7acf9e811febf6723","trustRootDigest":"sha256:9f235b6c6df1facf1e84f1c4e535f2e5549cb14dee34b05cc398ef36b6eadad7","trustRootVersion":1}"#;
const PAE: &str = r#"DSSEv1 41 application/vnd.verger.policy-set.v1+json 340 {"clusterId":"sha256:9f235b6c6df1facf1e84f1c4e535f2e5549cb14dee34b05cc398ef36b6eadad7","entryCount":3,"epoch":7,"notAfter":"2026-12-24T12:00:00Z","root":"sha256:6ee0eb490ff832101cf82a3d387c35f29e4230be786978f7acf9e811febf6723","trustRootDigest":"sha256:9f235b6c6df1facf1e84f1c4e535f2e5549cb14dee34b05cc398ef36b6eadad7","trustRootVersion":1}"#;
const SEAL: &str = r#"{"payloadType":"application/vnd.verger.policy-set.v1+json","payload":"eyJjbHVzdGVySWQiOiJzaGEyNTY6OWYyMzViNmM2ZGYxZmFjZjFlODRmMWM0ZTUzNWYyZTU1NDljYjE0ZGVlMzRiMDVjYzM5OGVmMzZiNmVhZGFkNyIsImVudHJ5Q291bnQiOjMsImVwb2NoIjo3LCJub3RBZnRlciI6IjIwMjYtMTItMjRUMTI6MDA6MDBaIiwicm9vdCI6InNoYTI1Njo2ZWUwZWI0OTBmZjgzMjEwMWNmODJhM2QzODdjMzVmMjllNDIzMGJlNzg2OTc4ZjdhY2Y5ZTgxMWZlYmY2NzIzIiwidHJ1c3RSb290RGlnZXN0Ijoic2hhMjU2OjlmMjM1YjZjNmRmMWZhY2YxZTg0ZjFjNGU1MzVmMmU1NTQ5Y2IxNGRlZTM0YjA1Y2MzOThlZjM2YjZlYWRhZDciLCJ0cnVzdFJvb3RWZXJzaW9uIjoxfQ==","signatures":[{"keyid":"sha256:a1eafa8ea43338939f161eaa66d1c6795e679d463144a88239eeb7eb9f5194f7","sig":"8QeaflkNQA3/Xg8odkqri7D0CR0gBPYRVYdr5LeiHXIOwD+KuACpEnRjtNKxeS8tgUts7h2LghNITc/Q/oooBA=="}]}"#;
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n-----END PRIVATE KEY-----\n";

const SSH_TRUST_ROOT: &str = r#"{"apiVersion":"verger/v1","keys":[{"algorithm":"ssh-ed25519","name":"ada","public":"AAAAC3NzaC1lZDI1NTE5AAAAILt0u+O+2cpVssxNoBzAnym56TZiR9Q6qD46LtbYzEyX"},{"algorithm":"ecdsa-sha2-nistp256","name":"grace","public":"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGhN37FZgSA+oCThIYu0QGTQ3BH3/HX9ZT/9pq/mWT9S9eUqqbwrpNs/5Caz7L7LOHLideCkQfX56DQywcbAFzU="},{"algorithm":"sk-ssh-ed25519@openssh.com","name":"joan","public":"AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINSoElFleH+nN83FoLqqepJjN+y7Gs5lrn7qXjBqQZyuAAAABHNzaDo="}],"kind":"TrustRoot","threshold":2,"version":1}"#;
const SSH_CLUSTER_ID: &str = "sha256:5851012261b9910947389e1cc1cd3a766a9ad8bad52429ec50cfad6a88e258a1";
/// Signed by `ssh-keygen -Y sign -n verger` of OpenSSH 9.2.
const SSH_TRUST_ROOT_ENVELOPE: &str = r#"{"payloadType":"application/vnd.verger.trust-root.v1+json","payload":"eyJhcGlWZXJzaW9uIjoidmVyZ2VyL3YxIiwia2V5cyI6W3siYWxnb3JpdGhtIjoic3NoLWVkMjU1MTkiLCJuYW1lIjoiYWRhIiwicHVibGljIjoiQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUx0MHUrTysyY3BWc3N4Tm9CekFueW01NlRaaVI5UTZxRDQ2THRiWXpFeVgifSx7ImFsZ29yaXRobSI6ImVjZHNhLXNoYTItbmlzdHAyNTYiLCJuYW1lIjoiZ3JhY2UiLCJwdWJsaWMiOiJBQUFBRTJWalpITmhMWE5vWVRJdGJtbHpkSEF5TlRZQUFBQUlibWx6ZEhBeU5UWUFBQUJCQkdoTjM3RlpnU0Erb0NUaElZdTBRR1RRM0JIMy9IWDlaVC85cHEvbVdUOVM5ZVVxcWJ3cnBOcy81Q2F6N0w3TE9ITGlkZUNrUWZYNTZEUXl3Y2JBRnpVPSJ9LHsiYWxnb3JpdGhtIjoic2stc3NoLWVkMjU1MTlAb3BlbnNzaC5jb20iLCJuYW1lIjoiam9hbiIsInB1YmxpYyI6IkFBQUFHbk5yTFhOemFDMWxaREkxTlRFNVFHOXdaVzV6YzJndVkyOXRBQUFBSU5Tb0VsRmxlSCtuTjgzRm9McXFlcEpqTit5N0dzNWxybjdxWGpCcVFaeXVBQUFBQkhOemFEbz0ifV0sImtpbmQiOiJUcnVzdFJvb3QiLCJ0aHJlc2hvbGQiOjIsInZlcnNpb24iOjF9","signatures":[{"keyid":"SHA256:QSjv+yJP3+TXK/ZGh5YRNrMlWvkgj727OtpCyhJwmNg","sig":"U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgu3S7477ZylWyzE2gHMCfKbnpNmJH1DqoPjou1tjMTJcAAAAGdmVyZ2VyAAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5AAAAQDhXXyke35dsLa0hqYP7iVbnbnq2rbDiDX/LQ2V1SXUVXQwBr5CiUY57ABO814OOWs8OuJc9atArOmgM+VBEPAc="},{"keyid":"SHA256:5WQjndwvz9ERo+NXACAHSTkS4hA79QsqYKpprUkQktI","sig":"U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAEEEaE3fsVmBID6gJOEhi7RAZNDcEff8df1lP/2mr+ZZP1L15SqpvCuk2z/kJrPsvss4cuJ14KRB9fnoNDLBxsAXNQAAAAZ2ZXJnZXIAAAAAAAAABnNoYTUxMgAAAGQAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAEkAAAAhAOOe2NAROCMn12Tz+gDUkuh4azsHdm3JZ+g4sEYX03RuAAAAIEJzGQC3vnx42rKRC5JkGsBVUn7L+ZsAjdyPunop84J2"}]}"#;

fn key(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32])
}

fn first() -> (TrustRoot, Envelope) {
    TrustRoot::found(&[("ada".to_owned(), &key(1))], 1).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[test]
fn a_trust_root_is_written_so() {
    let (root, envelope) = first();
    assert_eq!(text(envelope.payload()), TRUST_ROOT);
    assert_eq!(text(&envelope.to_json()), TRUST_ROOT_ENVELOPE);
    assert_eq!(root.cluster_id().to_string(), CLUSTER_ID);
    assert_eq!(TrustRoot::open_first(TRUST_ROOT_ENVELOPE.as_bytes()), Ok(root));
}

#[test]
fn a_later_trust_root_is_written_so() {
    let (root, _) = first();
    let keys = [("ada", 1), ("grace", 2)].map(|(name, seed)| TrustedKey {
        name: name.to_owned(),
        public: key(seed).public(),
    });
    let envelope = root.succeed(&Terms::new(keys.to_vec(), 1), &[&key(1)]).unwrap();
    assert_eq!(text(envelope.payload()), SECOND);
    assert_eq!(text(&envelope.to_json()), SECOND_ENVELOPE);
    assert_eq!(root.advance(SECOND_ENVELOPE.as_bytes()).unwrap().keys(), keys);
}

#[test]
fn a_seal_is_written_so() {
    let (root, _) = first();
    let end = "2026-12-24T12:00:00Z".parse().unwrap();
    let statement = SetStatement::new(&root, 7, Digest::of(b"set"), 3, end);
    assert_eq!(text(&statement.canonical_bytes()), STATEMENT);
    assert_eq!(
        text(&crate::dsse::encoding(
            crate::SET_PAYLOAD_TYPE,
            STATEMENT.as_bytes()
        )),
        PAE
    );
    assert_eq!(text(&statement.seal(&[&key(1)]).to_json()), SEAL);
    assert_eq!(
        verify_set(&root, SEAL.as_bytes(), jiff::Timestamp::UNIX_EPOCH)
            .unwrap()
            .statement(),
        &statement
    );
}

#[test]
fn private_keys_of_other_tools_are_read() {
    assert_eq!(
        SealingKey::from_pem(PRIVATE_KEY).unwrap().public(),
        key(1).public()
    );
    assert!(
        key(1)
            .to_pem()
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----\n")
    );
}

#[test]
fn a_trust_root_of_ssh_keys_is_written_so_and_opens_with_signatures_of_ssh_keygen() {
    let root = TrustRoot::open_first(SSH_TRUST_ROOT_ENVELOPE.as_bytes()).unwrap();
    assert_eq!(
        (root.threshold(), root.cluster_id().to_string().as_str()),
        (2, SSH_CLUSTER_ID)
    );
    let envelope = Envelope::parse(SSH_TRUST_ROOT_ENVELOPE.as_bytes()).unwrap();
    assert_eq!(text(envelope.payload()), SSH_TRUST_ROOT);
    assert_eq!(text(&envelope.to_json()), SSH_TRUST_ROOT_ENVELOPE);
    let draft = TrustRoot::draft(root.terms(), &[]).unwrap();
    assert_eq!(text(draft.payload()), SSH_TRUST_ROOT);
    for key in root.keys() {
        assert_eq!(key.public.to_string().parse(), Ok(key.public));
    }
}
