//! Containers made to break their reader.

use std::collections::HashMap;

use verger_agent_core::runtime::Runtime;
use verger_policy::facts::Evidence;

use super::daemon::{Daemon, unique};

const ESCAPE: &str = "\u{1b}]0;owned\u{7}\u{202e}<script>\r\n";

#[tokio::test]
async fn a_hostile_container_hides_no_other() {
    let daemon = Daemon::connect().await;
    let (plain, _) = daemon.run(&unique("plain"), |_| {}).await;
    let (hostile, _) = daemon
        .run(&unique("hostile"), |body| {
            let mut env: Vec<String> = (0..10_000).map(|n| format!("NAME_{n}=value {n}")).collect();
            env.push(format!("{ESCAPE}=x"));
            body.env = Some(env);
            body.labels = Some(HashMap::from([
                ("big".to_owned(), "x".repeat(1 << 20)),
                (ESCAPE.to_owned(), ESCAPE.to_owned()),
            ]));
        })
        .await;

    let listed = daemon.runtime().list().await.unwrap();
    let find = |id| listed.iter().find(|listed| listed.instance.id == id).unwrap();
    let plain = find(plain);
    assert_eq!(
        plain.instance.config.command,
        Evidence::Seen(["/bin/busybox", "sleep", "3600"].map(str::to_owned).to_vec())
    );
    let hostile = find(hostile);
    let env = hostile.instance.config.env.seen().unwrap();
    assert!(env.0.len() > 10_000, "{} names", env.0.len());
    assert_eq!(env.0["NAME_9999"], "value 9999");
    assert_eq!(hostile.instance.labels.0["big"].len(), 1 << 20);
    // Values are kept as they are: escaping is for whoever shows them.
    assert_eq!(hostile.instance.labels.0[ESCAPE], ESCAPE);
}

#[tokio::test]
async fn the_oci_config_is_read_and_wins() {
    let daemon = Daemon::connect().await;
    let (id, pid) = daemon
        .run(&unique("oci"), |body| {
            body.user = Some("7:8".to_owned());
            body.host_config.as_mut().unwrap().readonly_rootfs = Some(true);
        })
        .await;
    let runtime = daemon.runtime();
    let listed = runtime.inspect(&id).await.unwrap().unwrap();
    assert_eq!(listed.init_pid, Some(pid));
    assert_eq!(listed.instance.config.rootfs_readonly, Evidence::Seen(true));
    // Masked paths are in no inspection's own words unless the config was read: the daemon's default list is.
    assert!(
        listed
            .instance
            .config
            .masked_paths
            .seen()
            .unwrap()
            .contains("/proc/kcore")
    );
    assert!(listed.instance.image.seen().is_some());
    assert!(listed.instance.image_defaults.seen().is_some());

    // The same container without a bundle to read: the seccomp filter the kernel got is unknown then.
    let blind = verger_agent_runtimes::docker::DockerRuntime::new(
        verger_agent_runtimes::docker::DockerConfig::new(daemon.socket.clone()),
    );
    let asked = blind.inspect(&id).await.unwrap().unwrap();
    assert_ne!(asked.instance.config.seccomp, listed.instance.config.seccomp);
    assert_eq!(asked.instance.config.rootfs_readonly, Evidence::Seen(true));
}
