//! The audit as people get it: listed, followed, exported, and verified against a head kept elsewhere.

use std::io::{BufRead as _, BufReader};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use prost::Message as _;
use serde_json::Value;
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::audit_service_server::AuditService;
use verger_proto::stored::v1 as stored;
use verger_seal::ChainHead;

use crate::cluster::{Cluster, World};
use crate::program::Program;

/// The most rows in an answer: people who have more ask again.
const PAGE: usize = 2;

/// What the cluster holds of its audit.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Number, key and value.
    rows: Vec<(u64, Vec<u8>, Vec<u8>)>,
    head: ChainHead,
    dropped: u64,
    /// How often a stream was asked for, and after which row.
    watched: Vec<u64>,
    /// How many days have passed.
    days: i64,
    /// What is said to come behind a page in which nothing does.
    endless: Option<Endless>,
}

/// How a list has no end.
#[derive(Clone, Copy, Debug)]
enum Endless {
    Empty,
    Repeated,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            head: ChainHead::START,
            dropped: 0,
            watched: Vec::new(),
            days: 0,
            endless: None,
        }
    }
}

impl Kept {
    pub(crate) fn head(&self) -> ChainHead {
        self.head
    }

    pub(crate) fn write(&mut self, actor: &str, action: &str, detail: &str) {
        self.write_with(actor, action, detail, "ok");
    }

    pub(crate) fn write_with(&mut self, actor: &str, action: &str, detail: &str, outcome: &str) {
        let number = self.head.count + 1;
        let row = stored::AuditRow {
            format: 1,
            at_ms: 1_700_000_000_000 + 86_400_000 * self.days + 1_000 * number as i64,
            actor: actor.to_owned(),
            action: action.to_owned(),
            request_id: format!("request-{number}"),
            outcome: outcome.to_owned(),
            previous: self.head.digest.as_bytes().to_vec().into(),
            detail: detail.to_owned(),
            from: "192.0.2.1:40000".to_owned(),
            ..Default::default()
        };
        let (key, value) = ([&number.to_be_bytes()[..], &[0; 4]].concat(), row.encode_to_vec());
        self.head = self.head.then(&key, &value);
        self.rows.push((number, key, value));
    }

    /// So many days pass.
    pub(crate) fn pass(&mut self, days: i64) {
        self.days += days;
    }

    /// Says that so many of the oldest rows are dropped.
    fn claim_dropped(&mut self, rows: u64) {
        self.dropped = rows;
    }

    pub(crate) fn drop_oldest(&mut self) {
        self.rows.remove(0);
        self.dropped += 1;
    }
}

fn in_wire((number, key, value): &(u64, Vec<u8>, Vec<u8>)) -> pb::AuditRow {
    pb::AuditRow {
        number: *number,
        key: key.clone().into(),
        value: value.clone().into(),
        // Nobody may look at it.
        entry: Some(pb::AuditEntry {
            actor: "person/mallory".to_owned(),
            ..Default::default()
        }),
    }
}

/// The world, and the trust root of the founding.
pub(crate) struct Audits(pub(crate) Arc<Mutex<World>>, pub(crate) Vec<u8>);

