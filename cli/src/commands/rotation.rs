//! `trust rotate`, `trust sign`, `trust submit`: other keys, or another threshold, signed by those who give the power up and those
//! who take it over.

use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use verger_policy::model::printable;
use verger_proto::policy::v1 as pb;
use verger_seal::{Envelope, MAX_ROTATION_BYTES, Rotation, SetStatement, Terms, TrustRoot, TrustedKey};
use verger_transport::files::replace;

use crate::args::{Format, SetArgs};
use crate::connect::{Session, call, request_id};
use crate::consent::{Matter, named};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{document, emit, for_people, note};
use crate::sealed::{self, Held, Next};
use crate::signer;

/// The longest that a seal is good for, days; the command line allows no more.
const LONGEST_DAYS: u16 = 365;

/// What is to be another than it is.
pub(super) struct Change {
    pub keys: Swap,
    pub members: Swap,
    pub threshold: Option<usize>,
    pub valid_days: u16,
}

/// Keys that come and go.
pub(super) struct Swap {
    pub add: Vec<TrustedKey>,
    /// Names.
    pub remove: Vec<String>,
    /// What the names came with.
    pub flag: &'static str,
}

impl Swap {
    fn of(self, mut keys: Vec<TrustedKey>) -> anyhow::Result<Vec<TrustedKey>> {
        let Self { add, remove, flag } = self;
        for name in &remove {
            let Some(place) = keys.iter().position(|key| key.name == *name) else {
                let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
                return Err(Failure::input(format!(
                    "{flag} {}: the trust root has no such key; there are: {}",
                    printable(name),
                    printable(&names.join(", "))
                ))
                .into());
            };
            keys.remove(place);
        }
        keys.extend(add);
        Ok(keys)
    }
}

/// Whether a file is a change of a trust root, and not a trust root.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .is_ok_and(|value| value.get("kind").is_some_and(|kind| kind == "TrustRootRotation"))
}

/// The set that follows with the same objects, which is sealed under the new version.
fn next_set(held: &Held) -> anyhow::Result<Next> {
    Ok(Next::of(held, held.set.change([], [])?))
}

pub(super) async fn rotate(
    change: Change,
    out: &Path,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let Change {
        keys,
        members,
        threshold,
        valid_days,
    } = change;
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &SetArgs::default()).await?;
    let current = &held.trust_root;
    let terms = Terms {
        keys: keys.of(current.keys().to_vec())?,
        threshold: threshold.unwrap_or_else(|| current.threshold()),
        members: members.of(current.members().to_vec())?,
    };
    if terms == *current.terms() {
        return Err(Failure::input(
            "nothing changes: name --add, --remove, --add-member, --remove-member or --threshold",
        )
        .into());
    }
    begin(&held, &terms, valid_days, &[], out, format)
}

/// Puts the second key in the place of the first, and signs that with both.
pub(super) async fn replace_key(
    [old, new]: &[signer::Key; 2],
    valid_days: u16,
    out: &Path,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &SetArgs::default()).await?;
    let mut terms = held.trust_root.terms().clone();
    let mut keys = terms.keys.iter_mut();
    let Some(place) = keys.find(|key| key.public == old.public()) else {
        return Err(Failure::input(format!(
            "--key: the trust root does not name {}; its keys are: {}",
            old.public().id(),
            names(&held.trust_root)
        ))
        .into());
    };
    place.public = new.public();
    begin(&held, &terms, valid_days, &[old, new], out, format)
}

