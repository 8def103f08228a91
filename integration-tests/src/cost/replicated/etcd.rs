//! Debian's etcd: three members of one cluster, over TLS between them and to their clients, under the settings it has by itself.
//!
//! Their certificates are of an authority of Verger's own kind, so that one client calls both sides in one way.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tokio::runtime::Handle;
use tonic::transport::Channel;
use tonic::{Code, Status};
use verger_transport::{Authority, Client, Identity, KeyPair, Purpose, SpiffeId, certificate_pem, channel};

use super::MEMBERS;
use super::side::{Side, Write, call};
use crate::scene::{PATIENCE, checked, free_port};

/// A certificate lives longer than a run.
const LIFE: Duration = Duration::from_secs(86_400);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// A member that says nothing for this long is asked again.
const ASK: Duration = Duration::from_secs(2);

/// What is asked of etcd, of its `rpc.proto` (release 3.4): the fields that are used.
mod pb {
    use bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Header {
        #[prost(uint64, tag = "2")]
        pub(super) member_id: u64,
        #[prost(int64, tag = "3")]
        pub(super) revision: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PutRequest {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) key: Bytes,
        #[prost(bytes = "bytes", tag = "2")]
        pub(super) value: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PutResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<Header>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RangeRequest {
        #[prost(bytes = "bytes", tag = "1")]
        pub(super) key: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RangeResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<Header>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct StatusRequest {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct StatusResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<Header>,
        #[prost(uint64, tag = "4")]
        pub(super) leader: u64,
    }
}

/// One put of one client.
pub(super) struct Put {
    channel: Channel,
    key: Bytes,
}

impl Put {
    pub(super) async fn write(&self, value: String) -> Result<(), Status> {
        let question = pb::PutRequest {
            key: self.key.clone(),
            value: value.into(),
        };
        let answer: pb::PutResponse = call(&self.channel, "/etcdserverpb.KV/Put", question).await?;
        match answer.header {
            Some(_) => Ok(()),
            None => Err(Status::new(Code::Internal, "an answer without a header")),
        }
    }
}

/// A member's program.
struct Member {
    line: Vec<OsString>,
    log: PathBuf,
    address: String,
    child: Option<Child>,
}

impl Member {
    fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.line)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting etcd")?;
        self.child = Some(child);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("this member of etcd does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.child.is_some() {
            let _ = self.kill();
        }
    }
}

/// The cluster.
pub(super) struct Etcd {
    members: Vec<Member>,
    channels: Vec<Channel>,
    client: Arc<Client>,
    handle: Handle,
    /// The version, as the program says it.
    pub(super) version: String,
}

