//! Long runs of what a cluster has to withstand, one after the other, with one table and one exit code.

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::prove::{self, POINTS, Point};
use crate::test::build_programs;
use crate::workspace::Workspace;

/// The points, in the order in which they run; the one that `--minutes` is for is the first.
const ORDER: [&str; 9] = [
    TIMED,
    "members-power",
    "power-cut",
    "disk-full",
    "byte-flips",
    "rolling-upgrade",
    "snapshot-stream",
    "token-spend",
    "simulation",
];
/// Real processes under faults, for as long as is asked for.
const TIMED: &str = "members";

/// How one of them ended.
struct Row {
    name: &'static str,
    seconds: f64,
    /// Its figure, or why there is none.
    ended: Result<String>,
}

/// Lists what runs, or runs the long form of each; the one with faults of real processes for so many minutes at least.
///
/// # Errors
/// When one of them does not hold. The others run all the same.
pub(crate) fn soak(workspace: &Workspace, minutes: u64, list: bool) -> Result<()> {
    let points = points()?;
    if list {
        for point in &points {
            println!("{:<16} {}", point.name, point.claim);
            println!("{:<16} {}", "", arguments(point, minutes).join(" "));
        }
        return Ok(());
    }
    build_programs(workspace)?;
    let mut rows = Vec::new();
    for point in points {
        println!("==> soak {}", point.name);
        let began = Instant::now();
        let ended = prove::show_with(workspace, point, &arguments(point, minutes));
        match &ended {
            Ok(figure) => println!("    {figure}"),
            Err(error) => println!("    FAILED: {error:#}"),
        }
        rows.push(Row {
            name: point.name,
            seconds: began.elapsed().as_secs_f64(),
            ended,
        });
    }
    println!("\n{}", table(&rows));
    let failed = rows.iter().filter(|row| row.ended.is_err()).count();
    ensure!(failed == 0, "{failed} of {} did not hold", rows.len());
    Ok(())
}

fn points() -> Result<Vec<&'static Point>> {
    let mut points = Vec::new();
    for name in ORDER {
        match POINTS.iter().find(|point| point.name == name) {
            Some(point) => points.push(point),
            None => bail!("there is no point {name:?}: `soak` and the list of points differ"),
        }
    }
    Ok(points)
}

/// What a point's program is given.
fn arguments(point: &Point, minutes: u64) -> Vec<String> {
    let mut arguments = vec!["--long".to_owned()];
    if point.name == TIMED {
        arguments.extend(["--minutes".to_owned(), minutes.to_string()]);
    }
    arguments
}

/// One line for each: its name, whether it held, how long it took, and its figure or the first line of why there is none.
fn table(rows: &[Row]) -> String {
    let mut lines = Vec::new();
    for Row { name, seconds, ended } in rows {
        let (word, told) = match ended {
            Ok(figure) => ("holds", figure.clone()),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        let told = told.lines().next().unwrap_or_default();
        lines.push(format!("{name:<16} {word:<7} {seconds:>7.0} s  {told}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn every_point_is_there_and_has_a_long_form() {
        for point in points().unwrap() {
            assert!(point.sample.is_some(), "{} has one form only", point.name);
            assert!(
                !point.needs_docker,
                "{} needs a daemon, and is given none",
                point.name
            );
        }
    }

    #[test]
    fn the_minutes_are_for_real_processes_alone() {
        for point in points().unwrap() {
            let given = arguments(point, 7).join(" ");
            let wanted = if point.name == "members" {
                "--long --minutes 7"
            } else {
                "--long"
            };
            assert_eq!(given, wanted, "{}", point.name);
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_that_says_how_it_ended() {
        let row = |name, ended| Row {
            name,
            seconds: 61.4,
            ended,
        };
        let failed = Err(anyhow!("2 lost").context("members does not hold\n    a line before"));
        let table = table(&[row("one", Ok("0 lost".to_owned())), row("members", failed)]);
        assert_eq!(
            table,
            "one              holds        61 s  0 lost\nmembers          FAILED       61 s  members does not hold"
        );
    }
}
