//! The policy set as its seal vouches for it, and the next one.
//!
//! What a controller says of the set counts for nothing until the context's cluster id, the trust root and the seal agree
//! with it: a person must not be made to sign over what somebody slipped in.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tonic::Status;
use verger_controller_authz::{Unsafe, check_change};
use verger_policy::digest::Digest;
use verger_policy::lint::lint;
use verger_policy::model::ObjectKey;
use verger_policy::set::{self, Body, Entry, ObjectChange, PolicySet, SetDiff};
use verger_proto::policy::v1 as pb;
use verger_seal::{Envelope, PublicKey, Refusal, SetStatement, TrustRoot, verify_held, verify_stamp};
use verger_wire::{FromWire as _, IntoWire as _, InvalidMessage};

use crate::args::{SealArgs, SetArgs};
use crate::connect::Session;
use crate::context::named_by;
use crate::exit::{Exit, Failure};
use crate::output::note;
use crate::signer;

pub(crate) use seen::Memory;
use seen::{How, Seen};

/// Members stamp each minute.
pub(crate) const FRESH_FOR: SignedDuration = SignedDuration::from_mins(5);

/// What the cluster holds, verified.
#[derive(Debug)]
pub(crate) struct Held {
    pub set: PolicySet,
    pub trust_root: TrustRoot,
    /// When its seal ends; none before the first set.
    pub not_after: Option<Timestamp>,
    /// Who sealed it, by the names of the trust root.
    pub sealed_by: Vec<String>,
    /// When a majority of the members last said what time it is; none where they did not.
    pub stamped: Option<Timestamp>,
    /// Why it may not be the newest.
    pub doubt: Option<String>,
}

impl Held {
    /// The cluster's time: that of this machine where the members said the same within [`FRESH_FOR`], and theirs where it differs by
    /// more. Where they said nothing, that of this machine.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        self.stamped
            .filter(|at| now.duration_since(*at).abs() > FRESH_FOR)
            .unwrap_or(now)
    }
}

/// Fetches the set with its bodies, verifies it, and holds it against what this person saw before.
///
/// # Errors
/// When the cluster cannot be reached, what it says does not hold together, or it shows an older set than it did (unless
/// `args` accept that).
pub(crate) async fn fetch(session: &Session, args: &SetArgs) -> anyhow::Result<Held> {
    let memory = session.memory();
    // Before the request: what another run sees after it may well be newer than the answer.
    let before = memory.recall()?;
    let answer = session
        .ask(
            pb::GetSetRequest { with_bodies: true },
            async |session, request| session.policy().get_set(request).await,
        )
        .await?
        .into_inner();
    let now = Timestamp::now();
    let held = verified(answer, session.context().cluster(), now)?;
    if let Some(doubt) = &held.doubt {
        note(&format!("warning: {doubt}"));
    }
    let shown = Seen::of(&held.set, now, How::Shown);
    if let Some(accepted) = memory.admit(before.as_ref(), &shown, args.accept_older_set)? {
        note(&accepted);
    }
    Ok(held)
}

/// Remembers a set that this person sealed and the cluster took.
///
/// # Errors
/// When the cluster showed another set of this epoch, or the memory cannot be written. The set stays applied.
pub(crate) fn remember(session: &Session, set: &PolicySet) -> anyhow::Result<()> {
    session
        .memory()
        .keep(&Seen::of(set, Timestamp::now(), How::Sealed))
}

