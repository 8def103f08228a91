//! What a member that was taken over says of freshness and time: it has its own key, and not the others'. No such word counts: the
//! time that the agent keeps stays what it was, and a finding says so at once, by its reason.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_proto::findings::v1::Lifecycle;
use verger_seal::{ChainHead, Envelope, FRESHNESS_PAYLOAD_TYPE, MemberKey, Stamp, merge_stamps};

use super::campaign::{Campaign, told_of};
use super::cluster::{Cluster, MEMBERS, People, envelope};

/// How a stamp is forged.
type Forge = fn(&Cluster) -> Result<Vec<u8>>;

/// The rule of the findings.
const RULE: &str = "host/refused-stamp";

/// What is said, the word it is refused with, and how it is made.
const FORGED: [(&str, &str, Forge); 8] = [
    ("a stamp of one member of three", "below-threshold", |cluster| {
        stamp(&newest(cluster), cluster, &[1])
    }),
    (
        "a stamp that one member signed twice",
        "below-threshold",
        |cluster| {
            let by = MemberKey::from_seed([MEMBERS[1].1; 32])
                .stamp(&newest(cluster))
                .to_json();
            let mut json: Value = serde_json::from_slice(&by)?;
            let again = json["signatures"][0].clone();
            json["signatures"]
                .as_array_mut()
                .context("an envelope has signatures")?
                .push(again);
            Ok(serde_json::to_vec(&json)?)
        },
    ),
    ("a stamp by the keys that seal", "wrong-key", |cluster| {
        let bytes = newest(cluster).canonical_bytes();
        Ok(Envelope::seal(FRESHNESS_PAYLOAD_TYPE, bytes, &cluster.trust.people.keys()).to_json())
    }),
    (
        "a stamp of another cluster's members",
        "other-cluster",
        |cluster| {
            // The same members serve both.
            let (elsewhere, _) = People::new(&[("eve", 101)]).found()?;
            let says = Stamp::new(
                &elsewhere,
                9,
                cluster.set.root(),
                ChainHead::START,
                Timestamp::now(),
            );
            stamp(&says, cluster, &[0, 1])
        },
    ),
    (
        "a set's seal in the place of a stamp",
        "wrong-purpose",
        |cluster| Ok(cluster.trust.seal(&cluster.set)),
    ),
    (
        "a stamp under another version of the trust root",
        "trust-root-mismatch",
        |cluster| {
            let says = Stamp {
                trust_root_version: 7,
                ..newest(cluster)
            };
            stamp(&says, cluster, &[0, 1])
        },
    ),
    (
        "a stamp in ten years, of one member",
        "below-threshold",
        |cluster| {
            let says = Stamp {
                at: Timestamp::from_second(Timestamp::now().as_second() + 10 * 365 * 86_400)?,
                ..newest(cluster)
            };
            stamp(&says, cluster, &[1])
        },
    ),
    ("a stamp that is none", "envelope", |_| Ok(b"{}".to_vec())),
];

/// What an honest member says now.
fn newest(cluster: &Cluster) -> Stamp {
    Stamp::new(
        &cluster.trust.root,
        cluster.set.epoch(),
        cluster.set.root(),
        ChainHead::START,
        Timestamp::now(),
    )
}

fn stamp(says: &Stamp, cluster: &Cluster, members: &[usize]) -> Result<Vec<u8>> {
    let mut signed = members
        .iter()
        .map(|member| MemberKey::from_seed([MEMBERS[*member].1; 32]).stamp(says));
    let mut both = signed.next().context("one member at least")?;
    for one in signed {
        both = merge_stamps(&cluster.trust.root, &both, &one)?;
    }
    Ok(both.to_json())
}

impl Campaign {
    /// On an agent that has not heard a stamp yet.
    pub(super) async fn forge_stamps(&mut self) -> Result<()> {
        let mut words = BTreeSet::new();
        let began = self.member.mark();
        for (name, word, forge) in FORGED {
            let forged = forge(&self.cluster)?;
            self.say_stamp(forged).await?;
            self.finding_of(began, name, word, Lifecycle::Open).await?;
            words.insert(word);
            self.reconnect(name, false).await?;
            let time = self.kept_time()?;
            self.tally.misused(
                name,
                time.map(|time| format!("the agent believes that it is {time}")),
            );
        }
        // The benign twin: two of three say the same.
        let mark = self.member.mark();
        let honest = self.say_newest().await?;
        let name = "what a majority says";
        for word in words {
            self.finding_of(mark, name, word, Lifecycle::Resolved).await?;
        }
        self.reconnect(name, false).await?;
        let kept = self.kept_time()?;
        anyhow::ensure!(kept == Some(honest.at), "{name} is not believed: {kept:?}");
        // And its replay, or an older word of theirs, takes nothing back.
        let older = Stamp {
            at: honest.at - SignedDuration::from_hours(1),
            ..honest
        };
        let name = "an older stamp of a majority";
        let signed = stamp(&older, &self.cluster, &[0, 1])?;
        let mark = self.member.mark();
        self.say_stamp(signed).await?;
        self.finding_of(mark, name, "older-stamp", Lifecycle::Open)
            .await?;
        self.reconnect(name, false).await?;
        let time = self.kept_time()?.filter(|time| *time != honest.at);
        self.tally
            .misused(name, time.map(|time| format!("the agent's time went to {time}")));
        Ok(())
    }

    /// What two of three members say when they are honest.
    pub(super) async fn say_newest(&mut self) -> Result<Stamp> {
        let honest = newest(&self.cluster);
        let signed = stamp(&honest, &self.cluster, &[0, 2])?;
        self.say_stamp(signed).await?;
        Ok(honest)
    }

    async fn finding_of(&mut self, mark: usize, name: &str, word: &str, lifecycle: Lifecycle) -> Result<()> {
        let what = format!("{name}: {RULE} {word} {lifecycle:?}");
        let is = |told: &_| told_of(told, RULE, word, lifecycle);
        self.member.told(mark, &what, is).await.map(drop)
    }

    async fn say_stamp(&self, stamp: Vec<u8>) -> Result<()> {
        let heartbeat = pb::Heartbeat {
            epoch: self.cluster.set.epoch(),
            stamp: Some(envelope(stamp)),
            members: Vec::new(),
        };
        self.session.say(0, Some(Down::Heartbeat(heartbeat))).await
    }

    /// The time that the agent keeps on disk.
    fn kept_time(&self) -> Result<Option<Timestamp>> {
        let floor: Value = serde_json::from_slice(&std::fs::read(self.agent_data.join("floor.json"))?)?;
        let time = floor["time"].as_str().map(str::parse);
        Ok(time.transpose()?)
    }
}
