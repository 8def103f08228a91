//! What people ask for, on its way into the log.

use tonic::Status;
use verger_controller_state::{Action, Command, Response, limits};

use crate::ports::{Ambient, Replicated};
use crate::status::{argument, unavailable};

/// The longest request id, bytes.
const REQUEST_ID_BYTES: usize = 64;

/// Who asks for a change, for the record. Only a permit gives one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// `person/ada`.
    pub(crate) actor: String,
    /// The address the request came from.
    pub(crate) from: Option<String>,
    /// The rules of roles that allow it, in words; empty where no role is bound.
    pub(crate) policies: Vec<String>,
}

impl Asker {
    /// Proposes what is asked for under a request's id.
    ///
    /// # Errors
    /// When the id is none, or the log cannot be reached. What the log refuses is an answer.
    pub(crate) async fn propose(
        self,
        replicated: &dyn Replicated,
        ambient: &dyn Ambient,
        id: &str,
        action: Action,
    ) -> Result<Response, Status> {
        let id = request_id(id)?;
        self.put(replicated, ambient, id, action).await
    }

    /// Proposes what is done once more, and is on record once more, each time that it is asked for: nobody is answered of what was done
    /// before under a request's id.
    ///
    /// # Errors
    /// As [`Self::propose`].
    pub(crate) async fn propose_anew(
        self,
        replicated: &dyn Replicated,
        ambient: &dyn Ambient,
        id: &str,
        action: Action,
    ) -> Result<Response, Status> {
        request_id(id)?;
        self.put(replicated, ambient, None, action).await
    }

    async fn put(
        self,
        replicated: &dyn Replicated,
        ambient: &dyn Ambient,
        request_id: Option<String>,
        action: Action,
    ) -> Result<Response, Status> {
        let Self {
            actor,
            from,
            policies,
        } = self;
        let command = Command {
            stamp: ambient.now(),
            actor,
            request_id,
            from,
            policies,
            // As calls that are refused: around all services.
            counted: true,
            action,
        };
        replicated
            .propose(command)
            .await
            .map_err(|error| unavailable(&error))
    }
}

/// Why something is done, for the record.
pub(crate) fn reason(text: String) -> Result<String, Status> {
    if text.len() > limits::NAME_BYTES {
        return Err(argument(
            "reason",
            format!("is longer than {} bytes", limits::NAME_BYTES),
        ));
    }
    Ok(text)
}

/// The same, where nothing is done without one.
pub(crate) fn needed_reason(text: String) -> Result<String, Status> {
    if text.trim().is_empty() {
        return Err(argument("reason", "is missing: say why, for the record"));
    }
    reason(text)
}

/// Whether a text may be the id of a request.
pub(crate) fn is_request_id(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The id of a request that changes something.
pub(crate) fn request_id(text: &str) -> Result<Option<String>, Status> {
    match text.len() {
        0 => Err(argument(
            "request_id",
            "is missing: send a UUID, and the same one when you try again",
        )),
        _ if is_request_id(text) => Ok(Some(text.to_owned())),
        _ => Err(argument("request_id", "is not a UUID")),
    }
}