type Stream = Pin<Box<dyn tokio_stream::Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuditService for Audits {
    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        let pb::ListRequest {
            filter,
            page_size,
            page_token,
            newest_first,
        } = request.into_inner();
        let actor = filter.unwrap_or_default().actor;
        let after: u64 = page_token.parse().unwrap_or_default();
        let (mut rows, endless) = {
            let audit = &self.0.lock().unwrap().audit;
            (audit.rows.clone(), audit.endless)
        };
        if let Some(endless) = endless.filter(|_| after > 0) {
            let rows = match endless {
                Endless::Empty => &[],
                Endless::Repeated => &rows[..1],
            };
            return Ok(Response::new(pb::ListResponse {
                rows: rows.iter().map(in_wire).collect(),
                next_page_token: "9".to_owned(),
            }));
        }
        if newest_first {
            rows.reverse();
        }
        let is_next = |number: u64| match (after, newest_first) {
            (0, _) => true,
            (after, true) => number < after,
            (after, false) => number > after,
        };
        rows.retain(|(number, _, value)| {
            let row = stored::AuditRow::decode(value.as_slice()).unwrap();
            is_next(*number) && (actor.is_empty() || row.actor == actor)
        });
        let size = PAGE.min(page_size as usize);
        let more = rows.len() > size;
        rows.truncate(size);
        let next_page_token = rows
            .last()
            .filter(|_| more)
            .map(|(number, _, _)| number.to_string());
        Ok(Response::new(pb::ListResponse {
            rows: rows.iter().map(in_wire).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        }))
    }

    type WatchStream = Stream;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Stream>, Status> {
        let after = request.into_inner().after;
        let mut world = self.0.lock().unwrap();
        world.audit.watched.push(after);
        let breaks = world.audit.watched.len() == 1;
        let rows = world.audit.rows.iter().filter(|(number, _, _)| *number > after);
        let rows = rows.take(if breaks { 1 } else { usize::MAX }).map(|row| {
            Ok(pb::WatchResponse {
                position: row.0,
                position_key: in_wire(row).key,
                row: Some(in_wire(row)),
            })
        });
        let mut messages: Vec<_> = rows.collect();
        if breaks {
            messages.push(Err(Status::unavailable("this member stops")));
        }
        let messages = tokio_stream::iter(messages);
        if breaks {
            return Ok(Response::new(Box::pin(messages)));
        }
        Ok(Response::new(Box::pin(messages.chain(tokio_stream::pending()))))
    }

    async fn head(&self, _: Request<pb::HeadRequest>) -> Result<Response<pb::HeadResponse>, Status> {
        let world = self.0.lock().unwrap();
        if world.audit_refused {
            return Err(Status::permission_denied("no rule allows it"));
        }
        let (audit, stamp) = (world.audit.clone(), world.stamp.clone());
        let envelope = |json: Vec<u8>| verger_proto::policy::v1::Envelope { json: json.into() };
        Ok(Response::new(pb::HeadResponse {
            written: audit.head.count,
            dropped: audit.dropped,
            head: audit.head.digest.as_bytes().to_vec().into(),
            stamp: stamp.map(envelope),
            trust_roots: vec![envelope(self.1.clone())],
        }))
    }
}

/// A cluster in which five things were done.
fn cluster(program: &Program) -> Cluster {
    let cluster = Cluster::start(program);
    {
        let audit = &mut cluster.world().audit;
        audit.write("controller/c1", "found", "");
        for number in 2..5 {
            audit.write("person/ada", "apply-set", &format!("on epoch {number}"));
        }
        audit.write("agent/h1", "denied", "S/M\u{1b}[2J\n\u{202e}");
    }
    cluster
}

fn numbers(list: &Value) -> Vec<u64> {
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| row["number"].as_u64().unwrap()).collect()
}

#[test]
fn rows_are_listed_oldest_first_and_say_what_their_bytes_say() {
    let program = Program::new();
    let _cluster = cluster(&program);
    let listed = |args: &[&str]| {
        let args = [&["audit", "list", "-o", "json"], args].concat();
        program.run(&args).ends(0).json()
    };
    assert_eq!(numbers(&listed(&[])), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(&listed(&["--last", "3"])), [3, 4, 5]);
    assert_eq!(numbers(&listed(&["--last", "0"])), [1, 2, 3, 4, 5]);
    let mine = listed(&["--actor", "person/ada", "--last", "2"]);
    assert_eq!(numbers(&mine), [3, 4]);
    assert_eq!(
        (&mine[0]["actor"], &mine[0]["requestId"], &mine[0]["from"]),
        (
            &"person/ada".into(),
            &"request-3".into(),
            &"192.0.2.1:40000".into()
        )
    );
    let table = program.run(&["audit", "list"]).ends(0).out;
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(
        table.contains("S/M\\u{1b}[2J\\u{a}\\u{202e}") && !table.contains("mallory"),
        "{table}"
    );
    let slip = program.run(&["audit", "list", "--since", "yesterday"]).ends(2);
    assert!(slip.err.contains("--since"), "{}", slip.err);
}

