//! More members of the scene's cluster, each a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tower::ServiceExt as _;
use verger_proto::cluster::v1::RevokeLoginRequest;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_transport::Connector;

use super::{LOOK, PATIENCE, Program, Scene, checked, free_port, nowhere};
use crate::access::Access;
use crate::programs::Programs;

/// The name of the member that founds the cluster.
pub const FIRST: &str = "c1";

/// Where a member is.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Where it listens for its peers.
    pub listen: SocketAddr,
    /// Where they call it.
    pub called: SocketAddr,
    /// Where it keeps its files; in the scene's folder where there is none.
    pub data: Option<PathBuf>,
}

impl Seat {
    /// On the loopback, in the scene's folder.
    ///
    /// # Errors
    /// When there is no port.
    pub fn anywhere() -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        Ok(Self {
            listen: address,
            called: address,
            data: None,
        })
    }

    /// Where the others call it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.called
    }

    /// What its configuration says of it.
    fn peering(&self) -> String {
        format!(
            "peer_listen = \"{}\"\npeer_address = \"{}\"\n",
            self.listen, self.called
        )
    }
}

impl Scene {
    /// A cluster of so many members that vote, `c1` and so on, all of which run when it comes back. There is no Docker, and its agent
    /// has joined nothing.
    ///
    /// # Errors
    /// When a step fails; says what it printed.
    pub fn of_members(programs: &Programs, count: usize) -> Result<Self> {
        let seats = (0..count).map(|_| Seat::anywhere());
        Self::of_members_at(programs, &seats.collect::<Result<Vec<_>>>()?)
    }

    /// The same, each of them there.
    ///
    /// # Errors
    /// As [`of_members`](Self::of_members).
    pub fn of_members_at(programs: &Programs, seats: &[Seat]) -> Result<Self> {
        let (first, others) = seats.split_first().context("a cluster has a member")?;
        let mut scene = Self::founded_in(
            programs,
            &nowhere().join("docker.sock"),
            nowhere(),
            &first.peering(),
            first.data.as_deref(),
        )?;
        for (number, seat) in (2..).zip(others) {
            let name = format!("c{number}");
            scene.join_member(&name, seat)?;
            scene.promote(&name)?;
        }
        // The context learns where they are called.
        scene.say(&["cluster", "members"])?;
        Ok(scene)
    }

    /// Has one more member join, as a learner, and starts it.
    ///
    /// # Errors
    /// When a step fails; says what it printed.
    pub fn join_member(&mut self, name: &str, seat: &Seat) -> Result<()> {
        self.join_member_by(name, seat, None)
    }

    /// The same by a member that serves who joins at this address; by whichever answers where there is none.
    ///
    /// # Errors
    /// As [`join_member`](Self::join_member).
    pub fn join_member_by(&mut self, name: &str, seat: &Seat, enrol: Option<&str>) -> Result<()> {
        let config = self.draw_up_member(name, seat)?;
        let mut join = self.join_command(name)?;
        if let Some(enrol) = enrol {
            let arguments: Vec<_> = join.get_args().map(ToOwned::to_owned).collect();
            let mut arguments = arguments.into_iter();
            let mut other = Command::new(join.get_program());
            while let Some(argument) = arguments.next() {
                let is_address = argument == "--enrol";
                other.arg(argument);
                if is_address {
                    arguments.next();
                    other.arg(enrol);
                }
            }
            join = other;
            join.stdin(Stdio::null());
        }
        checked(&mut join)?;
        self.seat(name, config)?.start()
    }

    /// The program of a member that has joined, which is not started.
    fn seat(&mut self, name: &str, config: PathBuf) -> Result<&mut Program> {
        let mut line = vec![self.programs.path("verger-controller")?.into_os_string()];
        line.extend(["--config".into(), config.into(), "run".into()]);
        let member = Program::new(name, line, self.folder.path());
        self.others.insert(name.to_owned(), member);
        self.member(name)
    }

    /// Has one more member join, as a learner. It is not started.
    ///
    /// # Errors
    /// As [`join_member`](Self::join_member).
    pub fn admit_member(&mut self, name: &str, seat: &Seat) -> Result<&mut Program> {
        let config = self.draw_up_member(name, seat)?;
        checked(&mut self.join_command(name)?)?;
        self.seat(name, config)
    }

