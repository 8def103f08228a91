//! The tripwire: an authorization plugin of Docker that lets through what came by Verger's proxy, and nothing else.
//!
//! The proxy knows who is calling, and decides. It marks what it sends on with a secret of this run ([`mark`]), and strips that mark
//! from whatever callers say. A request without it reached the daemon by another way: it is denied ([`judgement`]), and told of
//! ([`strays`]). A plugin of its own and not a part of the agent: one that does not answer stalls the daemon for half a minute.

pub mod judgement;
pub mod mark;
pub mod service;
pub mod strays;

#[cfg(test)]
mod fuzz;
