//! Gives every part of an expression its type, and the whole its cost: what is misspelt, does not fit or is too much is found here.

use std::collections::BTreeSet;

use super::code::{Arithmetic, Code, Find, KEEPING, Loop, Order, Resolved};
use super::fault::{Fault, Place, quoted};
use super::parse::{Node, Part};
use super::types::{MAX_INNER, Shape, Type};
use super::view::FIELDS;
use super::{MAX_COST, MAX_TEXT};
use crate::draft::nearest;

/// A part that was resolved.
struct Typed {
    code: Code,
    shape: Shape,
    cost: u64,
}

struct Resolver {
    /// Places in `FIELDS`, in the order in which they were met.
    fields: Vec<usize>,
    /// Names and shapes of the variables in reach, innermost last.
    variables: Vec<(String, Shape)>,
}

/// Resolves the whole.
pub(super) fn resolve(node: &Node) -> Result<Resolved, Fault> {
    let mut resolver = Resolver {
        fields: Vec::new(),
        variables: Vec::new(),
    };
    let part = resolver.part(node)?;
    if part.shape.of != Type::Bool {
        return Err(node.place.fault(
            format!("the result is {}", part.shape.of),
            "write a condition: what holds where all is well",
        ));
    }
    if part.cost > MAX_COST {
        return Err(node.place.fault(
            format!(
                "evaluating it may take {} steps; the limit is {MAX_COST}",
                part.cost
            ),
            "nest fewer loops, compare with shorter lists, or write several checks",
        ));
    }
    let order: Vec<usize> = BTreeSet::from_iter(resolver.fields.iter().copied())
        .into_iter()
        .collect();
    let mut code = part.code;
    code.renumber(&|met| {
        order
            .iter()
            .position(|place| *place == resolver.fields[met])
            .expect("every field met is in the order")
    });
    Ok(Resolved {
        code,
        fields: order,
        cost: part.cost,
    })
}

impl Resolver {
    fn part(&mut self, node: &Node) -> Result<Typed, Fault> {
        let place = node.place;
        match &node.part {
            Part::Truth(truth) => Ok(leaf(Code::Bool(*truth), Shape::BOOL)),
            Part::Number(number) => Ok(leaf(Code::Int(*number), Shape::INT)),
            Part::Text(text) => {
                if text.len() > MAX_TEXT {
                    return Err(place.fault("the text is too long", "write a shorter one"));
                }
                let shape = Shape {
                    of: Type::Text,
                    members: 0,
                    text: text.len() as u64,
                };
                Ok(leaf(Code::Text(text.clone()), shape))
            }
            Part::List(items) => self.list(place, items),
            Part::Name(_) | Part::Select(..) => self.path(node),
            Part::Index(of, index) => self.index(place, of, index),
            Part::Call(target, name, arguments) => self.call(place, target.as_deref(), name, arguments),
            Part::Not(operand) => {
                let Typed { code, cost, .. } = self.typed(operand, Type::Bool)?;
                Ok(made(Code::Not(Box::new(code)), Shape::BOOL, cost + 1))
            }
            Part::Negative(operand) => {
                let Typed { code, cost, .. } = self.typed(operand, Type::Int)?;
                Ok(made(Code::Negative(Box::new(code)), Shape::INT, cost + 1))
            }
            Part::Binary(sign, left, right) => self.binary(place, sign, left, right),
            Part::If(condition, then, or) => {
                let condition = self.typed(condition, Type::Bool)?;
                let then = self.part(then)?;
                let other = self.typed(or, then.shape.of)?;
                let shape = Shape {
                    of: then.shape.of,
                    members: then.shape.members.max(other.shape.members),
                    text: then.shape.text.max(other.shape.text),
                };
                let cost = condition.cost + then.cost.max(other.cost) + 1;
                let code = Code::If(
                    Box::new(condition.code),
                    Box::new(then.code),
                    Box::new(other.code),
                );
                Ok(made(code, shape, cost))
            }
        }
    }

    fn typed(&mut self, node: &Node, of: Type) -> Result<Typed, Fault> {
        let part = self.part(node)?;
        if part.shape.of == of {
            return Ok(part);
        }
        Err(node
            .place
            .fault(format!("this is {}", part.shape.of), format!("write {of} here")))
    }

