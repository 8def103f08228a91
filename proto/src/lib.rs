//! The wire and the stored forms: generated messages, clients and servers, and the descriptor set for reflection.
//!
//! Depends on nothing of this workspace. Domain meaning is in `verger-policy`; `verger-wire` maps between the two.
#![allow(missing_docs, unreachable_pub, clippy::all)]

mod rpcs;

pub use rpcs::{Shape, rpcs};

pub mod policy {
    pub mod v1 {
        tonic::include_proto!("verger.policy.v1");
    }
}
pub mod cluster {
    pub mod v1 {
        tonic::include_proto!("verger.cluster.v1");
    }
}
pub mod findings {
    pub mod v1 {
        tonic::include_proto!("verger.findings.v1");
    }
}
pub mod agent {
    pub mod v1 {
        tonic::include_proto!("verger.agent.v1");
    }
}
pub mod peer {
    pub mod v1 {
        tonic::include_proto!("verger.peer.v1");
    }
}
pub mod stored {
    pub mod v1 {
        tonic::include_proto!("verger.stored.v1");
    }
}

/// The encoded `FileDescriptorSet` of every public package.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