#[test]
fn an_export_is_verified_without_the_cluster_against_the_head_that_was_kept() {
    let program = Program::new();
    let mut cluster = cluster(&program);
    let kept = program.run(&["audit", "head"]).ends(0).out.trim().to_owned();
    assert_eq!(kept, format!("{}:0:1700000001", cluster.world().audit.head));
    let told = program.run(&["audit", "head", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&told["keep"], &told["dropped"], &told["oldest"]),
        (&kept.as_str().into(), &0.into(), &"2023-11-14T22:13:21Z".into())
    );
    cluster.world().audit.write("person/ada", "apply-set", "later");
    let exported = program.run(&["audit", "export", "--out", "audit.jsonl"]).ends(0);
    assert!(exported.out.contains("6 rows"), "{}", exported.out);
    program.run(&["audit", "export", "--out", "audit.jsonl"]).ends(2);
    cluster.stop();
    let file = std::fs::read_to_string(program.path("audit.jsonl")).unwrap();
    let verify = |name: &str, head: Option<&str>| {
        let mut args = vec!["audit", "verify", "--file", name];
        args.extend(head.into_iter().flat_map(|head| ["--head", head]));
        program.run(&args)
    };
    let whole = verify("audit.jsonl", Some(&kept)).ends(0);
    assert!(
        whole.out.contains("Rows 1 to 6") && whole.out.contains("The head you kept is of these"),
        "{}",
        whole.out
    );
    let alone = verify("audit.jsonl", None).ends(0);
    assert!(alone.out.contains("give --head"), "{}", alone.out);
    verify("audit.jsonl", Some("abc:5")).ends(2);
    verify("nowhere.jsonl", None).ends(2);
    program.write("other.jsonl", "{}\n");
    verify("other.jsonl", None).ends(2);

    let lines: Vec<&str> = file.lines().collect();
    assert_eq!(lines.len(), 8);
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat();
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    let changed = file.replacen("7065", "7066", 1);
    for (name, text) in [
        ("deleted", without(3).join("\n") + "\n"),
        ("without a head", without(7).join("\n") + "\n"),
        ("swapped", swapped.join("\n") + "\n"),
        ("changed", changed),
        ("says otherwise", file.replacen("person/ada", "person/eve", 1)),
        ("cut", file[..file.len() - 9].to_owned()),
    ] {
        assert_ne!(text, file);
        program.write("touched.jsonl", text);
        let touched = verify("touched.jsonl", Some(&kept)).ends(1);
        assert!(touched.err.contains("not whole"), "{name}: {}", touched.err);
    }
}

#[test]
fn a_cluster_that_bends_its_audit_is_caught() {
    let program = Program::new();
    let cluster = cluster(&program);
    let kept = program
        .run(&["audit", "head", "-o", "name"])
        .ends(0)
        .out
        .trim()
        .to_owned();
    let verify = || program.run(&["audit", "verify", "--head", &kept]);
    verify().ends(0);
    let honest = cluster.world().audit.clone();

    // Rewritten from row 4 on, in one piece.
    {
        let audit = &mut cluster.world().audit;
        *audit = Kept::default();
        audit.write("controller/c1", "found", "");
        for number in 2..6 {
            audit.write("person/ada", "apply-set", &format!("on epoch {number}"));
        }
    }
    let rewritten = verify().ends(1);
    assert!(rewritten.err.contains("whose head was kept"), "{}", rewritten.err);

    // The last row, which tells of somebody, cut off.
    {
        let audit = &mut cluster.world().audit;
        *audit = Kept::default();
        audit.write("controller/c1", "found", "");
        for number in 2..5 {
            audit.write("person/ada", "apply-set", &format!("on epoch {number}"));
        }
    }
    let cut = verify().ends(1);
    assert!(cut.err.contains("rows were cut off its end"), "{}", cut.err);
    // Without a head, and without a word of the members, nobody could tell: it is not said to be clean.
    let unsure = program.run(&["audit", "verify"]).ends(3);
    assert!(unsure.out.contains("NOT SURE: no majority"), "{}", unsure.out);
    cluster.world().audit = honest.clone();
    program.run(&["audit", "verify"]).ends(3);
    verify().ends(0);

    // A row taken out, and nothing else: also without a head that was kept.
    cluster.world().audit = honest.clone();
    cluster.world().audit.rows.remove(2);
    let missing = program.run(&["audit", "verify"]).ends(1);
    assert!(missing.err.contains("not whole"), "{}", missing.err);
    let exported = program.run(&["audit", "export", "--out", "bent.jsonl"]).ends(1);
    assert!(exported.err.contains("not whole"), "{}", exported.err);
    program.run(&["audit", "verify", "--file", "bent.jsonl"]).ends(1);
}

#[test]
fn an_audit_without_an_end_is_read_no_further() {
    let program = Program::new();
    let cluster = cluster(&program);
    let export = |name: &str| program.run(&["audit", "export", "--out", name]);
    // The positive control: there is one.
    export("good.jsonl").ends(0);
    for endless in [Endless::Empty, Endless::Repeated] {
        cluster.world().audit.endless = Some(endless);
        for ran in [program.run(&["audit", "verify"]), export("endless.jsonl")] {
            let refused = ran.ends(1);
            assert!(
                refused.err.contains("behind row 2 of its audit, and shows none"),
                "{endless:?}: {}",
                refused.err
            );
        }
        assert!(!program.path("endless.jsonl").exists());
    }
}

