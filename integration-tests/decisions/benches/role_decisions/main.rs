//! What a decision costs: the compiled form of roles, beside Cedar with all policies in one set and beside regorus with its data
//! indexed by subject. Run it through `cargo xtask bench role_decisions`.
//!
//! The people who ask and what binds them are the same at every size; what grows is what binds others. All three answer the
//! same requests, whose answers are compared first, and are measured in turn, so that a slow moment hits all.

mod cedar;
mod clock;
mod load;
mod rego;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use verger_policy::roles::CompiledRoles;
use verger_rig::point::{self, Verdict, tell};

use cedar::Cedar;
use clock::{cpu, median};
use load::{Load, Request};
use rego::Rego;

/// Where tables go.
const FOLDER: &str = "VERGER_BENCH_DIR";
/// Bindings of a set.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
/// Times that all are measured in turn.
const PAIRS: usize = 11;
/// A decision of the compiled form, at most.
const GOAL: Duration = Duration::from_nanos(100);
/// How many times as long Cedar takes, at least.
const CEDAR: f64 = 20.0;
/// How much longer a decision may take among 10,000 bindings than among 10.
const FLAT: f64 = 1.2;

/// Blocks of one measurement, and how often each asks every request: a block takes about a millisecond.
const BLOCKS: usize = 15;
const PASSES: usize = 64;
/// Of the requests, those that the peers are asked.
const PEERS_ASK: usize = 32;

fn main() -> ExitCode {
    let folder = std::env::var_os(FOLDER).map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    point::end("role_decisions", run(&folder))
}

/// A set of one size, as each takes it.
struct Size {
    bindings: usize,
    load: Load,
    compiled: CompiledRoles,
    cedar: Cedar,
    rego: Rego,
}

impl Size {
    fn make(bindings: usize) -> Result<Self> {
        let load = Load::of(bindings);
        let made = Self {
            bindings,
            compiled: CompiledRoles::compile(&load.objects),
            cedar: Cedar::compile(&load.objects, &load.requests).context("cedar")?,
            rego: Rego::compile(&load.objects, &load.requests).context("regorus")?,
            load,
        };
        tell(&format!("{bindings} bindings are loaded"));
        Ok(made)
    }

    /// All three say the same: a benchmark of wrong answers would be fast.
    fn agree(&mut self) -> Result<()> {
        let mut allowed = 0;
        for (number, request) in self.load.requests.iter().enumerate() {
            let ours = decide(&self.compiled, request);
            let cedar = self.cedar.decide(number);
            let rego = self.rego.decide(number)?;
            ensure!(
                ours == cedar && ours == rego,
                "{bindings} bindings, {request:?}: compiled {ours}, cedar {cedar}, regorus {rego}",
                bindings = self.bindings
            );
            allowed += usize::from(ours);
        }
        let all = self.load.requests.len();
        ensure!(
            allowed * 4 >= all && allowed * 4 <= 3 * all,
            "{allowed} of {all} requests are allowed: too one-sided to say much"
        );
        Ok(())
    }
}

fn decide(compiled: &CompiledRoles, Request { subject, ask }: &Request) -> bool {
    let ruling = compiled.decide(subject, ask.verb, ask.resource, ask.single.as_ref());
    black_box(ruling).allowed
}

/// The time of one decision, of each block.
fn blocks(compiled: &CompiledRoles, requests: &[Request]) -> Vec<Duration> {
    let asked = u32::try_from(PASSES * requests.len()).unwrap_or(u32::MAX);
    let block = || {
        cpu(|| {
            for _ in 0..PASSES {
                for request in requests {
                    decide(black_box(compiled), black_box(request));
                }
            }
        })
    };
    (0..BLOCKS).map(|_| block() / asked).collect()
}

/// The time of each of the peers' requests.
fn each<T>(mut decide: impl FnMut(usize) -> T, requests: usize) -> Vec<Duration> {
    let step = (requests / PEERS_ASK).max(1);
    let asked = (0..requests).step_by(step);
    asked.map(|number| cpu(|| decide(number))).collect()
}

