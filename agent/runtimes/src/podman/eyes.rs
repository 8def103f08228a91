//! The folders in which Podman leaves a trace of what it does, watched by inotify(7).
//!
//! A trace says that something happened, and not what: that is looked for. Only what is run in a container by `podman exec` is told by the trace itself, the folder
//! that Podman makes for it: it may be gone at the next look.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::PodmanRoots;
use super::disk::{FOLDER, userdata};
use crate::docker::is_container_id;

/// Bytes of events that are read at a time.
const BUFFER: usize = 16 << 10;
/// Files that come, go and take another's place.
const FILES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ONLYDIR);
/// The same, and files that are written in place: databases.
const CONTENTS: WatchFlags = FILES.union(WatchFlags::MODIFY);

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// Full ids of containers in which something was run.
    pub(super) execs: BTreeSet<String>,
    /// The kernel had no room for more: anything may have happened.
    pub(super) overflowed: bool,
}

/// Watches.
#[derive(Debug)]
pub(super) struct Eyes {
    inotify: OwnedFd,
    by_folder: BTreeMap<PathBuf, i32>,
    /// By watch, the container whose bundle it is of.
    bundles: BTreeMap<i32, String>,
    /// Whether it was said that not everything can be watched.
    told: bool,
}

impl Eyes {
    /// Watches nothing yet.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            by_folder: BTreeMap::new(),
            bundles: BTreeMap::new(),
            told: false,
        })
    }

    /// Watches the storage's folders and those of these containers, as far as they are there, besides what is watched already. Says whether any is
    /// new: what happened there before is not seen.
    pub(super) fn set<'a>(&mut self, roots: &PodmanRoots, ids: impl Iterator<Item = &'a String>) -> bool {
        let PodmanRoots { graph, run } = roots;
        let mut wanted = vec![
            // Where there is no storage yet its folders are made here; later versions keep their database here.
            (graph.clone(), CONTENTS, None),
            (graph.join("libpod"), CONTENTS, None),
            (graph.join(FOLDER), FILES, None),
            (run.join(FOLDER), FILES, None),
        ];
        for id in ids {
            wanted.push((graph.join(userdata(id)), FILES, Some(id)));
            wanted.push((run.join(userdata(id)), FILES, None));
        }
        let mut any = false;
        for (folder, flags, bundle_of) in wanted {
            if self.by_folder.contains_key(&folder) {
                continue;
            }
            match inotify::add_watch(&self.inotify, folder.as_path(), flags) {
                Ok(watch) => {
                    any = true;
                    if let Some(id) = bundle_of {
                        self.bundles.insert(watch, id.clone());
                    }
                    self.by_folder.insert(folder, watch);
                }
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) if !self.told => {
                    self.told = true;
                    tracing::warn!(
                        folder = %folder.display(), %error,
                        "a folder of Podman's cannot be watched; what changes there is seen at the next look (ENOSPC: raise fs.inotify.max_user_watches)"
                    );
                }
                Err(_) => {}
            }
        }
        any
    }

    /// What was seen since it was asked last; none where nothing was. Does not wait.
    pub(super) fn seen(&mut self) -> io::Result<Option<Traces>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut traces = None;
        let mut gone = BTreeSet::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let traces: &mut Traces = traces.get_or_insert_default();
            let what = event.events();
            if what.contains(ReadFlags::IGNORED) {
                gone.insert(event.wd());
            }
            traces.overflowed |= what.contains(ReadFlags::QUEUE_OVERFLOW);
            let name = event.file_name().and_then(|name| name.to_str().ok());
            let is_exec =
                what.contains(ReadFlags::CREATE | ReadFlags::ISDIR) && name.is_some_and(is_container_id);
            if let Some(id) = self.bundles.get(&event.wd()).filter(|_| is_exec) {
                traces.execs.insert(id.clone());
            }
        }
        self.by_folder.retain(|_, watch| !gone.contains(watch));
        self.bundles.retain(|watch, _| !gone.contains(watch));
        Ok(traces)
    }
}

/// Waits until there is something to be seen, `bell` rings or the time is over.
pub(super) fn wait(eyes: Option<&Eyes>, bell: &OwnedFd, longest: Duration) -> io::Result<()> {
    let longest = Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: longest.subsec_nanos().into(),
    };
    let of_eyes = eyes.map(|eyes| PollFd::new(&eyes.inotify, PollFlags::IN));
    let mut polled: Vec<PollFd<'_>> = of_eyes.into_iter().collect();
    polled.push(PollFd::new(bell, PollFlags::IN));
    match poll(&mut polled, Some(&longest)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