#[test]
fn rows_under_a_kept_head_that_go_are_told_whoever_drops_them() {
    let program = Program::new();
    let cluster = cluster(&program);
    let head = || program.run(&["audit", "head"]).ends(0).out.trim().to_owned();
    let kept = head();
    let without = kept.rsplitn(3, ':').last().unwrap();
    let online = |head: &str| program.run(&["audit", "verify", "--head", head, "-o", "json"]);
    let offline = |name: &str, head: &str| {
        let export = ["audit", "export", "--out", name];
        if !program.path(name).exists() {
            program.run(&export).ends(0);
        }
        program.run(&["audit", "verify", "--file", name, "--head", head])
    };
    let word = |ran: &crate::program::Ran| ran.json()["keptHead"].as_str().unwrap().to_owned();
    assert_eq!(word(&online(&kept).ends(0)), "met");
    offline("whole.jsonl", &kept).ends(0);
    offline("whole.jsonl", without).ends(0);

    // The oldest two are taken out, and said to be dropped: no bound has them dropped within seconds.
    let honest = cluster.world().audit.clone();
    for _ in 0..2 {
        cluster.world().audit.drop_oldest();
    }
    let told = online(&kept).ends(1);
    assert_eq!(
        (word(&told), &told.json()["goneSinceKept"]),
        ("takenOut".to_owned(), &2.into())
    );
    let told = offline("short.jsonl", &kept).ends(1);
    assert!(
        told.out
            .contains("TAKEN OUT: 2 rows that the head you kept is over"),
        "{}",
        told.out
    );
    // As it was kept before anything was said of dropping, it can only not be sure.
    let told = offline("short.jsonl", without).ends(3);
    assert!(
        told.out.contains("NOT SURE: 2 rows") && told.out.contains("does not say how many were gone"),
        "{}",
        told.out
    );
    // Who keeps a head afterwards, and is told so, has nothing to miss.
    let after = program.run(&["audit", "head"]).ends(0);
    assert!(
        after.err.contains("the first 2 rows are gone already"),
        "{}",
        after.err
    );
    let after = after.out.trim();
    assert!(after.ends_with(":5:2:1700000003"), "{after}");
    let told = offline("short.jsonl", after).ends(0);
    assert!(
        told.out.contains("the first 2, which were gone when you kept it"),
        "{}",
        told.out
    );
    assert_eq!(word(&online(after).ends(0)), "met");
    // Rows that are shown cannot be said to be gone before they are.
    cluster.world().audit = honest.clone();
    cluster.world().audit.drop_oldest();
    let rows = cluster.world().audit.clone();
    cluster.world().audit.claim_dropped(4);
    let lie = program.run(&["audit", "head"]).ends(1);
    assert!(lie.err.contains("the oldest it shows is row 2"), "{}", lie.err);

    // 400 days later old rows may go. Who drops them cannot be told, and it is not said to be clean.
    cluster.world().audit = rows;
    cluster.world().audit.pass(401);
    cluster.world().audit.write("person/ada", "apply-set", "later");
    let told = online(&kept).ends(3);
    assert_eq!(
        (word(&told), &told.json()["goneSinceKept"]),
        ("shortened".to_owned(), &1.into())
    );
    let told = offline("later.jsonl", &kept).ends(3);
    assert!(told.out.contains("NOT SURE: 1 rows"), "{}", told.out);
    let newer = head();
    offline("later.jsonl", &newer).ends(0);
    // With all that was kept gone, nothing can be compared.
    cluster.world().audit.write("person/ada", "apply-set", "later");
    for _ in 0..5 {
        cluster.world().audit.drop_oldest();
    }
    assert_eq!(word(&online(&kept).ends(3)), "dropped");
    let gone = offline("gone.jsonl", &kept).ends(3);
    assert!(gone.out.contains("NOT COMPARED"), "{}", gone.out);
}

#[test]
fn a_watch_goes_on_after_a_lost_stream_where_it_was() {
    let program = Program::new();
    let cluster = cluster(&program);
    let mut child = program
        .command(&["audit", "watch", "--after", "2", "-o", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let rows: Vec<u64> = lines
        .take(3)
        .map(|line| {
            serde_json::from_str::<Value>(&line.unwrap()).unwrap()["number"]
                .as_u64()
                .unwrap()
        })
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(rows, [3, 4, 5]);
    assert_eq!(cluster.world().audit.watched, [2, 3]);
}
