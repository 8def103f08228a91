//! Canonical bytes: what controllers and agents take from each other.

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::draft;
use verger_policy::model::{OBJECT_PREFIX, PolicyObject};
use verger_policy::set::Body;

use super::assert_shown;

pub(super) fn objects() -> Damaged {
    let mut objects = draft::read("every_field.yaml", include_bytes!("../every_field.yaml")).unwrap();
    let roles = include_bytes!("../every_role_field.yaml");
    objects.extend(draft::read("every_role_field.yaml", roles).unwrap());
    Damaged::json(objects.iter().map(PolicyObject::canonical_bytes)).after(OBJECT_PREFIX)
}

#[test]
fn hostile_canonical_bytes_are_refused_or_exactly_those_of_the_object() {
    check!()
        .with_generator(objects())
        .with_iterations(1_500)
        .for_each(|bytes| match Body::from_canonical(bytes.to_vec()) {
            Ok(body) => {
                assert_eq!(body.object().canonical_bytes(), bytes.to_vec());
                assert_eq!(body.digest(), body.object().digest());
                let entry = body.entry(7);
                assert_eq!((entry.key, entry.digest), (body.object().key(), body.digest()));
                let text = draft::write(body.object());
                assert_eq!(
                    draft::read("w", text.as_bytes()),
                    Ok(vec![body.object().clone()]),
                    "{text}"
                );
            }
            Err(error) => {
                let told = error.to_string();
                assert_shown(&told);
                assert!(told.lines().all(|line| line.len() < 8 << 10), "{told:.200}");
            }
        });
}