fn verified(answer: pb::GetSetResponse, cluster: Digest, now: Timestamp) -> anyhow::Result<Held> {
    let pb::GetSetResponse {
        epoch,
        root,
        entries,
        seal,
        bodies,
        trust_root,
        later_trust_roots,
        revision: _,
        stamp,
    } = answer;
    let envelope = trust_root.ok_or_else(|| distrust("it names no trust root"))?;
    let invalid = |refusal: Refusal| distrust(&format!("its trust root is not valid: {refusal}"));
    let first = TrustRoot::open_first(&envelope.json).map_err(invalid)?;
    let later = later_trust_roots.iter().map(|envelope| &*envelope.json);
    let (trust_root, _) = first.walk(later).map_err(invalid)?;
    if trust_root.cluster_id() != cluster {
        return Err(distrust(&format!(
            "its trust root is that of cluster {}, the context's cluster is {}",
            trust_root.cluster_id().hex(),
            cluster.hex()
        ))
        .into());
    }
    let set = assemble(epoch, entries, bodies)?;
    if set.entries().any(|entry| set.body(&entry.key).is_none()) {
        return Err(distrust("it leaves out objects that its set holds").into());
    }
    if set.root().as_bytes().as_slice() != &*root {
        return Err(distrust("the root it names is not that of its objects").into());
    }
    let (not_after, sealed_by) = match seal {
        None if set.is_empty() && epoch == 0 => (None, Vec::new()),
        None => return Err(distrust("its policy set has no seal").into()),
        Some(seal) => {
            let sealed = verify_held(&trust_root, &seal.json)
                .and_then(|sealed| {
                    sealed
                        .matches(epoch, &set.root(), set.len() as u64)
                        .map(|()| sealed)
                })
                .map_err(|refusal| distrust(&format!("its policy set's seal does not verify: {refusal}")))?;
            (
                Some(sealed.statement().not_after),
                sealers(&trust_root, &seal.json),
            )
        }
    };
    let stamped = stamp
        .as_ref()
        .and_then(|stamp| verify_stamp(&trust_root, &stamp.json).ok())
        .map(|stamp| stamp.at);
    let doubt = freshness(&trust_root, &set, stamp, now)?;
    Ok(Held {
        set,
        trust_root,
        not_after,
        sealed_by,
        stamped,
        doubt,
    })
}

/// The names of the keys whose signatures a seal has.
fn sealers(trust_root: &TrustRoot, seal: &[u8]) -> Vec<String> {
    let Ok(envelope) = Envelope::parse(seal) else {
        return Vec::new();
    };
    let keys = trust_root.keys();
    let signed = envelope.signers(keys.iter().map(|key| key.public));
    keys.iter()
        .filter(|key| signed.contains(&key.public))
        .map(|key| key.name.clone())
        .collect()
}

/// Why this set may not be the newest, by what members have signed.
fn freshness(
    trust_root: &TrustRoot,
    set: &PolicySet,
    stamp: Option<pb::Envelope>,
    now: Timestamp,
) -> anyhow::Result<Option<String>> {
    let doubt = |why: String| format!("this set may not be the newest: {why}");
    if trust_root.members().is_empty() {
        return Ok(None);
    }
    let Some(stamp) = stamp else {
        return Ok(Some(doubt(
            "no majority of the members says that it is".to_owned(),
        )));
    };
    let stamp = match verify_stamp(trust_root, &stamp.json) {
        Ok(stamp) => stamp,
        Err(refusal) => return Ok(Some(doubt(refusal.to_string()))),
    };
    if stamp.epoch > set.epoch() || (stamp.epoch == set.epoch() && stamp.root != set.root()) {
        return Err(distrust(&format!(
            "it shows epoch {} with root {}, and a majority of its members signed that the newest is epoch {} with root {}",
            set.epoch(),
            set.root(),
            stamp.epoch,
            stamp.root
        ))
        .into());
    }
    let age = now.duration_since(stamp.at);
    let old = age > FRESH_FOR;
    let why = || format!("a majority of the members said so last at {}", stamp.at);
    Ok(old.then(|| doubt(why())))
}

fn assemble(epoch: u64, entries: Vec<pb::Entry>, bodies: Vec<pb::Body>) -> anyhow::Result<PolicySet> {
    let wrong = |error: InvalidMessage| distrust(&format!("its policy set cannot be read: {error}"));
    let mut found = std::collections::BTreeMap::<ObjectKey, Arc<Body>>::new();
    for body in bodies {
        let body = Arc::<Body>::from_wire(body).map_err(wrong)?;
        found.insert(body.object().key(), body);
    }
    let mut parts = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = Entry::from_wire(entry).map_err(wrong)?;
        let body = found.remove(&entry.key);
        parts.push((entry, body));
    }
    PolicySet::assemble(epoch, parts)
        .map_err(|error| distrust(&format!("its policy set is not one: {error}")).into())
}

pub(crate) fn distrust(what: &str) -> Failure {
    Failure::new(
        Exit::Violation,
        format!(
            "what the cluster says cannot be trusted: {what}; nothing was signed. Ask whoever runs the controllers"
        ),
    )
}

/// A set that is about to follow the one held.
#[derive(Debug)]
pub(crate) struct Next {
    pub set: PolicySet,
    pub diff: SetDiff,
    pub changes: Vec<ObjectChange>,
    /// Why the cluster will refuse it, whoever signs it.
    pub locks_out: Option<Unsafe>,
}

