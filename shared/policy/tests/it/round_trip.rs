//! What is written can be read, and means the same.

use proptest::prelude::*;
use verger_policy::draft;
use verger_policy::model::PolicyObject;

use crate::objects::object;

fn without_annotations(mut object: PolicyObject) -> PolicyObject {
    object.metadata.annotations.clear();
    object
}

proptest! {
    #[test]
    fn what_is_written_for_people_reads_back(object in object()) {
        let text = draft::write(&object);
        let read = draft::read("written.yaml", text.as_bytes());
        prop_assert_eq!(read, Ok(vec![object]), "{}", text);
    }

    #[test]
    fn what_is_written_for_people_holds_no_control_character(object in object()) {
        let text = draft::write(&object);
        prop_assert!(text.chars().all(|c| c == '\n' || verger_policy::model::is_printable(c)), "{text:?}");
    }

    #[test]
    fn canonical_bytes_read_back(object in object()) {
        let bytes = object.canonical_bytes();
        let read = PolicyObject::from_canonical(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&read, &without_annotations(object));
        prop_assert_eq!(read.canonical_bytes(), bytes);
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_object(object in object(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = object.canonical_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(read) = PolicyObject::from_canonical(&bytes) {
            prop_assert_eq!(read.canonical_bytes(), bytes);
            prop_assert_ne!(read, without_annotations(object));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = draft::read("x.yaml", &bytes);
        let _ = PolicyObject::from_canonical(&bytes);
        let mut prefixed = b"verger/v1/object\0".to_vec();
        prefixed.extend(&bytes);
        let _ = PolicyObject::from_canonical(&prefixed);
    }

    #[test]
    fn damaged_drafts_never_panic_and_problems_are_printable(
        object in object(), at in any::<prop::sample::Index>(), inserted in "[\\PC\\x00-\\x20]{0,6}",
    ) {
        let mut text: Vec<char> = draft::write(&object).chars().collect();
        let at = at.index(text.len());
        text.splice(at..at, inserted.chars());
        let text: String = text.into_iter().collect();
        for problem in draft::read("x\u{1b}.yaml", text.as_bytes()).err().into_iter().flatten() {
            prop_assert!(problem.to_string().chars().all(verger_policy::model::is_printable), "{problem:?}");
            prop_assert!(problem.line > 0 && problem.column > 0, "{problem:?}");
        }
    }
}
