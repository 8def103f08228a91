//! Whatever was answered is what one copy would have said, in some order in which everything comes between its beginning and its answer
//! (Herlihy and Wing, 1990): of the policy set, of each token, of each login and of the audit.
//!
//! Set, tokens and logins are registers (see `search`). The audit tells its own order: all rows are there at the end, each with the id of
//! the request it is of, so that nothing has to be searched for.

pub(crate) mod search;

use std::collections::BTreeMap;

use search::{Does, Operation, Verdict, linearizable, shortest};

/// What operations are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    /// The policy set, roles included, by its epoch.
    Policy,
    /// A join token, by the key that it was spent for.
    Token(u64),
    /// Who has a person's login, by the key; nobody where it is revoked.
    Login(usize),
}

/// A request that leaves a row in the audit, and when it began and was answered.
#[derive(Clone, Debug)]
struct Write {
    from: u64,
    to: Option<u64>,
}

/// A look at how many rows there are.
#[derive(Clone, Copy, Debug)]
struct Look {
    from: u64,
    to: u64,
    rows: u64,
}

/// All that was asked and answered.
#[derive(Debug, Default)]
pub(crate) struct History {
    operations: BTreeMap<Object, Vec<Operation>>,
    /// By request id.
    writes: BTreeMap<String, Write>,
    looks: Vec<Look>,
}

impl History {
    pub(crate) fn add(&mut self, object: Object, does: Does, from: u64, to: Option<u64>) {
        let operation = Operation { does, from, to };
        self.operations.entry(object).or_default().push(operation);
    }

    /// A request that leaves a row.
    pub(crate) fn write(&mut self, request: String, from: u64, to: Option<u64>) {
        self.writes.insert(request, Write { from, to });
    }

    /// Somebody was shown so many rows.
    pub(crate) fn look(&mut self, from: u64, to: u64, rows: u64) {
        self.looks.push(Look { from, to, rows });
    }

