//! Fuzz targets: what a daemon answers. Whoever may create a container has a hand in its documents.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::facts::{Evidence, InstanceId};
use verger_policy::model::RuntimeKind;

use super::elements::{Element, Splitter};
use super::version::ApiVersion;
use super::{Summary, ended, http, is_container_id, observe, registered};

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn listing() -> Vec<u8> {
    let element = |id: &str, label: &str| {
        format!(
            r#"{{"Id":"{}","Names":["/x"],"Status":"Up 1 s","Labels":{{"l":"{label}"}},"Ports":[]}}"#,
            id.repeat(64)
        )
    };
    format!(
        "[{}, {} ,\n{}]\n",
        element("a", "]},\\\"["),
        element("b", "\\\\"),
        element("c", "ü")
    )
    .into_bytes()
}

/// Elements as they are found, `None` for those that were cut; and whether all of an array came.
fn split(limit: usize, pieces: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, bool) {
    let mut splitter = Splitter::new(limit);
    let mut found = Vec::new();
    for piece in pieces {
        splitter.push(piece, |element| {
            found.push(match element {
                Element::Whole(bytes) => Some(bytes.to_vec()),
                Element::Cut(bytes) => {
                    assert_eq!(bytes.len(), limit);
                    None
                }
            });
        });
    }
    (found, splitter.is_complete())
}

#[test]
fn hostile_listings_split_the_same_in_any_pieces_and_as_a_parser_splits_them() {
    check!()
        .with_generator((Damaged::json([listing()]), bolero::produce::<(u16, u8)>()))
        .with_iterations(3_000)
        .for_each(|(bytes, (at, limit))| {
            let whole = split(usize::MAX, &[bytes]);
            let (one, other) = bytes.split_at(usize::from(*at) % (bytes.len() + 1));
            assert_eq!(split(usize::MAX, &[one, other]), whole);
            let limit = usize::from(*limit).max(1);
            let (cut, complete) = split(limit, &[one, other]);
            assert_eq!(complete, whole.1);
            for (cut, whole) in cut.iter().zip(&whole.0) {
                let whole = whole.as_ref().unwrap();
                assert_eq!(cut.as_ref(), (whole.len() <= limit).then_some(whole));
            }
            if let Ok(parsed) = serde_json::from_slice::<Vec<serde_json::Value>>(bytes) {
                let read =
                    |element: &Option<Vec<u8>>| serde_json::from_slice(element.as_ref().unwrap()).unwrap();
                assert_eq!(
                    whole.0.iter().map(read).collect::<Vec<serde_json::Value>>(),
                    parsed
                );
                assert!(whole.1);
            }
        });
}

#[test]
fn hostile_elements_have_a_container_id_or_none_and_a_digest_that_time_does_not_change() {
    let elements: Vec<Vec<u8>> = split(usize::MAX, &[&listing()]).0.into_iter().flatten().collect();
    check!()
        .with_generator((Damaged::json(elements), bolero::produce::<bool>()))
        .with_iterations(5_000)
        .for_each(|(bytes, cut)| {
            let element = if *cut {
                Element::Cut(bytes)
            } else {
                Element::Whole(bytes)
            };
            if let Some(summary) = Summary::of(&element) {
                assert!(is_container_id(&summary.id));
                assert!(bytes.text().contains(&summary.id) || bytes.contains(&b'\\'));
            }
            if let Ok(mut members) = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(bytes) {
                let digest = |members: &BTreeMap<_, _>| {
                    observe::stable_digest(&serde_json::to_vec(members).unwrap()).unwrap()
                };
                let before = digest(&members);
                members.insert("Status".to_owned(), "Up 2 hours".into());
                members.insert("SizeRw".to_owned(), 7.into());
                assert_eq!(digest(&members), before);
                members.insert("Labels".to_owned(), "others".into());
                assert_ne!(digest(&members), before);
            }
        });
}

#[test]
fn hostile_documents_of_a_container_become_facts_of_that_container() {
    let inspection = format!(
        r#"{{"Id":"{ID}","Name":"/web","Image":"sha256:{ID}","Path":"/app","Args":["-v"],"State":{{"Status":"running","Pid":7}},
        "Config":{{"User":"1:1","Env":["A=b"],"Image":"app:1","Labels":{{}}}},"HostConfig":{{"NetworkMode":"none"}},"Mounts":[]}}"#
    );
    let config = r#"{"process":{"args":["/bin/x"],"cwd":"/","user":{"uid":5,"gid":6}},"root":{},"linux":{}}"#;
    let image = format!(r#"{{"Id":"sha256:{ID}","Config":{{"Cmd":["/app"],"Env":["A=b"]}}}}"#);
    let id = InstanceId {
        runtime: RuntimeKind::Docker,
        id: ID.to_owned(),
    };
    check!()
        .with_generator((
            Damaged::json([inspection]),
            Damaged::json([config]),
            Damaged::json([image]),
            bolero::produce::<bool>(),
        ))
        .with_iterations(2_000)
        .for_each(|(inspection, config, image, bundle)| {
            let oci = if *bundle {
                Ok(config.to_vec())
            } else {
                Err("there is none".to_owned())
            };
            let listed = match observe::head(inspection) {
                Ok(head) => {
                    let Some(phase) = head.phase() else { return };
                    assert_ne!(head.init_pid(phase), Some(0));
                    observe::instance(ID, inspection, &oci, observe::image(image))
                }
                Err(reason) => {
                    let listed = observe::unreadable(ID, &oci, &reason);
                    let Evidence::Missing(shown) = &listed.instance.image else {
                        panic!("it was not read")
                    };
                    assert!(
                        shown.len() < 4 << 10 && !shown.contains(char::is_control),
                        "{shown:.300}"
                    );
                    (*listed.instance).clone()
                }
            };
            assert_eq!(listed.id, id);
        });
}

#[test]
fn hostile_words_of_a_daemon_are_cut_and_escaped_and_its_version_is_one_we_speak() {
    check!()
        .with_generator(Damaged::bytes([
            b"1.41".as_slice(),
            b"1.24",
            b"\x1b[2J refused\r\n",
        ]))
        .with_iterations(10_000)
        .for_each(|input| {
            let text = input.text();
            let shown = http::printable(&text);
            assert!(
                shown.len() < 4 << 10 && !shown.contains(char::is_control),
                "{shown:.300}"
            );
            match ApiVersion::settle(&text) {
                Ok(version) => assert!(["1.24", "1.48"].iter().all(|known| {
                    let known = ApiVersion::settle(known).unwrap();
                    version == known || (version > known) == (known.to_string() == "1.24")
                })),
                Err(problem) => assert!(!problem.to_string().contains(char::is_control), "{problem}"),
            }
        });
}

#[test]
fn hostile_descriptions_of_a_daemon_or_of_what_ended_are_read_or_refused() {
    let id = ID;
    check!()
        .with_generator(Damaged::json([
            r#"{"Runtimes":{"runc":{"path":"runc"},"kata":{"runtimeType":"io.containerd.kata.v2"}}}"#.to_owned(),
            format!(r#"{{"Id":"{id}","State":{{"Error":"e"}},"HostConfig":{{"RestartPolicy":{{"Name":"always"}}}}}}"#),
        ]))
        .with_iterations(5_000)
        .for_each(|bytes| {
            if let Ok(read) = registered::parse("/info", bytes) {
                assert!(read.0.values().all(|runtime| runtime.kind.as_deref() != Some("")));
            }
            if let Some(read) = ended::parse(bytes) {
                assert!(is_container_id(&read.id));
            }
        });
}
