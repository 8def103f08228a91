//! What came of it, in every format.

use serde_json::json;
use verger_policy::model::{AgentId, printable};

use super::judge::Verdict;
use super::look::{Looked, Question};
use super::missing::Said;
use crate::args::Format;
use crate::exit::Exit;
use crate::output::{Column, Sheet, emit, for_people, note, print};

const COLUMNS: &[Column] = &[
    Column::new("HOST"),
    Column::new("RESULT"),
    Column::new("NOT OVER"),
    Column::new("CHANGES"),
    Column::new("SIGNED"),
    Column::wide("KEY"),
    Column::wide("KEY KNOWN BY"),
    Column::wide("CONTROLLER"),
];

const MATCHES: &str = "verified";
const DIFFERS: &str = "DOES NOT MATCH";
const OPEN: &str = "not verified";

/// Prints what came of it, and says how the program ends.
pub(super) fn tell(
    looked: &[Looked],
    question: &Question<'_>,
    apart: &[String],
    away: &[String],
    format: Format,
) -> anyhow::Result<Exit> {
    let mut sheet = Sheet::list(COLUMNS, "no host has joined: there is nothing to verify");
    let (mut problems, mut doubts) = (apart.to_vec(), away.to_vec());
    for Looked {
        address,
        verdicts,
        differences,
        missing,
        enrolments,
    } in looked
    {
        for (agent, verdict) in verdicts {
            push(&mut sheet, address, agent, verdict);
            let of = |what: &String| format!("host {agent}: {what}");
            problems.extend(verdict.problems.iter().map(of));
            doubts.extend(verdict.doubts.iter().map(of));
        }
        for (agent, why) in missing {
            let said = why.say();
            push_missing(&mut sheet, address, agent, &said);
            match said {
                Said::Problem(what) => problems.push(format!("host {agent} {what} ({address})")),
                Said::Doubt(what) => doubts.push(format!("host {agent} {what} ({address})")),
                Said::Note(what) => note(&format!("host {agent} {what}")),
            }
        }
        problems.extend(differences.iter().map(|(uid, what)| {
            format!("`verger findings list` does not tell the truth about finding {uid}: {what}")
        }));
        doubts.extend(enrolments.doubts.iter().map(|why| format!("{address}: {why}")));
        match (&enrolments.incomplete, question.host) {
            (Some(why), None) => {
                doubts.push(format!("{address}: not all hosts are known by the audit: {why}"))
            }
            // Of one host all is known that is to be.
            (Some(why), Some(_)) => note(&format!(
                "{address}: what the audit does not say is held against what you saw before: {why}"
            )),
            (None, _) => {}
        }
    }
    print(&sheet, format)?;
    if for_people(format) {
        let lines = |head: &str, what: &[String]| -> String {
            what.iter()
                .map(|what| format!("\n{head}: {}\n", printable(what)))
                .collect()
        };
        emit(&(lines("DOES NOT MATCH", &problems) + &lines("not verified", &doubts)))?;
    } else {
        for (head, what) in [("does not match", &problems), ("not verified", &doubts)] {
            what.iter().for_each(|what| note(&format!("{head}: {what}")));
        }
    }
    Ok(if !problems.is_empty() {
        Exit::Violation
    } else if !doubts.is_empty() {
        Exit::NotEvaluated
    } else {
        Exit::Clean
    })
}

fn push(sheet: &mut Sheet, address: &str, agent: &AgentId, verdict: &Verdict) {
    let Verdict {
        problems,
        doubts,
        head,
        key,
        known_by,
        passing: _,
        unremembered: _,
    } = verdict;
    let result = match (problems.is_empty(), doubts.is_empty()) {
        (false, _) => DIFFERS,
        (true, false) => OPEN,
        (true, true) => MATCHES,
    };
    let told = head.as_ref().map(|head| head.told);
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = vec![
        agent.to_string(),
        result.to_owned(),
        cell(told.map(|told| told.open.to_string())),
        cell(told.map(|told| told.chain.sequence.to_string())),
        cell(head.as_ref().map(|head| head.at.to_string())),
        cell(key.map(|key| key.to_string())),
        (*known_by).to_owned(),
        address.to_owned(),
    ];
    let object = json!({
        "host": agent.to_string(),
        "controller": address,
        "result": match result {
            MATCHES => "verified",
            DIFFERS => "mismatch",
            _ => "notVerified",
        },
        "open": told.map(|told| told.open),
        "sequence": told.map(|told| told.chain.sequence),
        "chain": told.map(|told| told.chain.digest.to_string()),
        "table": told.map(|told| told.table.to_string()),
        "signedAt": head.as_ref().map(|head| head.at.to_string()),
        "key": key.map(|key| key.to_string()),
        "keyKnownBy": known_by,
        "problems": problems,
        "doubts": doubts,
    });
    sheet.push(agent.to_string(), cells, object);
}

/// A host that is not shown; one that was taken out has no row.
fn push_missing(sheet: &mut Sheet, address: &str, agent: &AgentId, said: &Said) {
    let (result, word, problems, doubts): (_, _, &[String], &[String]) = match said {
        Said::Problem(what) => (DIFFERS, "missing", std::slice::from_ref(what), &[]),
        Said::Doubt(what) => (OPEN, "notVerified", &[], std::slice::from_ref(what)),
        Said::Note(_) => return,
    };
    let mut cells = vec!["-".to_owned(); COLUMNS.len()];
    cells[0] = agent.to_string();
    cells[1] = result.to_owned();
    cells[COLUMNS.len() - 1] = address.to_owned();
    let object = json!({
        "host": agent.to_string(),
        "controller": address,
        "result": word,
        "problems": problems,
        "doubts": doubts,
    });
    sheet.push(agent.to_string(), cells, object);
}
