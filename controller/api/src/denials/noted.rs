//! What a call asks for, as far as it is known when it is refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::Request;
use verger_controller_authz::Ask;
use verger_controller_state::About;

use crate::asking::is_request_id;
use crate::status::cut_name;

/// Shared by who serves a call and who notes its refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted(Arc<Mutex<About>>);

impl Noted {
    /// That of a call. Where nobody notes refusals, one that nobody looks at.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    fn known(&self) -> MutexGuard<'_, About> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request has this id, if it is one.
    pub(crate) fn request(&self, id: &str) {
        if is_request_id(id) {
            id.clone_into(&mut self.known().request_id);
        }
    }

    /// This is asked for.
    pub(crate) fn asks(&self, ask: &Ask) {
        let named = ask.single.as_ref().and_then(|single| single.name.as_ref());
        let resource = match named {
            Some(name) => format!("{}/{name}", ask.resource),
            None => ask.resource.to_string(),
        };
        let mut known = self.known();
        known.verb = ask.verb.to_string();
        known.resource = cut_name(&resource);
    }

    pub(super) fn about(&self) -> About {
        self.known().clone()
    }
}
