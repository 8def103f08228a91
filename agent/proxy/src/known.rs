//! What the daemon says of a container, an image and an exec, as far as deciding takes it.

use std::collections::BTreeMap;

use serde_json::Value;
use verger_policy::digest::Digest;
use verger_policy::drift::Identity;
use verger_policy::facts::inspect::repository;
use verger_policy::json;
use verger_policy::model::Labels;

use crate::body::podman::is_reaching_label;

/// A container that is, or one that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its full id, 64 hexadecimal digits; empty for one that is to be made.
    pub id: String,
    /// What people call it. Hostile bytes.
    pub name: String,
    image: Option<Digest>,
    image_name: Option<String>,
    labels: Labels,
    reaches: bool,
}

impl Known {
    /// Whether what Podman shows of it has more than itself: what came of what was asked for, its image's own words included.
    pub const fn reaches(&self) -> bool {
        self.reaches
    }
}

/// A container that is to be made: named by its image.
pub type Made = Known;

impl<'a> From<&'a Known> for Identity<'a> {
    fn from(known: &'a Known) -> Self {
        Self {
            image: known.image.as_ref(),
            image_name: known.image_name.as_deref(),
            labels: &known.labels,
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn labels(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let labels = value.pointer(pointer).and_then(Value::as_object);
    let texts = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    texts.collect()
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest of an image, as Docker writes it, and as Podman does: without the name of the algorithm.
fn digest(text: &str) -> Option<Digest> {
    match is_id(text) {
        true => format!("sha256:{text}").parse().ok(),
        false => text.parse().ok(),
    }
}

/// Reads the answer to `GET /containers/NAME/json`. None where it is none.
pub fn container(bytes: &[u8]) -> Option<Known> {
    let value = json::parse(bytes).ok()?;
    let id = text(&value, "/Id");
    let image = digest(text(&value, "/Image"));
    // Podman has the name beside the digest.
    let named = match text(&value, "/ImageName") {
        "" => text(&value, "/Config/Image"),
        named => named,
    };
    is_id(id).then(|| Known {
        id: id.to_owned(),
        name: text(&value, "/Name").trim_start_matches('/').to_owned(),
        image_name: repository(named, image.as_ref()),
        image,
        reaches: reaches(&value),
        labels: Labels(labels(&value, "/Config/Labels")),
    })
}

/// What was made of somebody's words: a container that manages services has the host's tree of them (Podman on control groups of version 1), and
/// labels may have root's services start units.
fn reaches(value: &Value) -> bool {
    let is = |pointer: &str| value.pointer(pointer) == Some(&Value::Bool(true));
    let modes = ["NetworkMode", "PidMode", "IpcMode", "UTSMode"];
    is("/Config/SystemdMode")
        || is("/HostConfig/Privileged")
        || modes
            .iter()
            .any(|mode| text(value, &format!("/HostConfig/{mode}")) == "host")
        || labels(value, "/Config/Labels")
            .keys()
            .any(|key| is_reaching_label(key))
}

/// A container as a list shows it (`GET /containers/json`). None where it is none.
pub(crate) fn listed(value: &Value) -> Option<Known> {
    let id = text(value, "/Id");
    let image = digest(text(value, "/ImageID"));
    is_id(id).then(|| Known {
        id: id.to_owned(),
        name: text(value, "/Names/0").trim_start_matches('/').to_owned(),
        image_name: repository(text(value, "/Image"), image.as_ref()),
        image,
        labels: Labels(labels(value, "/Labels")),
        reaches: false,
    })
}

/// What a container would be that is made of an image, by the answer to `GET /images/NAME/json`. None where it is none.
pub fn image(bytes: &[u8], named: &str, given: &BTreeMap<String, String>) -> Option<Made> {
    let value = json::parse(bytes).ok()?;
    let image = digest(text(&value, "/Id"))?;
    let mut labels = labels(&value, "/Config/Labels");
    labels.extend(given.clone());
    Some(Known {
        id: String::new(),
        name: named.to_owned(),
        image_name: repository(named, Some(&image)),
        image: Some(image),
        labels: Labels(labels),
        reaches: false,
    })
}

/// The id of a container or an exec, by the answer that it was made. None where it is none.
pub fn made_id(bytes: &[u8]) -> Option<String> {
    let value = json::parse(bytes).ok()?;
    let id = text(&value, "/Id");
    is_id(id).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_container_is_what_its_image_and_labels_say() {
        let (id, image) = ("a".repeat(64), format!("sha256:{}", "b".repeat(64)));
        let text = format!(
            r#"{{"Id":"{id}","Name":"/shop","Image":"{image}","Config":{{"Image":"r.io/a:1","Labels":{{"k":"v"}}}}}}"#
        );
        let known = container(text.as_bytes()).unwrap();
        assert_eq!((known.id.as_str(), known.name.as_str()), (id.as_str(), "shop"));
        assert_eq!(known.image.unwrap().to_string(), image);
        assert_eq!(known.image_name.as_deref(), Some("r.io/a"));
        assert_eq!(known.labels.0["k"], "v");
        for bad in [
            "{}",
            "",
            "[]",
            r#"{"Id":"../x"}"#,
            r#"{"message":"No such container"}"#,
        ] {
            assert_eq!(container(bad.as_bytes()), None, "{bad}");
            assert_eq!(made_id(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_came_of_it_is_looked_at() {
        let with = |more: &str| {
            let id = "a".repeat(64);
            let text = format!(r#"{{"Id":"{id}","Image":"{id}",{more}}}"#);
            container(text.as_bytes()).unwrap().reaches()
        };
        assert!(!with(
            r#""Config":{"SystemdMode":false,"Labels":{"a":"b"}},"HostConfig":{"Privileged":false,"PidMode":"private"}"#
        ));
        for more in [
            r#""Config":{"SystemdMode":true}"#,
            r#""Config":{"Labels":{"io.containers.autoupdate":"registry"}}"#,
            r#""Config":{"Labels":{"PODMAN_SYSTEMD_UNIT":"x"}}"#,
            r#""HostConfig":{"Privileged":true}"#,
            r#""HostConfig":{"NetworkMode":"host"}"#,
        ] {
            assert!(with(more), "{more}");
        }
    }

    #[test]
    fn labels_that_are_given_win_over_those_of_the_image() {
        let text = format!(
            r#"{{"Id":"sha256:{}","Config":{{"Labels":{{"k":"v","l":"w"}}}}}}"#,
            "b".repeat(64)
        );
        let given = BTreeMap::from([("k".to_owned(), "x".to_owned())]);
        let made = self::image(text.as_bytes(), "a:1", &given).unwrap();
        assert_eq!(
            (made.labels.0["k"].as_str(), made.labels.0["l"].as_str()),
            ("x", "w")
        );
    }
}
