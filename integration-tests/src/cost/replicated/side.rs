//! What is measured: either of the two clusters, and a client of it.

use anyhow::Result;
use tonic::Status;

use super::etcd::Put;
use super::verger::Revocation;
use crate::dice::Dice;

/// Bytes of what is written.
pub(super) const VALUE: usize = 256;
/// Digits that make each of a client's values another one.
const SEQUENCE: usize = 16;

/// A cluster of three members, which are told apart by number.
pub(super) trait Side {
    /// For tables.
    fn name(&self) -> &'static str;

    /// The processes of all members, which run.
    fn pids(&self) -> Result<Vec<u32>>;

    /// Who leads.
    fn leader(&self) -> Result<usize>;

    /// Ends a member's process between two instructions.
    fn kill(&mut self, member: usize) -> Result<()>;

    /// Starts it again, and waits until it has what the others have.
    fn start(&mut self, member: usize) -> Result<()>;

    /// A connection of its own to a member, for a client of this number.
    fn connect(&self, number: usize, member: usize) -> Result<Write>;

    /// How much was ever written, as a member tells it that has everything acknowledged before: no less than was acknowledged.
    fn written(&self, member: usize) -> Result<u64>;
}

/// What a client does.
pub(super) enum Write {
    Verger(Revocation),
    Etcd(Put),
}

/// A client: one connection, over which it writes.
pub(super) struct Client {
    write: Write,
    /// All values begin so.
    text: String,
    sequence: u64,
}

impl Client {
    pub(super) fn connect(side: &dyn Side, number: usize, member: usize) -> Result<Self> {
        let mut dice = Dice::new(number as u64);
        let mut text = String::new();
        while text.len() < VALUE - SEQUENCE {
            text.push_str(&format!("{:016x}", dice.roll()));
        }
        text.truncate(VALUE - SEQUENCE);
        Ok(Self {
            write: side.connect(number, member)?,
            text,
            sequence: 0,
        })
    }

    /// One write, which is durable on a quorum when it comes back.
    pub(super) async fn write(&mut self) -> Result<(), Status> {
        self.sequence += 1;
        let value = format!("{}{:0SEQUENCE$x}", self.text, self.sequence);
        match &mut self.write {
            Write::Verger(revocation) => revocation.write(value).await,
            Write::Etcd(put) => put.write(value).await,
        }
    }
}
