//! `explain`: rules, kinds and fields, from the tables the judge itself uses.

use std::fmt::Write as _;

use serde_json::{Value, json};
use verger_policy::compile::{DEFAULTS, Default, DefaultSource};
use verger_policy::explain::{self, Topic};
use verger_policy::expression::{FIELDS, Type};
use verger_policy::model::Kind;
use verger_policy::rules::{self, Rule};

use crate::args::Format;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, document, emit, for_people, print};

const RULES: &[Column] = &[
    Column::new("RULE"),
    Column::new("SEVERITY"),
    Column::new("PROFILES"),
    Column::new("WHY"),
    Column::wide("REMEDY"),
];

pub(super) fn explain(topic: Option<String>, format: Format) -> anyhow::Result<Exit> {
    let Some(topic) = topic else {
        let mut sheet = Sheet::list(RULES, "");
        for rule in rules::ALL {
            sheet.push(rule.id, row(rule), object(rule));
        }
        print(&sheet, format)?;
        return Ok(Exit::Clean);
    };
    let (text, value) = match explain::topic(&topic) {
        Ok(Topic::Rule(rule)) => (tell(rule), object(rule)),
        Ok(Topic::Kind(kind)) => (tell_kind(kind), kind_object(kind)),
        Ok(Topic::Check(rule)) => (
            format!(
                "{rule} is a check that people have stated in a guardrail.\n\n`verger get Guardrail NAME -o yaml` shows it, NAME being what is between \
                 guardrail/ and the last slash; `verger findings explain UID` says what a violation means.\n"
            ),
            json!({ "rule": rule, "kind": Kind::Guardrail }),
        ),
        Ok(Topic::Fields(rows)) => (
            tell_fields(rows.iter().copied()),
            json!({ "field": topic, "fields": fields(rows.iter().copied()) }),
        ),
        Err(unknown) => {
            return Err(Failure::input(format!(
                "{unknown}; `verger explain` lists the rules, `verger explain Workload` the fields"
            ))
            .into());
        }
    };
    emit(&match format {
        Format::Name => format!("{topic}\n"),
        _ if for_people(format) => text,
        _ => document(&value, format)?,
    })?;
    Ok(Exit::Clean)
}

fn kind_object(kind: Kind) -> Value {
    let mut object = json!({ "kind": kind, "says": says(kind), "fields": fields(of_kind(kind)) });
    if kind == Kind::Guardrail {
        let seen = seen().into_iter();
        let rows = seen
            .map(|Seen { name, of, says }| json!({ "field": name, "type": of.to_string(), "says": says }));
        object["seen"] = rows.collect();
    }
    object
}

fn profiles(rule: &Rule) -> String {
    let words: Vec<&str> = rule.profiles.iter().map(|profile| profile.word()).collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(",")
    }
}

fn row(rule: &Rule) -> Vec<String> {
    vec![
        rule.id.to_owned(),
        rule.severity.to_string(),
        profiles(rule),
        rule.reason.to_owned(),
        rule.remedy.to_owned(),
    ]
}

fn object(rule: &Rule) -> Value {
    let Rule {
        id,
        control,
        severity,
        reason,
        remedy,
        standards,
        since,
        profiles,
    } = rule;
    json!({
        "rule": id, "control": control, "severity": severity, "reason": reason, "remedy": remedy,
        "standards": standards, "since": since, "profiles": profiles,
    })
}

fn tell(rule: &Rule) -> String {
    let mut text = format!(
        "{} ({}, since {})\n\n{}.\n\nRemedy: {}.\n",
        rule.id, rule.severity, rule.since, rule.reason, rule.remedy
    );
    if !rule.profiles.is_empty() {
        writeln!(text, "Held by the guardrail profiles {}.", profiles(rule))
            .expect("a String takes everything");
    }
    if !rule.standards.is_empty() {
        writeln!(text, "The same is asked for by {}.", rule.standards.join(", "))
            .expect("a String takes everything");
    }
    text
}

