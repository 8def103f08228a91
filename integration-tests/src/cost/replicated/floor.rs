//! What a write cannot be quicker than: three files, as three members have, each appended to and synced again and again, all at a time.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::MEMBERS;
use super::side::VALUE;

/// Milliseconds of one append and fdatasync, at the middle.
pub(super) fn append_and_sync(folder: &Path, length: Duration) -> Result<f64> {
    let until = Instant::now() + length;
    let one = |number: usize| -> Result<JoinHandle<Result<Vec<f64>>>> {
        let path = folder.join(format!("floor-{number}"));
        let mut file = File::options().create(true).append(true).open(path)?;
        Ok(thread::spawn(move || {
            let mut times = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                file.write_all(&[b'x'; VALUE])?;
                file.sync_data()?;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            Ok(times)
        }))
    };
    let threads: Vec<_> = (0..MEMBERS).map(one).collect::<Result<_>>()?;
    let mut all = Vec::new();
    for thread in threads {
        all.extend(thread.join().map_err(|_| anyhow!("a loop was lost"))??);
    }
    Ok(crate::cost::pairs::median(all))
}