    fn list(&mut self, place: Place, items: &[Node]) -> Result<Typed, Fault> {
        let Some((first, rest)) = items.split_first() else {
            return Err(place.fault("an empty list has nothing to compare", "compare `size(…)` with 0"));
        };
        let first = self.part(first)?;
        let of = match first.shape.of {
            Type::Int => Type::Ints,
            Type::Text => Type::Texts,
            other => {
                return Err(place.fault(
                    format!("a list may hold numbers or texts, not {other}"),
                    "write several conditions",
                ));
            }
        };
        let mut shape = Shape {
            of,
            members: items.len() as u64,
            text: first.shape.text,
        };
        let mut cost = first.cost + 1;
        let mut codes = vec![first.code];
        for item in rest {
            let part = self.typed(item, first.shape.of)?;
            shape.text = shape.text.max(part.shape.text);
            cost += part.cost;
            codes.push(part.code);
        }
        Ok(made(
            Code::List(codes),
            shape,
            cost + shape.members * (1 + shape.text / 64),
        ))
    }

    /// A name, or what is selected of something.
    fn path(&mut self, node: &Node) -> Result<Typed, Fault> {
        if let Some(path) = dotted(node)
            && let Some(part) = self.named(&path)
        {
            return Ok(part);
        }
        match &node.part {
            Part::Name(name) => Err(unknown(node.place, name)),
            // What is no name by itself is part of one that is misspelt, and not something to select from.
            Part::Select(of, name) if matches!(&of.part, Part::Name(first) if self.named(first).is_none()) => {
                let path = dotted(of).unwrap_or_default();
                Err(unknown(node.place, &format!("{path}.{name}")))
            }
            Part::Select(of, name) => {
                let of = self.part(of)?;
                match of.shape.of {
                    Type::Record(members) => {
                        let Some(at) = members.iter().position(|member| member.name == *name) else {
                            let known: Vec<&str> = members.iter().map(|member| member.name).collect();
                            return Err(node
                                .place
                                .fault(format!("there is no member {}", quoted(name)), slip(name, &known)));
                        };
                        let member = members[at].of;
                        let shape = Shape {
                            of: member,
                            members: MAX_INNER as u64,
                            text: of.shape.text,
                        };
                        Ok(made(Code::Member(Box::new(of.code), at), shape, of.cost + 1))
                    }
                    Type::Map => {
                        let shape = of.shape.one(Type::Text);
                        let key = Code::Text(name.clone());
                        let cost = of.cost + finding(of.shape);
                        Ok(made(Code::At(Box::new(of.code), Box::new(key)), shape, cost))
                    }
                    other => Err(node.place.fault(
                        format!("{other} has no members"),
                        "remove what is selected, or use a function such as size(…)",
                    )),
                }
            }
            _ => self.part(node),
        }
    }

    /// A variable or a field of this whole name.
    fn named(&mut self, path: &str) -> Option<Typed> {
        let variables = self.variables.iter().rev();
        if let Some((between, (_, shape))) = variables.enumerate().find(|(_, (name, _))| name == path) {
            return Some(leaf(Code::Variable(between), *shape));
        }
        let place = FIELDS.iter().position(|field| field.name == path)?;
        let met = self.fields.iter().position(|met| *met == place);
        let met = met.unwrap_or_else(|| {
            self.fields.push(place);
            self.fields.len() - 1
        });
        Some(leaf(
            Code::Field(met),
            Shape::seen(FIELDS[place].of, super::MAX_MEMBERS),
        ))
    }

    fn is_group(&self, node: &Node) -> bool {
        let Part::Name(name) = &node.part else {
            return false;
        };
        self.variables.iter().all(|(variable, _)| variable != name)
            && FIELDS
                .iter()
                .any(|field| field.name.split_once('.').is_some_and(|(group, _)| group == name))
    }

    fn index(&mut self, place: Place, of: &Node, index: &Node) -> Result<Typed, Fault> {
        let of = self.part(of)?;
        let (key, shape, finding) = match of.shape.of {
            Type::Map => (Type::Text, of.shape.one(Type::Text), finding(of.shape)),
            Type::Ints | Type::Texts | Type::Records(_) => {
                let member = of.shape.of.member().expect("a list has members");
                (Type::Int, of.shape.one(member), 1)
            }
            other => {
                return Err(place.fault(
                    format!("{other} is no list and no map"),
                    "remove the brackets and what is in them",
                ));
            }
        };
        let index = self.typed(index, key)?;
        let cost = of.cost + index.cost + finding;
        Ok(made(
            Code::At(Box::new(of.code), Box::new(index.code)),
            shape,
            cost,
        ))
    }

