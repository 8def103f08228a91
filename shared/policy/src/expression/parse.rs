//! Words to a tree (cel-spec, "Syntax"): operators by their precedence, calls as they are written.

use super::fault::{Fault, Place, quoted};
use super::token::{Token, tokens};
use super::{MAX_DEPTH, MAX_EXPRESSION, MAX_PARTS};

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Truth(bool),
    Number(i64),
    Text(String),
    List(Vec<Node>),
    Name(String),
    /// `operand.name`
    Select(Box<Node>, String),
    /// `operand[index]`
    Index(Box<Node>, Box<Node>),
    /// `name(arguments)` or `target.name(arguments)`
    Call(Option<Box<Node>>, String, Vec<Node>),
    Not(Box<Node>),
    Negative(Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
}

/// Operators of two operands, loosest first; those of one row bind alike, from the left.
const ROWS: [&[&str]; 5] = [
    &["||"],
    &["&&"],
    &["<", "<=", ">", ">=", "==", "!=", "in"],
    &["+", "-"],
    &["*", "/", "%"],
];

// A tree has at most MAX_PARTS parts, so it is no deeper than that, however its operators are chained.
struct Parser {
    tokens: Vec<(Token, Place)>,
    at: usize,
    parts: usize,
    depth: usize,
    end: Place,
}

/// Reads the tree.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    if text.len() > MAX_EXPRESSION {
        return Err(Place::START.fault(
            format!("it has {} bytes; the limit is {MAX_EXPRESSION}", text.len()),
            "write several checks",
        ));
    }
    let tokens = tokens(text)?;
    let end = tokens.last().map_or(Place::START, |(_, place)| *place);
    let mut parser = Parser {
        tokens,
        at: 0,
        parts: 0,
        depth: 0,
        end,
    };
    let node = parser.whole()?;
    match parser.next() {
        None => Ok(node),
        Some((token, place)) => Err(unexpected(&token, place)),
    }
}

impl Parser {
    fn next(&mut self) -> Option<(Token, Place)> {
        let found = self.tokens.get(self.at).cloned();
        self.at += usize::from(found.is_some());
        found
    }

    /// Takes the sign if it comes next.
    fn take(&mut self, sign: &str) -> Option<Place> {
        match self.tokens.get(self.at) {
            Some((Token::Sign(found), place)) if *found == sign => {
                self.at += 1;
                Some(*place)
            }
            _ => None,
        }
    }

    fn need(&mut self, sign: &'static str) -> Result<(), Fault> {
        if self.take(sign).is_some() {
            return Ok(());
        }
        match self.next() {
            Some((token, place)) => Err(place.fault(
                format!("{} is found where `{sign}` should be", spelling(&token)),
                "close what is open, or remove it",
            )),
            None => Err(self.cut_off()),
        }
    }

    fn cut_off(&self) -> Fault {
        self.end
            .fault("the expression ends too early", "complete what stands here")
    }

    fn node(&mut self, place: Place, part: Part) -> Result<Node, Fault> {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(place.fault(
                format!("it has more than {MAX_PARTS} parts"),
                "write several checks",
            ));
        }
        Ok(Node { place, part })
    }

    /// Reads something that stands in something else.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let place = self.tokens.get(self.at).map_or(self.end, |(_, place)| *place);
            return Err(place.fault(
                format!("it is nested deeper than {MAX_DEPTH}"),
                "write several checks",
            ));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn whole(&mut self) -> Result<Node, Fault> {
        self.nested(|parser| {
            let condition = parser.row(0)?;
            let Some(place) = parser.take("?") else {
                return Ok(condition);
            };
            let then = parser.row(0)?;
            parser.need(":")?;
            let or = parser.whole()?;
            parser.node(place, Part::If(Box::new(condition), Box::new(then), Box::new(or)))
        })
    }

    fn row(&mut self, row: usize) -> Result<Node, Fault> {
        let Some(signs) = ROWS.get(row) else {
            return self.unary();
        };
        let mut left = self.row(row + 1)?;
        while let Some((sign, place)) = signs
            .iter()
            .find_map(|sign| self.take(sign).map(|place| (*sign, place)))
        {
            let right = self.row(row + 1)?;
            left = self.node(place, Part::Binary(sign, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        if let Some(place) = self.take("!") {
            let operand = self.nested(Self::unary)?;
            return self.node(place, Part::Not(Box::new(operand)));
        }
        let Some(place) = self.take("-") else {
            return self.member();
        };
        // The least number has no positive counterpart.
        if let Some((Token::Number(number), _)) = self.tokens.get(self.at) {
            let number = 0_i64.checked_sub_unsigned(*number);
            self.at += 1;
            let number =
                number.ok_or_else(|| place.fault("the number is too small", "write a larger one"))?;
            let literal = self.node(place, Part::Number(number))?;
            return self.members(literal);
        }
        let operand = self.nested(Self::unary)?;
        self.node(place, Part::Negative(Box::new(operand)))
    }

    fn member(&mut self) -> Result<Node, Fault> {
        let first = self.primary()?;
        self.members(first)
    }

    fn members(&mut self, mut node: Node) -> Result<Node, Fault> {
        loop {
            if let Some(place) = self.take(".") {
                let name = match self.next() {
                    Some((Token::Name(name), _)) => name,
                    Some((token, place)) => return Err(unexpected(&token, place)),
                    None => return Err(self.cut_off()),
                };
                let start = node.place;
                let operand = Box::new(node);
                node = match self.take("(") {
                    Some(_) => {
                        let arguments = self.list(")")?;
                        self.node(place, Part::Call(Some(operand), name, arguments))?
                    }
                    // A name with dots in it stands where it begins.
                    None => self.node(start, Part::Select(operand, name))?,
                };
            } else if let Some(place) = self.take("[") {
                let index = self.whole()?;
                self.need("]")?;
                node = self.node(place, Part::Index(Box::new(node), Box::new(index)))?;
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let Some((token, place)) = self.next() else {
            return Err(self.cut_off());
        };
        let part = match token {
            Token::Truth(truth) => Part::Truth(truth),
            Token::Number(number) => Part::Number(
                i64::try_from(number)
                    .map_err(|_| place.fault("the number is too large", "write a smaller one"))?,
            ),
            Token::Text(text) => Part::Text(text),
            Token::Name(name) => match self.take("(") {
                Some(_) => Part::Call(None, name, self.list(")")?),
                None => Part::Name(name),
            },
            Token::Sign("(") => {
                let inner = self.whole()?;
                self.need(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => Part::List(self.list("]")?),
            token @ Token::Sign(_) => return Err(unexpected(&token, place)),
        };
        self.node(place, part)
    }

    /// What stands between brackets, separated by commas; a comma may end it in a list (CEL allows it there alone).
    fn list(&mut self, close: &'static str) -> Result<Vec<Node>, Fault> {
        let mut items = Vec::new();
        while self.take(close).is_none() {
            items.push(self.whole()?);
            if self.take(",").is_none() {
                self.need(close)?;
                break;
            }
            if close == ")" && self.take(close).is_some() {
                return Err(self.cut_off());
            }
        }
        Ok(items)
    }
}

fn spelling(token: &Token) -> String {
    match token {
        Token::Name(name) => quoted(name),
        Token::Truth(truth) => format!("`{truth}`"),
        Token::Number(number) => format!("`{number}`"),
        Token::Text(_) => "a text".to_owned(),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

fn unexpected(token: &Token, place: Place) -> Fault {
    place.fault(
        format!("{} is not expected here", spelling(token)),
        "remove it, or put an operator before it",
    )
}
