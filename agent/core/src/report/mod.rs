//! The stream of transitions up to a controller, sans I/O.
//!
//! At least once: what was sent and not acknowledged is sent again on the next connection, from the first that is not
//! acknowledged; the controller knows a number it has seen. What waits is on disk: this machine holds numbers only, and
//! one batch at a time is read. The driver's part is that of [`crate::session`].
//!
//! Where the two sides' numbers contradict each other, or what stands under them does (a disk was set back, here or there), no
//! number tells what the other side knows: everything that is found is told anew, under numbers that neither has used, and the
//! controller forgets what it had.
//!
//! What the agent signs of its findings goes with the batch that reaches the end of the spool, and again after a while without
//! one: a controller that shows an old one withholds something, or the agent is silent.

use verger_policy::digest::Digest;

use crate::backoff::Backoff;
use crate::store::{Numbered, SpoolUsage};

/// Bounds and times (milliseconds) of a report.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The most transitions in one message.
    pub batch: usize,
    /// The most bytes of stored form in one message; a single bigger transition still goes.
    pub batch_bytes: usize,
    /// The most transitions sent and not acknowledged.
    pub window: u64,
    /// How long an acknowledgement may take.
    pub acknowledge_within: u64,
    /// First bound of the delay before connecting again; doubles with each failure.
    pub backoff_base: u64,
    /// Its last bound.
    pub backoff_cap: u64,
    /// How long an attempt to connect may take.
    pub connect_within: u64,
    /// How old what the controller has of what was signed may get.
    pub sign_every: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: 256,
            batch_bytes: 256 * 1024,
            window: 2048,
            acknowledge_within: 30_000,
            backoff_base: 500,
            backoff_cap: 60_000,
            connect_within: 30_000,
            sign_every: 60_000,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum ReportEvent {
    /// The connection that was ordered is up.
    Connected,
    /// It came to nothing, or is down.
    Disconnected {
        /// How long the controller asked to stay away, milliseconds.
        retry_after: Option<u64>,
    },
    /// The spool now reaches up to this number.
    Spooled {
        /// The last number given.
        last: u64,
    },
    /// What was asked of the spool; nothing where reading failed.
    Loaded(Vec<Numbered>),
    /// The controller has everything up to here on stable storage.
    Acknowledged {
        /// The number.
        sequence: u64,
        /// Its chain there, if it says it.
        chain: Option<Digest>,
    },
    /// The controller's chain at a number is not that of this host.
    OtherChain {
        /// The number.
        sequence: u64,
    },
    /// The spool holds everything that is found once more, numbered after `acknowledged`.
    BegunAnew {
        /// Everything up to here needs no telling.
        acknowledged: u64,
        /// The last number given.
        last: u64,
    },
    /// It could not be written.
    NotBegun,
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportAction {
    /// Connect to a controller.
    Connect {
        /// When: in so many milliseconds.
        after: u64,
    },
    /// Drop the connection, or the attempt at one.
    Close {
        /// Why, for the log.
        why: &'static str,
    },
    /// Read the spool, and answer with [`ReportEvent::Loaded`].
    Load {
        /// The first number.
        from: u64,
        /// The most transitions.
        max: usize,
        /// The most bytes.
        max_bytes: usize,
    },
    /// Send one message.
    Send {
        /// What it holds.
        batch: Vec<Numbered>,
        /// Whether the controller forgets what it had of this host first.
        anew: bool,
    },
    /// Let the spool forget everything up to here, if the chain is the one it has there; else nothing, and answer with
    /// [`ReportEvent::OtherChain`].
    Forget {
        /// The number.
        sequence: u64,
        /// The controller's chain, if it said it.
        chain: Option<Digest>,
    },
    /// Sign where the findings stand, and send that by itself; nothing where the spool has moved on, for then a batch takes it
    /// along.
    Sign {
        /// After this number: the last one, and acknowledged.
        last: u64,
        /// Whether the controller forgets what it had of this host first.
        anew: bool,
    },
    /// The controller holds more than this agent ever wrote, less than it acknowledged, or something else: a disk was set back,
    /// or the controller is lying. To be raised; the spool is to begin anew, with numbers after both, and answer with
    /// [`ReportEvent::BegunAnew`] or [`ReportEvent::NotBegun`].
    Contradiction {
        /// What the controller says it holds.
        acknowledged: u64,
        /// The last number given here.
        last: u64,
        /// The numbers fit, and what stands under them does not.
        other_chain: bool,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Report {
    pace: Pace,
    backoff: Backoff,
    link: Link,
    /// Everything up to here is acknowledged.
    acknowledged: u64,
    /// Everything up to here was sent on this connection.
    sent: u64,
    /// Everything up to here is in the spool, or was.
    last: u64,
    /// The number a read was asked from. One read at a time, over connections too.
    loading: Option<u64>,
    /// The number from which everything is told anew, 0 if none is.
    anew: u64,
    /// The spool is being begun anew.
    beginning: bool,
    /// The controller has said on this connection what it holds.
    heard: bool,
    /// When what is signed was last sent on this connection.
    signed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Idle,
    Attempting {
        until: u64,
    },
    /// `moved`: when something was last sent with nothing in flight, or acknowledged.
    Up {
        moved: u64,
    },
}

impl Report {
    /// Goes on from what the spool says.
    pub const fn new(usage: &SpoolUsage, pace: Pace, seed: u64) -> Self {
        let acknowledged = usage.acknowledged;
        let backoff = Backoff::new(pace.backoff_base, pace.backoff_cap, seed);
        Self {
            pace,
            backoff,
            link: Link::Idle,
            acknowledged,
            sent: acknowledged,
            last: usage.next_sequence - 1,
            loading: None,
            anew: usage.anew,
            beginning: false,
            heard: false,
            signed: None,
        }
    }

    /// How many transitions are sent and not acknowledged.
    pub const fn in_flight(&self) -> u64 {
        self.sent - self.acknowledged
    }

    /// When the next tick is due, milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        match self.link {
            Link::Idle => Some(0),
            Link::Attempting { until } => Some(until),
            Link::Up { moved } if self.in_flight() > 0 => Some(moved + self.pace.acknowledge_within),
            Link::Up { .. } if self.is_told() => Some(
                self.signed
                    .map_or(0, |at| at.saturating_add(self.pace.sign_every)),
            ),
            Link::Up { .. } => None,
        }
    }

    /// Whether the controller has said what it holds, and nothing waits.
    const fn is_told(&self) -> bool {
        self.heard && !self.beginning && self.acknowledged == self.last
    }

    /// Whether nothing that is told anew was taken in yet: the controller holds what it held before.
    const fn has_begun(&self) -> bool {
        self.anew == self.acknowledged + 1
    }

    /// Takes an event at `now` (monotonic, milliseconds) and says what to do, in order.
    pub fn on(&mut self, now: u64, event: ReportEvent) -> Vec<ReportAction> {
        let mut actions = Vec::new();
        match event {
            ReportEvent::Connected if !matches!(self.link, Link::Up { .. }) => {
                self.link = Link::Up { moved: now };
                self.sent = self.acknowledged;
                (self.heard, self.signed) = (false, None);
            }
            ReportEvent::Connected => {}
            ReportEvent::Disconnected { retry_after } => self.disconnected(now, retry_after, &mut actions),
            ReportEvent::Spooled { last } => self.last = self.last.max(last),
            ReportEvent::Loaded(batch) => self.loaded(now, batch, &mut actions),
            ReportEvent::Acknowledged { sequence, chain } => {
                self.acknowledge(now, sequence, chain, &mut actions);
            }
            ReportEvent::OtherChain { sequence } => self.contradict(now, sequence, true, &mut actions),
            ReportEvent::BegunAnew { acknowledged, last } => {
                self.acknowledged = acknowledged;
                self.sent = acknowledged;
                self.last = last;
                self.anew = acknowledged + 1;
                self.beginning = false;
                // What was being read is of before.
                self.loading = None;
            }
            ReportEvent::NotBegun => self.beginning = false,
            ReportEvent::Tick => self.tick(now, &mut actions),
        }
        self.load(&mut actions);
        self.sign(now, &mut actions);
        actions
    }

    fn disconnected(&mut self, now: u64, retry_after: Option<u64>, actions: &mut Vec<ReportAction>) {
        let after = self
            .backoff
            .after_failure()
            .saturating_add(retry_after.unwrap_or(0));
        self.link = Link::Attempting {
            until: now.saturating_add(after) + self.pace.connect_within,
        };
        self.sent = self.acknowledged;
        actions.push(ReportAction::Connect { after });
    }

    fn loaded(&mut self, now: u64, batch: Vec<Numbered>, actions: &mut Vec<ReportAction>) {
        let asked = self.loading.take();
        let Link::Up { moved } = &mut self.link else {
            return;
        };
        let (Some(first), Some(end)) = (batch.first(), batch.last()) else {
            // What must be there was not read: the spool does not serve. Trying at once would spin.
            if asked == Some(self.sent + 1) {
                self.close("the spool could not be read", now, actions);
            }
            return;
        };
        // A read of an earlier connection, or one overtaken by an acknowledgement.
        if first.sequence != self.sent + 1 {
            return;
        }
        if self.sent == self.acknowledged {
            *moved = now;
        }
        self.sent = end.sequence;
        // What is signed goes with the end of the spool.
        if self.sent == self.last {
            self.signed = Some(now);
        }
        let anew = first.sequence == self.anew;
        actions.push(ReportAction::Send { batch, anew });
    }

    fn acknowledge(
        &mut self,
        now: u64,
        sequence: u64,
        chain: Option<Digest>,
        actions: &mut Vec<ReportAction>,
    ) {
        let has_begun = self.has_begun();
        let Link::Up { moved } = &mut self.link else {
            return;
        };
        if self.beginning {
            return;
        }
        self.heard = true;
        if sequence > self.last || (sequence < self.acknowledged && !has_begun) {
            self.contradict(now, sequence, false, actions);
        } else if sequence > self.acknowledged {
            *moved = now;
            self.acknowledged = sequence;
            self.sent = self.sent.max(sequence);
            self.backoff.succeeded();
            actions.push(ReportAction::Forget { sequence, chain });
        } else if sequence == self.acknowledged && chain.is_some() && !has_begun {
            // Nothing to forget, and something to compare.
            actions.push(ReportAction::Forget { sequence, chain });
        }
    }

    fn contradict(&mut self, now: u64, sequence: u64, other_chain: bool, actions: &mut Vec<ReportAction>) {
        if self.beginning {
            return;
        }
        self.beginning = true;
        actions.push(ReportAction::Contradiction {
            acknowledged: sequence,
            last: self.last,
            other_chain,
        });
        if matches!(self.link, Link::Up { .. }) {
            let why = "what the controller holds is not what this host told";
            self.close(why, now, actions);
        }
    }

    fn tick(&mut self, now: u64, actions: &mut Vec<ReportAction>) {
        match self.link {
            Link::Idle => {
                self.link = Link::Attempting {
                    until: now + self.pace.connect_within,
                };
                actions.push(ReportAction::Connect { after: 0 });
            }
            Link::Attempting { until } if now >= until => {
                self.close("the connection took too long", now, actions)
            }
            Link::Up { moved } if self.in_flight() > 0 && now >= moved + self.pace.acknowledge_within => {
                self.close("nothing was acknowledged for too long", now, actions);
            }
            Link::Attempting { .. } | Link::Up { .. } => {}
        }
    }

    fn close(&mut self, why: &'static str, now: u64, actions: &mut Vec<ReportAction>) {
        actions.push(ReportAction::Close { why });
        self.disconnected(now, None, actions);
    }

    fn load(&mut self, actions: &mut Vec<ReportAction>) {
        let room = self.pace.window.saturating_sub(self.in_flight());
        let wanted = room.min(self.last.saturating_sub(self.sent));
        if wanted == 0 || self.beginning || self.loading.is_some() || !matches!(self.link, Link::Up { .. }) {
            return;
        }
        let from = self.sent + 1;
        self.loading = Some(from);
        let max = self.pace.batch.min(usize::try_from(wanted).unwrap_or(usize::MAX));
        actions.push(ReportAction::Load {
            from,
            max,
            max_bytes: self.pace.batch_bytes,
        });
    }

    fn sign(&mut self, now: u64, actions: &mut Vec<ReportAction>) {
        let is_due = |at: u64| now >= at.saturating_add(self.pace.sign_every);
        let is_up = matches!(self.link, Link::Up { .. });
        if is_up && self.is_told() && self.signed.is_none_or(is_due) {
            self.signed = Some(now);
            actions.push(ReportAction::Sign {
                last: self.last,
                anew: self.has_begun(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
