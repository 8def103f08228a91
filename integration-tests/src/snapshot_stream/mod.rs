//! A member that joins is given the state as a snapshot, over a way that breaks again and again, while people write: what the leader and the
//! member hold in memory for it is bounded, each part of it is sent about once, and nobody who writes waits long.
//!
//! The state is an audit, which members keep on disk alone but for a place of each row: written through the log, by a member of its own.

mod load;
mod memory;
mod way;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, setpriority_process};
use tokio::runtime::Runtime;
use verger_controller_store::{RowOp, SledState, StateDb as _};
use verger_policy::digest::Digest;
use verger_proto::cluster::v1::ListMembersRequest;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;

use crate::access::Access;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::{FIRST, Scene, Seat, checked};
use load::Load;
use memory::{forget_peak, memory};
use way::Way;

/// What a member may hold over idle for a snapshot, at most.
const MOST_OVER_IDLE: u64 = 64 << 20;
/// Writes go on at no less than this part of their rate before: on two cores whoever writes the snapshot and whoever takes it in have as
/// much of them as members and those who ask.
const LEAST_RATE: f64 = 0.25;
/// Nobody waits longer for a write to be acknowledged.
const LONGEST_GAP: Duration = Duration::from_secs(2);
/// What a break may cost: what is on its way then, in both programs, in the proxy and in four sockets.
const LOST_PER_BREAK: u64 = 8 << 20;
/// What else is said to the member meanwhile, for each byte of the snapshot: entries, signs of life, TLS.
const OTHER: f64 = 0.1;
/// The longest that a snapshot of this rig may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// Of setpriority(2).
const LEAST_PRIORITY: i32 = 19;
const LOOK: Duration = Duration::from_millis(50);
/// The member that comes.
const LATE: &str = "c3";
/// Two members are stopped behind the same entry by then.
const ATTEMPTS: usize = 10;
/// One that votes, beside the first.
const SECOND: &str = "c2";
/// What is committed is applied everywhere within this.
const SETTLED: Duration = Duration::from_secs(2);

/// How much is done.
struct Size {
    mebibytes: u64,
    /// The way breaks after each of so many parts of it.
    parts: u64,
    /// How long writes are measured before.
    before: Duration,
}

/// Has a state of 1 GiB sent, or of 64 MiB in the short form.
///
/// # Errors
/// When the scene does not work. What was exceeded is in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let size = match long {
        true => Size {
            mebibytes: 1_024,
            parts: 8,
            before: Duration::from_secs(30),
        },
        false => Size {
            mebibytes: 64,
            parts: 4,
            before: Duration::from_secs(4),
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let programs = Programs::find()?;
    let (mut scene, bytes) = stage(&programs, size.mebibytes)?;
    let way = Way::breaking_every(bytes / size.parts);
    let access = Access::of(&scene)?;
    let load = runtime.block_on(async { Load::start(&access) });
    let passed = pass(&mut scene, &runtime, &load, &way, &size)?;
    runtime.block_on(load.end())?;
    let Passed {
        took,
        leader,
        late,
        before,
        during,
    } = passed;
    let sent = way.passed();
    let most = (bytes as f64 * (1.0 + OTHER)) as u64 + way.breaks() * LOST_PER_BREAK;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let figure = format!(
        "a snapshot of {:.0} MiB in {:.1} s over a way that broke {} times, {:.0} MiB sent (at most {:.0}); over idle the leader {:.1} MiB (of {:.1}), \
             the member {:.1} MiB (of {:.1}), at most {:.0} each; {:.0} writes/s meanwhile, {:.0} before ({:.2}, at least {LEAST_RATE}), none for {:.2} s at \
             most ({} writes)",
        mib(bytes),
        took.as_secs_f64(),
        way.breaks(),
        mib(sent),
        mib(most),
        mib(leader.over_idle()),
        mib(leader.idle),
        mib(late.over_idle()),
        mib(late.idle),
        mib(MOST_OVER_IDLE),
        during.rate,
        before.rate,
        during.rate / before.rate,
        during.gap.as_secs_f64(),
        during.writes,
    );
    tell(&format!("snapshot-stream: {figure}"));
    let rows = equal_at_the_end(&mut scene, &runtime, &access)?;
    Ok(Verdict {
        figure: format!("{figure}; {rows} rows the same"),
        holds: leader.over_idle() <= MOST_OVER_IDLE
            && late.over_idle() <= MOST_OVER_IDLE
            && way.breaks() + 1 >= size.parts
            && sent <= most
            && during.rate >= before.rate * LEAST_RATE
            && during.gap <= LONGEST_GAP,
    })
}

