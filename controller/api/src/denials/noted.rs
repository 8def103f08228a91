//! What a call asks for, as far as it is known when it is refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::{Request, Status};
use verger_controller_authz::Ask;
use verger_controller_state::About;

use super::layer::Call;
use crate::asking::is_request_id;
use crate::status::cut_name;

/// Shared by who serves a call and who notes its refusal.
#[derive(Clone, Default)]
pub(crate) struct Noted(Arc<Known>);

#[derive(Default)]
struct Known {
    about: Mutex<About>,
    /// `None` where nobody notes refusals.
    call: Option<Call>,
    /// A call is refused once, by whoever sees it first.
    is_noted: AtomicBool,
}

impl Noted {
    /// That of a call whose refusal is noted.
    pub(super) fn of_call(call: Call) -> Self {
        Self(Arc::new(Known {
            call: Some(call),
            ..Known::default()
        }))
    }

    /// That of a call. Where nobody notes refusals, one that nobody looks at.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    fn known(&self) -> MutexGuard<'_, About> {
        self.0.about.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The call ends so. For whoever decides it in the middle of a stream: the caller may be gone, and with it the one who looks
    /// at what is sent.
    pub(crate) fn ends(&self, status: &Status) {
        let Some(call) = &self.0.call else { return };
        if let Some(denial) = call.denial(status, self.known().clone())
            && !self.0.is_noted.swap(true, Ordering::Relaxed)
        {
            call.note(denial);
        }
    }
}
