//! Expressions: a person's, in a draft; and what anybody sealed, at the agent.

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::expression::{Expression, MAX_COST, Subject, Verdict};

use super::{assert_short, assert_shown};
use crate::judging::*;

const EXPRESSIONS: &[&str] = &[
    "user.uid != 0 && !(0 in user.groups)",
    "mounts.all(m, m.access == 'ro' || m.target.startsWith(\"/tmp\") && size(m.options) >= 3)",
    "size(mounts.filter(m, 'nosuid' in m.options)) <= 2 * -3 % 4 - 0x1f / 1",
    "has(sysctls.foo) ? sysctls['foo'] == '\\u00e9\\n' : workloads.exists_one(w, w.labels.tier != \"w\\\"b\")",
    "command == ['/app', '-v'] || command[0].contains('a') // as it is\n && limits.memory <= 512 * 1024 * 1024",
    "((((((((!((seccomp)))))))))) && env.exists(a, env.exists(b, a != b))",
];

#[test]
fn hostile_expressions_are_refused_with_a_short_fault_or_evaluated_within_bounds() {
    let compiled = compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let instance = blessed(&compiled);
    let workloads = [&compiled.workloads()[0]];
    check!()
        .with_generator(Damaged::lines(EXPRESSIONS))
        .with_iterations(5_000)
        .for_each(|text| {
            let text = text.text();
            match Expression::read(&text) {
                Err(fault) => assert_short(&fault.to_string()),
                Ok(read) => {
                    assert!(read.cost() <= MAX_COST);
                    assert_eq!(Expression::read(read.text()).as_ref(), Ok(&read));
                    let subject = Subject {
                        instance: &instance,
                        workloads: &workloads,
                        is_process: text.len().is_multiple_of(2),
                    };
                    match read.judge(&subject) {
                        Verdict::Error(why) | Verdict::NotSeen(why) => assert_shown(&why),
                        Verdict::True => assert_ne!(read.constant(), Some(false), "{text}"),
                        Verdict::False => assert_ne!(read.constant(), Some(true), "{text}"),
                    }
                }
            }
        });
}
