//! What every [`Runtime`] must do, shown on a fake and on real daemons by the same function.

use std::sync::Arc;
use std::time::Duration;

use verger_agent_core::runtime::{BoxFuture, Listed, Phase, Runtime, RuntimeEvent, Watch};
use verger_policy::facts::InstanceId;

/// For an event to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes instances in the runtime under test, as its users do. Errors are sentences for a person.
pub trait Launcher: Send + Sync {
    /// Makes an instance called `name` that runs until it is stopped, and does not start it.
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<InstanceId, String>>;
    /// Starts it.
    fn start<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>>;
    /// Gives it another name.
    fn rename<'a>(&'a self, id: &'a InstanceId, name: &'a str) -> BoxFuture<'a, Result<(), String>>;
    /// Freezes it.
    fn pause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>>;
    /// Thaws it.
    fn unpause<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>>;
    /// Starts another process in it.
    fn exec<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>>;
    /// Ends and removes it.
    fn remove<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<(), String>>;
}

/// What a runtime did wrong.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {fault}")]
pub struct Violation {
    /// During which step.
    pub step: &'static str,
    /// What was wrong.
    pub fault: String,
}

/// Leads one instance, named from `name`, through its whole life, and sees that the runtime tells of it rightly.
/// Other instances may come and go meanwhile. An instance is left behind only where the suite fails.
pub async fn conformance(
    runtime: &dyn Runtime,
    launcher: &dyn Launcher,
    name: &str,
) -> Result<(), Violation> {
    let mut watch = runtime.watch();
    let first = next(&mut *watch, "watch").await?;
    ensure(first == RuntimeEvent::Lost, "watch", || {
        format!("the first event is {first:?}, not Lost")
    })?;

    let step = "create";
    let id = launcher
        .create(name)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Changed(id.clone())).await?;
    let created = listed(runtime, step, &id).await?.ok_or_else(|| unlisted(step))?;
    ensure(created.phase == Phase::Created, step, || {
        format!("listed as {:?}", created.phase)
    })?;
    ensure(created.init_pid.is_none(), step, || {
        "has a pid before it runs".to_owned()
    })?;
    ensure(created.instance.id.runtime == runtime.kind(), step, || {
        "of another runtime".to_owned()
    })?;

    let step = "start";
    launcher
        .start(&id)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Started(id.clone())).await?;
    let running = listed(runtime, step, &id).await?.ok_or_else(|| unlisted(step))?;
    ensure(running.phase == Phase::Running, step, || {
        format!("listed as {:?}", running.phase)
    })?;
    ensure(running.init_pid.is_some_and(|pid| pid > 1), step, || {
        format!("its pid is {:?}", running.init_pid)
    })?;

    let step = "list again";
    let again = listed(runtime, step, &id).await?.ok_or_else(|| unlisted(step))?;
    ensure(Arc::ptr_eq(&again.instance, &running.instance), step, || {
        "an unchanged instance is another value".to_owned()
    })?;
    let inspected = inspect(runtime, step, &id).await?.ok_or_else(|| unlisted(step))?;
    ensure(inspected == again, step, || {
        "inspect and list disagree".to_owned()
    })?;

    let step = "rename";
    let renamed = format!("{name}-renamed");
    launcher
        .rename(&id, &renamed)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Changed(id.clone())).await?;
    let other = listed(runtime, step, &id).await?.ok_or_else(|| unlisted(step))?;
    ensure(other.instance.name == renamed, step, || {
        format!("listed as {:?}", other.instance.name)
    })?;

    let step = "pause";
    launcher
        .pause(&id)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Changed(id.clone())).await?;
    let paused = listed(runtime, step, &id).await?.ok_or_else(|| unlisted(step))?;
    ensure(paused.phase == Phase::Paused, step, || {
        format!("listed as {:?}", paused.phase)
    })?;
    launcher
        .unpause(&id)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Changed(id.clone())).await?;

    let step = "exec";
    launcher
        .exec(&id)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Exec(id.clone())).await?;

    let step = "remove";
    launcher
        .remove(&id)
        .await
        .map_err(|fault| Violation { step, fault })?;
    expect(&mut *watch, step, &RuntimeEvent::Gone(id.clone())).await?;
    ensure(listed(runtime, step, &id).await?.is_none(), step, || {
        "is listed still".to_owned()
    })?;
    ensure(inspect(runtime, step, &id).await?.is_none(), step, || {
        "is found still".to_owned()
    })
}

fn ensure(holds: bool, step: &'static str, fault: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation { step, fault: fault() })
    }
}

fn unlisted(step: &'static str) -> Violation {
    Violation {
        step,
        fault: "is not listed".to_owned(),
    }
}

async fn next(watch: &mut dyn Watch, step: &'static str) -> Result<RuntimeEvent, Violation> {
    match tokio::time::timeout(PATIENCE, watch.next()).await {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(Violation {
            step,
            fault: "the watch ended".to_owned(),
        }),
        Err(_) => Err(Violation {
            step,
            fault: format!("no event within {PATIENCE:?}"),
        }),
    }
}

async fn expect(watch: &mut dyn Watch, step: &'static str, wanted: &RuntimeEvent) -> Result<(), Violation> {
    let search = async {
        loop {
            let event = next(watch, step).await?;
            ensure(event != RuntimeEvent::Lost, step, || {
                "events were lost though nothing broke".to_owned()
            })?;
            if event == *wanted {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| {
        Err(Violation {
            step,
            fault: format!("no {wanted:?} within {PATIENCE:?}"),
        })
    })
}

async fn listed(
    runtime: &dyn Runtime,
    step: &'static str,
    id: &InstanceId,
) -> Result<Option<Listed>, Violation> {
    let all = runtime.list().await.map_err(|e| Violation {
        step,
        fault: e.to_string(),
    })?;
    Ok(all.into_iter().find(|listed| listed.instance.id == *id))
}

async fn inspect(
    runtime: &dyn Runtime,
    step: &'static str,
    id: &InstanceId,
) -> Result<Option<Listed>, Violation> {
    runtime.inspect(id).await.map_err(|e| Violation {
        step,
        fault: e.to_string(),
    })
}