impl Next {
    /// Compares.
    pub(crate) fn of(held: &Held, set: PolicySet) -> Self {
        let diff = set::diff(&held.set, &set);
        let changes = diff.describe(&held.set);
        let locks_out = check_change(&held.set, &set).err();
        Self {
            set,
            diff,
            changes,
            locks_out,
        }
    }

    /// What is odd about the set, in sentences.
    pub(crate) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let locks_out = self.locks_out.iter();
        let refused = locks_out.map(|why| format!("warning: the cluster will refuse this: {why}"));
        let odd = lint(&self.set, now)
            .into_iter()
            .map(|lint| format!("warning: {lint}"));
        refused.chain(odd).collect()
    }

    /// The bodies that change, as messages.
    pub(crate) fn upserts(&self) -> Vec<pb::Body> {
        self.diff
            .upserts
            .iter()
            .filter_map(|(_, body)| body.as_deref())
            .map(|body| body.into_wire())
            .collect()
    }
}

/// A person's key that is one of the trust root's.
pub(crate) struct Signer {
    /// Whose it is, by the trust root.
    pub name: String,
    key: signer::Key,
}

impl Signer {
    /// The key named, or the context's.
    ///
    /// # Errors
    /// When there is none, or it is not one of the trust root's.
    pub(crate) fn find(
        session: &Session,
        trust_root: &TrustRoot,
        named: Option<&PathBuf>,
    ) -> anyhow::Result<Self> {
        let file = named.cloned().or_else(|| named_by("VERGER_KEY"));
        let file = file.as_ref().or(session.context().sealing_key.as_ref()).ok_or_else(|| {
            Failure::input("no sealing key is named: give --key FILE, or set one with `verger context use FILE --key FILE`")
        })?;
        let key = signer::Key::open(file)?;
        let trusted = trust_root
            .keys()
            .iter()
            .find(|trusted| trusted.public == key.public());
        let other_form = trust_root
            .keys()
            .iter()
            .find(|trusted| trusted.public.is_same_key(&key.public()));
        if let (None, Some(other)) = (trusted, other_form) {
            return Err(Failure::input(format!(
                "{} is a key of this cluster's trust root in another form ({}), and signs otherwise; name a file of that form",
                file.display(),
                other.public.algorithm()
            ))
            .into());
        }
        let name = trusted.map(|trusted| trusted.name.clone()).ok_or_else(|| {
            Failure::input(format!(
                "{} (key {}) is not a key of this cluster's trust root; its keys are: {}",
                file.display(),
                key.public().id(),
                trust_root
                    .keys()
                    .iter()
                    .map(|key| key.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        })?;
        Ok(Self { name, key })
    }

    /// Signs a statement.
    ///
    /// # Errors
    /// When the key is in an agent that does not sign.
    pub(crate) fn sign(&self, statement: &SetStatement) -> anyhow::Result<Envelope> {
        let mut envelope = statement.seal(&[]);
        self.key.sign(&mut envelope)?;
        Ok(envelope)
    }

    /// Its public half.
    pub(crate) fn public(&self) -> PublicKey {
        self.key.public()
    }
}

/// A statement with the key that is to sign it.
pub(crate) struct Signing {
    pub statement: SetStatement,
    pub signer: Signer,
}

impl Signing {
    /// Makes ready to sign the next set.
    ///
    /// # Errors
    /// When there is no key, it is not one of the trust root's, or one alone is not enough and none is proposed to.
    pub(crate) fn prepare(
        session: &Session,
        held: &Held,
        next: &Next,
        args: &SealArgs,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let signer = Signer::find(session, &held.trust_root, args.key.as_ref())?;
        let threshold = held.trust_root.threshold();
        if threshold > 1 && !args.propose {
            return Err(Failure::new(
                Exit::Violation,
                format!(
                    "this cluster's policy sets need the signatures of {threshold} people; nothing was changed. Propose it \
                     with --propose; the others then run `verger sign`"
                ),
            )
            .into());
        }
        if threshold == 1 && args.propose {
            return Err(Failure::input(
                "--propose: one signature is enough for this cluster's policy sets; apply it without --propose",
            )
            .into());
        }
        let not_after = now
            .checked_add(SignedDuration::from_hours(24 * i64::from(args.valid_days)))
            .context("the end of the seal is beyond the last instant there is")?;
        let set = &next.set;
        let statement = SetStatement::new(
            &held.trust_root,
            set.epoch(),
            set.root(),
            set.len() as u64,
            not_after,
        );
        Ok(Self { statement, signer })
    }

    /// Signs.
    ///
    /// # Errors
    /// When the key is in an agent that does not sign.
    pub(crate) fn seal(&self) -> anyhow::Result<Envelope> {
        self.signer.sign(&self.statement)
    }
}

/// Explains that somebody else was first: what they changed since.
pub(crate) async fn conflict(session: &Session, held: &Held, refusal: Status) -> anyhow::Error {
    let mut text = "somebody else changed the policy set first; nothing of yours was changed".to_owned();
    match fetch(session, &SetArgs::default()).await {
        Ok(theirs) if theirs.set.epoch() > held.set.epoch() => {
            text = format!(
                "{text}. From epoch {} to {} changed:",
                held.set.epoch(),
                theirs.set.epoch()
            );
            for change in set::diff(&held.set, &theirs.set).describe(&held.set) {
                text = format!("{text}\n{change}");
            }
            text.push_str("\nLook at it, and apply again");
        }
        // Who refuses a change and then shows what cannot be trusted has no conflict to tell of.
        Err(error)
            if error
                .downcast_ref::<Failure>()
                .is_some_and(|failure| failure.exit == Exit::Violation) =>
        {
            return error;
        }
        _ => text = format!("{text}: {}", crate::status::sentence(&refusal)),
    }
    Failure::new(Exit::Conflict, text).into()
}

#[cfg(test)]
mod fuzz;
mod seen;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use verger_policy::draft;
    use verger_seal::SealingKey;

    const HOST: &str = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: web-1 }\nspec: { agent: web-1, labels: { zone: eu } }\n";

    pub(super) fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32])
    }

    /// What an honest cluster answers.
    pub(super) fn answer(signing: &SealingKey) -> (pb::GetSetResponse, Digest) {
        let (root, envelope) = TrustRoot::found(&[("ann".to_owned(), &key(1))], 1).unwrap();
        let set = PolicySet::empty()
            .change(draft::read("t", HOST.as_bytes()).unwrap(), [])
            .unwrap();
        let end = Timestamp::from_second(4_000_000_000).unwrap();
        let seal = SetStatement::new(&root, set.epoch(), set.root(), set.len() as u64, end).seal(&[signing]);
        let message = pb::GetSetResponse {
            later_trust_roots: Vec::new(),
            epoch: set.epoch(),
            root: set.root().as_bytes().to_vec().into(),
            entries: set.entries().map(|entry| entry.into_wire()).collect(),
            seal: Some(pb::Envelope {
                json: seal.to_json().into(),
            }),
            bodies: set
                .parts()
                .filter_map(|(_, body)| body)
                .map(|body| (&**body).into_wire())
                .collect(),
            trust_root: Some(pb::Envelope {
                json: envelope.to_json().into(),
            }),
            revision: 7,
            stamp: None,
        };
        (message, root.cluster_id())
    }

    #[test]
    fn a_sealed_set_is_taken() {
        let (message, cluster) = answer(&key(1));
        let held = verified(message, cluster, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((held.set.epoch(), held.set.len()), (1, 1));
        assert!(held.not_after.is_some());
    }

    #[test]
    fn a_set_sealed_by_a_stranger_is_not_built_on() {
        let (message, cluster) = answer(&key(2));
        let error = verified(message, cluster, Timestamp::UNIX_EPOCH)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("seal does not verify") && error.contains("nothing was signed"),
            "{error}"
        );
    }

    #[test]
    fn another_clusters_trust_root_is_refused() {
        let (message, _) = answer(&key(1));
        let error = verified(message, Digest::of(b"other"), Timestamp::UNIX_EPOCH)
            .unwrap_err()
            .to_string();
        assert!(error.contains("the context's cluster"), "{error}");
    }

    #[test]
    fn objects_slipped_in_left_out_or_unsealed_are_refused() {
        type Tamper = fn(&mut pb::GetSetResponse);
        let cases: [(Tamper, &str); 6] = [
            (|answer| answer.bodies.clear(), "leaves out"),
            (|answer| answer.entries.clear(), "the root it names"),
            (|answer| answer.seal = None, "no seal"),
            (|answer| answer.epoch = 2, "seal is for epoch 1"),
            (|answer| answer.root = vec![0; 32].into(), "the root it names"),
            (|answer| answer.trust_root = None, "no trust root"),
        ];
        for (tamper, wanted) in cases {
            let (mut message, cluster) = answer(&key(1));
            tamper(&mut message);
            let error = verified(message, cluster, Timestamp::UNIX_EPOCH)
                .unwrap_err()
                .to_string();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
