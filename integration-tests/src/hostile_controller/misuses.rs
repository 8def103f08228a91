//! What a controller may do to an agent beside its offers: say what is no message, lie in heartbeats, play with nonces, talk
//! without end, send it away for years, or say nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_proto::findings::v1::Lifecycle;

use super::campaign::{Campaign, SOON, is};
use super::cluster::envelope;
use super::member::Answer;

/// Over the limit of an agent's messages.
const HUGE: usize = 80 << 20;
/// Offers of an endless stream.
const ENDLESS: usize = 300;
/// As many of them as an agent answers at most, a few more for the time that passes.
const ANSWERED: usize = 80;
/// The longest that an agent stays away when it is asked to: a minute, and its own jitter.
const LONGEST_AWAY: Duration = Duration::from_secs(75);
/// After so long without a word an agent asks anew; and it takes a moment to come back.
const SILENCE: Duration = Duration::from_secs(60);

impl Campaign {
    pub(super) async fn misuse(&mut self, long: bool) -> Result<()> {
        self.heartbeat_of_a_far_epoch().await?;
        self.nonces_that_come_again().await?;
        self.a_message_without_content().await?;
        self.a_message_that_is_too_long().await?;
        if long {
            self.offers_without_end().await?;
            self.away_for_years().await?;
            self.not_a_word().await?;
        }
        Ok(())
    }

    /// Takes note of a misuse, and that an honest offer is accepted after it.
    async fn after(&mut self, name: &'static str, problem: Option<String>) -> Result<()> {
        self.tally.misused(name, problem);
        let next = self.cluster.publish().await?;
        self.accept(next).await
    }

    async fn heartbeat_of_a_far_epoch(&mut self) -> Result<()> {
        let name = "heartbeats of epoch 2^63 and 2^64 - 1";
        for epoch in [1 << 63, u64::MAX, 0] {
            self.session
                .say(
                    0,
                    Some(Down::Heartbeat(pb::Heartbeat {
                        epoch,
                        ..pb::Heartbeat::default()
                    })),
                )
                .await?;
        }
        self.reconnect(name, false).await?;
        self.after(name, None).await
    }

    async fn nonces_that_come_again(&mut self) -> Result<()> {
        let name = "nonces that come again, go back and end";
        let held = self.cluster.set.epoch();
        let old = self.cluster.accepted[0].clone();
        let current = self.cluster.accepted.last().cloned();
        let mut problem = None;
        for nonce in [0, u64::MAX, 7, 7, 0] {
            // An answer to one offer is none to another, whatever their numbers.
            let answers = [
                self.session.offer(nonce, old.clone()).await?,
                self.session
                    .offer(nonce, current.clone().unwrap_or_default())
                    .await?,
            ];
            match &answers {
                [Answer::Nack(nack), Answer::Ack(ack)]
                    if nack.reason == "lower-epoch"
                        && (nack.nonce, ack.nonce, ack.epoch) == (nonce, nonce, held) => {}
                other => problem = Some(format!("nonce {nonce} is answered with {other:?}")),
            }
        }
        self.reconnect(name, false).await?;
        self.after(name, problem).await
    }

    async fn a_message_without_content(&mut self) -> Result<()> {
        let name = "a message without content";
        self.session.say(1, None).await?;
        let answer = self.session.answer().await?;
        let problem = answer.map(|answer| format!("it is answered with {answer:?}"));
        self.reconnect(name, false).await?;
        self.after(name, problem).await
    }

    /// It cannot be read, so it has no nonce to answer to; the finding is there all the same.
    async fn a_message_that_is_too_long(&mut self) -> Result<()> {
        let name = "a message of 80 MiB";
        let mark = self.member.mark();
        let update = pb::SetUpdate {
            trust_roots: vec![envelope(vec![b' '; HUGE])],
            ..Default::default()
        };
        self.session.say(1, Some(Down::Set(update))).await?;
        let answer = self.session.answer().await?;
        let problem = answer.map(|answer| format!("it is answered with {answer:?}"));
        self.member
            .told(mark, "the finding of a message that is too long", |told| {
                is(told, "unreadable", Lifecycle::Open)
            })
            .await?;
        self.reconnect(name, false).await?;
        self.after(name, problem).await
    }

    /// The agent looks at some, and leaves the controller alone for a while.
    async fn offers_without_end(&mut self) -> Result<()> {
        let name = "offers without end";
        let old = self.cluster.accepted[0].clone();
        let mut answered = 0;
        for nonce in 0..ENDLESS {
            if self
                .session
                .say(nonce as u64, Some(Down::Set(old.clone())))
                .await
                .is_err()
            {
                break;
            }
            match self.session.answer().await? {
                Some(Answer::Nack(_)) => answered += 1,
                Some(Answer::Ack(ack)) => anyhow::bail!("{name}: {ack:?}"),
                None => break,
            }
        }
        let mut problem = (answered > ANSWERED).then(|| format!("{answered} are answered"));
        if !self.member.is_left_alone(Duration::from_secs(25)).await {
            problem = Some("the agent comes back at once".to_owned());
        }
        self.session = self.member.session(SOON).await?;
        self.reconnect(name, false).await?;
        self.after(name, problem).await
    }

    async fn away_for_years(&mut self) -> Result<()> {
        let name = "sent away for ten years";
        let mut details = ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(10 * 365 * 86_400)));
        let status = Status::with_error_details(tonic::Code::Unavailable, "stay away", details);
        self.session.end(status).await;
        self.session = self.member.session(LONGEST_AWAY).await?;
        self.reconnect(name, false).await?;
        self.after(name, None).await
    }

    async fn not_a_word(&mut self) -> Result<()> {
        let name = "not a word";
        let began = Instant::now();
        // The session is held open, and nothing is said on it.
        let silent = self.member.session(SILENCE).await?;
        let problem =
            (began.elapsed() < Duration::from_secs(30)).then(|| "the agent did not wait".to_owned());
        self.session = silent;
        self.reconnect(name, false).await?;
        self.after(name, problem).await
    }
}