    /// Writes the configuration of a member that is to join, and says where.
    ///
    /// # Errors
    /// When it cannot be written, or there are no ports.
    pub fn draw_up_member(&self, name: &str, seat: &Seat) -> Result<PathBuf> {
        let config = self.path(&format!("{name}.toml"));
        fs::write(
            &config,
            format!(
                "data_dir = {:?}\nmember = \"{name}\"\nlisten = \"127.0.0.1:{}\"\nenrol_listen = \"127.0.0.1:{}\"\n{}",
                seat.data.clone().unwrap_or_else(|| self.path(name)),
                free_port()?,
                free_port()?,
                seat.peering()
            ),
        )?;
        Ok(config)
    }

    /// The command by which a member joins, whose configuration is there.
    ///
    /// # Errors
    /// When it is not invited.
    pub fn join_command(&self, name: &str) -> Result<Command> {
        let text = self.say(&["cluster", "add", name])?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("verger-controller "))
            .with_context(|| format!("no join command in {text:?}"))?;
        let mut join = Command::new(self.programs.path("verger-controller")?);
        join.arg("--config").arg(self.path(&format!("{name}.toml")));
        join.args(line.split_whitespace()).stdin(Stdio::null());
        Ok(join)
    }

    /// Has a learner vote, once it has what the others have.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn promote(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.verger().args(["cluster", "promote", name]).output()?;
            if output.status.success() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "{name} is not promoted: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A member's program.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn member(&mut self, name: &str) -> Result<&mut Program> {
        match name {
            FIRST => Ok(&mut self.controller),
            other => self
                .others
                .get_mut(other)
                .with_context(|| format!("the scene has no member {other}")),
        }
    }

    /// The names of all of them.
    pub fn member_names(&self) -> Vec<String> {
        let others = self.others.keys().cloned();
        std::iter::once(FIRST.to_owned()).chain(others).collect()
    }

    /// The processes of all of them.
    ///
    /// # Errors
    /// When one does not run.
    pub fn member_pids(&self) -> Result<Vec<u32>> {
        let all = std::iter::once(&self.controller).chain(self.others.values());
        all.map(Program::pid).collect()
    }

    /// Who leads, by whichever member answers.
    ///
    /// # Errors
    /// When nobody does in time.
    pub fn leader(&self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self
                .verger()
                .args(["cluster", "status", "--output", "json"])
                .output()?;
            if output.status.success() {
                let status: Value = serde_json::from_slice(&output.stdout)?;
                if let Some(leader) = status["leader"].as_str().filter(|leader| !leader.is_empty()) {
                    return Ok(leader.to_owned());
                }
            }
            ensure!(
                Instant::now() < deadline,
                "nobody leads: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Where a member is called by agents and people.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn address(&self, name: &str) -> Result<String> {
        let rows = self.rows(&["cluster", "members"])?;
        let row = rows.iter().find(|row| row["member"] == name);
        let address = row.and_then(|row| row["address"].as_str());
        Ok(address.with_context(|| format!("no member {name}"))?.to_owned())
    }
    /// The certificate that a member shows to who calls it now, DER.
    ///
    /// # Errors
    /// When it cannot be called, or is not one of this cluster's.
    pub fn certificate(&self, name: &str) -> Result<Vec<u8>> {
        let uri = format!("https://{}", self.address(name)?).parse()?;
        let connector = Connector::new(Access::of(self)?.client(), None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stream = runtime.block_on(connector.oneshot(uri))?;
        let certificates = stream.inner().get_ref().1.peer_certificates();
        let leaf = certificates
            .and_then(|chain| chain.first())
            .context("no certificate")?;
        Ok(leaf.to_vec())
    }
    /// Has somebody's login revoked so often, one after the other: each is an entry of the log.
    ///
    /// # Errors
    /// When one is refused.
    pub fn revoke_often(&self, person: &str, count: usize) -> Result<()> {
        let access = Access::of(self)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut logins = CertificateServiceClient::new(access.channel().await?);
            for number in 0..count {
                let request = RevokeLoginRequest {
                    request_id: uuid::Uuid::new_v4().to_string(),
                    person: person.to_owned(),
                    reason: format!("reason {number}"),
                    lift: false,
                };
                logins.revoke_login(request).await?;
            }
            Ok(())
        })
    }
}
