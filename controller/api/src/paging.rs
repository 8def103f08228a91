//! Page sizes and tokens.

use tonic::Status;

use crate::status::argument;

const DEFAULT: u32 = 100;
pub(crate) const MOST: u32 = 1_000;

/// The page size asked for: 0 is the default, more than the most is the most.
pub(crate) fn size(asked: u32) -> usize {
    let size = if asked == 0 { DEFAULT } else { asked.min(MOST) };
    size as usize
}

/// Takes one page of `items`, which come after the token's place already; returns it and the next token.
pub(crate) fn page<T>(
    items: impl Iterator<Item = T>,
    size: usize,
    token: impl Fn(&T) -> String,
) -> (Vec<T>, String) {
    let mut items = items.peekable();
    let page: Vec<T> = items.by_ref().take(size).collect();
    let next = if items.peek().is_some() {
        page.last().map(token).unwrap_or_default()
    } else {
        String::new()
    };
    (page, next)
}

/// Reads a token that is the last item's name.
pub(crate) fn after<T: std::str::FromStr>(token: &str) -> Result<Option<T>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| foreign())
}

/// The refusal of a token that is none.
pub(crate) fn foreign() -> Status {
    argument(
        "page_token",
        "is not one this method gave; list again from the start",
    )
}
