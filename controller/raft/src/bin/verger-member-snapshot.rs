//! Has a stopped member that is alone in its cluster write a snapshot, and takes what that covers out of its log: what the product does by
//! itself after tens of thousands of entries. For rigs, which need the files.
//!
//! `verger-member-snapshot DIR NUMBER`: the folder of the member's stores, and the member's number.
//! Exit: 0 done; 1 the member refused; 2 bad arguments.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use verger_controller_raft::{Member, MemberConfig, MemberError, NoPeers, Node};

/// A member that does not lead a cluster of one by then never will.
const LEADING_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let number = |text: std::ffi::OsString| text.to_str()?.parse().ok();
    let given = (arguments.next(), arguments.next().and_then(number));
    // Nobody is left to tell when standard error is closed; the exit code says it too.
    let mut error = std::io::stderr().lock();
    let (Some(dir), Some(id)) = given else {
        let _ = writeln!(error, "verger-member-snapshot DIR NUMBER");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(snapshot(dir.into(), id))) {
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

async fn snapshot(dir: PathBuf, id: u64) -> Result<(), MemberError> {
    let config = MemberConfig {
        id,
        node: Node::default(),
        is_first: false,
        start: u64::from(std::process::id()),
    };
    let member = Member::open(config, dir, Arc::new(NoPeers)).await?;
    member.wait_until_leading(LEADING_LIMIT).await?;
    member.snapshot_and_purge().await?;
    member.stop().await;
    Ok(())
}
