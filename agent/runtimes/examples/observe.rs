//! Observes the Docker Engine of this host again and again, and says what each part costs.
//!
//! `cargo run -p verger-agent-runtimes --example observe -- SOCKET [BUNDLE_ROOT] [ROUNDS]`
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use verger_agent_core::runtime::Runtime;
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};
use verger_agent_runtimes::proc::scan;
use verger_policy::facts::InstanceId;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut config = DockerConfig::new(arguments.next().ok_or("give the socket of the Docker Engine")?);
    config.bundle_roots.extend(arguments.next().map(Into::into));
    let rounds: u32 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let runtime = DockerRuntime::new(config);
    println!("round  instances  processes  list wall/cpu ms  scan wall/cpu ms");
    for round in 0..rounds {
        let (wall, cpu) = (Instant::now(), cpu_time());
        let listed = runtime.list().await?;
        let (list_wall, list_cpu) = (wall.elapsed(), cpu_time() - cpu);
        let inits: Vec<(InstanceId, u32)> = listed
            .iter()
            .filter_map(|one| Some((one.instance.id.clone(), one.init_pid?)))
            .collect();
        let (wall, cpu) = (Instant::now(), cpu_time());
        let live = scan(&inits);
        let (scan_wall, scan_cpu) = (wall.elapsed(), cpu_time() - cpu);
        let processes: usize = live
            .values()
            .filter_map(|live| live.seen())
            .map(|live| live.processes.len())
            .sum();
        println!(
            "{round:>5}  {:>9}  {processes:>9}  {:>8.1}/{:<7.1}  {:>8.1}/{:<7.1}",
            listed.len(),
            millis(list_wall),
            millis(list_cpu),
            millis(scan_wall),
            millis(scan_cpu),
        );
    }
    Ok(())
}

/// CPU time of this process so far, user and system.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
