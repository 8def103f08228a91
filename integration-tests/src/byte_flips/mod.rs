//! Flipped bytes in every kind of file that a member has, under the real program: it does not start, or stops, and names the file and what
//! to do about it; or every read is as it was acknowledged.
//!
//! A small cluster is founded, loaded through its API and stopped, in order or by SIGKILL, with and without a snapshot: what its folder
//! holds then is an image. Each round damages one file of a copy in one place, starts the program on it, and reads everything. The rig
//! shows itself first: copies that nobody touched read as before, and differences that were planted are seen.

mod damage;
mod images;
mod load;
mod planted;
mod reading;
mod round;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::dice::Dice;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use damage::{Kind, Way};
use images::Images;
use round::{End, Rounds};

/// Flips of the long form, and of the short one.
const FLIPS: (usize, usize) = (1_000, 50);
/// Files cut short, and pages zeroed; so many of each.
const OTHERS: (usize, usize) = (100, 5);
/// Images are made anew after this: their tokens and invitations are good for ten minutes.
const FRESH: Duration = Duration::from_secs(420);

/// Damages files 1,000 times, or 50 in the short form.
///
/// # Errors
/// When the scene does not work, or the rig does not show itself. What was silent or wrong is in the verdict.
pub fn run(long: bool, seed: u64) -> Result<Verdict> {
    let of = |(full, short): (usize, usize)| if long { full } else { short };
    verger_transport::install_crypto_provider();
    let programs = Programs::find()?;
    let mut dice = Dice::new(seed);
    let mut images = Images::make(&programs)?;
    let mut rounds = Rounds::begin()?;
    let began = Instant::now();
    rounds.untouched(&mut images)?;
    let planted = planted::all(&mut rounds, &mut images)?;
    tell(&format!(
        "byte-flips: {} images made; untouched ones read as before, {planted} planted differences are seen ({:.0} s)",
        images.count(),
        began.elapsed().as_secs_f64()
    ));
    let mut todo: Vec<Way> = Vec::new();
    for (count, ways) in [
        (of(FLIPS), &[Way::Bit, Way::Byte][..]),
        (of(OTHERS), &[Way::Cut]),
        (of(OTHERS), &[Way::ZeroPage]),
    ] {
        todo.extend((0..count).map(|number| ways[number % ways.len()]));
    }
    let kinds = images.kinds();
    ensure!(
        kinds == Kind::ALL,
        "files of these kinds alone are there: {kinds:?}"
    );
    let mut tally = Tally::default();
    for (number, way) in todo.into_iter().enumerate() {
        if images.age() > FRESH {
            images = Images::make(&programs)?;
        }
        let damage = images.damage(way, &mut dice)?;
        let end = rounds
            .round(&mut images, &damage)
            .with_context(|| format!("round {}: {damage}, seed {seed}", number + 1))?;
        if let End::Wrong(what) = &end {
            tell(&format!("WRONG: round {}: {damage}: {what}", number + 1));
        }
        tally.count(damage.kind, way, &end);
        if (number + 1) % 50 == 0 {
            tell(&format!(
                "byte-flips: {} rounds ({:.0} s)",
                number + 1,
                began.elapsed().as_secs_f64()
            ));
        }
    }
    tally.tell();
    Ok(Verdict {
        figure: format!("{}; {} planted differences seen", tally.figure(), planted),
        holds: tally.wrong() == 0,
    })
}

/// How rounds ended.
#[derive(Default)]
struct Tally {
    ends: BTreeMap<(Kind, &'static str), [usize; 4]>,
}

impl Tally {
    fn count(&mut self, kind: Kind, way: Way, end: &End) {
        let place = match end {
            End::Named => 0,
            End::Healed => 1,
            End::Same => 2,
            End::Wrong(_) => 3,
        };
        self.ends.entry((kind, way.word())).or_default()[place] += 1;
    }

    fn sum(&self, which: impl Fn(Kind, &str) -> bool) -> [usize; 4] {
        let mut sum = [0; 4];
        for ((kind, way), ends) in &self.ends {
            if which(*kind, way) {
                sum.iter_mut().zip(ends).for_each(|(sum, end)| *sum += end);
            }
        }
        sum
    }

    fn wrong(&self) -> usize {
        self.sum(|_, _| true)[3]
    }

    /// A line for each kind of file.
    fn tell(&self) {
        for kind in Kind::ALL {
            let [named, healed, same, wrong] = self.sum(|of, _| of == kind);
            tell(&format!(
                "  {:<20} {named} refused by name, {healed} healed, {same} without effect, {wrong} wrong",
                kind.word()
            ));
        }
    }

    fn figure(&self) -> String {
        let of = |word| {
            let [named, healed, same, wrong] = self.sum(|_, way| way == word);
            (
                named + healed + same + wrong,
                format!("{named} refused by name, {healed} healed, {same} without effect"),
            )
        };
        let ((flips, flipped), (cuts, cut), (zeroed, zero)) = (of("flip"), of("cut"), of("page"));
        format!(
            "{} silent or wrong of {flips} flips in {} kinds of files ({flipped}), {cuts} files cut short ({cut}) and {zeroed} pages zeroed \
             ({zero})",
            self.wrong(),
            Kind::ALL.len()
        )
    }
}
