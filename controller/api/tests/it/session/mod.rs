//! Policy sessions of agents.

mod bodies;
mod offers;
mod opening;
mod random;
mod slow;
mod status;
mod voice;

use verger_proto::cluster::v1 as cpb;

use crate::world::World;

/// A host as people are shown it, once everything said has been heard.
async fn shown(world: &World, agent: &str) -> cpb::Host {
    world.settle().await;
    let request = cpb::GetHostRequest {
        agent_id: agent.to_owned(),
    };
    let answer = world.ada().cluster().get_host(request).await.unwrap();
    answer.into_inner().host.unwrap()
}
