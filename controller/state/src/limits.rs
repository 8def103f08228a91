//! Bounds of what is replicated. A command over one is refused; what is kept over one is dropped as its docs say.

/// Bytes of one encoded command.
pub const COMMAND_BYTES: usize = 16 << 20;
/// Bytes of one object's canonical form.
pub const OBJECT_BYTES: usize = 240 << 10;
/// Bytes of a seal, and of a trust root: both are in one row of the store, which holds 256 KiB.
pub const ENVELOPE_BYTES: usize = 64 << 10;
/// Versions of the trust root after the first: agents are sent all of them.
pub const LATER_TRUST_ROOTS: usize = verger_seal::MAX_LATER_VERSIONS;
/// Objects in a set.
pub const OBJECTS: usize = verger_policy::set::MAX_OBJECTS;
/// Epochs that one change leaves out at most: hosts may have come further before the cluster was restored.
pub const EPOCHS_LEFT_OUT: u64 = 1_000_000;
/// Bytes of a set, as it is offered to an agent that needs all of it.
pub const SET_BYTES: usize = verger_policy::set::MAX_SET_BYTES;
/// Transitions in one command.
pub const TRANSITIONS: usize = 1_000;
/// Bytes of each part of what an agent signs of its findings.
pub const HEAD_BYTES: usize = 2 << 10;
/// Findings kept of one agent, without the one that says that there are more. Over it the ones resolved first are dropped;
/// where none is resolved, new ones are counted and not kept.
pub const FINDINGS_PER_AGENT: usize = in_tests_less(100_000, 20);
/// How long a resolved finding is kept, seconds: 30 days.
pub const RESOLVED_SECONDS: i64 = 30 * 86_400;
/// Findings that are gone and are remembered for watchers.
pub const FINDINGS_GONE: usize = in_tests_less(100_000, 30);
/// The most old rows of a kind that one command drops beside what it does.
pub const DROPPED_AT_ONCE: usize = in_tests_less(256, 4);
/// Proposals that wait for signatures. Over it those that the set has overtaken give way.
pub const PROPOSALS: usize = in_tests_less(100, 3);
/// Bytes of everything that is proposed.
pub const PROPOSAL_BYTES: usize = in_tests_less(64 << 20, 64 << 10);
/// Objects that one proposal takes out: their keys are in one row of the store.
pub const PROPOSAL_DELETES: usize = 500;
/// People with a login, or with one that ended and is [kept](ENDED_LOGIN_SECONDS).
pub const LOGINS: usize = 10_000;
/// The longest life of a login on an identity provider's word, seconds: 12 hours.
pub const VOUCHED_SECONDS: i64 = 12 * 3_600;
/// How long a login on an identity provider's word is kept after it ended, seconds: as long as the audit says whose it was.
pub const ENDED_LOGIN_SECONDS: i64 = AUDIT_SECONDS;
/// The longest life of a break-glass login, seconds: 4 hours.
pub const BREAK_GLASS_SECONDS: i64 = 4 * 3_600;
/// Bytes of what an identity provider calls itself or a person.
pub const PROVIDER_BYTES: usize = 512;
/// Groups of a login. A row of the store holds them.
pub const GROUPS: usize = 256;
/// Unspent join tokens.
pub const TOKENS: usize = 10_000;
/// Members there are and were, and invitations. A name is used once, so that their rows stay.
pub const MEMBERS: usize = in_tests_less(1_000, 8);
/// Who was let in as a member is one by then, seconds: until then the version is not raised.
pub const JOINING_SECONDS: i64 = 15;
/// How long a host waits for approval, seconds: a day.
pub const WAITING_SECONDS: i64 = 86_400;
/// Requests remembered: where more than so many come within [`REQUEST_SECONDS`], the oldest are forgotten before their time.
pub const REQUESTS: usize = 100_000;
/// So many of them, the newest, are remembered for as long as there are no later ones.
pub const REQUESTS_ALWAYS: usize = in_tests_less(4_096, 3);
/// How long they are remembered, but for those beyond [`REQUESTS`], seconds of the cluster's time.
pub const REQUEST_SECONDS: i64 = 600;
/// Deleted objects remembered for watchers.
pub const TOMBSTONES: usize = in_tests_less(10_000, 3);
/// Audit rows kept. Whoever verifies the audit counts on it, as on how long they are kept.
pub const AUDIT_ROWS: usize = in_tests_less(verger_seal::AUDIT_ROWS, 40);
/// How long they are kept, seconds: 400 days.
pub const AUDIT_SECONDS: i64 = verger_seal::AUDIT_SECONDS;
/// How far the replicated time moves at once, seconds.
pub const STEP_SECONDS: i64 = 3_600;
/// Bytes of a note or of any text of a check.
pub const TEXT_BYTES: usize = 4 << 10;
/// Rules of roles that a command names.
pub const POLICIES: usize = 16;
/// Bytes of a name that comes with a command: who asked, a request's id, a token's id. Keys of rows hold 4 KiB.
pub const NAME_BYTES: usize = 512;

/// The tests of this crate reach the bounds too.
const fn in_tests_less(bound: usize, in_tests: usize) -> usize {
    if cfg!(test) { in_tests } else { bound }
}

/// Why a set over [`SET_BYTES`] is refused.
pub fn set_too_large(set: &verger_policy::set::PolicySet) -> String {
    format!(
        "a set is at most {SET_BYTES} bytes, so that agents can take it, and this one is {}",
        set.bytes()
    )
}
