//! Who leads, by the members' own word, and having another lead while a token is used.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::transport::Channel;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::cluster::v1::{ListMembersRequest, ListMembersResponse, TransferLeaderRequest};

use crate::access::Access;
use crate::point::tell;

/// Somebody leads again within this, or the cluster is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// A change that is not seen within this after it was asked for is not waited for: who was to lead may have been behind.
const SEEN: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Who leads, and in which term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    leader: String,
    term: u64,
}

impl Lead {
    /// Whether it is another than the one before: of another member, or of a later term.
    pub(super) fn is_after(&self, before: &Self) -> bool {
        self.leader != before.leader || self.term > before.term
    }
}

/// The members, each called by itself.
pub(super) struct Members(BTreeMap<String, Channel>);

impl Members {
    /// Those of the rows of `cluster members`.
    ///
    /// # Errors
    /// When one cannot be called.
    pub(super) async fn of(access: &Access, rows: &[Value]) -> Result<Self> {
        let mut members = BTreeMap::new();
        for row in rows {
            let [name, address] = ["member", "address"].map(|field| row[field].as_str());
            let (name, address) = name.zip(address).context("a member has a name and an address")?;
            members.insert(name.to_owned(), access.at(address).channel().await?);
        }
        Ok(Self(members))
    }

    /// Who leads, by its own word. It read what is current before it said so: a quorum confirmed it after it was asked. Whoever led last
    /// is asked first.
    ///
    /// # Errors
    /// When nobody says so in time.
    pub(super) async fn lead(&self, last: Option<&Lead>) -> Result<Lead> {
        let deadline = Instant::now() + STUCK;
        let mut members: Vec<_> = self.0.iter().collect();
        members.sort_by_key(|(name, _)| last.is_none_or(|last| last.leader != **name));
        while Instant::now() < deadline {
            for (name, channel) in &members {
                match told(channel).await {
                    Ok(lead) if lead.leader == **name => return Ok(lead),
                    _ => {}
                }
            }
            sleep(LOOK).await;
        }
        bail!("nobody leads for {STUCK:?}")
    }

    /// Has another member lead once the first use has begun, and gives when somebody was first known to lead in a later term; `None` where
    /// that is not seen in time.
    ///
    /// A quorum confirmed the term before after that use had begun. So none was elected in a later one until then, and whoever is
    /// known to lead in one came to it between that use's beginning and the time that is given.
    ///
    /// # Errors
    /// When nobody leads.
    pub(super) async fn hand_over(
        &self,
        request_id: String,
        last: &Lead,
        begun: &Semaphore,
    ) -> Result<Option<Instant>> {
        let _first = begun.acquire().await?;
        let before = self.lead(Some(last)).await?;
        // The next by name, and after the last the first.
        let mut later = self.0.iter().skip_while(|(name, _)| **name <= before.leader);
        let (next, channel) = later
            .next()
            .or_else(|| self.0.iter().next())
            .context("there are others")?;
        let request = TransferLeaderRequest {
            request_id,
            name: next.clone(),
        };
        let mut leader = MemberServiceClient::new(self.0[&before.leader].clone());
        let seen = async {
            loop {
                match told(channel).await {
                    Ok(lead) if lead.term > before.term => return Instant::now(),
                    _ => sleep(LOOK).await,
                }
            }
        };
        // Whoever was asked answers once that is on record, which may be long after the change.
        let (asked, seen) = tokio::join!(leader.transfer_leader(request), timeout(SEEN, seen));
        if let Err(status) = asked {
            tell(&format!("{next} was asked to lead: {status}"));
        }
        Ok(seen.ok())
    }
}

/// Who leads as a member knows it, after it read what is current.
async fn told(channel: &Channel) -> Result<Lead, Status> {
    let request = ListMembersRequest { stale_ok: false };
    let answer = MemberServiceClient::new(channel.clone())
        .list_members(request)
        .await?;
    let ListMembersResponse { leader, term, .. } = answer.into_inner();
    match leader.is_empty() {
        true => Err(Status::unavailable("nobody leads")),
        false => Ok(Lead { leader, term }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_already_is_no_change() {
        let lead = |leader: &str, term| Lead {
            leader: leader.to_owned(),
            term,
        };
        assert!(!lead("c1", 3).is_after(&lead("c1", 3)));
        assert!(lead("c2", 4).is_after(&lead("c1", 3)));
        assert!(lead("c1", 5).is_after(&lead("c1", 3)), "another led in between");
    }
}