/// Writes a change to these terms, signed by these keys.
fn begin(
    held: &Held,
    terms: &Terms,
    valid_days: u16,
    signing: &[&signer::Key],
    out: &Path,
    format: Format,
) -> anyhow::Result<Exit> {
    let current = &held.trust_root;
    let refused = |refusal: verger_seal::Refusal| Failure::input(refusal.to_string());
    let envelope = current.succeed(terms, &[]).map_err(refused)?;
    let (root, _) = current.read_successor(&envelope.to_json()).map_err(refused)?;
    let set = next_set(held)?.set;
    let end = Timestamp::now()
        .checked_add(SignedDuration::from_hours(24 * i64::from(valid_days)))
        .context("the end of the seal is beyond the last instant there is")?;
    let statement = SetStatement::new(&root, set.epoch(), set.root(), set.len() as u64, end);
    let mut rotation = Rotation::new(current, &envelope, statement).map_err(refused)?;
    print(current, &rotation, format)?;
    for key in signing {
        rotation.sign_with(current, &key.public(), |envelope| key.sign(envelope))?;
    }
    files::create(out, &rotation.to_json())?;
    say_next(current, &rotation, out);
    Ok(Exit::Clean)
}

pub(super) async fn show(file: &Path, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &SetArgs::default()).await?;
    let rotation = read(file, &held)?;
    print(&held.trust_root, &rotation, format)?;
    say_next(&held.trust_root, &rotation, file);
    Ok(Exit::Clean)
}

/// Shows the change, and signs it if that is what the person means.
pub(super) async fn sign(
    file: &Path,
    key: &Path,
    digest: Option<&str>,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let look = format!("verger trust show --file {}", file.display());
    let digest = named("--digest", digest, &look)?;
    let key = signer::Key::open(key)?;
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &SetArgs::default()).await?;
    let mut rotation = read(file, &held)?;
    let public = key.public();
    let mut keys = held.trust_root.keys().iter().chain(rotation.next().keys());
    if !keys.any(|trusted| trusted.public == public) {
        return Err(Failure::input(format!(
            "the key {} is neither in the trust root in force nor in the next; nothing was signed",
            public.id()
        ))
        .into());
    }
    print(&held.trust_root, &rotation, format)?;
    let matter = Matter {
        what: &file.display().to_string(),
        of: "trust root",
        found: rotation.next().digest(),
        flag: "--digest",
        look: &look,
    };
    matter.consent(digest, format)?;
    rotation.sign_with(&held.trust_root, &public, |envelope| key.sign(envelope))?;
    replace(file, &rotation.to_json())?;
    say_next(&held.trust_root, &rotation, file);
    Ok(Exit::Clean)
}

pub(super) async fn submit(file: &Path, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let mut session = Session::open(context).await?;
    let held = sealed::fetch(&session, &SetArgs::default()).await?;
    let rotation = read(file, &held)?;
    if rotation.wanting(&held.trust_root) != (0, 0) {
        say_next(&held.trust_root, &rotation, file);
        return Err(Failure::input("not enough keys have signed; nothing was changed").into());
    }
    let (trust_root, seal) = rotation.envelopes();
    let wire = |envelope: &Envelope| {
        Some(pb::Envelope {
            json: envelope.to_json().into(),
        })
    };
    let request = pb::RotateTrustRootRequest {
        request_id: request_id(),
        trust_root: wire(trust_root),
        seal: wire(seal),
    };
    let answer = session
        .insist(|session| {
            let (mut client, request) = (session.policy(), call(request.clone()));
            async move { client.rotate_trust_root(request).await }
        })
        .await?
        .into_inner();
    let set = next_set(&held)?.set;
    if answer.epoch != set.epoch() || answer.root != set.root().as_bytes().as_slice() {
        return Err(sealed::distrust("it made another set than the one signed").into());
    }
    sealed::remember(&session, &set)?;
    let version = rotation.next().version();
    emit(&if for_people(format) {
        format!(
            "trust root version {version} is in force, with the set sealed under it as epoch {}\n",
            set.epoch()
        )
    } else {
        document(
            &json!({ "version": version, "epoch": set.epoch(), "root": set.root() }),
            format,
        )?
    })?;
    Ok(Exit::Clean)
}

