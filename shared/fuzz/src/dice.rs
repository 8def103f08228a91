//! Choices, drawn from bolero's driver.

use std::ops::{Bound, Range};

use bolero::Driver;

/// A number below `n`; 0 where there is none.
pub(crate) fn below<D: Driver>(driver: &mut D, n: usize) -> Option<usize> {
    match u32::try_from(n) {
        Ok(0) => Some(0),
        Ok(n) => Some(driver.gen_u32(Bound::Included(&0), Bound::Excluded(&n))? as usize),
        Err(_) => driver.gen_usize(Bound::Included(&0), Bound::Excluded(&n)),
    }
}

/// True once in `n` times.
pub(crate) fn chance<D: Driver>(driver: &mut D, n: usize) -> Option<bool> {
    Some(below(driver, n)? == 0)
}

/// One of `all`.
pub(crate) fn one<'a, T: ?Sized, D: Driver>(driver: &mut D, all: &[&'a T]) -> Option<&'a T> {
    let at = below(driver, all.len())?;
    all.get(at).copied()
}

/// A range of places below `length`: mostly short, now and then most of it.
pub(crate) fn range<D: Driver>(driver: &mut D, length: usize) -> Option<Range<usize>> {
    let start = below(driver, length)?;
    let longest = 1_usize << below(driver, 12)?;
    let span = 1 + below(driver, longest)?;
    Some(start..(start + span).min(length))
}

/// Numbers at the ends of what parsers count in, and spellings that some readers take for numbers.
pub(crate) const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "127",
    "255",
    "65535",
    "65536",
    "2147483648",
    "4294967294",
    "4294967295",
    "4294967296",
    "9007199254740991",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "1e-7",
    "0.5",
    "-0",
];

/// Texts that terminals, YAML readers, paths and base64 readers like to get wrong.
pub(crate) const TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "\u{1b}[2J",
    "\r\n",
    "\n",
    "\t",
    "\u{202e}",
    "\u{feff}",
    "\u{3164}",
    "\u{e0041}",
    "\u{85}",
    "\u{2028}",
    "ü",
    "\u{1f600}",
    "any",
    "yes",
    "null",
    "~",
    "<<",
    "../..",
    "/",
    "//",
    "%2e",
    "a/b/c",
    "sha256:",
    "=",
    ":",
    "-",
    ".",
    "*",
    "\"",
    "'",
    "\\",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "+5",
    "0x10",
    "007",
    "$serde_json::private::RawValue",
];
