//! Hostile text, made safe to show.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Replaces what could move a cursor, hide or reorder text by a visible escape such as `\u{1b}`.
///
/// Covers the C0 and C1 controls, line and paragraph separators, bidirectional controls, zero-width and other
/// default-ignorable characters (Unicode 16, UAX #9 and `Default_Ignorable_Code_Point`), and private use.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_printable(c) {
            out.push(c);
        } else {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("a String takes everything");
        }
    }
    Cow::Owned(out)
}

/// [`printable`], cut after `limit` characters with an ellipsis.
pub fn printable_within(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text).into_owned(),
    }
}

/// Whether `c` shows as itself, in its place.
pub const fn is_printable(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

/// What is wrong with a JSON file, and where: `serde_json` repeats what it found, which may be anything, and says the place last.
pub fn damaged_json(error: &serde_json::Error) -> String {
    format!(
        "damaged at line {} column {}: {}",
        error.line(),
        error.column(),
        printable_within(&error.to_string(), 200)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(
            printable("größe 日本 <b>"),
            Cow::Borrowed("größe 日本 <b>")
        ));
    }

    #[test]
    fn controls_bidi_and_zero_width_show_as_escapes() {
        assert_eq!(
            printable("a\x1b[2J\r\n\u{202e}b\u{200b}\u{9b}"),
            "a\\u{1b}[2J\\u{d}\\u{a}\\u{202e}b\\u{200b}\\u{9b}"
        );
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(printable_within("äbcdef", 3), "äbc…");
        assert_eq!(printable_within("äbc", 3), "äbc");
    }
}