/// Two members that vote, started again since they have a state of so much; and the bytes of its snapshot.
fn stage(programs: &Programs, mebibytes: u64) -> Result<(Scene, u64)> {
    let mut scene = Scene::of_members(programs, 1)?;
    scene.member(FIRST)?.stop()?;
    let raft = scene.path("controller").join("raft");
    let program = programs.path("verger-member-snapshot");
    let program =
        program.context("`cargo build -p verger-controller-raft --features rig --bins` makes it")?;
    let began = Instant::now();
    checked(
        Command::new(program)
            .arg(&raft)
            .arg("1")
            .arg(mebibytes.to_string()),
    )?;
    let bytes = newest_snapshot(&raft)?;
    ensure!(
        bytes >= mebibytes << 20,
        "the snapshot has {bytes} bytes, and is to have {mebibytes} MiB"
    );
    tell(&format!(
        "snapshot-stream: {mebibytes} MiB written in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    restart(&mut scene, FIRST)?;
    let second = scene.admit_member(SECOND, &Seat::anywhere()?)?;
    let socket = second.begin()?;
    second.await_ready(&socket, PATIENCE)?;
    scene.promote(SECOND)?;
    scene.say(&["cluster", "members"])?;
    for name in [SECOND, FIRST] {
        scene.member(name)?.stop()?;
        restart(&mut scene, name)?;
    }
    scene.leader()?;
    Ok((scene, bytes))
}

fn restart(scene: &mut Scene, name: &str) -> Result<()> {
    let member = scene.member(name)?;
    let socket = member.begin()?;
    member.await_ready(&socket, PATIENCE)
}

fn newest_snapshot(raft: &Path) -> Result<u64> {
    let mut files = Vec::new();
    for entry in fs::read_dir(raft.join("snapshots"))? {
        let entry = entry?;
        files.push((entry.file_name(), entry.metadata()?.len()));
    }
    files.sort();
    let (_, bytes) = files.pop().context("there is a snapshot")?;
    Ok(bytes)
}

/// Bytes in memory: before, and at most.
#[derive(Clone, Copy)]
struct Held {
    idle: u64,
    peak: u64,
}

impl Held {
    fn over_idle(&self) -> u64 {
        self.peak.saturating_sub(self.idle)
    }
}

/// What it came to.
struct Passed {
    took: Duration,
    leader: Held,
    late: Held,
    before: load::Window,
    during: load::Window,
}

/// Has the third member come, and the snapshot pass.
fn pass(scene: &mut Scene, runtime: &Runtime, load: &Load, way: &Way, size: &Size) -> Result<Passed> {
    let listen = Seat::anywhere()?.listen;
    let called = runtime.block_on(way.stand_before(listen))?;
    let seat = Seat {
        listen,
        called,
        data: None,
    };
    let late = scene.admit_member(LATE, &seat)?;
    let socket = late.begin()?;
    let pid = late.pid()?;
    // It would be on a machine of its own: what it does is not to keep those from writing who are on this one. Its threads are as it is.
    setpriority_process(Pid::from_raw(i32::try_from(pid)?), LEAST_PRIORITY)
        .context("giving way to the others")?;
    // Everybody writes, and the member waits to be called.
    let began = Instant::now();
    std::thread::sleep(size.before);
    let before = load.window(began, Instant::now());
    // Either of those that vote may come to lead.
    let pids = [scene.member(FIRST)?.pid()?, scene.member(SECOND)?.pid()?, pid];
    let mut idle = Vec::new();
    for pid in pids {
        idle.push(memory(pid)?.now);
        forget_peak(pid)?;
    }
    let begun = Instant::now();
    way.open();
    scene.member(LATE)?.await_ready(&socket, PATIENCE)?;
    let ended = Instant::now();
    way.mend();
    let mut held = Vec::new();
    for (pid, idle) in pids.into_iter().zip(idle) {
        let peak = memory(pid)?.peak;
        held.push(Held { idle, peak });
    }
    let late = held.pop().context("the member was measured")?;
    let leader = held.into_iter().max_by_key(Held::over_idle);
    Ok(Passed {
        took: ended - begun,
        leader: leader.context("the leader was measured")?,
        late,
        before,
        during: load.window(begun, ended),
    })
}

/// Stops two members that have applied as much, and compares their rows byte for byte; says how many they are.
fn equal_at_the_end(scene: &mut Scene, runtime: &Runtime, access: &Access) -> Result<u64> {
    let members = [(FIRST, "controller"), (LATE, LATE)];
    let mut at = Vec::new();
    for (name, _) in members {
        at.push(access.at(&scene.address(name)?));
    }
    for _ in 0..ATTEMPTS {
        if !as_much(runtime, &at, PATIENCE)? {
            bail!("{LATE} does not come to what {FIRST} has applied");
        }
        // Without the second nothing is committed any more: members write by themselves, too.
        scene.member(SECOND)?.kill()?;
        as_much(runtime, &at, SETTLED)?;
        for (name, _) in members {
            scene.member(name)?.stop()?;
        }
        let [first, late] = members.map(|(_, folder)| rows(&scene.path(folder).join("raft")));
        let (first, late) = (first?, late?);
        if first.at == late.at {
            ensure!(
                first == late,
                "after entry {} {FIRST} has {first:?}, and {LATE} has {late:?}: they are to be the same",
                first.at
            );
            changed(&scene.path(LATE).join("raft"))?;
            let now = rows(&scene.path(LATE).join("raft"))?;
            ensure!(
                now.digest != first.digest && now.count == first.count,
                "that a row is another is not seen: the rig proves nothing"
            );
            return Ok(first.count);
        }
        tell(&format!(
            "snapshot-stream: {FIRST} stopped behind {}, {LATE} behind {}: again",
            first.at, late.at
        ));
        // The second led, and had told one of them more; or what one had applied was not written when it stopped.
        for name in [SECOND, FIRST, LATE] {
            restart(scene, name)?;
        }
    }
    bail!("in {ATTEMPTS} attempts two members were not stopped behind the same entry")
}

/// Whether all of them have applied as much, within so long.
fn as_much(runtime: &Runtime, members: &[Access], within: Duration) -> Result<bool> {
    let looked = Instant::now();
    loop {
        let all = members.iter().map(|at| applied(runtime, at));
        let all = all.collect::<Result<Vec<_>>>()?;
        if all.iter().all(|applied| *applied == all[0]) {
            return Ok(true);
        }
        if looked.elapsed() > within {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

/// Up to where a member has applied, by its own word.
fn applied(runtime: &Runtime, at: &Access) -> Result<u64> {
    let answer = runtime.block_on(at.insist("what is applied", |channel| async move {
        let request = ListMembersRequest { stale_ok: true };
        let answer = MemberServiceClient::new(channel).list_members(request).await?;
        Ok(answer.into_inner())
    }))?;
    Ok(answer.applied)
}

/// What a member that is stopped has.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    /// Up to where it has applied.
    at: u64,
    count: u64,
    digest: Digest,
}

/// Changes the last byte of one row of a member that is stopped.
fn changed(raft: &Path) -> Result<()> {
    let state = SledState::open(raft)?;
    let mut one = None;
    let mark = state.visit_all(&mut |row| {
        one = Some(row);
        Ok(())
    })?;
    let (row, mut mark) = (
        one.context("there are rows")?,
        mark.context("something is applied")?,
    );
    let mut value = row.value.to_vec();
    *value.last_mut().context("a row has a value")? ^= 1;
    mark.last.index += 1;
    let op = RowOp {
        tree: row.tree,
        key: row.key,
        value: Some(value.into()),
    };
    state.apply_batch(&[op], &mark)?;
    Ok(state.flush()?)
}

fn rows(raft: &Path) -> Result<Rows> {
    let state = SledState::open(raft)?;
    let (mut count, mut digest) = (0, Digest::of(b""));
    let mark = state.visit_all(&mut |row| {
        let (tree, key) = (row.tree.as_bytes(), &*row.key);
        let lengths = [tree.len() as u64, key.len() as u64]
            .map(u64::to_be_bytes)
            .concat();
        digest = Digest::of(&[digest.as_bytes().as_slice(), &lengths, tree, key, &row.value].concat());
        count += 1;
        Ok(())
    })?;
    Ok(Rows {
        at: mark.context("something is applied")?.last.index,
        count,
        digest,
    })
}
