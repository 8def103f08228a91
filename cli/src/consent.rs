//! Nobody signs what he was not shown: either a person reads it on this terminal and says so, or names what he looked at.

use std::io::{BufRead, IsTerminal as _};

use verger_policy::digest::Digest;

use crate::args::Format;
use crate::exit::Failure;
use crate::output::{for_people, note};

/// The longest answer that is read, bytes.
const ANSWER_BYTES: u64 = 16;

/// What is to be signed, after it was worked out here.
pub(crate) struct Matter<'a> {
    /// What makes the digest: `proposal 7`.
    pub what: &'a str,
    /// What the digest is of: `root`.
    pub of: &'a str,
    /// The digest that tells it from everything else.
    pub found: Digest,
    /// The flag that names the digest.
    pub flag: &'a str,
    /// The command that shows it and prints the digest.
    pub look: &'a str,
}

/// Reads the digest that a person named.
///
/// # Errors
/// When it is none.
pub(crate) fn named(flag: &str, text: Option<&str>, look: &str) -> anyhow::Result<Option<Digest>> {
    // The id of a cluster is written without the algorithm's name.
    let whole = |text: &str| match text.len() {
        64 => format!("sha256:{text}"),
        _ => text.to_owned(),
    };
    text.map(|text| whole(text).parse())
        .transpose()
        .map_err(|error| Failure::input(format!("{flag}: {error}; `{look}` prints it")).into())
}

impl Matter<'_> {
    /// Whether the person means this: by the digest that was named, or by word of mouth after it was shown on this terminal.
    ///
    /// # Errors
    /// When he does not, or there is nobody who could have been shown it.
    pub(crate) fn consent(&self, named: Option<Digest>, format: Format) -> anyhow::Result<()> {
        let shown = for_people(format) && std::io::stdout().is_terminal();
        let asked = shown && std::io::stdin().is_terminal();
        self.decide(named, asked.then(|| std::io::stdin().lock()))
            .map_err(|why| Failure::input(format!("{why}; nothing was signed")).into())
    }

    fn decide(&self, named: Option<Digest>, answers: Option<impl BufRead>) -> Result<(), String> {
        let Self {
            what,
            of,
            found,
            flag,
            look,
        } = self;
        if let Some(named) = named {
            return match named == *found {
                true => Ok(()),
                false => Err(format!(
                    "{what} makes the {of} {found}, and you looked at {named}"
                )),
            };
        }
        let Some(answers) = answers else {
            return Err(format!(
                "look at it with `{look}`, then name what you looked at: {flag} {found}"
            ));
        };
        note(&format!("sign this as {of} {found}? Type `yes`:"));
        let mut answer = String::new();
        match answers.take(ANSWER_BYTES).read_line(&mut answer) {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            _ => Err("you did not say `yes`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn matter() -> Matter<'static> {
        Matter {
            what: "proposal 7",
            of: "root",
            found: Digest::of(b"shown"),
            flag: "--root",
            look: "verger proposals 7",
        }
    }

    #[test]
    fn who_was_shown_it_says_yes_and_nothing_else_counts_as_yes() {
        for (said, means) in [
            ("yes\n", true),
            (" yes \n", true),
            ("", false),
            ("\n", false),
            ("y\n", false),
            ("no\nyes\n", false),
            ("yes, or no\n", false),
        ] {
            assert_eq!(
                matter().decide(None, Some(said.as_bytes())).is_ok(),
                means,
                "{said:?}"
            );
        }
        assert!(matter().decide(None, Some(&b"\xff\n"[..])).is_err());
    }

    #[test]
    fn who_was_shown_nothing_names_what_he_looked_at() {
        let nobody = None::<&[u8]>;
        let told = matter().decide(None, nobody).unwrap_err();
        assert!(
            told.contains("--root sha256:") && told.contains("verger proposals 7"),
            "{told}"
        );
        assert_eq!(matter().decide(Some(Digest::of(b"shown")), nobody), Ok(()));
        // Also where a person sits: what was named is what is meant.
        let other = Some(Digest::of(b"other"));
        let told = matter().decide(other, Some(&b"yes\n"[..])).unwrap_err();
        assert!(told.contains("you looked at"), "{told}");
    }

    #[test]
    fn a_digest_is_named_with_or_without_its_algorithm() {
        let digest = Digest::of(b"shown");
        for text in [digest.to_string(), digest.hex()] {
            assert_eq!(named("--digest", Some(&text), "look").ok(), Some(Some(digest)));
        }
        assert_eq!(named("--digest", None, "look").ok(), Some(None));
        for text in ["", "sha256:", "yes", &digest.hex()[..63]] {
            assert!(named("--digest", Some(text), "look").is_err(), "{text}");
        }
    }
}
