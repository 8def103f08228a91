//! The runtime's socket behind the proxy: what each user of a host can do there, with Docker's own CLI and with raw requests.

mod afar;
mod bypasses;
mod clients;
mod front;
mod matrix;
mod reused;
mod said;
mod who;

pub use afar::Afar;
pub use bypasses::run as bypasses;
pub use clients::run as clients;
pub use front::Front;
pub(crate) use front::{CAREFUL, ELSEWHERE, OPERATOR, ROLES, RUNNER, STRANGER, VIEWER, WORKLOAD, cli};
pub use matrix::run as matrix;
pub(crate) use matrix::{Act, SAY, act, heard, may};
pub use said::said_at;
pub use who::started;
