//! Which container each exec is in, as the daemon said when it was made: its own path names no container.

use std::collections::{HashMap, VecDeque};

/// Execs that are remembered; the oldest are forgotten first, and then refused.
const MOST: usize = 16_384;

/// A process that was made in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The full id.
    pub(super) container: String,
    /// Whether it was asked for as one that reaches past the container.
    pub(super) reaches_host: bool,
}

/// Those that were made through here since the agent started.
#[derive(Debug, Default)]
pub(super) struct Execs {
    by_id: HashMap<String, Made>,
    order: VecDeque<String>,
}

impl Execs {
    pub(super) fn made(&mut self, id: String, made: Made) {
        if self.by_id.insert(id.clone(), made).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    pub(super) fn get(&self, id: &str) -> Option<&Made> {
        self.by_id.get(id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_is_kept() {
        let mut execs = Execs::default();
        for number in 0..=MOST {
            execs.made(
                number.to_string(),
                Made {
                    container: "a".to_owned(),
                    reaches_host: false,
                },
            );
        }
        assert_eq!(execs.get("0"), None);
        assert!(execs.get("1").is_some() && execs.get(&MOST.to_string()).is_some());
        assert_eq!((execs.by_id.len(), execs.order.len()), (MOST, MOST));
    }
}
