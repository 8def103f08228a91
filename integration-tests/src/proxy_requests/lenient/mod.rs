//! A reader of Docker's API that is as lax as Go's `net/http` and `encoding/json` are, and laxer: what it finds nothing in, nobody does.
//!
//! It shares nothing with the product: it says what a request could do to the host, and the proxy has to refuse all of that. What it
//! knows of Docker is written here a second time, from the API's documents and moby's sources (20.10).

mod http;
mod json;
mod reach;

/// A request that could reach the host: what it is about, and by what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Danger {
    /// Its path: words, with what has a name left out.
    pub(super) call: String,
    /// By what.
    pub(super) why: Vec<String>,
}

/// All that somebody could find in what a connection carries.
pub(super) fn dangers(bytes: &[u8]) -> Vec<Danger> {
    let mut found: Vec<Danger> = Vec::new();
    for message in http::messages(bytes) {
        let why = reach::reaches(&message);
        if !why.is_empty() {
            found.push(Danger {
                call: call(&message.path),
                why,
            });
        }
    }
    found
}

/// A path without its names.
pub(super) fn call(path: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    match words[..] {
        [kind @ ("containers" | "exec" | "networks"), _, what] => format!("{kind}/*/{what}"),
        _ => words.join("/"),
    }
}
