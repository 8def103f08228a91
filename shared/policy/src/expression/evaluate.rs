//! Evaluates what was resolved.

use std::borrow::Cow;
use std::cell::Cell;

use super::MAX_COST;
use super::code::{Arithmetic, Code, Find, KEEPING, Loop, Order, Resolved};
use super::value::Value;
use super::view::{FIELDS, Subject};
use crate::facts::Evidence;

/// What an expression says of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Something that it looks at was not seen, for this reason.
    NotSeen(String),
    /// It could not be evaluated, for this reason.
    Error(String),
}

/// The value of a variable, and those around it.
#[derive(Clone, Copy)]
struct Scope<'s> {
    value: &'s Value<'s>,
    outer: Option<&'s Scope<'s>>,
}

struct Machine<'s> {
    fields: &'s [Value<'s>],
    steps: &'s Cell<u64>,
}

type Evaluated<'s> = Result<Cow<'s, Value<'s>>, String>;

/// Judges a subject.
pub(super) fn judge(resolved: &Resolved, subject: &Subject<'_>) -> Verdict {
    let mut fields = Vec::with_capacity(resolved.fields.len());
    for place in &resolved.fields {
        let field = &FIELDS[*place];
        match field.see(subject) {
            Evidence::Seen(value) => fields.push(value),
            Evidence::Missing(reason) => return Verdict::NotSeen(format!("{}: {reason}", field.name)),
        }
    }
    let too_large = resolved
        .fields
        .iter()
        .zip(&fields)
        .find_map(|(place, value)| Some(format!("{}: {}", FIELDS[*place].name, value.excess()?)));
    if let Some(excess) = too_large {
        return Verdict::Error(excess);
    }
    evaluate(&resolved.code, &fields).0
}