    fn binary(
        &mut self,
        place: Place,
        sign: &'static str,
        left: &Node,
        right: &Node,
    ) -> Result<Typed, Fault> {
        if matches!(sign, "&&" | "||") {
            let (left, right) = (self.typed(left, Type::Bool)?, self.typed(right, Type::Bool)?);
            let cost = left.cost + right.cost + 1;
            let (left, right) = (Box::new(left.code), Box::new(right.code));
            let code = match sign {
                "&&" => Code::And(left, right),
                _ => Code::Or(left, right),
            };
            return Ok(made(code, Shape::BOOL, cost));
        }
        if let Some(kind) = arithmetic(sign) {
            let (left, right) = (self.typed(left, Type::Int)?, self.typed(right, Type::Int)?);
            let cost = left.cost + right.cost + 1;
            let code = Code::Arithmetic(kind, Box::new(left.code), Box::new(right.code));
            return Ok(made(code, Shape::INT, cost));
        }
        if sign == "in" {
            return self.within(place, left, right);
        }
        let left = self.part(left)?;
        let of = left.shape.of;
        let comparable = match sign {
            "==" | "!=" => matches!(of, Type::Bool | Type::Int | Type::Text | Type::Ints | Type::Texts),
            _ => matches!(of, Type::Int | Type::Text),
        };
        if !comparable {
            return Err(place.fault(
                format!("`{sign}` does not compare {of}"),
                "compare numbers or texts, such as a member of it",
            ));
        }
        let right = self.typed(right, of)?;
        let cost = left.cost + right.cost + 1 + left.shape.comparing(right.shape);
        let (left, right) = (Box::new(left.code), Box::new(right.code));
        let code = match sign {
            "==" => Code::Equal(false, left, right),
            "!=" => Code::Equal(true, left, right),
            "<" => Code::Order(Order::Less, left, right),
            "<=" => Code::Order(Order::LessOrEqual, left, right),
            ">" => Code::Order(Order::More, left, right),
            _ => Code::Order(Order::MoreOrEqual, left, right),
        };
        Ok(made(code, Shape::BOOL, cost))
    }

    /// `left in right`
    fn within(&mut self, place: Place, left: &Node, right: &Node) -> Result<Typed, Fault> {
        let list = self.part(right)?;
        let member = match list.shape.of {
            Type::Ints | Type::Texts | Type::Map => list.shape.of.member().expect("it has members"),
            other => {
                return Err(place.fault(
                    format!("`in` does not look into {other}"),
                    "use a list of numbers or texts, a map, or a loop such as mounts.exists(m, …)",
                ));
            }
        };
        let left = self.typed(left, member)?;
        let one = left.shape.comparing(list.shape.one(member));
        let looking = match list.shape.of {
            Type::Map => finding(list.shape),
            _ => 1 + list.shape.members * one,
        };
        let cost = left.cost + list.cost + looking;
        let code = Code::In(Box::new(left.code), Box::new(list.code));
        Ok(made(code, Shape::BOOL, cost))
    }

    fn call(
        &mut self,
        place: Place,
        target: Option<&Node>,
        name: &str,
        arguments: &[Node],
    ) -> Result<Typed, Fault> {
        match (target, name, arguments) {
            (None, "size", [of]) | (Some(of), "size", []) => {
                let of = self.part(of)?;
                let counting = match of.shape.of {
                    Type::Text => 1 + of.shape.text / 64,
                    Type::Ints | Type::Texts | Type::Records(_) | Type::Map => 1,
                    other => {
                        return Err(place.fault(format!("{other} has no size"), "give a text, a list or a map"));
                    }
                };
                Ok(made(Code::Size(Box::new(of.code)), Shape::INT, of.cost + counting))
            }
            (None, "has", [of]) => self.has(place, of),
            (Some(of), "startsWith" | "endsWith" | "contains", [text]) => {
                let of = self.typed(of, Type::Text)?;
                let text = self.typed(text, Type::Text)?;
                let kind = match name {
                    "startsWith" => Find::Start,
                    "endsWith" => Find::End,
                    _ => Find::Anywhere,
                };
                let looking = match kind {
                    Find::Anywhere => of.shape.text + text.shape.text,
                    Find::Start | Find::End => of.shape.text.min(text.shape.text),
                };
                let cost = of.cost + text.cost + 1 + looking / 64;
                let code = Code::Find(kind, Box::new(of.code), Box::new(text.code));
                Ok(made(code, Shape::BOOL, cost))
            }
            (Some(of), "all" | "exists" | "exists_one" | "existsOne" | "filter", [variable, body]) => {
                let kind = match name {
                    "all" => Loop::All,
                    "exists" => Loop::Exists,
                    "filter" => Loop::Filter,
                    _ => Loop::ExistsOne,
                };
                self.each(place, kind, of, variable, body)
            }
            (_, "matches", _) => Err(place.fault(
                "regular expressions are left out",
                "use startsWith, endsWith, contains or `in`",
            )),
            _ => Err(place.fault(
                format!("there is no function {} that is called like this", quoted(name)),
                "use size(…), has(MAP.KEY), TEXT.startsWith(…), .endsWith(…), .contains(…), LIST.all(x, …), .exists(x, …), \
                 .exists_one(x, …) or .filter(x, …)",
            )),
        }
    }

