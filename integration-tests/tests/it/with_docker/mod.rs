//! The product as a whole, on real containers. Needs root and a Docker daemon.

mod away;
mod drift_eval;
mod lifted;
mod set_back;
