//! The ways by which a container reaches others, and is reached.

use std::fmt;
use std::thread;

use anyhow::{Context as _, Result};

use crate::scene::Docker;

use super::host::Host;

/// Who tries.
#[derive(Clone, Debug)]
enum From {
    Container(String),
    Host,
}

/// One way, tried by a command that ends with 0 where it is open.
#[derive(Clone, Debug)]
pub(super) struct Way {
    what: &'static str,
    from: From,
    command: Vec<String>,
    is_benign: bool,
}

impl Way {
    /// Whether no closed container is on it.
    pub(super) const fn is_benign(&self) -> bool {
        self.is_benign
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

/// Containers, each of which serves a page at port 8080, and all ways between them.
pub(super) struct Ways {
    docker: String,
    closed: String,
    names: Vec<String>,
    ways: Vec<Way>,
}

/// Serves a page, and goes on.
const SERVE: &str = "mkdir -p /tmp/www; echo page > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www";

impl Ways {
    /// Runs a container that will be closed, another of its image, and two twins of another image that will not: one in its network, one
    /// in another. All have published their port.
    pub(super) fn open(docker: &Docker, host: &Host) -> Result<Self> {
        let [closed, sibling, twin, far] = ["closed", "sibling", "twin", "far"].map(|name| docker.name(name));
        let (app, other) = (
            ["verger-test/app", SERVE],
            ["verger-test/busybox", "sh", "-c", SERVE],
        );
        // It may take any address, and send whatever it likes.
        let bold = ["--user", "0", "--cap-add", "NET_ADMIN"];
        let run = |name: &str, network: &str, port: &str, more: &[&str], image: &[&str]| {
            let publish = format!("{port}:8080");
            let fixed = ["--network", network, "--publish", &publish];
            docker.run(name, &[&fixed, more, image].concat())
        };
        run(&closed, host.network(), "18081", &bold, &app)?;
        run(&sibling, host.network(), "18082", &["--cap-add", "NET_RAW"], &app)?;
        let address = host.twin().to_string();
        run(&twin, host.network(), "18083", &["--ip", &address], &other)?;
        run(&far, host.other(), "18084", &["--cap-add", "NET_ADMIN"], &other)?;
        let said = |container: &str, what: &str| {
            let format = format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{what}}}}}{{{{end}}}}");
            docker.say(&["inspect", "--format", &format, container])
        };
        let v4 = |container: &str| said(container, "IPAddress");
        let v6 = |container: &str| said(container, "GlobalIPv6Address");
        let gateway = |container: &str| said(container, "Gateway");
        let get = |address: &str, port: &str| -> Vec<String> {
            let line = format!(
                "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox timeout 5 busybox nc -w 2 {address} {port} | grep -q page"
            );
            ["sh", "-c", &line].map(str::to_owned).to_vec()
        };
        let sh = |line: String| vec!["sh".to_owned(), "-c".to_owned(), line];
        let in_container = |name: &str| From::Container(name.to_owned());
        let (closed_at, sibling_at, twin_at, far_at) = (v4(&closed)?, v4(&sibling)?, v4(&twin)?, v4(&far)?);
        let mut ways = Vec::new();
        let mut way = |is_benign: bool, what: &'static str, from: From, command: Vec<String>| {
            ways.push(Way {
                what,
                from,
                command,
                is_benign,
            });
        };
        way(
            false,
            "to a neighbour",
            in_container(&closed),
            get(&twin_at, "8080"),
        );
        way(
            false,
            "from a neighbour",
            in_container(&twin),
            get(&closed_at, "8080"),
        );
        way(
            false,
            "to another of its workload",
            in_container(&closed),
            get(&sibling_at, "8080"),
        );
        way(
            false,
            "to a neighbour, version 6",
            in_container(&closed),
            get(&v6(&twin)?, "8080"),
        );
        way(
            false,
            "from a neighbour, version 6",
            in_container(&twin),
            get(&v6(&closed)?, "8080"),
        );
        way(
            false,
            "to another network, version 6",
            in_container(&closed),
            get(&v6(&far)?, "8080"),
        );
        way(
            false,
            "from another network, version 6",
            in_container(&far),
            get(&v6(&closed)?, "8080"),
        );
        way(
            false,
            "to a port that another network publishes",
            in_container(&closed),
            get(&gateway(&closed)?, "18084"),
        );
        way(
            false,
            "from another network to its published port",
            in_container(&far),
            get(&gateway(&far)?, "18081"),
        );
        way(false, "from the host", From::Host, get(&closed_at, "8080"));
        way(
            false,
            "from the host, version 6",
            From::Host,
            get(&v6(&closed)?, "8080"),
        );
        way(
            false,
            "from the host to its published port",
            From::Host,
            get("127.0.0.1", "18081"),
        );
        way(
            false,
            "to the host",
            in_container(&closed),
            sh(format!("ping -c 1 -W 2 {}", gateway(&closed)?)),
        );
        way(
            false,
            "to a neighbour, under an address and a link-layer address of its own choice",
            in_container(&closed),
            sh(format!(
                "ip addr add 10.63.0.222/24 dev eth0 2>/dev/null; was=$(cat /sys/class/net/eth0/address); ip link set eth0 address 02:42:0a:3f:00:de; ping -c 1 -W 2 -I 10.63.0.222 {twin_at}; passed=$?; ip link set eth0 address $was; exit $passed"
            )),
        );
        way(
            true,
            "between neighbours that are let be",
            in_container(&twin),
            get(&gateway(&twin)?, "18084"),
        );
        way(
            true,
            "from the host to a neighbour",
            From::Host,
            get(&twin_at, "8080"),
        );
        way(
            true,
            "from the host to another network",
            From::Host,
            get(&far_at, "8080"),
        );
        way(
            true,
            "to another network that is let be, version 6",
            in_container(&twin),
            get(&v6(&far)?, "8080"),
        );
        way(
            true,
            "from the host to a published port",
            From::Host,
            get("127.0.0.1", "18083"),
        );
        Ok(Self {
            docker: docker.host().to_owned(),
            names: [&closed, &sibling, &twin, &far].map(Clone::clone).to_vec(),
            closed,
            ways,
        })
    }

    /// The container that is blessed, to be closed with all of its workload.
    pub(super) fn closed(&self) -> &str {
        &self.closed
    }

    /// One that is of no workload.
    pub(super) fn twin(&self) -> &str {
        &self.names[2]
    }

    /// How many ports are to be closed, of those that run.
    pub(super) const fn links(&self) -> usize {
        2
    }

    pub(super) const fn count(&self) -> usize {
        self.ways.len()
    }

    pub(super) fn benign(&self) -> usize {
        self.ways.iter().filter(|way| way.is_benign).count()
    }

    /// Those that are open now; one after the other where they change the container they begin at.
    pub(super) fn passing(&self, host: &Host) -> Result<Vec<Way>> {
        let (bold, others): (Vec<&Way>, Vec<&Way>) = self
            .ways
            .iter()
            .partition(|way| way.what.contains("of its own choice"));
        let mut passing: Vec<Way> = thread::scope(|scope| {
            let tried: Vec<_> = others
                .iter()
                .map(|way| scope.spawn(|| self.passes(way, host)))
                .collect();
            let tried = tried.into_iter().map(|one| {
                one.join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a trial panicked")))
            });
            let tried: Result<Vec<bool>> = tried.collect();
            Ok::<_, anyhow::Error>(
                others
                    .iter()
                    .zip(tried?)
                    .filter(|(_, passes)| *passes)
                    .map(|(way, _)| (*way).clone())
                    .collect(),
            )
        })?;
        for way in bold {
            if self.passes(way, host)? {
                passing.push(way.clone());
            }
        }
        Ok(passing)
    }

    /// Those that are not among these.
    pub(super) fn without(&self, these: &[Way]) -> Vec<&'static str> {
        let names: Vec<&str> = these.iter().map(|way| way.what).collect();
        let others = self.ways.iter().map(|way| way.what);
        others.filter(|name| !names.contains(name)).collect()
    }

    /// From within a container by its namespaces: an exec would be held by the gate.
    fn passes(&self, way: &Way, host: &Host) -> Result<bool> {
        let line: Vec<&str> = way.command.iter().map(String::as_str).collect();
        let mut command = match &way.from {
            From::Host => host.command(&line),
            From::Container(name) => {
                let output = std::process::Command::new("docker")
                    .args([
                        "--host",
                        &self.docker,
                        "inspect",
                        "--format",
                        "{{.State.Pid}}",
                        name,
                    ])
                    .output()?;
                let pid = String::from_utf8(output.stdout)?.trim().to_owned();
                let mut command = std::process::Command::new("nsenter");
                command.args(["--target", &pid, "--net", "--mount"]).args(&line);
                command
            }
        };
        let output = command.output().context("trying a way")?;
        Ok(output.status.success())
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        // Before the networks they are in.
        let mut command = std::process::Command::new("docker");
        command
            .args(["--host", &self.docker, "rm", "--force"])
            .args(&self.names);
        let _ = command.output();
    }
}
