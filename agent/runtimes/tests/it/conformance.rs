//! The suite every runtime passes, on the fake; `with_docker` runs it on Docker.

use verger_agent_core::runtime::{BoxFuture, Phase, RuntimeEvent};
use verger_agent_runtimes::conformance::{Launcher, conformance};
use verger_agent_runtimes::fake::{FakeRuntime, instance};
use verger_policy::facts::InstanceId;

/// Scripts a fake as a daemon would behave. One event can be swallowed, to see that the suite misses it.
struct Script {
    fake: FakeRuntime,
    swallowed: Option<&'static str>,
}

impl Script {
    fn new(swallowed: Option<&'static str>) -> Self {
        Self {
            fake: FakeRuntime::new(),
            swallowed,
        }
    }

    fn step(
        &self,
        word: &'static str,
        id: &InstanceId,
        name: &str,
        phase: Phase,
        event: fn(InstanceId) -> RuntimeEvent,
    ) -> BoxFuture<'_, Result<(), String>> {
        let init_pid = (phase != Phase::Created).then_some(4711);
        self.fake.put(instance(&id.id, name), phase, init_pid);
        if self.swallowed != Some(word) {
            self.fake.emit(&event(id.clone()));
        }
        Box::pin(async { Ok(()) })
    }
}

impl Launcher for Script {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<InstanceId, String>> {
        Box::pin(async move {
            let id = instance("f", name).id;
            self.step("create", &id, name, Phase::Created, RuntimeEvent::Changed)
                .await?;
            Ok(id)
        })
    }

    fn start<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        self.step("start", id, "fake", Phase::Running, RuntimeEvent::Started)
    }

    fn rename<'a>(&'a self, id: &'a InstanceId, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        self.step("rename", id, name, Phase::Running, RuntimeEvent::Changed)
    }

    fn pause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        self.step("pause", id, "fake-renamed", Phase::Paused, RuntimeEvent::Changed)
    }

    fn unpause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        self.step(
            "unpause",
            id,
            "fake-renamed",
            Phase::Running,
            RuntimeEvent::Changed,
        )
    }

    fn exec<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        self.step("exec", id, "fake-renamed", Phase::Running, RuntimeEvent::Exec)
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>> {
        self.fake.remove(id);
        if self.swallowed != Some("remove") {
            self.fake.emit(&RuntimeEvent::Gone(id.clone()));
        }
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test]
async fn the_fake_conforms() {
    let script = Script::new(None);
    conformance(&script.fake, &script, "fake").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_suite_misses_every_event_that_is_swallowed() {
    for word in ["create", "start", "rename", "exec", "remove"] {
        let script = Script::new(Some(word));
        let violation = conformance(&script.fake, &script, "fake").await.unwrap_err();
        assert_eq!(violation.step, word, "{violation}");
    }
}
