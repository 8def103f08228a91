//! Configs that were read a moment ago: a container is started with the config that it was made of, and reading one costs more than
//! all the rest of an answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use verger_policy::facts::oci::{self, OciConfig};

/// So many are remembered: launches at the same time.
const MOST: usize = 32;
/// A longer one is read anew, bytes.
const LONGEST: usize = 64 << 10;

/// What was read last, by its bytes: what is read of the same bytes is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Read(Arc<Mutex<VecDeque<Known>>>);

#[derive(Debug)]
struct Known {
    of: Vec<u8>,
    config: OciConfig,
}

impl Read {
    /// Reads a config.
    ///
    /// # Errors
    /// As [`oci::parse`], in words.
    pub(super) fn config(&self, bytes: &[u8]) -> Result<OciConfig, String> {
        let known = {
            let read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut known = read.iter().filter(|known| known.of == bytes);
            known.next().map(|known| known.config.clone())
        };
        if let Some(config) = known {
            return Ok(config);
        }
        let config = oci::parse(bytes).map_err(|error| error.to_string())?;
        if bytes.len() <= LONGEST {
            let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            read.push_front(Known {
                of: bytes.to_vec(),
                config: config.clone(),
            });
            read.truncate(MOST);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CONFIG: &[u8] = include_bytes!("../../../../shared/policy/tests/fixtures/plain.config.json");

    #[test]
    fn what_is_read_again_is_the_same_and_what_differs_is_read_anew() {
        let read = Read::default();
        let config = read.config(CONFIG).unwrap();
        assert_eq!(read.config(CONFIG).unwrap(), config);
        assert_eq!(read.0.lock().unwrap().len(), 1);
        // A byte makes another one of it.
        let other =
            String::from_utf8(CONFIG.to_vec())
                .unwrap()
                .replacen("\"ociVersion\"", "\"ociversion\"", 1);
        assert_ne!(other.as_bytes(), CONFIG);
        assert!(read.config(other.as_bytes()).is_err());
        assert!(read.config(other.as_bytes()).is_err());
        assert!(read.config(b"{}").is_err());
        assert_eq!(
            read.0.lock().unwrap().len(),
            1,
            "what cannot be read is not remembered"
        );
        for number in 0..2 * MOST {
            let mut padded = CONFIG.to_vec();
            padded.extend(std::iter::repeat_n(b' ', number + 1));
            assert_eq!(read.config(&padded).unwrap(), config);
        }
        assert_eq!(read.0.lock().unwrap().len(), MOST);
    }
}
