//! Logs, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged where nobody says: of Raft and its log, which tell of each entry, only what is amiss.
const LEVELS: &str = "info,openraft=warn,raft_log=warn";

/// Begins logging. `VERGER_LOG` sets the level (`info` by default; see tracing-subscriber's `EnvFilter`). A second call
/// does nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("VERGER_LOG").unwrap_or_else(|_| EnvFilter::new(LEVELS));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