    /// Operations on everything but the audit, by kind: policy, tokens, logins; and those on the audit.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let mut counts = [0, 0, 0, (self.writes.len() + self.looks.len()) as u64];
        for (object, operations) in &self.operations {
            let kind = match object {
                Object::Policy => 0,
                Object::Token(_) => 1,
                Object::Login(_) => 2,
            };
            counts[kind] += operations.len() as u64;
        }
        counts
    }

    /// What one copy would not have said. `audit` is the request id of each row that was ever written, in order.
    pub(crate) fn judged(&self, audit: &[String]) -> Option<String> {
        let of_registers = || {
            self.operations
                .iter()
                .find_map(|(object, operations)| match linearizable(operations) {
                    Verdict::Linearizable => None,
                    verdict => Some(format!(
                        "the history of {object:?} is {verdict:?}: {} operations, the last of those that do not fit {:?}",
                        operations.len(),
                        shortest(operations)
                    )),
                })
        };
        self.audited(audit).or_else(of_registers)
    }

    fn audited(&self, audit: &[String]) -> Option<String> {
        let mut places: BTreeMap<&str, u64> = BTreeMap::new();
        for (number, request) in (1..).zip(audit) {
            if !request.is_empty() && places.insert(request, number).is_some() {
                return Some(format!("request {request} left two rows in the audit"));
            }
        }
        let known = |request: &&&str| self.writes.contains_key(**request);
        if let Some(request) = places.keys().find(|request| !known(request)) {
            return Some(format!(
                "request {request} was said to be written nowhere, and left a row in the audit"
            ));
        }
        let mut placed: Vec<(u64, &Write)> = Vec::new();
        for (request, write) in &self.writes {
            match places.get(request.as_str()) {
                Some(number) => placed.push((*number, write)),
                None if write.to.is_some() => {
                    return Some(format!(
                        "request {request} was answered, and left no row in the audit"
                    ));
                }
                None => {}
            }
        }
        placed.sort_unstable_by_key(|(number, _)| *number);
        // Of what comes before a row nothing began after that row's request was answered.
        let mut latest = 0;
        for (number, write) in &placed {
            if write.to.is_some_and(|to| to < latest) {
                return Some(format!(
                    "row {number} of the audit is of what was answered before something began that has an earlier row"
                ));
            }
            latest = latest.max(write.from);
        }
        let mut looks = self.looks.clone();
        looks.sort_unstable_by_key(|look| look.rows);
        let mut latest = 0;
        for same in looks.chunk_by(|one, other| one.rows == other.rows) {
            if let Some(look) = same.iter().find(|look| look.to < latest) {
                return Some(format!(
                    "after {} rows of the audit somebody was shown fewer",
                    look.rows
                ));
            }
            latest = same.iter().map(|look| look.from).fold(latest, u64::max);
        }
        self.looks.iter().find_map(|Look { from, to, rows }| {
            let seen = placed.partition_point(|(number, _)| number <= rows);
            let early = placed[..seen].iter().find(|(_, write)| write.from > *to);
            let late = placed[seen..]
                .iter()
                .find(|(_, write)| write.to.is_some_and(|answered| answered < *from));
            let what = early.map(|_| "before it was asked for");
            let what = what.or_else(|| late.map(|_| "without what was answered before"))?;
            Some(format!("somebody was shown {rows} rows of the audit, {what}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(writes: &[(&str, u64, u64)], looks: &[(u64, u64, u64)], audit: &[&str]) -> Option<String> {
        let mut history = History::default();
        for (request, from, to) in writes {
            history.write((*request).to_owned(), *from, (*to != 0).then_some(*to));
        }
        for (from, to, rows) in looks {
            history.look(*from, *to, *rows);
        }
        let audit: Vec<String> = audit.iter().map(|request| (*request).to_owned()).collect();
        history.judged(&audit)
    }

    #[test]
    fn the_audit_has_every_request_once_in_an_order_that_fits() {
        let writes = [("a", 1, 4), ("b", 2, 6), ("c", 7, 8), ("d", 9, 0)];
        // What overlaps comes in either order; of what was not answered there may be a row.
        for audit in [
            &["", "a", "b", "c"][..],
            &["", "b", "a", "c"],
            &["", "a", "b", "c", "d"],
        ] {
            assert_eq!(
                found(&writes, &[(3, 5, 1), (5, 6, 3), (10, 11, 4)], audit),
                None,
                "{audit:?}"
            );
        }
        for (looks, audit, told) in [
            (&[][..], &["", "a", "c"][..], "request b was answered"),
            (&[], &["", "a", "b", "c", "a"], "request a left two rows"),
            (
                &[],
                &["", "a", "b", "c", "e"],
                "request e was said to be written nowhere",
            ),
            (&[], &["", "a", "c", "b"], "has an earlier row"),
            (
                &[(9, 10, 3)],
                &["", "a", "b", "c"],
                "without what was answered before",
            ),
            (&[(3, 4, 4)], &["", "a", "b", "c"], "before it was asked for"),
            (&[(3, 4, 3), (5, 6, 2)], &["", "a", "b", "c"], "was shown fewer"),
        ] {
            let found = found(&writes, looks, audit).unwrap();
            assert!(found.contains(told), "{found}");
        }
    }

    #[test]
    fn registers_are_judged_each_for_itself() {
        let mut history = History::default();
        history.add(Object::Login(0), Does::Write(1), 1, Some(2));
        history.add(Object::Login(1), Does::Read(0), 3, Some(4));
        history.add(Object::Policy, Does::Swap(0, 1), 1, None);
        history.add(Object::Token(7), Does::Swap(0, 9), 1, Some(2));
        assert_eq!((history.judged(&[]), history.counts()), (None, [1, 1, 2, 0]));
        history.add(Object::Token(7), Does::Swap(0, 8), 3, Some(4));
        let found = history.judged(&[]).unwrap();
        assert!(found.contains("Token(7)"), "{found}");
    }
}