    fn has(&mut self, place: Place, of: &Node) -> Result<Typed, Fault> {
        let Part::Select(map, key) = &of.part else {
            return Err(place.fault(
                "has(…) asks for a key of a map",
                "write has(MAP.KEY) or \"KEY\" in MAP",
            ));
        };
        if self.is_group(map) || dotted(of).is_some_and(|path| FIELDS.iter().any(|field| field.name == path))
        {
            return Err(place.fault(
                "every field is always there: what was not seen makes the check not evaluated",
                "remove has(…)",
            ));
        }
        let map = self.part(map)?;
        if map.shape.of != Type::Map {
            return Err(place.fault(
                format!("has(…) asks for a key of a map, and this is {}", map.shape.of),
                "remove has(…): what is no map has all of its members",
            ));
        }
        let cost = map.cost + finding(map.shape);
        let code = Code::In(Box::new(Code::Text(key.clone())), Box::new(map.code));
        Ok(made(code, Shape::BOOL, cost))
    }

    fn each(
        &mut self,
        place: Place,
        kind: Loop,
        of: &Node,
        variable: &Node,
        body: &Node,
    ) -> Result<Typed, Fault> {
        let range = self.part(of)?;
        let Some(member) = range.shape.of.member() else {
            return Err(place.fault(
                format!("{} has no members to go through", range.shape.of),
                "use a list or a map",
            ));
        };
        if kind == Loop::Filter && range.shape.of == Type::Map {
            return Err(place.fault(
                "a map is not filtered",
                "use exists or all, which go through its keys",
            ));
        }
        let Part::Name(name) = &variable.part else {
            return Err(variable.place.fault(
                "the first argument is the name of a variable",
                "write a name, as in mounts.all(m, m.access == \"ro\")",
            ));
        };
        let group = |field: &super::Field| field.name.split('.').next() == Some(name.as_str());
        if self.variables.iter().any(|(known, _)| known == name) || FIELDS.iter().any(group) {
            return Err(variable.place.fault(
                format!("{} already means something else", quoted(name)),
                "use another name",
            ));
        }
        self.variables.push((name.clone(), range.shape.one(member)));
        let body = self.typed(body, Type::Bool);
        self.variables.pop();
        let body = body?;
        let (shape, kept) = match kind {
            Loop::Filter => (range.shape, KEEPING),
            _ => (Shape::BOOL, 0),
        };
        let rounds = range
            .shape
            .members
            .saturating_mul(body.cost.saturating_add(1 + kept));
        let cost = range.cost.saturating_add(rounds).saturating_add(1);
        let code = Code::Loop(kind, Box::new(range.code), Box::new(body.code));
        Ok(made(code, shape, cost))
    }
}

fn leaf(code: Code, shape: Shape) -> Typed {
    made(code, shape, 1)
}

fn made(code: Code, shape: Shape, cost: u64) -> Typed {
    // Far above what is allowed, and far below where a sum of two could wrap.
    let cost = cost.min(u64::MAX / 1024);
    Typed { code, shape, cost }
}

/// Steps that finding a key in a map takes: as many comparisons as a search by halves makes.
const fn finding(map: Shape) -> u64 {
    1 + 9 * (1 + map.text / 64)
}

fn arithmetic(sign: &str) -> Option<Arithmetic> {
    Some(match sign {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Remainder,
        _ => return None,
    })
}

/// The whole of a name with dots in it.
fn dotted(node: &Node) -> Option<String> {
    match &node.part {
        Part::Name(name) => Some(name.clone()),
        Part::Select(of, name) => match &of.part {
            Part::Name(group) => Some(format!("{group}.{name}")),
            _ => None,
        },
        _ => None,
    }
}

fn unknown(place: Place, path: &str) -> Fault {
    let known: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
    let within: Vec<&str> = known
        .iter()
        .copied()
        .filter(|name| name.split_once('.').is_some_and(|(group, _)| group == path))
        .collect();
    let remedy = match within.as_slice() {
        [] => slip(path, &known),
        names => format!("write one of: {}", names.join(", ")),
    };
    place.fault(format!("there is no field {}", quoted(path)), remedy)
}

fn slip(found: &str, known: &[&str]) -> String {
    match nearest(found, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of: {}", known.join(", ")),
    }
}
