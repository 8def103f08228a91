//! Names of logins, and what is said of them.

use std::collections::BTreeSet;

use verger_policy::model::Name;

/// What the names of break-glass logins begin with. No other login's name does, so that every row of the audit tells which of a
/// person's logins was used.
pub const BREAK_GLASS: &str = "break-glass.";

/// Of the text that the audit says of groups, bytes.
const SHOWN: usize = 2_048;

/// The name of a person's break-glass login.
pub fn break_glass_name(person: &str) -> String {
    format!("{BREAK_GLASS}{person}")
}

/// Whether a name is one of a break-glass login.
pub fn is_break_glass(name: &str) -> bool {
    name.starts_with(BREAK_GLASS)
}

/// Groups in words: as many as a row of the audit has room for.
pub(crate) fn in_short(groups: &BTreeSet<Name>) -> String {
    let mut text = String::new();
    for (place, group) in groups.iter().enumerate() {
        if text.len() + group.as_str().len() > SHOWN {
            let more = groups.len() - place;
            return format!("{text} and {more} more");
        }
        if place > 0 {
            text.push_str(", ");
        }
        text.push_str(group.as_str());
    }
    if text.is_empty() {
        text.push_str("none");
    }
    text
}
