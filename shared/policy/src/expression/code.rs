//! What is evaluated: an expression whose names are resolved and whose parts fit together.

/// An expression that fits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) code: Code,
    /// The fields it looks at, as places in `FIELDS`; [`Code::Field`] counts by them.
    pub(super) fields: Vec<usize>,
    pub(super) cost: u64,
}

/// What is evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Code>),
    /// By place in [`Resolved::fields`].
    Field(usize),
    /// The variable of a loop, by how many are between.
    Variable(usize),
    Member(Box<Code>, usize),
    /// The value of a key, or the member of a list at a place.
    At(Box<Code>, Box<Code>),
    /// Whether a key or a member is there.
    In(Box<Code>, Box<Code>),
    Not(Box<Code>),
    Negative(Box<Code>),
    Arithmetic(Arithmetic, Box<Code>, Box<Code>),
    Order(Order, Box<Code>, Box<Code>),
    /// Equal, or where `true` comes first, not equal.
    Equal(bool, Box<Code>, Box<Code>),
    And(Box<Code>, Box<Code>),
    Or(Box<Code>, Box<Code>),
    If(Box<Code>, Box<Code>, Box<Code>),
    Size(Box<Code>),
    Find(Find, Box<Code>, Box<Code>),
    Loop(Loop, Box<Code>, Box<Code>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Find {
    Start,
    End,
    Anywhere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    All,
    Exists,
    ExistsOne,
    Filter,
}

/// Steps that keeping one member of a filtered list takes: it is copied.
pub(super) const KEEPING: u64 = 64;

impl Code {
    /// Has fields count by another order.
    pub(super) fn renumber(&mut self, place: &impl Fn(usize) -> usize) {
        if let Self::Field(met) = self {
            *met = place(*met);
        }
        for part in self.parts_mut() {
            part.renumber(place);
        }
    }

    /// What it is made of.
    fn parts_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::Field(_) | Self::Variable(_) => Vec::new(),
            Self::List(items) => items.iter_mut().collect(),
            Self::Member(of, _) | Self::Not(of) | Self::Negative(of) | Self::Size(of) => vec![&mut **of],
            Self::At(one, other)
            | Self::In(one, other)
            | Self::Arithmetic(_, one, other)
            | Self::Order(_, one, other)
            | Self::Equal(_, one, other)
            | Self::And(one, other)
            | Self::Or(one, other)
            | Self::Find(_, one, other)
            | Self::Loop(_, one, other) => vec![&mut **one, &mut **other],
            Self::If(condition, then, or) => vec![&mut **condition, &mut **then, &mut **or],
        }
    }

    /// Whether it looks at nothing, and so is the same for everything.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            // The body of a loop looks at a variable.
            Self::Field(_) | Self::Variable(_) | Self::Loop(..) => false,
            Self::Bool(_) | Self::Int(_) | Self::Text(_) => true,
            Self::List(items) => items.iter().all(Self::is_fixed),
            Self::Member(of, _) | Self::Not(of) | Self::Negative(of) | Self::Size(of) => of.is_fixed(),
            Self::At(one, other)
            | Self::In(one, other)
            | Self::Arithmetic(_, one, other)
            | Self::Order(_, one, other)
            | Self::Equal(_, one, other)
            | Self::And(one, other)
            | Self::Or(one, other)
            | Self::Find(_, one, other) => one.is_fixed() && other.is_fixed(),
            Self::If(condition, then, or) => condition.is_fixed() && then.is_fixed() && or.is_fixed(),
        }
    }
}