impl Etcd {
    /// Three members with their data in this folder; one leads when it comes back.
    pub(super) fn found(folder: &Path, handle: &Handle) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let version = String::from_utf8(checked(Command::new("etcd").arg("--version"))?.stdout)?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        let cluster = "e7cd".repeat(16);
        let authority = Authority::create(folder, Purpose::Members, &cluster)?;
        let ca = folder.join("ca.pem");
        fs::write(&ca, certificate_pem(authority.certificate()))?;
        let issue = |name: &str| -> Result<Identity> {
            let id: SpiffeId = format!("spiffe://{cluster}/controller/{name}").parse()?;
            let key = KeyPair::generate()?;
            let issued = authority.issue(&key.request()?, &id, LIFE, &["127.0.0.1".to_owned()])?;
            Ok(Identity::new(issued.chain, &key))
        };
        let client = Arc::new(Client::new(
            &cluster,
            &issue("client")?,
            &[authority.certificate().to_vec()],
        )?);
        let mut ports = Vec::new();
        for number in 1..=MEMBERS {
            ports.push((format!("e{number}"), free_port()?, free_port()?));
        }
        let url = |port: &u16| format!("https://127.0.0.1:{port}");
        let all: Vec<String> = ports
            .iter()
            .map(|(name, peer, _)| format!("{name}={}", url(peer)))
            .collect();
        let mut members = Vec::new();
        for (name, peer, port) in &ports {
            let identity = issue(name)?;
            let (chain, key) = (
                folder.join(format!("{name}.pem")),
                folder.join(format!("{name}.key")),
            );
            fs::write(&chain, identity.chain_pem())?;
            verger_transport::files::create(&key, identity.key_pem().as_bytes())?;
            let mut line: Vec<OsString> = vec!["etcd".into()];
            let mut set = |flag: &str, value: OsString| line.extend([format!("--{flag}").into(), value]);
            set("name", name.into());
            set("data-dir", folder.join(name).into());
            set("listen-peer-urls", url(peer).into());
            set("initial-advertise-peer-urls", url(peer).into());
            set("listen-client-urls", url(port).into());
            set("advertise-client-urls", url(port).into());
            set("initial-cluster", all.join(",").into());
            set("logger", "zap".into());
            set("log-level", "warn".into());
            for of in ["", "peer-"] {
                set(&format!("{of}cert-file"), chain.clone().into());
                set(&format!("{of}key-file"), key.clone().into());
                set(&format!("{of}trusted-ca-file"), ca.clone().into());
            }
            line.extend(["--client-cert-auth".into(), "--peer-client-cert-auth".into()]);
            members.push(Member {
                line,
                log: folder.join(format!("{name}.log")),
                address: format!("127.0.0.1:{port}"),
                child: None,
            });
        }
        // None is ready before a quorum is.
        for member in &mut members {
            member.start()?;
        }
        let mut etcd = Self {
            members,
            channels: Vec::new(),
            client,
            handle: handle.clone(),
            version,
        };
        for number in 0..MEMBERS {
            let deadline = Instant::now() + PATIENCE;
            let connected = loop {
                match etcd.connected(number) {
                    Ok(connected) => break connected,
                    Err(error) => etcd.goes_on(number, deadline).context(format!("{error:#}"))?,
                }
            };
            etcd.channels.push(connected);
        }
        etcd.leader()?;
        Ok(etcd)
    }

    fn connected(&self, member: usize) -> Result<Channel> {
        let address = [self.members[member].address.clone()];
        Ok(self
            .handle
            .block_on(channel(Arc::clone(&self.client), &address))?)
    }

    /// Waits a little, unless that was done long enough.
    fn goes_on(&self, member: usize, deadline: Instant) -> Result<()> {
        let log = &self.members[member].log;
        ensure!(
            Instant::now() < deadline,
            "etcd does not get so far within {PATIENCE:?}: {}",
            fs::read_to_string(log).unwrap_or_default()
        );
        std::thread::sleep(LOOK);
        Ok(())
    }

    fn ask<Q, A>(&self, member: usize, path: &'static str, question: Q) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let channel = &self.channels[member];
        let answer = self
            .handle
            .block_on(async { tokio::time::timeout(ASK, call(channel, path, question)).await });
        Ok(answer.context("etcd says nothing")??)
    }

    /// The revision as it is after everything that was acknowledged.
    fn revision(&self, member: usize) -> Result<u64> {
        let question = pb::RangeRequest {
            key: Bytes::from_static(b"nothing"),
        };
        let answer: pb::RangeResponse = self.ask(member, "/etcdserverpb.KV/Range", question)?;
        let header = answer.header.context("an answer without a header")?;
        Ok(u64::try_from(header.revision)?)
    }
}

impl Side for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn pids(&self) -> Result<Vec<u32>> {
        let pid = |member: &Member| member.child.as_ref().map(Child::id);
        let pids: Option<Vec<u32>> = self.members.iter().map(pid).collect();
        pids.context("a member of etcd does not run")
    }

    fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for number in 0..MEMBERS {
                let answer = self.ask(number, "/etcdserverpb.Maintenance/Status", pb::StatusRequest {});
                let answer: pb::StatusResponse = match answer {
                    Ok(answer) => answer,
                    Err(_) => continue,
                };
                let id = answer.header.context("an answer without a header")?.member_id;
                if id == answer.leader {
                    return Ok(number);
                }
            }
            self.goes_on(0, deadline)?;
        }
    }

    fn kill(&mut self, member: usize) -> Result<()> {
        self.members[member].kill()
    }

    fn start(&mut self, member: usize) -> Result<()> {
        self.members[member].start()?;
        let deadline = Instant::now() + PATIENCE;
        // Who answers this has what the others have.
        while self.revision(member).is_err() {
            self.goes_on(member, deadline)?;
        }
        Ok(())
    }

    fn connect(&self, _number: usize, member: usize) -> Result<Channel> {
        self.connected(member)
    }

    fn write_over(&self, number: usize, channel: &Channel) -> Write {
        Write::Etcd(Put {
            channel: channel.clone(),
            key: Bytes::from(super::key_of(number)),
        })
    }

    fn written(&self, member: usize) -> Result<u64> {
        self.revision(member)
    }
}
