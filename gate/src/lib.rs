//! The gate: called in place of `runc` or `crun`, it asks the agent before anything of a container runs.
//!
//! It knows no policy. It reads what the runtime is called to do, hands the agent the very bytes that the runtime will read, and either
//! becomes the runtime or says why not. Without the agent's word nothing runs; what ends or shows a container always does.

pub mod agent;
pub mod command;
pub mod refusal;
