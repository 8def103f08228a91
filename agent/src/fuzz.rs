//! Fuzz targets: what a controller says, and what joining left on disk.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bolero::check;
use prost::Message as _;
use verger_agent_core::session::Incoming;
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_policy::draft;
use verger_policy::model::printable;
use verger_policy::set::Body;
use verger_proto::agent::v1 as pb;
use verger_proto::policy::v1 as policy;
use verger_wire::IntoWire as _;

use crate::config::Config;
use crate::enrolment::Enrolment;
use crate::wire::incoming;

fn set() -> pb::ConnectResponse {
    let text = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: h }\nspec: { agent: h, labels: { zone: eu } }\n";
    let object = draft::read("h.yaml", text.as_bytes()).unwrap().remove(0);
    let body = Body::new(&object).unwrap();
    let update = pb::SetUpdate {
        trust_roots: Vec::new(),
        base_epoch: 0,
        epoch: 1,
        entries: vec![(&body.entry(1)).into_wire()],
        bodies: vec![(&body).into_wire()],
        seal: Some(policy::Envelope {
            json: b"{}".as_slice().into(),
        }),
    };
    pb::ConnectResponse {
        nonce: 3,
        message: Some(pb::connect_response::Message::Set(update)),
    }
}

#[test]
fn hostile_messages_of_a_controller_are_refused_or_offers_with_all_their_parts() {
    let heartbeat = pb::ConnectResponse {
        nonce: 4,
        message: Some(pb::connect_response::Message::Heartbeat(pb::Heartbeat {
            epoch: 7,
            stamp: Some(policy::Envelope {
                json: b"{}".as_slice().into(),
            }),
            members: vec!["c1:7400".to_owned()],
        })),
    };
    check!()
        .with_generator(Damaged::proto(
            [set(), heartbeat].map(|message| message.encode_to_vec()),
        ))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Ok(message) = pb::ConnectResponse::decode(&**bytes) else {
                return;
            };
            match (incoming(message.clone()), message.message) {
                (Ok(Incoming::Set { nonce, update }), Some(pb::connect_response::Message::Set(sent))) => {
                    assert_eq!((nonce, update.epoch), (message.nonce, sent.epoch));
                    assert_eq!(
                        (update.entries.len(), update.bodies.len()),
                        (sent.entries.len(), sent.bodies.len())
                    );
                }
                (
                    Ok(Incoming::Heartbeat { epoch, stamp }),
                    Some(pb::connect_response::Message::Heartbeat(sent)),
                ) => {
                    assert_eq!(epoch, sent.epoch);
                    assert_eq!(stamp, sent.stamp.map(|stamp| stamp.json.to_vec()));
                }
                (
                    Ok(Incoming::Unread {
                        nonce,
                        reason,
                        detail,
                    }),
                    Some(pb::connect_response::Message::Set(_)),
                ) => {
                    assert_eq!((nonce, reason), (message.nonce, "unreadable"));
                    assert!(
                        printable(&detail) == detail && detail.len() < 1_000,
                        "{detail:.300}"
                    );
                }
                (Ok(other), sent) => panic!("{sent:?} became {other:?}"),
                (Err(error), _) => {
                    let told = error.to_string();
                    assert!(printable(&told) == told && told.len() < 1_000, "{told:.300}");
                }
            }
        });
}

#[test]
fn hostile_files_of_an_enrolment_are_damage_or_the_enrolment_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let config = |name: &str| {
        let folder = dir.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let file = dir.path().join(format!("{name}.toml"));
        fs::write(&file, format!("data_dir = {folder:?}\n")).unwrap();
        Config::load(&file).unwrap()
    };
    let (config, copy) = (config("one"), config("other"));
    let honest = Enrolment {
        cluster: Digest::of(b"cluster"),
        agent: "edge-1".parse().unwrap(),
        controllers: vec!["controller.example:7400".to_owned()],
        member_cas: vec![b"der".to_vec()],
    };
    honest.save(&config).unwrap();
    let file = config.cluster_file();
    let seed = fs::read(&file).unwrap();
    check!()
        .with_generator(Damaged::json([seed]))
        .with_iterations(300)
        .for_each(|bytes| {
            fs::write(&file, &**bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let read = Enrolment::load(&config);
            if let Err(error) = &read {
                let text = format!("{error:#}");
                assert_eq!(text, printable(&text));
                assert!(
                    text.contains("verger token create") && text.len() < 2_000,
                    "{text}"
                );
            }
            if let Ok(enrolment) = read {
                let _ = fs::remove_file(copy.cluster_file());
                enrolment.save(&copy).unwrap();
                let again = Enrolment::load(&copy).unwrap();
                assert_eq!(
                    (
                        &again.cluster,
                        &again.agent,
                        &again.controllers,
                        &again.member_cas
                    ),
                    (
                        &enrolment.cluster,
                        &enrolment.agent,
                        &enrolment.controllers,
                        &enrolment.member_cas
                    )
                );
            }
        });
}
