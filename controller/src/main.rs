//! `verger-controller`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// glibc's malloc(3) took 23 % of a member's CPU time under many calls, and more the longer it ran: one thread takes memory, and another
/// gives it back. This one takes 8 % (`docs/performance.md`, `replicated_writes`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    verger_controller::main()
}
