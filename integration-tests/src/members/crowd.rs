//! Members of a scene, and all who ask them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::{Builder, Runtime};
use verger_proto::cluster::v1::ListMembersRequest;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;

use super::evidence::{self, Evidence};
use super::followed::Followed;
use super::load::{Load, Shared};
use super::{BETWEEN, MEMBERS, STUCK, epoch, real};
use crate::access::Access;
use crate::point::tell;
use crate::power_cut::{Disk, Mounted};
use crate::scene::{Scene, Seat};

/// Answers a second before a fault below which a run proves nothing.
pub(super) const LEAST_RATE: f64 = 100.0;
/// How long they are counted.
const BEFORE: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// What those who ask run on: one thread, beside those of the members.
pub(super) fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// Members, and who asks them. The members are killed with it, before what they keep their files on goes.
pub(super) struct Crowd {
    pub(super) runtime: Runtime,
    pub(super) scene: Scene,
    load: Option<Load>,
    pub(super) access: Access,
    pub(super) names: Vec<String>,
    pub(super) addresses: Vec<String>,
}

impl Crowd {
    /// Has them begin to ask the members of a scene, which run.
    pub(super) fn of(runtime: Runtime, scene: Scene) -> Result<Self> {
        let names = scene.member_names();
        let addresses = names
            .iter()
            .map(|name| scene.address(name))
            .collect::<Result<Vec<_>>>()?;
        let access = Access::of(&scene)?;
        ensure!(
            access.addresses().len() == MEMBERS,
            "the context knows {} members, not {MEMBERS}",
            access.addresses().len()
        );
        let load = runtime.block_on(Load::start(&access, &names))?;
        Ok(Self {
            runtime,
            scene,
            load: Some(load),
            access,
            names,
            addresses,
        })
    }

    /// What they note.
    pub(super) fn book(&self) -> Result<&Shared> {
        let load = self.load.as_ref();
        load.map(|load| &load.book).context("the load goes on")
    }

    /// Counts what is answered in a second before the first fault.
    ///
    /// # Errors
    /// When that is so little that a run proves nothing.
    pub(super) fn is_busy(&self) -> Result<f64> {
        let book = self.book()?;
        let (began, before) = (Instant::now(), book.answered());
        std::thread::sleep(BEFORE);
        book.is_whole()?;
        let rate = (book.answered() - before) as f64 / began.elapsed().as_secs_f64();
        ensure!(
            rate >= LEAST_RATE,
            "void: {rate:.0} answers/s before the first fault, and below {LEAST_RATE} nothing is proven"
        );
        Ok(rate)
    }

    /// Waits until as much is answered again as it takes to prove anything by the next fault, and every member is back.
    pub(super) fn go_on(&self) -> Result<()> {
        let book = self.book()?;
        let began = Instant::now();
        let (mut since, mut before) = (began, book.answered());
        loop {
            book.is_whole()?;
            let answered = book.answered() - before;
            let rate = answered as f64 / since.elapsed().as_secs_f64();
            if answered >= BETWEEN {
                if rate >= LEAST_RATE {
                    break;
                }
                (since, before) = (Instant::now(), book.answered());
            }
            ensure!(
                began.elapsed() < STUCK,
                "void: {answered} answers at {rate:.0}/s, {STUCK:?} after the fault, and with fewer than {BETWEEN} at {LEAST_RATE}/s nothing is \
                 proven by the next one"
            );
            std::thread::sleep(LOOK);
        }
        for address in &self.addresses {
            self.runtime
                .block_on(epoch(&self.access.at(address)))
                .with_context(|| format!("the member at {address} does not come back"))?;
        }
        Ok(())
    }

    /// Who leads, and in which term, by one answer of whoever can tell.
    pub(super) fn leads(&self) -> Result<(String, u64)> {
        let began = Instant::now();
        loop {
            let answer = self.access.insist("who leads", |channel| async move {
                let request = ListMembersRequest { stale_ok: false };
                let answer = MemberServiceClient::new(channel).list_members(request).await?;
                Ok(answer.into_inner())
            });
            let answer = self.runtime.block_on(answer)?;
            if !answer.leader.is_empty() {
                return Ok((answer.leader, answer.term));
            }
            ensure!(began.elapsed() < STUCK, "nobody leads within {STUCK:?}");
            std::thread::sleep(LOOK);
        }
    }

    /// Has them ask no more.
    pub(super) fn hush(&mut self) -> Result<Shared> {
        let load = self.load.take().context("the load goes on")?;
        self.runtime.block_on(load.end(&self.access))
    }

    /// All that is wrong, once nobody asks any more.
    pub(super) fn wrong(&self, book: &Shared) -> Result<Vec<String>> {
        let shown = evidence::shown(&self.access, &self.addresses);
        let shown = self.runtime.block_on(shown)?;
        let (seen, wrong) = {
            let mut open = book.open();
            let mut evidence = Evidence::of(&mut open, shown);
            (evidence.would_show()?, evidence.wrong())
        };
        let real = real::are_told(&self.access, &self.addresses, book);
        let real = self.runtime.block_on(real)?;
        tell(&format!(
            "{seen} planted differences in what was seen are told, and {real} in what members really did"
        ));
        Ok(wrong)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for name in self.names.clone() {
            if let Ok(member) = self.scene.member(&name) {
                let _ = member.kill();
            }
        }
    }
}

/// How much was asked, answered and shown, in words.
pub(super) fn summary(book: &Shared) -> String {
    let open = book.open();
    let streams = open.followed.iter().map(|followed| followed.streams).min();
    // An object of the policy set that changed again meanwhile is shown as it is then.
    let share = |followed: &Followed| followed.shown * 100 / followed.last.max(1);
    let share = open.followed.iter().map(share).min();
    format!(
        "{} writes and {} reads, {} logins revoked and {} calls with them refused, {} transitions reported over {} streams; {} who \
         follow audit, policy and findings were led to the last, over {} streams each at least, and shown {} % of all numbers at least",
        open.writes.len(),
        open.history.reads(),
        open.revoked,
        open.refused,
        open.report.acknowledged,
        open.report.streams,
        open.followed.len(),
        streams.unwrap_or(0),
        share.unwrap_or(0)
    )
}

/// A file system of a member's own, and the folder that holds it.
pub(super) struct Place {
    pub(super) disk: &'static Disk,
    pub(super) mounted: Mounted<'static>,
    pub(super) folder: tempfile::TempDir,
}

/// Seats for members, each on a file system of its own.
pub(super) fn seats() -> Result<(Vec<Seat>, Vec<Place>)> {
    let (mut seats, mut places) = (Vec::new(), Vec::new());
    for _ in 0..MEMBERS {
        let folder = tempfile::Builder::new().prefix("verger-disk-").tempdir()?;
        // For as long as this program runs, which is as long as the disk is there.
        let disk: &'static Disk = Box::leak(Box::new(Disk::make(folder.path())?));
        let mounted = disk.mount()?;
        mounted.make_store()?;
        seats.push(Seat {
            data: Some(mounted.store().join("data")),
            ..Seat::anywhere()?
        });
        places.push(Place {
            disk,
            mounted,
            folder,
        });
    }
    Ok((seats, places))
}