/// Evaluates with these fields; says how many steps it took, too.
pub(super) fn evaluate(code: &Code, fields: &[Value<'_>]) -> (Verdict, u64) {
    let steps = Cell::new(0);
    let machine = Machine {
        fields,
        steps: &steps,
    };
    let verdict = match machine.truth(code, None) {
        Ok(true) => Verdict::True,
        Ok(false) => Verdict::False,
        Err(why) => Verdict::Error(why),
    };
    (verdict, steps.get())
}

/// The value of what is the same for everything.
pub(super) fn constant(code: &Code) -> Option<bool> {
    match code {
        Code::And(one, other) => match (constant(one), constant(other)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Code::Or(one, other) => match (constant(one), constant(other)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Code::Not(of) => constant(of).map(|truth| !truth),
        Code::If(condition, then, or) => match constant(condition) {
            Some(true) => constant(then),
            Some(false) => constant(or),
            None => constant(then).filter(|then| constant(or) == Some(*then)),
        },
        Code::Equal(negated, one, other) if one == other => Some(!negated),
        // What goes through nothing, or says the same of everything it goes through.
        Code::Loop(Loop::All, _, body) if constant(body) == Some(true) => Some(true),
        Code::Loop(Loop::Exists, _, body) if constant(body) == Some(false) => Some(false),
        code if code.is_fixed() => match evaluate(code, &[]).0 {
            Verdict::True => Some(true),
            Verdict::False => Some(false),
            Verdict::NotSeen(_) | Verdict::Error(_) => None,
        },
        _ => None,
    }
}

/// What resolving rules out. An error, all the same: nothing that is wrong here may pass.
fn unfit<T>() -> Result<T, String> {
    Err("its parts do not fit together".to_owned())
}

impl<'s> Machine<'s> {
    /// Counts steps. Resolving has bounded them; this holds though that were wrong.
    fn take(&self, steps: u64) -> Result<(), String> {
        let taken = self.steps.get().saturating_add(steps);
        self.steps.set(taken);
        if taken > MAX_COST {
            return Err(format!("it takes more than {MAX_COST} steps"));
        }
        Ok(())
    }

    fn truth<'e>(&'e self, code: &'e Code, scope: Option<&'e Scope<'e>>) -> Result<bool, String> {
        match *self.value(code, scope)? {
            Value::Bool(truth) => Ok(truth),
            _ => unfit(),
        }
    }

    fn number<'e>(&'e self, code: &'e Code, scope: Option<&'e Scope<'e>>) -> Result<i64, String> {
        match *self.value(code, scope)? {
            Value::Int(number) => Ok(number),
            _ => unfit(),
        }
    }

    fn value<'e>(&'e self, code: &'e Code, scope: Option<&'e Scope<'e>>) -> Evaluated<'e> {
        self.take(1)?;
        let truth = |truth| Ok(Cow::Owned(Value::Bool(truth)));
        match code {
            Code::Bool(value) => truth(*value),
            Code::Int(number) => Ok(Cow::Owned(Value::Int(*number))),
            Code::Text(text) => Ok(Cow::Owned(Value::text(text.as_str()))),
            Code::List(items) => {
                let members: Result<Vec<Value<'e>>, String> = items
                    .iter()
                    .map(|item| self.value(item, scope).map(Cow::into_owned))
                    .collect();
                Ok(Cow::Owned(Value::List(members?)))
            }
            Code::Field(place) => match self.fields.get(*place) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None => unfit(),
            },
            Code::Variable(between) => {
                let mut found = scope;
                for _ in 0..*between {
                    found = found.and_then(|scope| scope.outer);
                }
                match found {
                    Some(scope) => Ok(Cow::Borrowed(scope.value)),
                    None => unfit(),
                }
            }
            Code::Member(of, place) => match self.value(of, scope)? {
                Cow::Borrowed(Value::Record(members)) if *place < members.len() => {
                    Ok(Cow::Borrowed(&members[*place]))
                }
                Cow::Owned(Value::Record(mut members)) if *place < members.len() => {
                    Ok(Cow::Owned(members.swap_remove(*place)))
                }
                _ => unfit(),
            },
            Code::At(of, key) => {
                let of = self.value(of, scope)?;
                let key = self.value(key, scope)?;
                self.at(&of, &key).map(Cow::Owned)
            }
            Code::In(member, of) => {
                let member = self.value(member, scope)?;
                let of = self.value(of, scope)?;
                truth(self.is_in(&member, &of)?)
            }
            Code::Not(of) => truth(!self.truth(of, scope)?),
            Code::Negative(of) => {
                let number = self.number(of, scope)?;
                let negative = number.checked_neg().ok_or("a number is too large")?;
                Ok(Cow::Owned(Value::Int(negative)))
            }
            Code::Arithmetic(kind, left, right) => {
                let (left, right) = (self.number(left, scope)?, self.number(right, scope)?);
                Ok(Cow::Owned(Value::Int(compute(*kind, left, right)?)))
            }
            Code::Order(kind, left, right) => {
                let (left, right) = (self.value(left, scope)?, self.value(right, scope)?);
                self.take(comparing(&left, &right))?;
                let order = match (&*left, &*right) {
                    (Value::Int(left), Value::Int(right)) => left.cmp(right),
                    (Value::Text(left), Value::Text(right)) => left.cmp(right),
                    _ => return unfit(),
                };
                truth(match kind {
                    Order::Less => order.is_lt(),
                    Order::LessOrEqual => order.is_le(),
                    Order::More => order.is_gt(),
                    Order::MoreOrEqual => order.is_ge(),
                })
            }
            Code::Equal(negated, left, right) => {
                let (left, right) = (self.value(left, scope)?, self.value(right, scope)?);
                self.take(comparing(&left, &right))?;
                truth((left == right) != *negated)
            }
            Code::And(left, right) => truth(self.truth(left, scope)? && self.truth(right, scope)?),
            Code::Or(left, right) => truth(self.truth(left, scope)? || self.truth(right, scope)?),
            Code::If(condition, then, or) => match self.truth(condition, scope)? {
                true => self.value(then, scope),
                false => self.value(or, scope),
            },
            Code::Size(of) => {
                let of = self.value(of, scope)?;
                let size = match &*of {
                    Value::Text(text) => {
                        self.take(text.len() as u64 / 64)?;
                        text.chars().count()
                    }
                    Value::List(members) => members.len(),
                    Value::Map(members) => members.len(),
                    _ => return unfit(),
                };
                Ok(Cow::Owned(Value::Int(i64::try_from(size).unwrap_or(i64::MAX))))
            }
            Code::Find(kind, of, text) => {
                let (of, text) = (self.value(of, scope)?, self.value(text, scope)?);
                let (Value::Text(of), Value::Text(text)) = (&*of, &*text) else {
                    return unfit();
                };
                self.take(match kind {
                    Find::Anywhere => (of.len() + text.len()) as u64 / 64,
                    Find::Start | Find::End => of.len().min(text.len()) as u64 / 64,
                })?;
                truth(match kind {
                    Find::Start => of.starts_with(&**text),
                    Find::End => of.ends_with(&**text),
                    Find::Anywhere => of.contains(&**text),
                })
            }
            Code::Loop(kind, range, body) => {
                let range = self.value(range, scope)?;
                self.each(*kind, &range, body, scope)
            }
        }
    }

    fn each<'e>(
        &'e self,
        kind: Loop,
        range: &Value<'e>,
        body: &'e Code,
        scope: Option<&'e Scope<'e>>,
    ) -> Evaluated<'e> {
        let keys: Vec<Value<'e>>;
        let members = match range {
            Value::List(members) => members,
            Value::Map(members) => {
                keys = members.keys().cloned().map(Value::Text).collect();
                &keys
            }
            _ => return unfit(),
        };
        let mut kept = Vec::new();
        let mut holding = 0_usize;
        for value in members {
            self.take(1)?;
            let holds = self.inner(body, value, scope)?;
            match kind {
                Loop::All if !holds => return Ok(Cow::Owned(Value::Bool(false))),
                Loop::Exists if holds => return Ok(Cow::Owned(Value::Bool(true))),
                Loop::Filter if holds => {
                    self.take(KEEPING)?;
                    kept.push(value.clone());
                }
                _ => holding += usize::from(holds),
            }
        }
        Ok(Cow::Owned(match kind {
            Loop::All => Value::Bool(true),
            Loop::Exists => Value::Bool(false),
            Loop::ExistsOne => Value::Bool(holding == 1),
            Loop::Filter => Value::List(kept),
        }))
    }

    /// Evaluates the body of a loop for one value.
    fn inner(&self, body: &Code, value: &Value<'_>, outer: Option<&Scope<'_>>) -> Result<bool, String> {
        let scope = Scope { value, outer };
        self.truth(body, Some(&scope))
    }

    fn at<'v>(&self, of: &Value<'v>, key: &Value<'_>) -> Result<Value<'v>, String> {
        match (of, key) {
            (Value::Map(members), Value::Text(key)) => {
                self.take(key.len() as u64 / 64)?;
                let found = members.get(&**key);
                found
                    .map(|text| Value::Text(text.clone()))
                    .ok_or_else(|| format!("there is no key `{}`", crate::model::printable_within(key, 60)))
            }
            (Value::List(members), Value::Int(place)) => {
                let found = usize::try_from(*place)
                    .ok()
                    .and_then(|place| members.get(place).cloned());
                found.ok_or_else(|| format!("there is no member {place}"))
            }
            _ => unfit(),
        }
    }

    fn is_in(&self, member: &Value<'_>, of: &Value<'_>) -> Result<bool, String> {
        match (member, of) {
            (Value::Text(key), Value::Map(members)) => {
                self.take(key.len() as u64 / 64)?;
                Ok(members.contains_key(&**key))
            }
            (member, Value::List(members)) => {
                for other in members {
                    self.take(comparing(member, other))?;
                    if member == other {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => unfit(),
        }
    }
}

/// Steps that comparing two values takes at most.
fn comparing(one: &Value<'_>, other: &Value<'_>) -> u64 {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => 1 + one.len().min(other.len()) as u64 / 64,
        (Value::List(one), Value::List(other)) => one
            .iter()
            .zip(other)
            .map(|(one, other)| comparing(one, other))
            .sum(),
        _ => 1,
    }
}

fn compute(kind: Arithmetic, left: i64, right: i64) -> Result<i64, String> {
    let result = match kind {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide | Arithmetic::Remainder if right == 0 => {
            return Err("a number is divided by zero".to_owned());
        }
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    };
    result.ok_or_else(|| "a number is too large".to_owned())
}
