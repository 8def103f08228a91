//! The product as a whole, on real containers. Needs root and a Docker daemon.

mod away;
mod clients;
mod drift_eval;
mod from_afar;
mod lifted;
mod proxy;
mod set_back;
mod started_by;
