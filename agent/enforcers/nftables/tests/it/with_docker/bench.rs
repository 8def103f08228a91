//! A host in a network namespace, and instances in others, each a process that sleeps.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use verger_agent_core::enforcer::Subject;
use verger_agent_core::enforcer::conformance::Bench;
use verger_policy::facts::InstanceId;
use verger_policy::model::RuntimeKind;

/// The host: a bridge with the addresses `10.99.0.1` and `fd99::1`, and an interface that is no port of it.
pub(crate) struct NetworkBench {
    name: String,
    made: BTreeMap<InstanceId, (Child, u32)>,
}

impl NetworkBench {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bench = Self {
            name: format!("verger-nft-{}-{number}", std::process::id()),
            made: BTreeMap::new(),
        };
        sh(&format!("ip netns add {}", bench.name));
        bench.on_host(
            "ip link set lo up; ip link add bridge type bridge; ip link set bridge up; ip addr add 10.99.0.1/24 dev bridge; ip -6 addr add fd99::1/64 dev bridge nodad; ip link add uplink type veth peer name far; ip link set uplink up",
        );
        bench
    }

    /// The file of the host's namespace.
    pub(crate) fn host(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// The name of an instance's namespace.
    pub(crate) fn namespace(&self, subject: &Subject) -> String {
        format!("{}-{}", self.name, subject.instance.id)
    }

    /// Runs lines of a shell on the host.
    pub(crate) fn on_host(&self, lines: &str) {
        let inner = format!("set -e; {lines}");
        let output = Command::new("nsenter")
            .arg(format!("--net={}", self.host().display()))
            .args(["sh", "-c", &inner])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{lines}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn make(&mut self, name: &str, namespace: &str) -> Subject {
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{namespace}"))
            .args(["setpriv", "--pdeathsig", "KILL", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let subject = Subject {
            instance: InstanceId {
                runtime: RuntimeKind::Docker,
                id: name.to_owned(),
            },
            pid: child.id(),
        };
        let number = u32::try_from(self.made.len()).unwrap() + 2;
        self.made.insert(subject.instance.clone(), (child, number));
        // It has entered its namespace once it hands on what it is given.
        let (child, _) = self.made.get_mut(&subject.instance).unwrap();
        use std::io::{Read as _, Write as _};
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        subject
    }

    fn own(&mut self, name: &str) -> Subject {
        let namespace = format!("{}-{name}", self.name);
        sh(&format!(
            "ip netns add {namespace}; ip -n {namespace} link set lo up"
        ));
        self.make(name, &namespace)
    }
}

impl Bench for NetworkBench {
    fn attached(&mut self, name: &str) -> Subject {
        let subject = self.own(name);
        let (namespace, number) = (self.namespace(&subject), self.made[&subject.instance].1);
        self.on_host(&format!(
            "ip link add veth{name} type veth peer name eth0 netns {namespace}; ip link set veth{name} master bridge up"
        ));
        sh(&format!(
            "ip -n {namespace} link set eth0 up; ip -n {namespace} addr add 10.99.0.{number}/24 dev eth0; ip -n {namespace} -6 addr add fd99::{number}/64 dev eth0 nodad; ip -n {namespace} -6 addr"
        ));
        subject
    }

    fn isolated(&mut self, name: &str) -> Subject {
        self.own(name)
    }

    fn beyond(&mut self, name: &str) -> Subject {
        let host = self.name.clone();
        self.make(name, &host)
    }

    fn end(&mut self, subject: &Subject) {
        let namespace = self.namespace(subject);
        let (mut child, _) = self.made.remove(&subject.instance).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // The kernel takes links away some time after the last process: here they go first.
        self.on_host(&format!("ip link delete veth{}", subject.instance.id));
        sh(&format!("ip netns delete {namespace}"));
    }

    /// By version 4 and 6; both pass, or neither does.
    fn passes(&mut self, from: &Subject, to: &Subject) -> bool {
        let namespace = self.namespace(from);
        let number = self.made[&to.instance].1;
        let passes = [format!("10.99.0.{number}"), format!("fd99::{number}")].map(|to| {
            let status = Command::new("nsenter")
                .arg(format!("--net=/run/netns/{namespace}"))
                .args(["busybox", "ping", "-c", "1", "-W", "1", &to])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            status.success()
        });
        assert_eq!(
            passes[0], passes[1],
            "version 4 passes: {}, 6: {}",
            passes[0], passes[1]
        );
        passes[0]
    }

    fn wipe(&mut self) {
        self.on_host("nft flush ruleset");
    }
}

impl Drop for NetworkBench {
    fn drop(&mut self) {
        let made = std::mem::take(&mut self.made);
        let mut namespaces = vec![self.name.clone()];
        for (instance, (mut child, _)) in made {
            let _ = child.kill();
            let _ = child.wait();
            namespaces.push(format!("{}-{}", self.name, instance.id));
        }
        for namespace in namespaces {
            let _ = Command::new("ip")
                .args(["netns", "delete", &namespace])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn sh(lines: &str) {
    let output = Command::new("sh")
        .args(["-c", &format!("set -e; {lines}")])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{lines}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
