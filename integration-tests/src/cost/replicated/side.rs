//! What is measured: either of the two clusters, and a client of it.

use anyhow::Result;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

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

    /// A new connection to a member, which is one of so many.
    fn connect(&self, number: usize, member: usize) -> Result<Channel>;

    /// How the client of this number writes over a connection.
    fn write_over(&self, number: usize, channel: &Channel) -> Write;

    /// How much was ever written, as a member tells it that has everything acknowledged before: no less than was acknowledged.
    fn written(&self, member: usize) -> Result<u64>;
}

/// One call.
pub(super) async fn call<Q, A>(channel: &Channel, path: &'static str, question: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let answer = client.unary(
        Request::new(question),
        PathAndQuery::from_static(path),
        ProstCodec::default(),
    );
    Ok(answer.await?.into_inner())
}

/// What is asked of health, of `grpc.health.v1`: of the whole program.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// They write.
    Write,
    /// They ask whether the member serves, which both sides answer by themselves: what a call costs that does nothing.
    Ask,
}

/// How a client writes.
pub(super) enum Write {
    Verger(Revocation),
    Etcd(Put),
}

/// A client, and the connection over which it calls.
pub(super) struct Client {
    write: Write,
    channel: Channel,
    /// All values begin so.
    text: String,
    sequence: u64,
}

impl Client {
    /// With a connection of its own.
    pub(super) fn connect(side: &dyn Side, number: usize, member: usize) -> Result<Self> {
        Ok(Self::over(side, number, side.connect(number, member)?))
    }

    /// Over this connection, which others may use too.
    pub(super) fn over(side: &dyn Side, number: usize, channel: Channel) -> Self {
        let mut dice = Dice::new(number as u64);
        let mut text = String::new();
        while text.len() < VALUE - SEQUENCE {
            text.push_str(&format!("{:016x}", dice.roll()));
        }
        text.truncate(VALUE - SEQUENCE);
        Self {
            write: side.write_over(number, &channel),
            channel,
            text,
            sequence: 0,
        }
    }

    /// One of these, which is done when it comes back.
    pub(super) async fn one(&mut self, task: Task) -> Result<(), Status> {
        match task {
            Task::Write => self.write().await,
            Task::Ask => {
                let answer = call(&self.channel, "/grpc.health.v1.Health/Check", Health {}).await;
                answer.map(|Health {}| ())
            }
        }
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
