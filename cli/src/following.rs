//! Following a stream of the cluster's, through lost connections and restarted controllers.

use tokio_stream::StreamExt as _;
use tonic::{Response, Status, Streaming};

use crate::connect::{Session, Waits};
use crate::exit::Exit;
use crate::output::note;
use crate::status::is_unreachable;

/// What is followed, and how far it has come.
pub(crate) trait Followed {
    /// One message of the stream.
    type Message;

    /// Asks for what comes after what was taken in.
    ///
    /// # Errors
    /// When the controller refuses, or does not answer.
    async fn open(&self, session: &Session) -> Result<Response<Streaming<Self::Message>>, Status>;

    /// Prints a message, and remembers that it was.
    ///
    /// # Errors
    /// When it means nothing, or cannot be written.
    fn take(&mut self, message: Self::Message) -> anyhow::Result<()>;

    /// Where the stream goes on from, for people: `row 5`.
    fn place(&self) -> String;
}

/// Follows until it is refused.
///
/// # Errors
/// When the controllers refuse, a message cannot be taken in, or the certificate has ended.
pub(crate) async fn follow(mut session: Session, mut followed: impl Followed) -> anyhow::Result<Exit> {
    let mut waits = Waits::new();
    loop {
        let lost = until_lost(&mut session, &mut followed, &mut waits).await?;
        note(&format!(
            "the stream was lost ({}); connecting again, from {}",
            lost.message(),
            followed.place()
        ));
        session.insist_on_reconnecting(&mut waits).await?;
    }
}

/// Takes in a stream until it is lost, and says how.
async fn until_lost(
    session: &mut Session,
    followed: &mut impl Followed,
    waits: &mut Waits,
) -> anyhow::Result<Status> {
    let mut stream = match followed.open(session).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if is_unreachable(&status) => return Ok(status),
        Err(status) => return Err(status.into()),
    };
    let mut renewals = Session::renewals();
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            _ = renewals.tick() => {
                session.keep_renewed().await;
                continue;
            }
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(status)) if is_unreachable(&status) => return Ok(status),
            Some(Err(status)) => return Err(status.into()),
            None => return Ok(Status::unavailable("the stream ended")),
        };
        waits.reset();
        followed.take(message)?;
    }
}