const fn says(kind: Kind) -> &'static str {
    match kind {
        Kind::Workload => {
            "which running things are this workload (match), on which hosts (hosts), their blessed configuration (config), how far each control goes (mode), and which fields of config the gate holds a launch to by taking away what goes beyond them, in place of refusing it (tighten: capabilities, noNewPrivileges, rootfs, seccomp)"
        }
        Kind::Guardrail => {
            "what holds for every instance it selects (select), whatever its workload: a built-in profile (profile: baseline or restricted), rules by id (rules), conditions of your own (checks: id, expression, message, control, severity, remedy), the least mode (mode), and what becomes of instances of no workload (unknown: report or refuse)"
        }
        Kind::Exception => {
            "which rules (rules) may be violated, with which values (values), where (scope), by whose word and why (owner, reason, ticket), from when (notBefore) until when (notAfter, at most 90 days)"
        }
        Kind::Host => "the labels (labels) of the host of an agent (agent). Selectors see only these",
        Kind::Role => {
            "what people who have the role may do through the API (rules): each rule allows or denies (effect) verbs (verbs) on resources (resources), all of them or those of some names (names) or labels (labels). A deny wins over every allow; what no rule allows is denied"
        }
        Kind::RoleBinding => {
            "who has a role (role: a built-in one or the name of a Role): people, groups and users of hosts (subjects: person/NAME, group/NAME, local/UID), for everything or what is within a scope (scope: names, labels); users of hosts on every host, or on those with these labels (hosts), and never anything but what runtimes hold (containers, images, networks, volumes, runtime). While the set has no binding, every local login may do everything, and one by an identity provider nothing"
        }
    }
}

fn tell_kind(kind: Kind) -> String {
    let mut text = format!("{kind} says {}.\n", says(kind));
    if kind == Kind::Role {
        text.push_str("\nBuilt in, and given by a RoleBinding like any other (`verger auth explain --roles` lists their rules):\n\n");
        for role in verger_policy::roles::ALL {
            writeln!(text, "  {:<20} {}", role.name, role.says).expect("a String takes everything");
        }
    }
    if kind == Kind::Guardrail {
        text.push_str("\nWhat the expression of a check, in CEL, can look at; what was not seen makes the check not evaluated:\n\n");
        for Seen { name, of, says } in seen() {
            writeln!(text, "  {name:<20} {of}: {says}").expect("a String takes everything");
        }
        text.push_str(FUNCTIONS);
    }
    if kind == Kind::Workload {
        text.push_str("\nWhat a field of config means when it is not stated; the word `any` opts out, and shows as not evaluated:\n\n");
        text.push_str(&tell_fields(of_kind(kind)));
    }
    text
}

const FUNCTIONS: &str = "\nOperators: ! && || ?: == != < <= > >= in + - * / %. Functions: size(x), has(MAP.KEY), TEXT.startsWith(…), .endsWith(…), .contains(…), \
                         LIST.all(x, …), .exists(x, …), .exists_one(x, …), .filter(x, …).\n";

/// A field that expressions can look at, or a member of one.
struct Seen {
    name: String,
    of: Type,
    says: &'static str,
}

fn seen() -> Vec<Seen> {
    let mut rows = Vec::new();
    for field in FIELDS {
        rows.push(Seen {
            name: field.name.to_owned(),
            of: field.of,
            says: field.says,
        });
        if let Type::Records(members) = field.of {
            rows.extend(members.iter().map(|member| Seen {
                name: format!("{}[].{}", field.name, member.name),
                of: member.of,
                says: member.says,
            }));
        }
    }
    rows
}

fn of_kind(kind: Kind) -> impl Iterator<Item = &'static Default> {
    DEFAULTS.iter().filter(move |_| kind == Kind::Workload)
}

fn meaning(row: &Default) -> String {
    match row.source {
        DefaultSource::Image => format!("the image's own: {}", row.value),
        DefaultSource::LeastPrivilege => row.value.to_owned(),
        DefaultSource::Required => "must be stated".to_owned(),
    }
}

fn tell_fields(rows: impl Iterator<Item = &'static Default>) -> String {
    rows.map(|row| format!("  {:<20} {}\n", row.field, meaning(row)))
        .collect()
}

fn fields(rows: impl Iterator<Item = &'static Default>) -> Vec<Value> {
    rows.map(|row| json!({ "field": format!("config.{}", row.field), "absent": meaning(row) }))
        .collect()
}
