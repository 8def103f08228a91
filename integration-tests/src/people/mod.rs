//! People who log in by an identity provider: a small one, and a browser that agrees to everything.

mod browser;
mod provider;

pub use browser::{Login, log_in, open};
pub use provider::{Lie, Provider};
