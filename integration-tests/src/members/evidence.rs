//! What is there when nobody asks any more, by what was asked and answered: what of it is wrong, and that it would be seen if it were.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use verger_proto::cluster::v1::AuditRow;

use super::followed::{Followed, What};
use super::history::Read;
use super::load::Book;
use super::{audit, epoch};
use crate::access::Access;

/// What a member shows at the end.
pub(super) struct Shown {
    address: String,
    epoch: u64,
    /// Every row, the oldest first.
    audit: Vec<AuditRow>,
}

/// Streams of somebody who moved: each is at another member than the one before. With fewer nothing was shown of going on elsewhere.
const MOVED: u64 = 2;
/// Of so many percent of all numbers it is to be known that they were shown: with fewer too much was overtaken to say anything of gaps.
const LEAST_SHOWN: u64 = 25;

/// Everything.
pub(super) struct Evidence<'a> {
    book: &'a mut Book,
    members: Vec<Shown>,
}

/// What would be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    /// Somebody was shown the set before the last.
    StaleRead,
    /// A member has not the last set that was acknowledged.
    LostSet,
    /// Nor a login.
    LostLogin,
    /// All members did something twice.
    DoubledApply,
    /// A member did two things in another order.
    OtherOrder,
    /// Who follows the audit was not shown a row.
    WatchGap,
    /// Or one again.
    WatchRepeat,
    /// Who follows the policy set was not shown an epoch.
    EpochGap,
    /// Who follows the findings was not shown a transition.
    FindingGap,
    /// Or one again, as it was or as one that was done again.
    FindingRepeat,
    /// A transition was acknowledged, and nobody was shown it.
    LostTransition,
    /// Somebody who follows was at one member all the time.
    NeverMoved,
}

impl Planted {
    const ALL: [Self; 12] = [
        Self::StaleRead,
        Self::LostSet,
        Self::LostLogin,
        Self::DoubledApply,
        Self::OtherOrder,
        Self::WatchGap,
        Self::WatchRepeat,
        Self::EpochGap,
        Self::FindingGap,
        Self::FindingRepeat,
        Self::LostTransition,
        Self::NeverMoved,
    ];
}

/// What the members show, at each of these addresses.
pub(super) async fn shown(access: &Access, addresses: &[String]) -> Result<Vec<Shown>> {
    let mut members = Vec::new();
    for address in addresses {
        let at = access.at(address);
        members.push(Shown {
            address: address.clone(),
            epoch: epoch(&at).await?,
            audit: audit(&at).await?,
        });
    }
    Ok(members)
}

impl<'a> Evidence<'a> {
    pub(super) const fn of(book: &'a mut Book, members: Vec<Shown>) -> Self {
        Self { book, members }
    }

