#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::evaluate::{constant, evaluate};
use super::types::MAX_INNER;
use super::*;

fn fault(text: &str) -> Fault {
    match Expression::read(text) {
        Err(fault) => fault,
        Ok(read) => panic!("{text} was read: {read:?}"),
    }
}

#[test]
fn what_is_read_says_which_fields_it_looks_at() {
    for (text, fields) in [
        ("user.uid != 0", &["user.uid"][..]),
        ("!(0 in user.groups)", &["user.groups"]),
        (
            "mounts.all(m, m.access == 'ro' || m.target.startsWith(\"/tmp\"))",
            &["mounts"],
        ),
        (
            "size(mounts.filter(m, 'nosuid' in m.options && m.kind == 'bind')) <= 2 && noNewPrivileges",
            &["mounts", "noNewPrivileges"],
        ),
        (
            "has(sysctls.foo) ? sysctls['foo'] == '1' : seccomp",
            &["seccomp", "sysctls"],
        ),
        (
            "workloads.exists(w, w.labels.tier == 'web') // the web tier",
            &["workloads"],
        ),
        (
            "limits.memory <= 512 * 1024 * 1024\n  && limits.pids < -(-300)",
            &["limits.memory", "limits.pids"],
        ),
        (
            "env.exists_one(e, e == 'TZ') && sysctls.all(k, k.startsWith('net.'))",
            &["env", "sysctls"],
        ),
        (
            "command == ['/app', \"\\u002dv\"] && command[0] == '/app'",
            &["command"],
        ),
        (
            "user.uid in [1000, 0x3e9] && image.size() == 71",
            &["image", "user.uid"],
        ),
    ] {
        let read = Expression::read(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        let found: Vec<&str> = read.fields().map(|field| field.name).collect();
        assert_eq!(found, fields, "{text}");
        assert_eq!(read.constant(), None, "{text}");
        assert!(read.cost() <= MAX_COST);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_a_remedy() {
    for (text, line, column, message, remedy) in [
        (
            "user.uuid != 0",
            1,
            1,
            "there is no field `user.uuid`",
            "did you mean `user.uid`?",
        ),
        ("user != 0", 1, 1, "there is no field `user`", "user.uid"),
        ("usr.uid != 0", 1, 1, "there is no field", "did you mean"),
        (
            "seccomp &&\n  mounts.all(m, m.acess == 'ro')",
            2,
            17,
            "no member `acess`",
            "did you mean `access`?",
        ),
        ("user.uid", 1, 1, "the result is a number", "condition"),
        ("user.uid == '0'", 1, 13, "this is text", "write a number"),
        ("user.uid =! 0", 1, 10, "`=` means nothing", "remove"),
        ("user.uid != ", 1, 10, "ends too early", "complete"),
        ("(seccomp", 1, 2, "ends too early", "complete"),
        ("seccomp)", 1, 8, "`)` is not expected", "remove"),
        ("command.matches('a')", 1, 8, "regular expressions", "startsWith"),
        (
            "command.map(c, c) == command",
            1,
            8,
            "no function `map`",
            "use size",
        ),
        ("has(user.uid)", 1, 1, "always there", "remove has"),
        ("limits.cpu < 1.5", 1, 14, "whole number", "digits"),
        ("user.uid < 1u", 1, 12, "whole number", "digits"),
        ("image == b'x'", 1, 10, "bytes or raw text", "quotes"),
        ("image == '''x'''", 1, 10, "three quotes", "one pair"),
        ("image == 'x", 1, 10, "does not end", "close"),
        ("image == '\\q'", 1, 11, "unknown escape", "write"),
        (
            "mounts.all(env, true)",
            1,
            12,
            "already means something else",
            "another name",
        ),
        (
            "mounts.all(m, mounts.all(m, true))",
            1,
            26,
            "already means something else",
            "another name",
        ),
        (
            "mounts.all('m', true)",
            1,
            12,
            "name of a variable",
            "write a name",
        ),
        ("mounts == mounts", 1, 8, "does not compare", "member"),
        ("[] == command", 1, 1, "empty list", "size"),
        ("image + 'x' == image", 1, 1, "this is text", "write a number"),
        ("null == image", 1, 1, "reserved", "another"),
        ("9223372036854775808 > user.uid", 1, 1, "too large", "smaller"),
        ("x.y.z", 1, 1, "there is no field", "write one of"),
        ("", 1, 1, "ends too early", "complete"),
        ("user.uid.bit == 1", 1, 1, "has no members", "remove"),
    ] {
        let fault = fault(text);
        assert!(
            fault.message.contains(message) && fault.remedy.contains(remedy),
            "{text}: {fault}"
        );
        assert_eq!((fault.line, fault.column), (line, column), "{text}: {fault}");
    }
}

#[test]
fn what_has_no_bound_is_refused_in_no_time() {
    let deep = format!("{}seccomp{}", "(".repeat(1_000), ")".repeat(1_000));
    let negated = format!("{}seccomp", "!".repeat(1_500));
    let long = format!("image == '{}'", "x".repeat(MAX_EXPRESSION));
    let wide = format!("seccomp{}", " && seccomp".repeat(170));
    let brackets = "[".repeat(MAX_EXPRESSION);
    let calls = "size(".repeat(400);
    let nest = "mounts.all(a, mounts.all(b, mounts.all(c, a.target == b.target)))".to_owned();
    let wild = "env.exists(a, env.exists(b, env.exists(c, env.exists(d, a == b && c == d))))".to_owned();
    let pairs = "mounts.all(a, command.all(b, a.target == b))".to_owned();
    for (text, message) in [
        (deep, "nested deeper"),
        (negated, "nested deeper"),
        (long, "bytes; the limit"),
        (wide, "more than 256 parts"),
        (brackets, "nested deeper"),
        (calls, "nested deeper"),
        (nest, "steps; the limit"),
        (wild, "steps; the limit"),
        (pairs, "steps; the limit"),
    ] {
        let fault = fault(&text);
        assert!(fault.message.contains(message), "{text:.60}: {fault}");
    }
    // What people need has room.
    Expression::read("mounts.all(m, env.all(e, m.target != '/' && e != 'LD_PRELOAD'))").unwrap();
    let many = format!("image == '{}'", vec!["a"; 100].join("' || image == '"));
    Expression::read(&many.replace("image == ''", "seccomp")).unwrap_or_else(|fault| {
        // 100 comparisons are 400 parts.
        assert!(fault.message.contains("parts"), "{fault}");
        Expression::read("seccomp").unwrap()
    });
}

#[test]
fn what_says_the_same_of_everything_is_known() {
    for (text, value) in [
        ("true", Some(true)),
        ("1 > 2 || !('a' in ['a'])", Some(false)),
        ("seccomp || true", Some(true)),
        ("false && user.uid == 0", Some(false)),
        ("user.uid == user.uid", Some(true)),
        ("mounts.all(m, true)", Some(true)),
        ("mounts.exists(m, 1 == 2)", Some(false)),
        ("seccomp ? true : 1 == 1", Some(true)),
        ("1 / 0 == 1", None),
        ("seccomp", None),
        ("mounts.exists(m, true)", None),
    ] {
        assert_eq!(Expression::read(text).unwrap().constant(), value, "{text}");
    }
}

#[test]
fn numbers_that_are_too_large_and_keys_that_are_not_there_are_errors() {
    let sysctls = FIELDS.iter().position(|field| field.name == "sysctls").unwrap();
    for (text, why) in [
        ("9223372036854775807 + 1 > 0", "too large"),
        ("-9223372036854775808 - 1 < 0", "too large"),
        ("-(-9223372036854775808) > 0", "too large"),
        ("4611686018427387904 * 2 > 0", "too large"),
        ("-9223372036854775808 / -1 > 0", "too large"),
        ("-9223372036854775808 % -1 == 0", "too large"),
        ("1 / 0 == 0", "divided by zero"),
        ("1 % 0 == 0", "divided by zero"),
        ("[1, 2][2] == 2", "no member 2"),
        ("[1, 2][-1] == 2", "no member -1"),
        ("sysctls.a == 'b'", "no key `a`"),
        ("sysctls['a\\u001b'] != 'b'", "no key `a\\u{1b}`"),
        // CEL would pass over the error.
        ("sysctls.a == 'b' || true", "no key"),
    ] {
        let read = Expression::read(text).unwrap();
        let fields: Vec<Value<'_>> = read
            .resolved
            .fields
            .iter()
            .map(|place| {
                assert_eq!(*place, sysctls);
                Value::Map([("z".into(), "1".into())].into())
            })
            .collect();
        match evaluate(&read.resolved.code, &fields).0 {
            Verdict::Error(found) => assert!(found.contains(why), "{text}: {found}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let guarded = Expression::read("has(sysctls.a) && sysctls.a == 'b'").unwrap();
    let fields = [Value::Map([("z".into(), "1".into())].into())];
    assert_eq!(evaluate(&guarded.resolved.code, &fields).0, Verdict::False);
}

#[test]
fn fields_are_in_the_order_of_their_names_and_say_what_they_are() {
    assert!(FIELDS.is_sorted_by(|one, other| one.name < other.name));
    for field in FIELDS {
        assert!(
            field.says.len() > 10 && !field.says.ends_with('.'),
            "{}",
            field.name
        );
        if let Type::Records(members) = field.of {
            assert!(
                members.is_sorted_by(|one, other| one.name < other.name),
                "{}",
                field.name
            );
        }
    }
}

/// Makes expressions and values of a list of numbers: the same list, the same expression.
struct Dice<'d>(std::slice::Iter<'d, u8>);

impl Dice<'_> {
    fn below(&mut self, most: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % most
    }

    fn pick<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words[self.below(words.len())]
    }
}

const TEXTS: [&str; 6] = ["", "a", "ab", "net.x", "/tmp", "\u{e9}t\u{e9}"];

/// An expression of this type; `loops` are the variables in reach with what they are.
fn written(dice: &mut Dice<'_>, of: Type, loops: &mut Vec<(String, Type)>, depth: usize) -> String {
    let variable = loops
        .iter()
        .find(|(_, found)| *found == of)
        .map(|(name, _)| name.clone());
    let leaf = depth == 0;
    match of {
        Type::Int => match dice.below(if leaf { 3 } else { 6 }) {
            0 => dice
                .pick(&["0", "1", "-3", "1000", "9223372036854775807"])
                .to_owned(),
            1 => variable.unwrap_or_else(|| "user.uid".to_owned()),
            2 => "user.gid".to_owned(),
            3 => format!("size({})", written(dice, Type::Texts, loops, depth - 1)),
            4 => format!("{}.size()", written(dice, Type::Text, loops, depth - 1)),
            _ => {
                let sign = dice.pick(&["+", "-", "*", "/", "%"]);
                let one = written(dice, Type::Int, loops, depth - 1);
                format!("({one} {sign} {})", written(dice, Type::Int, loops, depth - 1))
            }
        },
        Type::Text => match dice.below(if leaf { 3 } else { 6 }) {
            0 => format!("'{}'", dice.pick(&TEXTS)),
            1 => "workingDir".to_owned(),
            2 => variable.unwrap_or_else(|| "image".to_owned()),
            3 => format!("sysctls['{}']", dice.pick(&TEXTS)),
            4 => format!("command[{}]", dice.below(3)),
            _ => match loops.iter().find(|(_, of)| matches!(of, Type::Record(_))) {
                Some((name, _)) => format!("{name}.target"),
                None => "image".to_owned(),
            },
        },
        Type::Texts => match dice.below(if leaf { 2 } else { 4 }) {
            0 => "command".to_owned(),
            1 => "env".to_owned(),
            2 => format!("['{}', '{}']", dice.pick(&TEXTS), dice.pick(&TEXTS)),
            _ => {
                let name = format!("v{}", loops.len());
                loops.push((name.clone(), Type::Text));
                let body = written(dice, Type::Bool, loops, depth - 1);
                loops.pop();
                format!("command.filter({name}, {body})")
            }
        },
        _ => match dice.below(if leaf { 2 } else { 11 }) {
            0 => "seccomp".to_owned(),
            1 => dice
                .pick(&["true", "noNewPrivileges", "has(sysctls.a)"])
                .to_owned(),
            2 => format!("!{}", written(dice, Type::Bool, loops, depth - 1)),
            3 | 4 => {
                let sign = dice.pick(&["&&", "||"]);
                let one = written(dice, Type::Bool, loops, depth - 1);
                format!("({one} {sign} {})", written(dice, Type::Bool, loops, depth - 1))
            }
            5 => {
                let sign = dice.pick(&["==", "!=", "<", "<=", ">", ">="]);
                let one = written(dice, Type::Int, loops, depth - 1);
                format!("({one} {sign} {})", written(dice, Type::Int, loops, depth - 1))
            }
            6 => {
                let sign = dice.pick(&["==", "!=", "<", "<=", ">", ">="]);
                let one = written(dice, Type::Text, loops, depth - 1);
                format!("({one} {sign} {})", written(dice, Type::Text, loops, depth - 1))
            }
            7 => {
                let function = dice.pick(&["startsWith", "endsWith", "contains"]);
                let one = written(dice, Type::Text, loops, depth - 1);
                format!(
                    "{one}.{function}({})",
                    written(dice, Type::Text, loops, depth - 1)
                )
            }
            8 => {
                let one = written(dice, Type::Text, loops, depth - 1);
                format!("({one} in {})", written(dice, Type::Texts, loops, depth - 1))
            }
            9 => {
                let name = format!("v{}", loops.len());
                let function = dice.pick(&["all", "exists", "exists_one"]);
                let over = dice.pick(&["mounts", "command", "sysctls"]);
                let of = FIELDS.iter().find(|field| field.name == over).unwrap().of;
                loops.push((name.clone(), of.member().unwrap()));
                let body = written(dice, Type::Bool, loops, depth - 1);
                loops.pop();
                format!("{over}.{function}({name}, {body})")
            }
            _ => format!(
                "({} ? {} : {})",
                written(dice, Type::Bool, loops, depth - 1),
                written(dice, Type::Bool, loops, depth - 1),
                written(dice, Type::Bool, loops, depth - 1)
            ),
        },
    }
}

/// Some value of a field.
fn valued(dice: &mut Dice<'_>, of: Type, most: usize) -> Value<'static> {
    let list = |dice: &mut Dice<'_>, of: Type| {
        let members = dice.below(most.min(4) + 1);
        Value::List((0..members).map(|_| valued(dice, of, MAX_INNER)).collect())
    };
    match of {
        Type::Bool => Value::Bool(dice.below(2) == 1),
        Type::Int => Value::Int([0, 1, 1000, i64::MAX, -5][dice.below(5)]),
        Type::Text => Value::text(dice.pick(&TEXTS)),
        Type::Ints => list(dice, Type::Int),
        Type::Texts => list(dice, Type::Text),
        Type::Records(members) => list(dice, Type::Record(members)),
        Type::Record(members) => Value::Record(
            members
                .iter()
                .map(|member| valued(dice, member.of, MAX_INNER))
                .collect(),
        ),
        Type::Map => {
            let members = dice.below(4);
            let entry = |dice: &mut Dice<'_>| (dice.pick(&TEXTS).into(), dice.pick(&TEXTS).into());
            Value::Map((0..members).map(|_| entry(dice)).collect())
        }
    }
}

/// The value as the peer takes it.
fn peers(value: &Value<'_>, of: Type) -> cel::Value {
    match (value, of) {
        (Value::Bool(truth), _) => (*truth).into(),
        (Value::Int(number), _) => (*number).into(),
        (Value::Text(text), _) => text.to_string().into(),
        (Value::Map(members), _) => {
            let members = members
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()));
            members.collect::<HashMap<String, String>>().into()
        }
        (Value::List(members), of) => {
            let of = of.member().unwrap();
            members
                .iter()
                .map(|member| peers(member, of))
                .collect::<Vec<_>>()
                .into()
        }
        (Value::Record(members), Type::Record(names)) => {
            let members = members.iter().zip(names);
            let members = members.map(|(value, member)| (member.name.to_owned(), peers(value, member.of)));
            members.collect::<HashMap<String, cel::Value>>().into()
        }
        (value, of) => panic!("{value:?} is not {of}"),
    }
}

/// What the peer says.
fn peer_says(text: &str, fields: &[usize], values: &[Value<'_>]) -> Result<bool, String> {
    let mut groups: HashMap<&str, HashMap<String, cel::Value>> = HashMap::new();
    let mut context = cel::Context::default();
    for (place, value) in fields.iter().zip(values) {
        let field = &FIELDS[*place];
        let value = peers(value, field.of);
        match field.name.split_once('.') {
            Some((group, name)) => _ = groups.entry(group).or_default().insert(name.to_owned(), value),
            None => context.add_variable_from_value(field.name, value),
        }
    }
    for (group, members) in groups {
        context.add_variable_from_value(group, members);
    }
    let program = cel::Program::compile(text).map_err(|errors| format!("not read: {errors}"))?;
    match program.execute(&context) {
        Ok(cel::Value::Bool(truth)) => Ok(truth),
        Ok(other) => Err(format!("not a truth value: {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// The independent peer reads every such expression, too, and says the same; where it says that there is an error, so does this one.
    /// This one has an error more often: where the peer passes over one because the rest decides.
    #[test]
    fn expressions_mean_what_another_evaluator_of_cel_says(rolls in proptest::collection::vec(any::<u8>(), 4..120)) {
        let mut dice = Dice(rolls.iter());
        let text = written(&mut dice, Type::Bool, &mut Vec::new(), 4);
        let Ok(read) = Expression::read(&text) else {
            let fault = fault(&text);
            prop_assert!(fault.message.contains("steps") || fault.message.contains("limit") || fault.message.contains("parts"), "{text}: {fault}");
            return Ok(());
        };
        let fields: Vec<Value<'_>> = read.fields().map(|field| valued(&mut dice, field.of, MAX_MEMBERS)).collect();
        let (verdict, steps) = evaluate(&read.resolved.code, &fields);
        prop_assert!(steps <= read.cost(), "{text}: {steps} steps, at most {} were foretold", read.cost());
        let peer = peer_says(&text, &read.resolved.fields, &fields);
        match (&verdict, &peer) {
            (Verdict::True, Ok(true)) | (Verdict::False, Ok(false)) => {}
            (Verdict::Error(_), Err(why)) => prop_assert!(!why.starts_with("not "), "{text}: {why}"),
            (Verdict::Error(_), Ok(_)) => {}
            _ => prop_assert!(false, "{text} with {fields:?}: {verdict:?}, the peer {peer:?}"),
        }
        if let (Some(always), Verdict::True | Verdict::False) = (constant(&read.resolved.code), &verdict) {
            prop_assert_eq!(verdict == Verdict::True, always, "{}", text);
        }
    }
}

#[test]
fn the_generator_makes_expressions_that_hold_fail_and_err() {
    let mut counts = [0_u32; 3];
    let mut seed = 1_u64;
    for _ in 0..500 {
        let rolls: Vec<u8> = (0..80)
            .map(|_| {
                // Knuth's multiplier (MMIX): any will do.
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            })
            .collect();
        let mut dice = Dice(rolls.iter());
        let text = written(&mut dice, Type::Bool, &mut Vec::new(), 4);
        let Ok(read) = Expression::read(&text) else {
            continue;
        };
        let fields: Vec<Value<'_>> = read
            .fields()
            .map(|field| valued(&mut dice, field.of, 4))
            .collect();
        counts[match evaluate(&read.resolved.code, &fields).0 {
            Verdict::True => 0,
            Verdict::False => 1,
            Verdict::NotSeen(_) | Verdict::Error(_) => 2,
        }] += 1;
    }
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
}
