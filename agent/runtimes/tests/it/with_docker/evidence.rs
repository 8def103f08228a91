//! What is observed of ordinary containers: everything. That nothing is missing is what blindness is told by.

use verger_agent_core::runtime::Runtime;
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};
use verger_agent_runtimes::proc::scan;
use verger_policy::facts::{Instance, InstanceId, Unobserved};

use super::daemon::{Daemon, unique};

async fn instance(runtime: &DockerRuntime, id: &InstanceId, pid: u32) -> Instance {
    let listed = runtime.inspect(id).await.unwrap().unwrap();
    Instance {
        live: scan(&[(id.clone(), pid)]).remove(id).unwrap(),
        ..(*listed.instance).clone()
    }
}

#[tokio::test]
async fn nothing_is_missing_of_an_ordinary_container_however_it_was_started() {
    let daemon = Daemon::connect().await;
    let (shares, _) = daemon.run(&unique("shares"), |_| {}).await;
    for kind in [
        "plain",
        "user",
        "unconfined",
        "host",
        "joined",
        "hardened",
        "mounts",
        "init",
    ] {
        let (id, pid) = daemon
            .run(&unique(&format!("evidence-{kind}")), |body| {
                let host = body.host_config.as_mut().unwrap();
                let others = format!("container:{}", shares.id);
                match kind {
                    "user" => body.user = Some("7:8".to_owned()),
                    "unconfined" => host.security_opt = Some(vec!["seccomp=unconfined".to_owned()]),
                    "host" => {
                        let hosts = || Some("host".to_owned());
                        (host.network_mode, host.pid_mode) = (hosts(), hosts());
                        (host.ipc_mode, host.uts_mode) = (hosts(), hosts());
                    }
                    "joined" => (host.network_mode, host.pid_mode) = (Some(others.clone()), Some(others)),
                    "hardened" => {
                        host.readonly_rootfs = Some(true);
                        host.cap_drop = Some(vec!["ALL".to_owned()]);
                        host.security_opt = Some(vec!["no-new-privileges".to_owned()]);
                    }
                    "mounts" => {
                        host.binds = Some(vec![
                            "vg-evidence:/volume".to_owned(),
                            "/lib:/linked:ro".to_owned(),
                        ]);
                        host.tmpfs = Some([("/scratch".to_owned(), String::new())].into());
                    }
                    "init" => host.init = Some(true),
                    _ => {}
                }
            })
            .await;
        let instance = instance(&daemon.runtime(), &id, pid).await;
        assert_eq!(instance.unobserved(), [], "{kind}");
        daemon.removed(&id).await;
    }
}

#[tokio::test]
async fn without_its_bundle_all_that_is_missing_says_so() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon.run(&unique("no-bundle"), |_| {}).await;
    let blind = DockerRuntime::new(DockerConfig::new(daemon.socket.clone()));
    let instance = instance(&blind, &id, pid).await;
    let missing = instance.unobserved();
    assert!(!missing.is_empty());
    let says = |gap: &&Unobserved<'_>| {
        gap.reason
            .starts_with("its OCI config cannot be read: no OCI config.json")
    };
    let silent: Vec<_> = missing.iter().filter(|gap| !says(gap)).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
