//! Which rpcs there are.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message as _;

/// How the messages of an rpc go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One there, one back.
    Unary,
    /// One there, any number back.
    Answers,
    /// Any number there.
    Talk,
}

static RPCS: LazyLock<BTreeMap<String, Shape>> = LazyLock::new(|| {
    let set = prost_types::FileDescriptorSet::decode(crate::DESCRIPTORS).expect("the build wrote it");
    let mut rpcs = BTreeMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let shape = match (method.client_streaming(), method.server_streaming()) {
                    (true, _) => Shape::Talk,
                    (false, true) => Shape::Answers,
                    (false, false) => Shape::Unary,
                };
                rpcs.insert(name, shape);
            }
        }
    }
    rpcs
});

/// Every rpc of the protos by its name, `verger.policy.v1.PolicyService/Apply`.
pub fn rpcs() -> &'static BTreeMap<String, Shape> {
    &RPCS
}
