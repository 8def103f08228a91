//! The tasks as a person runs them, in a workspace made for the purpose.

mod totals;