/// Reads a change, and checks that the set it seals is the one in force and nothing else.
fn read(file: &Path, held: &Held) -> anyhow::Result<Rotation> {
    let bytes = files::document(file)?;
    let wrong = |what: String| Failure::input(format!("{}: {what}", file.display()));
    if bytes.len() > MAX_ROTATION_BYTES {
        return Err(wrong("too large to be a change of a trust root".to_owned()).into());
    }
    let rotation = Rotation::read(&held.trust_root, &bytes).map_err(|refusal| wrong(refusal.to_string()))?;
    // The digest that a person names is of the trust root alone: what else is signed is bounded here.
    let longest = SignedDuration::from_hours(24 * i64::from(LONGEST_DAYS + 1));
    let end = rotation.statement().not_after;
    if end.duration_since(Timestamp::now()) > longest {
        return Err(wrong(format!(
            "its seal of the set would end at {end}, more than {LONGEST_DAYS} days from now; nothing was signed"
        ))
        .into());
    }
    let set = next_set(held)?.set;
    let statement = rotation.statement();
    let same = (statement.epoch, statement.root, statement.entry_count)
        == (set.epoch(), set.root(), set.len() as u64);
    if !same {
        return Err(Failure::new(
            Exit::Conflict,
            format!(
                "{}: it seals epoch {}, and the set in force would be sealed as epoch {}: somebody changed the set since. Begin \
                 again with `verger trust rotate`",
                file.display(),
                statement.epoch,
                set.epoch()
            ),
        )
        .into());
    }
    Ok(rotation)
}

fn names(root: &TrustRoot) -> String {
    let names: Vec<&str> = root.keys().iter().map(|key| key.name.as_str()).collect();
    names.join(", ")
}

fn print(current: &TrustRoot, rotation: &Rotation, format: Format) -> anyhow::Result<()> {
    if for_people(format) {
        return emit(&describe(current, rotation));
    }
    let next = rotation.next();
    let statement = rotation.statement();
    let listed = |keys: &[TrustedKey]| -> Vec<_> {
        keys.iter()
            .map(
                |key| json!({ "name": key.name, "publicKey": key.public.to_string(), "id": key.public.id() }),
            )
            .collect()
    };
    let object = json!({
        "version": next.version(), "digest": next.digest(), "threshold": next.threshold(),
        "keys": listed(next.keys()), "members": listed(next.members()),
        "epoch": statement.epoch, "root": statement.root, "sealEnds": statement.not_after,
    });
    emit(&document(&object, format)?)
}

/// What changes, key by key.
fn describe(current: &TrustRoot, rotation: &Rotation) -> String {
    let next = rotation.next();
    let mut text = format!(
        "trust root version {} -> {}, threshold {} of {} -> {} of {}\n",
        current.version(),
        next.version(),
        current.threshold(),
        current.keys().len(),
        next.threshold(),
        next.keys().len()
    );
    for (what, before, after) in [
        ("key", current.keys(), next.keys()),
        ("controller's key", current.members(), next.members()),
    ] {
        let line = |sign: char, key: &TrustedKey| {
            format!("{sign} {} ({what} {})\n", printable(&key.name), key.public.id())
        };
        let gone = before.iter().filter(|key| !after.contains(key));
        let new = after.iter().filter(|key| !before.contains(key));
        text.extend(
            gone.map(|key| line('-', key))
                .chain(new.map(|key| line('+', key))),
        );
    }
    text.push_str(&format!("digest {}\n", next.digest()));
    let statement = rotation.statement();
    text.push_str(&format!(
        "the set is sealed under it as epoch {}, root {}, {} objects, until {}\n",
        statement.epoch, statement.root, statement.entry_count, statement.not_after
    ));
    text
}

fn say_next(current: &TrustRoot, rotation: &Rotation, file: &Path) {
    let file = file.display();
    note(&match rotation.wanting(current) {
        (0, 0) => format!("enough have signed: verger trust submit --file {file}"),
        (old, new) => format!(
            "{old} more of {} and {new} more of {} must sign: verger trust sign --file {file} --key KEY",
            names(current),
            names(rotation.next())
        ),
    });
}
