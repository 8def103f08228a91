//! Fuzz target: names that a person, or a script for them, was given.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::*;

#[test]
fn hostile_names_are_one_segment_of_a_path_or_refused_and_so_are_ids() {
    let root = tempfile::tempdir().unwrap();
    let id = "ab".repeat(32);
    check!()
        .with_generator((
            Damaged::bytes(["web-1.a_b"]),
            Damaged::bytes([&id]),
            Damaged::bytes(["unix:///run/d.sock"]),
        ))
        .with_iterations(5_000)
        .for_each(|(name, id, address)| {
            let name = name.text();
            if let Ok(segment) = segment(&name) {
                assert_eq!(segment, name);
                let path = format!("http://docker/containers/{segment}/json");
                let uri: hyper::Uri = path.parse().unwrap();
                assert_eq!((uri.path().matches('/').count(), uri.query()), (3, None));
                assert!(!segment.starts_with('.'));
            }
            assert!(bundle(&[root.path().to_owned()], &id.text()).is_err());
            if let Ok(path) = socket(&address.text()) {
                assert!(path.is_absolute());
            }
        });
}
