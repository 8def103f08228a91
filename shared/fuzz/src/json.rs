//! Edits of JSON documents.

use bolero::Driver;
use serde_json::Value;

use crate::dice::{NUMBERS, TEXTS, below, chance, one};

/// Edits `text`, which stays JSON; `other` is where foreign values come from. What is no JSON is left alone.
pub(crate) fn edit<D: Driver>(driver: &mut D, text: &[u8], other: &[u8], edits: usize) -> Option<Vec<u8>> {
    let Ok(mut document) = serde_json::from_slice::<Value>(text) else {
        return Some(text.to_vec());
    };
    if edits == 0 {
        return Some(text.to_vec());
    }
    let other = serde_json::from_slice::<Value>(other).unwrap_or_default();
    for _ in 0..edits {
        let at = below(driver, count(&document))?;
        let foreign = below(driver, count(&other))?;
        let foreign = nth(&other, foreign).cloned().unwrap_or_default();
        if let Some(place) = nth_mut(&mut document, at) {
            change(driver, place, foreign)?;
        }
    }
    serde_json::to_vec(&document).ok()
}

/// Whether it is a document.
pub(crate) fn is_syntax(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok()
}

fn change<D: Driver>(driver: &mut D, place: &mut Value, foreign: Value) -> Option<()> {
    match (below(driver, 8)?, place) {
        (0, place) => *place = foreign,
        (1, place) => *place = Value::Null,
        (2, place) => *place = number(driver)?,
        (3, place) => *place = Value::String(one(driver, TEXTS)?.to_owned()),
        (4, Value::Object(members)) => {
            let key = one(driver, TEXTS)?;
            members.insert(key.to_owned(), foreign);
        }
        (5, Value::Object(members)) => {
            let keys: Vec<String> = members.keys().cloned().collect();
            if let Some(key) = keys.get(below(driver, keys.len())?) {
                let value = members.remove(key).unwrap_or_default();
                if chance(driver, 2)? {
                    members.insert(one(driver, TEXTS)?.to_owned(), value);
                }
            }
        }
        (4, Value::Array(items)) => {
            let times = 1 + below(driver, 40)?;
            items.extend(std::iter::repeat_n(foreign, times));
        }
        (5, Value::Array(items)) if !items.is_empty() => {
            let at = below(driver, items.len())?;
            let item = items.remove(at);
            if chance(driver, 2)? {
                items.extend([item.clone(), item]);
            }
        }
        (_, Value::String(text)) => {
            let mut at = below(driver, text.len() + 1)?;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, one(driver, TEXTS)?);
        }
        (6, place) => {
            let levels = 1 + below(driver, 200)?;
            for _ in 0..levels {
                *place = Value::Array(vec![place.take()]);
            }
        }
        (_, place) => *place = number(driver)?,
    }
    Some(())
}

fn number<D: Driver>(driver: &mut D) -> Option<Value> {
    let text = one(driver, NUMBERS)?;
    Some(serde_json::from_str(text).unwrap_or_default())
}

/// How many values there are, the document itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members.values().map(count).sum(),
        _ => 0,
    }
}

fn nth(value: &Value, at: usize) -> Option<&Value> {
    let mut rest = at;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if rest == 0 {
            return Some(value);
        }
        rest -= 1;
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    None
}

fn nth_mut(value: &mut Value, at: usize) -> Option<&mut Value> {
    let mut rest = at;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        if rest == 0 {
            return Some(value);
        }
        rest -= 1;
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values_mut()),
            _ => {}
        }
    }
    None
}