/// What one size took: the median of each pair.
#[derive(Default)]
struct Took {
    ours: Vec<Duration>,
    cedar: Vec<Duration>,
    rego: Vec<Duration>,
}

fn run(folder: &Path) -> Result<Verdict> {
    ensure!(
        !cfg!(debug_assertions),
        "a benchmark of a debug build says nothing: build with --release"
    );
    let mut sizes = SIZES
        .iter()
        .map(|bindings| Size::make(*bindings))
        .collect::<Result<Vec<_>>>()?;
    for size in &mut sizes {
        size.agree()?;
    }
    let mut took: Vec<Took> = SIZES.iter().map(|_| Took::default()).collect();
    let mut flat = Vec::new();
    for _ in 0..PAIRS {
        for (size, took) in sizes.iter_mut().zip(&mut took) {
            let requests = &size.load.requests;
            took.ours.push(median(blocks(&size.compiled, requests)));
            took.cedar
                .push(median(each(|number| size.cedar.decide(number), requests.len())));
            took.rego
                .push(median(each(|number| size.rego.decide(number), requests.len())));
        }
        // Apart from the peers, who leave the caches to themselves; least and most in turn.
        let of = |size: &Size| median(blocks(&size.compiled, &size.load.requests));
        let (least, most) = (of(&sizes[0]), of(&sizes[SIZES.len() - 1]));
        flat.push(most.as_secs_f64() / least.as_secs_f64());
    }
    let flat = clock::middle(flat);
    let mut rows = String::new();
    let (mut slowest, mut least_ratio) = (Duration::ZERO, f64::MAX);
    for (size, took) in sizes.iter().zip(&took) {
        let ratio = clock::middle(
            took.cedar
                .iter()
                .zip(&took.ours)
                .map(|(cedar, ours)| cedar.as_secs_f64() / ours.as_secs_f64())
                .collect(),
        );
        let ours = median(took.ours.clone());
        slowest = slowest.max(ours);
        least_ratio = least_ratio.min(ratio);
        let rego = median(took.rego.clone());
        rows += &format!(
            "| {} | {} | {:.1} | {:.1} | {ratio:.0} | {:.0} |\n",
            size.bindings,
            ours.as_nanos(),
            micros(median(took.cedar.clone())),
            micros(rego),
            rego.as_secs_f64() / ours.as_secs_f64()
        );
    }
    let others = others()?;
    let figure = format!(
        "p50 {} ns at most (goal {}), {least_ratio:.0} x cedar at least (goal {CEDAR:.0}), {flat:.2} x from {} to {} bindings (goal {FLAT})",
        slowest.as_nanos(),
        GOAL.as_nanos(),
        SIZES[0],
        SIZES[SIZES.len() - 1],
    );
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let table = folder.join("role_decisions.md");
    std::fs::write(
        &table,
        format!("# role_decisions\n\n{figure}\n\n| bindings | compiled, ns | cedar, µs | regorus, µs | cedar / compiled | regorus / compiled |\n|---|---|---|---|---|---|\n{rows}\n{others}"),
    )
    .with_context(|| format!("writing {}", table.display()))?;
    tell(&format!("table in {}", table.display()));
    Ok(Verdict {
        figure,
        holds: slowest <= GOAL && least_ratio >= CEDAR && flat <= FLAT,
    })
}

/// What is no goal and worth knowing: askers spread over the whole set, and one person whom every binding names.
fn others() -> Result<String> {
    let mut text = String::new();
    for bindings in SIZES {
        let spread = Load::spread(bindings);
        let one = Load::of_one(bindings);
        let of =
            |load: &Load| median(blocks(&CompiledRoles::compile(&load.objects), &load.requests)).as_nanos();
        text += &format!(
            "- {bindings} bindings: {} ns where the askers are spread over all of them, {} ns where all bind the one who asks\n",
            of(&spread),
            of(&one)
        );
    }
    Ok(text)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
