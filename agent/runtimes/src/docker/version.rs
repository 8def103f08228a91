//! Versions of the Docker Engine API.

use std::fmt;

use bollard::ClientVersion;
use verger_agent_core::runtime::RuntimeProblem;

use super::http::printable;

/// Below, `start` takes a host configuration, so what was inspected after `create` could change unseen.
const LOWEST: ApiVersion = ApiVersion { major: 1, minor: 24 };
/// The newest whose documents the parsers were written for; daemons serve older versions on request.
const HIGHEST: ApiVersion = ApiVersion { major: 1, minor: 48 };

/// A version of the API, such as 1.41.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// The version to speak with a daemon that offers up to `offered` (its `Api-Version` header).
    pub(super) fn settle(offered: &str) -> Result<Self, RuntimeProblem> {
        let parsed = offered.split_once('.').and_then(|(major, minor)| {
            Some(Self {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
            })
        });
        match parsed {
            Some(version) if version >= LOWEST => Ok(version.min(HIGHEST)),
            Some(_) => Err(RuntimeProblem::TooOld {
                offered: printable(offered),
                needed: LOWEST.to_string(),
            }),
            None => Err(RuntimeProblem::Malformed {
                request: "/_ping".to_owned(),
                reason: format!(
                    "its Api-Version header is {:?}, not MAJOR.MINOR",
                    printable(offered)
                ),
            }),
        }
    }

    pub(super) fn for_bollard(self) -> ClientVersion {
        ClientVersion {
            major_version: self.major as usize,
            minor_version: self.minor as usize,
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_lower_of_both_is_spoken() {
        assert_eq!(ApiVersion::settle("1.41").unwrap().to_string(), "1.41");
        assert_eq!(ApiVersion::settle("1.99").unwrap(), HIGHEST);
        assert_eq!(ApiVersion::settle("2.0").unwrap(), HIGHEST);
        assert_eq!(ApiVersion::settle("1.24").unwrap(), LOWEST);
    }

    #[test]
    fn old_and_malformed_ones_are_refused() {
        assert!(matches!(
            ApiVersion::settle("1.23"),
            Err(RuntimeProblem::TooOld { .. })
        ));
        for text in ["", "1", "1.x", "\u{1b}[2J1.41", "-1.41"] {
            let refused = ApiVersion::settle(text).unwrap_err();
            assert!(matches!(refused, RuntimeProblem::Malformed { .. }), "{text:?}");
            assert!(!refused.to_string().contains('\u{1b}'));
        }
    }
}
