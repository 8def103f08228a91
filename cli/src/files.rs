//! Files that people name: policy files and folders, keys, documents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use verger_policy::draft::{self, Problem};
use verger_policy::model::{ObjectKey, PolicyObject, printable};
use verger_transport::files as secret;

use crate::exit::{Exit, Failure};
use crate::output::note;

/// The biggest OCI config or inspection that is read, bytes.
const DOCUMENT_BYTES: u64 = 32 << 20;
/// The most files of one folder.
const MOST_FILES: usize = 10_000;

/// Reads every object of files, folders and `-`. With `signing`, the moment they are about to be signed.
///
/// # Errors
/// After every problem of every file has been said, [`Exit::BadInput`].
pub(crate) fn objects(paths: &[PathBuf], signing: Option<Timestamp>) -> anyhow::Result<Vec<PolicyObject>> {
    let mut problems: Vec<Problem> = Vec::new();
    let mut first: BTreeMap<ObjectKey, String> = BTreeMap::new();
    let mut objects = Vec::new();
    for (name, place) in named(paths)? {
        let text = match &place {
            Some(file) => bounded(&name, File::open(file), draft::MAX_BYTES as u64)?,
            None => bounded(&name, Ok(std::io::stdin().lock()), draft::MAX_BYTES as u64)?,
        };
        let read = match signing {
            Some(now) => draft::read_at(&name, &text, now),
            None => draft::read(&name, &text),
        };
        let read = match read {
            Ok(read) => read,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        for object in read {
            if let Some(other) = first.insert(object.key(), name.clone()) {
                problems.push(Problem {
                    file: name.clone(),
                    line: 0,
                    column: 0,
                    field: "metadata.name".to_owned(),
                    message: format!("{} is in {other} too", object.key()),
                    remedy: "keep one of the two".to_owned(),
                });
            }
            objects.push(object);
        }
    }
    if !problems.is_empty() {
        for problem in &problems {
            note(&problem.to_string());
        }
        let count = match problems.len() {
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        };
        return Err(Failure::input(format!("{count}; nothing was changed")).into());
    }
    if objects.is_empty() {
        let named: Vec<String> = paths
            .iter()
            .map(|file| printable(&file.display().to_string()).to_string())
            .collect();
        return Err(Failure::input(format!(
            "there is no policy object in {}; write one, or take one from deploy/policies",
            named.join(", ")
        ))
        .into());
    }
    Ok(objects)
}

/// The files behind what was named, folders opened; `None` stands for standard input.
fn named(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Option<PathBuf>)>> {
    let mut files = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        if path == Path::new("-") {
            files.push(("<stdin>".to_owned(), None));
        } else if path.is_dir() {
            let mut inside = folder(path).map_err(|error| unreadable(&name, &error))?;
            if inside.is_empty() {
                return Err(Failure::input(format!(
                    "{name}: there is no *.yaml, *.yml or *.json in this folder"
                ))
                .into());
            }
            inside.sort();
            files.extend(
                inside
                    .into_iter()
                    .map(|file| (file.display().to_string(), Some(file))),
            );
        } else {
            files.push((name, Some(path.clone())));
        }
    }
    Ok(files)
}

fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let policy = file
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json");
        if policy && !hidden && file.is_file() {
            found.push(file);
        }
        if found.len() > MOST_FILES {
            return Err(std::io::Error::other(format!("more than {MOST_FILES} files")));
        }
    }
    Ok(found)
}

/// Reads a document that a person named.
///
/// # Errors
/// When it cannot be read, or is far too big.
pub(crate) fn document(file: &Path) -> anyhow::Result<Vec<u8>> {
    bounded(&file.display().to_string(), File::open(file), DOCUMENT_BYTES)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, or is larger.
pub(crate) fn small(file: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    bounded(&file.display().to_string(), File::open(file), limit)
}

fn bounded<R: Read>(name: &str, source: std::io::Result<R>, limit: u64) -> anyhow::Result<Vec<u8>> {
    let source = source.map_err(|error| unreadable(name, &error))?;
    let mut bytes = Vec::new();
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > limit {
        return Err(Failure::input(format!("{name}: larger than {limit} bytes; split it")).into());
    }
    Ok(bytes)
}

fn unreadable(name: &str, error: &std::io::Error) -> Failure {
    Failure::input(format!("{}: cannot be read: {error}", printable(name)))
}

/// Writes a new file, 0600; refuses to replace one.
///
/// # Errors
/// When it is there already, or cannot be written.
pub(crate) fn create(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    secret::create(file, bytes).map_err(|error| match &error {
        secret::SecretFileError::Io { .. } => anyhow::Error::from(error),
        _ => Failure::new(Exit::BadInput, error.to_string()).into(),
    })
}

/// Makes the folders above a file, for its owner alone.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn make_room(file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Locks `FILE.lock`, which stays: held while the file is read and replaced; other runs wait. The file itself is replaced by
/// renaming, so that it cannot be what is locked.
///
/// # Errors
/// When the lock cannot be made, or waited for.
pub(crate) fn lock_beside(file: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut path = file.as_os_str().to_owned();
    path.push(".lock");
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    lock.lock()?;
    Ok(lock)
}
