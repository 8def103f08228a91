//! Has a stopped member that is alone in its cluster write a snapshot, and takes what that covers out of its log: what the product does by
//! itself after tens of thousands of entries. For rigs, which need the files.
//!
//! `verger-member-snapshot DIR NUMBER [MEBIBYTES]`: the folder of the member's stores, the member's number, and how much its audit is to
//! grow by before that: so many rows are written through its log as logins are given.
//! Exit: 0 done; 1 the member refused; 2 bad arguments.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use verger_controller_raft::{Member, MemberConfig, MemberError, NoPeers, Node};
use verger_controller_state::{Action, Command};
use verger_policy::digest::Digest;

/// Names in each row, and their lengths in bytes: as many rules of roles as a command may name.
const NAMES: usize = 16;
const NAME_BYTES: usize = 500;
/// Rows of about a mebibyte.
const ROWS_PER_MEBIBYTE: usize = (1 << 20) / (NAMES * NAME_BYTES);
/// Commands that wait for their answers at a time.
const AT_ONCE: usize = 256;
/// A member that does not lead a cluster of one by then never will.
const LEADING_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let number = |text: std::ffi::OsString| text.to_str()?.parse().ok();
    let given = (arguments.next(), arguments.next().and_then(number));
    let grow = arguments.next().map_or(Some(0), number);
    // Nobody is left to tell when standard error is closed; the exit code says it too.
    let mut error = std::io::stderr().lock();
    let ((Some(dir), Some(id)), Some(grow)) = (given, grow) else {
        let _ = writeln!(error, "verger-member-snapshot DIR NUMBER [MEBIBYTES]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(snapshot(dir.into(), id, grow))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(refused)) => {
            let _ = writeln!(error, "{refused}");
            ExitCode::FAILURE
        }
        Err(refused) => {
            let _ = writeln!(error, "{refused}");
            ExitCode::FAILURE
        }
    }
}

async fn snapshot(dir: PathBuf, id: u64, grow: u64) -> Result<(), MemberError> {
    let config = MemberConfig {
        id,
        node: Node::default(),
        is_first: false,
        start: u64::from(std::process::id()),
    };
    let member = Member::open(config, dir, Arc::new(NoPeers)).await?;
    member.wait_until_leading(LEADING_LIMIT).await?;
    let rows = usize::try_from(grow).map_or(usize::MAX, |mebibytes| {
        mebibytes.saturating_mul(ROWS_PER_MEBIBYTE)
    });
    let written = futures::stream::iter(0..rows)
        .map(async |_| member.propose(&login()).await)
        .buffer_unordered(AT_ONCE);
    written
        .try_for_each(async |_| Ok(()))
        .await
        .map_err(|error| MemberError::Raft(error.to_string()))?;
    member.snapshot_and_purge().await?;
    member.stop().await;
    Ok(())
}

/// Gives somebody the login that he has.
fn login() -> Command {
    let name = "n".repeat(NAME_BYTES);
    Command {
        stamp: jiff::Timestamp::now(),
        actor: "rig".to_owned(),
        request_id: None,
        from: None,
        policies: vec![name; NAMES],
        counted: false,
        action: Action::CreateLogin {
            person: "rig".to_owned(),
            key: Digest::of(b"rig"),
        },
    }
}
