//! The mark: what the proxy and the tripwire know, and nobody else.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use subtle::ConstantTimeEq as _;

/// Random bytes in it.
const BYTES: usize = 32;

/// A secret of one run of the tripwire, 64 hex digits.
#[derive(Clone)]
pub struct Mark(String);

impl Mark {
    /// Makes one and writes it to a file, which its owner and its group may read, in the place of what was there.
    ///
    /// # Errors
    /// When the system gives no randomness, or the file cannot be written.
    pub fn make(file: &Path) -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let mark = Self(hex::encode(bytes));
        let draft = file.with_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Never there with a wider mode.
        let mut open = fs::OpenOptions::new();
        let mut written = open.write(true).create_new(true).mode(0o440).open(&draft)?;
        written.write_all(mark.0.as_bytes())?;
        fs::rename(&draft, file)?;
        Ok(mark)
    }

    /// Whether a text is it. How long that takes says nothing of how much of it is right.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The text, for whoever marks.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn each_run_has_another_that_its_owner_and_group_alone_read_and_that_debug_output_never_shows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mark");
        let first = Mark::make(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), first.as_str());
        assert_eq!(first.as_str().len(), 2 * BYTES);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o440);
        let second = Mark::make(&file).unwrap();
        assert!(second.is(&fs::read_to_string(&file).unwrap()));
        assert!(!second.is(first.as_str()) && !second.is("") && !second.is(&second.as_str()[1..]));
        assert!(!format!("{second:?}").contains(&second.as_str()[..8]));
    }
}
