//! Whether what a controller shows of a host is what the host's agent signed. Pure.

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_policy::finding::{Chain, Standing, Told};
use verger_policy::model::{AgentId, printable};
use verger_seal::{FindingsHead, SignedHead};

use super::account::Account;
use super::enrolments::Enrolled;
use super::memory::SeenHead;

/// Agents sign once a minute, whatever happens: an older one is withheld, or the agent does not reach the controllers.
const FRESH: SignedDuration = SignedDuration::from_mins(3);

/// How a key is known of which nothing else is.
const FIRST_SIGHT: &str = "first sight";

const NOT_ENROLLED: &str = "the audit is whole, and has no enrolment of this host";

/// What is known of a host beside a controller's word.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    pub(super) cluster: Digest,
    pub(super) agent: &'a AgentId,
    /// Under which key, by the audit.
    pub(super) enrolled: Enrolled,
    /// What this person saw of it last.
    pub(super) seen: Option<&'a SeenHead>,
    pub(super) now: Timestamp,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// What does not match, in sentences.
    pub(super) problems: Vec<String>,
    /// What could not be verified.
    pub(super) doubts: Vec<String>,
    /// The head, once it is known to be this host's.
    pub(super) head: Option<FindingsHead>,
    /// The key that signed it.
    pub(super) key: Option<Digest>,
    /// How the key is known.
    pub(super) known_by: &'static str,
    /// Another attempt may end otherwise: the host was telling.
    pub(super) passing: bool,
    /// It is not what is remembered, and may be so only on purpose.
    pub(super) unremembered: bool,
}

impl Verdict {
    fn problem(mut self, what: impl Into<String>) -> Self {
        self.problems.push(what.into());
        self
    }
}

/// Judges one account.
pub(super) fn judge(known: &Known<'_>, account: &Account) -> Verdict {
    let mut verdict = Verdict::default();
    let Some(signed) = &account.head else {
        if let Some(seen) = known.seen {
            return verdict.problem(format!(
                "nothing is shown that its agent signed, and you saw such a thing at {} (number {}): it is withheld",
                seen.seen_at, seen.chain.sequence
            ));
        }
        if known.enrolled == Enrolled::Never {
            return verdict.problem(NOT_ENROLLED);
        }
        verdict
            .doubts
            .push("its agent has signed nothing yet: it is new, or of an older version".to_owned());
        return verdict;
    };
    let head = match authentic(known, signed, &mut verdict) {
        Ok(head) => head,
        Err(problem) => return verdict.problem(problem),
    };
    compare_with_memory(known, &head, &mut verdict);
    compare_with_rows(account, &head.told, &mut verdict);
    age(known, account, head.at, &mut verdict);
    verdict.head = Some(head);
    verdict
}

/// The statement, if it is this host's.
fn authentic(known: &Known<'_>, signed: &SignedHead, verdict: &mut Verdict) -> Result<FindingsHead, String> {
    let head = signed.open().map_err(|refusal| refusal.to_string())?;
    if head.cluster != known.cluster {
        return Err("what is shown as signed is of another cluster".to_owned());
    }
    if head.agent != *known.agent {
        return Err(format!(
            "what is shown as signed is of host {}, not of this one",
            printable(head.agent.as_str())
        ));
    }
    let key = signed.key_digest();
    match (&known.enrolled, known.seen) {
        (Enrolled::Under(enrolled) | Enrolled::Unsigned(enrolled, _), _) if *enrolled != key => {
            return Err(format!(
                "it is signed by key {key}, and the audit has the host enrolled under {enrolled}"
            ));
        }
        (Enrolled::Under(_) | Enrolled::Unsigned(..), Some(seen)) if seen.key != key => {
            // Controllers write the audit: they can make an enrolment up, and not unsay what was seen.
            verdict.known_by = "audit";
            verdict.unremembered = true;
            verdict.doubts.push(format!(
                "it was enrolled anew, by the audit: it is signed by key {key}, and you saw key {} before ({}). If you know of that, \
                 take it over with --accept-shown",
                seen.key, seen.seen_at
            ));
        }
        (Enrolled::Under(_), _) => verdict.known_by = "audit",
        (Enrolled::Unsigned(..), Some(_)) => verdict.known_by = "memory",
        (Enrolled::Unsigned(_, row), None) => {
            verdict.known_by = "audit";
            verdict.doubts.push(format!(
                "its key is known by row {row} of the audit, and a majority of the members has not signed that the row is there; they \
                 sign every minute. Run this again"
            ));
        }
        (Enrolled::Never, _) => {
            return Err(NOT_ENROLLED.to_owned());
        }
        // Another key without an enrolment that says so.
        (Enrolled::Unknown, Some(seen)) if seen.key != key => {
            return Err(format!(
                "it is signed by key {key}, and you saw key {} before ({}): the host was enrolled anew, or somebody signs in its \
                 place. Somebody who may read the audit finds out which",
                seen.key, seen.seen_at
            ));
        }
        (Enrolled::Unknown, Some(_)) => verdict.known_by = "memory",
        (Enrolled::Unknown, None) => {
            verdict.known_by = FIRST_SIGHT;
            verdict.doubts.push(
                "its key is taken as it is shown: the audit that you may read does not have it, and you saw none before. It is \
                 remembered, and a later run holds what is shown then against it"
                    .to_owned(),
            );
        }
    }
    verdict.key = Some(key);
    Ok(head)
}

