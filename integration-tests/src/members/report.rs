//! A host that reports transitions of findings as an agent does: numbered without gaps, each told until it is acknowledged, and what is not
//! acknowledged told again to another member.
//!
//! What it tells is made of the number alone, so that whoever is shown a finding knows which transition it is of, and whether it was so told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::finding::{Lifecycle, SubjectClass, Transition, fingerprint};
use verger_policy::model::{Control, Mode, RuleId, Severity};
use verger_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;
use verger_proto::agent::v1::{EnrolRequest, ReportRequest, ReportResponse};
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_proto::cluster::v1::{CreateJoinTokenRequest, GetStatusRequest};
use verger_proto::findings::v1 as findings;
use verger_transport::{Client, Identity, KeyPair, channel_from};
use verger_wire::{FromWire as _, IntoWire as _};

use super::load::Shared;
use super::watch::{OPEN, Wanderer};
use crate::access::Access;

/// The host's name.
const HOST: &str = "reporter";
/// What all of it breaks, of a workload that nobody has.
const RULE: &str = "privilege/is-root";
const WORKLOAD: &str = "reported";
/// Between two transitions.
const PACE: Duration = Duration::from_millis(250);
/// Findings that it tells of, in turn: each opens, and is resolved in the next round. One comes again long after whoever was not shown
/// it is stuck, so that nobody is right to have missed it.
const FINDINGS: u64 = 1_000;
/// Transitions that are told and not acknowledged.
const WINDOW: u64 = 64;
/// What is not acknowledged within this is told to another member.
const ACKNOWLEDGED: Duration = Duration::from_secs(2);
/// Who has nothing acknowledged for so long while others are answered is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Between two attempts to find a member, and between two looks at what there is to tell.
const AGAIN: Duration = Duration::from_millis(50);

/// What became of what it reported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reported {
    /// The last transition told, and the last acknowledged.
    pub(super) reported: u64,
    pub(super) acknowledged: u64,
    /// Streams opened, each at another member than the one before.
    pub(super) streams: u64,
}

impl Reported {
    /// Takes in an acknowledgement. What is wrong with it, if anything is.
    fn takes(&mut self, acknowledged: u64) -> Option<String> {
        let Self {
            reported,
            acknowledged: before,
            ..
        } = *self;
        self.acknowledged = acknowledged;
        (acknowledged < before || acknowledged > reported).then(|| {
            format!(
                "{acknowledged} transitions of the reporter were acknowledged after {before}, and {reported} were reported"
            )
        })
    }
}

/// What it tells.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    cluster: Digest,
    rule: RuleId,
    subject: SubjectClass,
    began: Timestamp,
}

/// Lets the host in; gives what it tells, and how it calls members.
pub(super) async fn enrol(access: &Access) -> Result<(Reporter, Access)> {
    let request = CreateJoinTokenRequest {
        request_id: uuid::Uuid::new_v4().to_string(),
        agent_id: HOST.to_owned(),
        ttl_seconds: 0,
        approval: false,
    };
    let token = access
        .insist("a token", |channel| {
            let request = request.clone();
            async move {
                let answer = ClusterServiceClient::new(channel)
                    .create_join_token(request)
                    .await?;
                Ok(answer.into_inner().token)
            }
        })
        .await?;
    let status = access
        .insist("the status", |channel| async move {
            let answer = ClusterServiceClient::new(channel)
                .get_status(GetStatusRequest {})
                .await?;
            Ok(answer.into_inner())
        })
        .await?;
    let client = Arc::new(Client::pinned(&status.cluster_id, &status.ca_pin)?);
    let channel = channel_from(client, &[status.enrol_address], None).await?;
    let key = KeyPair::generate()?;
    let request = EnrolRequest {
        token,
        csr: key.request()?.into(),
        agent_id: HOST.to_owned(),
        machine: Default::default(),
    };
    let answer = EnrolmentServiceClient::new(channel).enrol(request).await;
    let chain = answer.context("the reporter joins")?.into_inner().chain;
    let chain = chain.into_iter().map(Into::into).collect();
    Ok((
        Reporter::of(&status.cluster_id)?,
        access.as_somebody(&Identity::new(chain, &key))?,
    ))
}

