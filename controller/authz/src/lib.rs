//! Decides what people may do, from the roles and bindings of a policy set.
//!
//! Roles are lowered to Cedar templates, which are validated strictly against a schema of every verb and resource; bindings
//! link them to people and groups. A deny wins over every allow, what nothing allows is denied, and a deny that cannot be
//! evaluated denies. While a set binds no role at all, whoever has a local login may do everything: somebody
//! has to bind the first. A login by an identity provider may do nothing until then.
//!
//! The same for controllers, which ask before they read or propose, and the CLI, which asks of a set that it has verified. The
//! crate does no I/O and knows no clock. Nothing here is decided again when a log entry is applied.

mod engine;
mod guard;
mod lower;
mod roles;

pub use guard::{Unsafe, check_change};
pub use roles::{CompileError, Roles};
// What is asked and answered is the same wherever it is decided.
pub use verger_policy::roles::{Ask, Because, Decision, GivenRule, InvalidAsk, Single, Subject};
