//! A call as bytes, as it is and mutated.

use crate::dice::Dice;

use super::document;
use super::draft::draft;
use super::seeds::Seed;

/// A mutated request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// All that is sent.
    pub(super) bytes: Vec<u8>,
    /// Changes that were made.
    pub(super) changes: u64,
}

/// Writes a seed as it is.
pub(super) fn plain(seed: &Seed) -> Vec<u8> {
    // The dice decide nothing where nothing is changed.
    let mut dice = Dice::new(0);
    let mut text = String::new();
    if let Some(document) = &seed.document {
        document.written(&mut text);
    }
    let body = match seed.stream {
        Some(stream) => stream.to_vec(),
        None => text.into_bytes(),
    };
    draft(seed, body).bytes(&mut dice)
}

/// Writes a seed with changes at any level.
pub(super) fn mutated(seed: &Seed, dice: &mut Dice) -> Request {
    let changes = dice.below(4);
    let mut document = seed.document.clone();
    let mut of_head = 0;
    for _ in 0..changes {
        match (&mut document, dice.below(3)) {
            (Some(document), 1..) => document::mutate(document, dice),
            _ => of_head += 1,
        }
    }
    let body = match (&document, seed.stream) {
        (Some(document), _) => {
            let padded = dice.below(500) == 0;
            document::spoiled(document, dice, padded)
        }
        (None, stream) => stream.unwrap_or_default().to_vec(),
    };
    let mut draft = draft(seed, body);
    for _ in 0..of_head {
        match dice.below(4) {
            0 => draft.path(dice),
            1 => draft.query(dice),
            2 => draft.line(dice),
            _ => draft.headers(dice),
        }
    }
    Request {
        bytes: draft.bytes(dice),
        changes,
    }
}