impl Reporter {
    /// In the cluster of this id, hex.
    fn of(cluster: &str) -> Result<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(cluster, &mut bytes).context("the cluster's id")?;
        Ok(Self {
            cluster: Digest::from_bytes(bytes),
            rule: RULE.parse().context("a rule")?,
            subject: SubjectClass::Workload(WORKLOAD.parse().context("a workload")?),
            // As it comes back from a message.
            began: Timestamp::from_second(Timestamp::now().as_second())?,
        })
    }

    /// The transition of this number.
    fn transition(&self, number: u64) -> Transition {
        let (round, place) = (number / FINDINGS, number % FINDINGS);
        let field = format!("place {place}");
        let steps = i64::try_from(number).unwrap_or(i64::MAX);
        let pace = i64::try_from(PACE.as_millis()).unwrap_or(i64::MAX);
        let after = SignedDuration::from_millis(steps.saturating_mul(pace));
        Transition {
            at: self.began.checked_add(after).unwrap_or(self.began),
            uid: fingerprint(&self.cluster, &self.rule, &self.subject, None, &field),
            subject: self.subject.clone(),
            image: None,
            check: Check {
                control: Control::Privilege,
                rule: self.rule.clone(),
                field: field.into(),
                result: Outcome::Fail,
                expected: Some("1000".to_owned()),
                actual: Some(number.to_string()),
                reason: "it runs as root".into(),
                severity: Severity::High,
                decided_by: None,
            },
            lifecycle: if round % 2 == 0 {
                Lifecycle::Open
            } else {
                Lifecycle::Resolved
            },
            wanted: Mode::Monitor,
            effective: Mode::Monitor,
            epoch: 0,
            affected: 1,
            samples: Vec::new(),
            evaluated: 1,
            occurrences: number,
            first_seen: self.began,
            reopened: 0,
        }
    }

    /// Of which transition a finding is; nothing where it is somebody else's.
    ///
    /// # Errors
    /// What is wrong, where it is not as it was told.
    pub(super) fn number_of(&self, finding: &findings::Finding) -> Option<Result<u64, String>> {
        let check = finding.check.as_ref()?;
        let subject = self.subject.into_wire();
        if check.rule != RULE || finding.subject.as_ref() != Some(&subject) {
            return None;
        }
        let actual = check.actual.as_deref().unwrap_or_default();
        let Ok(number) = actual.parse() else {
            return Some(Err(format!("a finding of the reporter says {actual:?}")));
        };
        let told = self.transition(number);
        let is_it = *finding.uid == *told.uid.0.as_bytes()
            && Check::from_wire(check.clone()).is_ok_and(|check| check == told.check)
            && finding.occurrences == number
            && (finding.lifecycle() == findings::Lifecycle::Open) == (told.lifecycle == Lifecycle::Open);
        Some(if is_it {
            Ok(number)
        } else {
            Err(format!(
                "transition {number} was shown otherwise than it was told: {finding:?}"
            ))
        })
    }

    /// Reports until it is told to stop and everything is acknowledged.
    pub(super) async fn report(
        self,
        mut wanderer: Wanderer,
        book: Shared,
        stop: CancellationToken,
    ) -> Result<()> {
        let now = Instant::now();
        let mut telling = Telling {
            reporter: self,
            book,
            stop,
            began: now,
            heard: now,
        };
        while !telling.is_over() {
            if telling.heard.elapsed() > STUCK {
                bail!("nothing that was reported is acknowledged for {STUCK:?}");
            }
            let (at, stay) = wanderer.goes();
            if let Ok(opened) = timeout(OPEN, open(&at)).await
                && let Some(told) = unless_lost(opened)?
            {
                wanderer.is_served();
                telling.stays(told, stay).await?;
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(())
    }
}

/// The reporter at work.
struct Telling {
    reporter: Reporter,
    book: Shared,
    stop: CancellationToken,
    began: Instant,
    /// When something was acknowledged last.
    heard: Instant,
}

impl Telling {
    fn is_over(&self) -> bool {
        let report = self.book.open().report;
        self.stop.is_cancelled() && report.acknowledged == report.reported
    }

    /// Tells a member what comes about, until it was there for so long, or is of no use.
    async fn stays(&mut self, (sender, mut stream): Told, stay: Duration) -> Result<()> {
        let began = Instant::now();
        self.book.open().report.streams += 1;
        // The member says first what is held; everything after that is told it, also what another was told.
        let mut sent = None;
        let mut waits = began;
        while began.elapsed() < stay && !self.is_over() {
            if let Ok(answer) = timeout(AGAIN, stream.message()).await {
                let Some(Some(ReportResponse { acknowledged, .. })) = unless_lost(answer)? else {
                    return Ok(());
                };
                let now = Instant::now();
                (self.heard, waits) = (now, now);
                let mut open = self.book.open();
                let wrong = open.report.takes(acknowledged);
                open.wrong.extend(wrong);
                sent = sent.or(Some(acknowledged));
                continue;
            }
            if sent == Some(self.book.open().report.acknowledged) {
                waits = Instant::now();
            }
            if waits.elapsed() > ACKNOWLEDGED {
                return Ok(());
            }
            if let Some(after) = sent
                && let Some(request) = self.after(after)
            {
                sent = Some(after + request.transitions.len() as u64);
                if sender.try_send(request).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What there is to tell after this number: transitions come about at their pace, whoever hears of them.
    fn after(&self, number: u64) -> Option<ReportRequest> {
        let mut open = self.book.open();
        let report = &mut open.report;
        if !self.stop.is_cancelled() {
            let due = self.began.elapsed().as_millis() / PACE.as_millis();
            let due = u64::try_from(due).unwrap_or(u64::MAX);
            report.reported = report.reported.max(due.min(report.acknowledged + WINDOW));
        }
        let numbers = number + 1..=report.reported;
        drop(open);
        (!numbers.is_empty()).then(|| ReportRequest {
            first_sequence: number + 1,
            transitions: numbers
                .map(|number| (&self.reporter.transition(number)).into_wire())
                .collect(),
            ..ReportRequest::default()
        })
    }
}

type Told = (mpsc::Sender<ReportRequest>, Streaming<ReportResponse>);

async fn open(at: &Access) -> Result<Told, Status> {
    let channel = at.channel().await;
    let channel = channel.map_err(|error| Status::unavailable(format!("{error:#}")))?;
    let (sender, requests) = mpsc::channel(16);
    let answer = SessionServiceClient::new(channel)
        .report(ReceiverStream::new(requests))
        .await?;
    Ok((sender, answer.into_inner()))
}

/// Nothing where the member went away, or cannot take it now, as it is made to.
fn unless_lost<T>(answer: Result<T, Status>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if is_lost(status.code()) => Ok(None),
        Err(status) => Err(status).context("the reporter is refused"),
    }
}

const fn is_lost(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_policy::finding::fold;

    use super::*;

    #[test]
    fn a_finding_says_of_which_transition_it_is_and_another_is_told() {
        let reporter = Reporter::of(&"ab".repeat(32)).unwrap();
        for number in [1, 999, 1_000, 2_345] {
            let told = reporter.transition(number);
            assert!(told.is_consistent(&reporter.cluster));
            assert_eq!(Transition::from_wire((&told).into_wire()).unwrap(), told);
            let rows = std::iter::once((HOST.parse().unwrap(), told.clone())).collect();
            let mut shown: findings::Finding = (&fold(told.uid, 9, &rows, None).unwrap()).into_wire();
            assert_eq!(reporter.number_of(&shown), Some(Ok(number)));
            shown.occurrences += 1;
            assert!(reporter.number_of(&shown).unwrap().is_err());
            shown.check.as_mut().unwrap().rule = "config/user".to_owned();
            assert_eq!(reporter.number_of(&shown), None);
        }
    }

    #[test]
    fn an_acknowledgement_goes_on_and_is_of_what_was_reported() {
        let mut report = Reported {
            reported: 5,
            ..Reported::default()
        };
        assert_eq!(report.takes(3), None);
        assert_eq!(report.takes(3), None);
        assert!(report.takes(2).is_some());
        assert!(report.takes(6).is_some());
    }
}