    /// All that is wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong = self.book.wrong.clone();
        wrong.extend(self.book.history.wrong());
        let last = self.book.history.last();
        for Shown {
            address,
            epoch,
            audit,
        } in &self.members
        {
            if *epoch != last {
                wrong.push(format!(
                    "{address} shows epoch {epoch}, and {last} was acknowledged last"
                ));
            }
            let given = logins_given(audit);
            for (person, (asked, acknowledged)) in &self.book.logins {
                let times = given.get(person.as_str()).copied().unwrap_or(0);
                if !(*acknowledged..=*asked).contains(&times) {
                    wrong.push(format!(
                        "{address}: a login of {person} was given {times} times, asked for {asked} times and acknowledged {acknowledged} times"
                    ));
                }
            }
        }
        wrong.extend(self.not_followed());
        // Rows go on to come: that somebody was refused is written a little later.
        let common = self.members.iter().map(|member| member.audit.len()).min();
        let common = common.unwrap_or(0);
        if common == 0 {
            wrong.push("there is no audit".to_owned());
        }
        let differ = |pair: &[Shown]| pair[0].audit[..common] != pair[1].audit[..common];
        if self.members.windows(2).any(differ) {
            wrong.push(format!("members have different audits, of {common} rows"));
        }
        wrong
    }

    /// What is wrong with what those were shown who follow something, but for what was told when it was shown.
    fn not_followed(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let (last, report) = (self.book.history.last(), self.book.report);
        for followed in &self.book.followed {
            let (what, shown) = (followed.what, followed.last);
            let whole = match what {
                // What is there at the end is waited for.
                What::Audit => shown > 0,
                What::Policy => shown == last,
                What::Findings => shown == report.acknowledged,
            };
            if !whole || shown == 0 {
                wrong.push(format!(
                    "{what:?}: the last shown is {shown}; epoch {last} and transition {} were acknowledged last",
                    report.acknowledged
                ));
            }
            let least = shown * LEAST_SHOWN / 100;
            if followed.shown < least {
                wrong.push(format!(
                    "{what:?}: {} of {shown} numbers were shown, and below {least} nothing is proven",
                    followed.shown
                ));
            }
            if followed.streams < MOVED {
                wrong.push(format!(
                    "{what:?}: somebody who follows was at one member all the time"
                ));
            }
        }
        if report.streams < MOVED {
            wrong.push("the host that reports was at one member all the time".to_owned());
        }
        let is_followed = |what| self.book.followed.iter().any(|followed| followed.what == what);
        let nobody = What::ALL.into_iter().filter(|what| !is_followed(*what));
        wrong.extend(nobody.map(|what| format!("{what:?}: nobody followed it to the end")));
        wrong
    }

    /// Has everything be wrong once, in what was really seen, and sees whether that is told; all is as it was afterwards. How often.
    ///
    /// # Errors
    /// When something is not told: then that nothing else was says nothing.
    pub(super) fn would_show(&mut self) -> Result<usize> {
        let honest = self.wrong().len();
        for planted in Planted::ALL {
            ensure!(
                self.is_shown(planted, honest)?,
                "{planted:?} is not seen: the rig proves nothing"
            );
        }
        Ok(Planted::ALL.len())
    }

    fn is_shown(&mut self, planted: Planted, honest: usize) -> Result<bool> {
        let first = self.members.first_mut().context("there are members")?;
        // Of somebody of whom it is known how many there are.
        let logins = &self.book.logins;
        let is_known = |person| logins.get(person).is_some_and(|(asked, given)| asked == given);
        let row = first
            .audit
            .iter()
            .rposition(|row| login(row).is_some_and(is_known));
        let row = row.context("no login was given")?;
        let more;
        match planted {
            Planted::StaleRead => {
                let now = Instant::now();
                let history = &mut self.book.history;
                let before = history.last().checked_sub(1);
                let stale = Read {
                    began: now,
                    ended: now,
                    epoch: before.context("no set was written")?,
                    root: history.root_before_last(),
                    at: "nowhere".to_owned(),
                };
                history.read(stale);
                more = self.wrong().len();
                self.book.history.take_back_read();
            }
            Planted::LostSet => {
                first.epoch -= 1;
                more = self.wrong().len();
                self.members[0].epoch += 1;
            }
            Planted::LostLogin => {
                let lost = first.audit.remove(row);
                more = self.wrong().len();
                self.members[0].audit.insert(row, lost);
            }
            Planted::DoubledApply => {
                let doubled = first.audit[row].clone();
                for member in &mut self.members {
                    member.audit.insert(0, doubled.clone());
                }
                more = self.wrong().len();
                for member in &mut self.members {
                    member.audit.remove(0);
                }
            }
            Planted::OtherOrder => {
                first.audit.swap(0, row);
                more = self.wrong().len();
                self.members[0].audit.swap(0, row);
            }
            Planted::WatchGap => return self.is_gap_told(What::Audit),
            Planted::EpochGap => return self.is_gap_told(What::Policy),
            Planted::FindingGap => return self.is_gap_told(What::Findings),
            Planted::WatchRepeat => return self.is_repeat_told(What::Audit),
            Planted::FindingRepeat => return self.is_repeat_told(What::Findings),
            Planted::LostTransition => {
                self.book.report.acknowledged += 1;
                more = self.wrong().len();
                self.book.report.acknowledged -= 1;
            }
            Planted::NeverMoved => {
                let first = self.book.followed.first_mut().context("somebody follows")?;
                let streams = std::mem::replace(&mut first.streams, 1);
                more = self.wrong().len();
                self.book.followed[0].streams = streams;
            }
        }
        Ok(more > honest)
    }

    fn is_gap_told(&self, what: What) -> Result<bool> {
        Ok(self.followed(what)?.after_a_gap().is_some())
    }

    fn is_repeat_told(&self, what: What) -> Result<bool> {
        Ok(self.followed(what)?.after_a_repeat().is_some())
    }

    /// What somebody was shown, to be gone on with.
    fn followed(&self, what: What) -> Result<Followed> {
        let found = self.book.followed.iter().find(|followed| followed.what == what);
        found.cloned().with_context(|| format!("nobody follows {what:?}"))
    }
}

/// To whom a row says that a login was given.
fn login(row: &AuditRow) -> Option<&str> {
    let entry = row.entry.as_ref()?;
    let about = entry.detail.strip_prefix("of person/")?;
    let is_given = entry.action == "create-login" && entry.outcome == "ok";
    is_given.then(|| about.split(',').next().unwrap_or(about))
}

/// How often each login was given, by the audit.
fn logins_given(rows: &[AuditRow]) -> BTreeMap<&str, usize> {
    let mut given = BTreeMap::new();
    for person in rows.iter().filter_map(login) {
        *given.entry(person).or_default() += 1;
    }
    given
}
