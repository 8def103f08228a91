//! Requests that come again.

use jiff::{SignedDuration, Timestamp};

use crate::command::{Action, Command};
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Remembered, State};

impl State {
    /// The answer to a request whose id was used already: the first one's, where it is the same request.
    pub(super) fn repeated(&self, command: &Command) -> Option<Response> {
        let id = command.request_id.as_ref()?;
        let Remembered {
            at: _,
            asked,
            response,
        } = self.requests.get(id)?;
        if asked.is_some_and(|asked| asked != command.asked()) {
            return Some(Response::Refused(Refused::RequestIdReused));
        }
        Some(match (response, &command.action) {
            // The secret was only ever in the first answer.
            (Response::TokenCreated(made), Action::CreateToken { id, .. }) if made != id => {
                Response::Refused(Refused::TokenAlreadyCreated(made.clone()))
            }
            (Response::MemberInvited(made), Action::InviteMember { id, .. }) if made != id => {
                Response::Refused(Refused::TokenAlreadyCreated(made.clone()))
            }
            _ => response.clone(),
        })
    }

    /// Remembers what a request was answered. Refusals are not: they changed nothing.
    pub(super) fn remember(&mut self, command: &Command, response: &Response, changes: &mut Vec<RowChange>) {
        let Some(id) = &command.request_id else {
            return;
        };
        let request = Remembered {
            at: self.clock.now,
            asked: Some(command.asked()),
            response: response.clone(),
        };
        if let Some(change) = rows::request(id, &request) {
            self.put_request(id.clone(), request);
            changes.push(change);
        }
    }

    /// Forgets those that were answered long ago, and more than there may be. The newest stay: time moves by up to an hour at once, such as
    /// when another leads, and who asks again may have asked a second ago.
    pub(super) fn forget_requests(&mut self, changes: &mut Vec<RowChange>) {
        let horizon = self
            .clock
            .now
            .saturating_sub(SignedDuration::from_secs(limits::REQUEST_SECONDS));
        let horizon = horizon.unwrap_or(Timestamp::MIN);
        while let Some((at, id)) = self.requests_by_time.first().cloned() {
            let is_due = at < horizon && self.requests.len() > limits::REQUESTS_ALWAYS;
            if !is_due && self.requests.len() <= limits::REQUESTS {
                break;
            }
            self.drop_request(&id);
            changes.push(rows::request_gone(&id));
        }
    }
}
