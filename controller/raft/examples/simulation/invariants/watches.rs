//! Who watches is shown every row once and in order, at whichever member it goes on; and everybody is shown the same.

use std::collections::BTreeMap;

use bytes::Bytes;

/// What was shown to all who watch.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// By number.
    pub(crate) rows: BTreeMap<u64, Bytes>,
    /// How often somebody went on at a member.
    pub(crate) streams: u64,
    pub(crate) found: Option<String>,
}

impl Shown {
    /// Takes in what somebody was shown after a row.
    pub(crate) fn show(&mut self, watcher: usize, after: u64, number: u64, value: &Bytes) {
        if number != after + 1 {
            self.found.get_or_insert(format!(
                "watcher {watcher} was shown row {number} of the audit after row {after}"
            ));
        }
        let known = self.rows.entry(number).or_insert_with(|| value.clone());
        if *known != *value {
            self.found.get_or_insert(format!(
                "watcher {watcher} was shown another row {number} of the audit than somebody else"
            ));
        }
    }

    /// When all is over: somebody was not shown everything.
    pub(crate) fn ends(&mut self, watcher: usize, last: u64, written: u64) {
        if last != written {
            self.found.get_or_insert(format!(
                "watcher {watcher} was shown the audit up to row {last} of {written}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_shown_once_in_order_and_the_same_to_all() {
        let row = |text: &'static str| Bytes::from_static(text.as_bytes());
        let found = |second: (u64, u64, &'static str)| {
            let mut shown = Shown::default();
            shown.show(0, 0, 1, &row("one"));
            shown.show(0, 1, 2, &row("two"));
            let (after, number, value) = second;
            shown.show(1, after, number, &row(value));
            shown.found
        };
        assert_eq!(found((1, 2, "two")), None);
        assert!(
            found((0, 2, "two"))
                .unwrap()
                .contains("row 2 of the audit after row 0")
        );
        assert!(
            found((1, 1, "one"))
                .unwrap()
                .contains("row 1 of the audit after row 1")
        );
        assert!(found((1, 2, "other")).unwrap().contains("another row 2"));
        let mut shown = Shown::default();
        shown.ends(0, 7, 7);
        assert_eq!(shown.found, None);
        shown.ends(0, 6, 7);
        assert!(shown.found.unwrap().contains("up to row 6 of 7"));
    }
}
