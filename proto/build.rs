//! Compiles the protos with protox: no protoc is needed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "verger/policy/v1/policy.proto",
        "verger/policy/v1/proposal.proto",
        "verger/cluster/v1/cluster.proto",
        "verger/cluster/v1/audit.proto",
        "verger/findings/v1/findings.proto",
        "verger/agent/v1/agent.proto",
        "verger/stored/v1/stored.proto",
        "verger/stored/v1/raft.proto",
        "verger/peer/v1/peer.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost_types_bytes(&set))?;
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".verger")
        // What is stored has one order: equal values are equal bytes.
        .btree_map(".verger.stored")
        .compile_fds(set)?;
    Ok(())
}

fn prost_types_bytes(set: &prost_types::FileDescriptorSet) -> Vec<u8> {
    use prost::Message as _;
    set.encode_to_vec()
}
