//! Podman's socket behind the proxy: what each user of a host can do there, with Podman's own CLI, with Docker's, and with raw requests.

mod bypasses;
mod dead;
mod front;
mod matrix;
mod unchanged;

use anyhow::Result;

use crate::point::Verdict;
use crate::programs::Programs;
use crate::scene::Docker;
use front::Front;

/// Runs it: every fifth case of the matrix, or all of them, and all of the rest.
///
/// # Errors
/// When the scene does not work.
pub fn run(long: bool) -> Result<Verdict> {
    let programs = Programs::find()?;
    let mut front = Front::found(&programs, &Docker::find()?)?;
    let matrix = matrix::run(&front, long)?;
    let bypasses = bypasses::run(&front)?;
    let unchanged = unchanged::run(&front)?;
    let dead = dead::run(&mut front)?;
    Ok(Verdict {
        figure: format!(
            "{} of {} calls of Podman's CLI by 7 users did what the roles say ({} refused in Verger's words); {} of {} requests that reach the host at Podman itself were stopped, their benign twins and honest ones passed; {} of {} commands said and did the same through the proxy; with the agent killed {} of {} were closed or worked past it within 2 s",
            matrix.right,
            matrix.of,
            matrix.refused,
            bypasses.right,
            bypasses.of,
            unchanged.right,
            unchanged.of,
            dead.right,
            dead.of
        ),
        holds: [matrix, bypasses, unchanged, dead].iter().all(Count::is_whole) && matrix.refused > 0,
    })
}

/// Of how many how many were as they should be.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    right: usize,
    of: usize,
    refused: usize,
}

impl Count {
    fn add(&mut self, is_right: bool) {
        self.of += 1;
        self.right += usize::from(is_right);
    }

    fn is_whole(&self) -> bool {
        self.of > 0 && self.right == self.of
    }
}