fn compare_with_memory(known: &Known<'_>, head: &FindingsHead, verdict: &mut Verdict) {
    // Under another key the host lives anew, and counts from the beginning.
    let Some(seen) = known.seen.filter(|seen| Some(seen.key) == verdict.key) else {
        return;
    };
    let Chain { sequence, digest } = head.told.chain;
    if sequence < seen.chain.sequence {
        verdict.problems.push(format!(
            "an older state is shown than you saw before: number {sequence}, and at {} it was {}",
            seen.seen_at, seen.chain.sequence
        ));
    } else if sequence == seen.chain.sequence && (digest, head.told.table) != (seen.chain.digest, seen.table)
    {
        verdict.problems.push(format!(
            "its agent signed two different states under number {sequence}: you saw the other one at {}",
            seen.seen_at
        ));
    }
}

fn compare_with_rows(account: &Account, told: &Told, verdict: &mut Verdict) {
    let Told { chain, open, table } = told;
    if chain.sequence > account.last_sequence {
        verdict.problems.push(format!(
            "the agent has told {} changes and the controller shows those up to {}: the last ones are hidden",
            chain.sequence, account.last_sequence
        ));
        return;
    }
    if chain.sequence < account.last_sequence {
        verdict.passing = true;
        verdict.doubts.push(format!(
            "the controller shows changes up to {}, and the agent signed up to {} only: it is telling more, or they are made up",
            account.last_sequence, chain.sequence
        ));
        return;
    }
    match account.chain {
        Some(ours) if ours == chain.digest => {}
        Some(_) => verdict.problems.push(
            "the changes that the controller took in are not those that the agent signed: their chains differ"
                .to_owned(),
        ),
        None => verdict.doubts.push(
            "the controller does not show the chain over the changes that it took in: it withholds it, or took the host over from a \
             version that kept none, until the agent signs again"
                .to_owned(),
        ),
    }
    let mut standing = Standing::default();
    account.rows.values().for_each(|row| standing.note(row));
    if account.not_kept > 0 {
        verdict.doubts.push(format!(
            "the controllers had no room for {} changes of this host, and say so: its findings cannot be compared with what was \
             signed",
            account.not_kept
        ));
        return;
    }
    let shown = standing.count();
    if shown < *open {
        verdict.problems.push(format!(
            "findings are hidden: the agent signed {open} that are not over, and {shown} are shown"
        ));
    } else if shown > *open {
        verdict.problems.push(format!(
            "findings are made up: the agent signed {open} that are not over, and {shown} are shown"
        ));
    } else if standing.digest() != *table {
        verdict.problems.push(format!(
            "findings were altered or exchanged: the {open} that are shown are not those that the agent signed"
        ));
    }
}

fn age(known: &Known<'_>, account: &Account, at: Timestamp, verdict: &mut Verdict) {
    let age = known.now.duration_since(at);
    if age < -FRESH {
        verdict.doubts.push(format!(
            "it was signed at {at}, which is ahead of this machine's clock: one of the two clocks is wrong"
        ));
    } else if age > FRESH && account.silent {
        verdict.doubts.push(format!(
            "the host is silent: what stands was signed at {at}, and what came after is not known"
        ));
    } else if age > FRESH {
        verdict.doubts.push(format!(
            "what is newest was signed at {at}, and agents sign every minute: newer ones are withheld, or the agent does not \
             reach the controllers"
        ));
    }
}
