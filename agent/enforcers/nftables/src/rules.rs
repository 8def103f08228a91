//! What the kernel is given, and what it says it has. Pure.
//!
//! Both are the JSON of libnftables (libnftables-json(5)). What is read back must be what was given, but for what the kernel adds
//! (handles, counts); anything else in the table, and anything missing, and it does not stand.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use verger_agent_core::enforcer::{Port, Standing, Step};

const FAMILY: &str = "bridge";
const TABLE: &str = "verger";
const SET: &str = "verger_closed";
/// Before everything else at its hooks (`NF_BR_PRI_NAT_DST_BRIDGED` is -300, and `br_netfilter` is at 0).
const PRIORITY: i64 = -310;

/// Each chain: its hook, and by which of its interfaces it tells a frame. What is for a bridge's own neighbours alone
/// (`01:80:C2:00:00:0X`, IEEE 802.1D) comes by `input` without `prerouting`.
const CHAINS: [(&str, &str, &str); 3] = [
    ("verger_from", "prerouting", "iifname"),
    ("verger_in", "input", "iifname"),
    ("verger_to", "postrouting", "oifname"),
];

/// The table without the ports it closes, one object after another, in the order in which they can be made.
fn table() -> Vec<Value> {
    let mut objects = vec![
        json!({"table": {"family": FAMILY, "name": TABLE}}),
        json!({"set": {"family": FAMILY, "table": TABLE, "name": SET, "type": "ifname"}}),
    ];
    for (chain, hook, _) in CHAINS {
        objects.push(json!({"chain": {
            "family": FAMILY, "table": TABLE, "name": chain,
            "type": "filter", "hook": hook, "prio": PRIORITY, "policy": "accept",
        }}));
    }
    for (chain, _, interface) in CHAINS {
        objects.push(
            json!({"rule": {"family": FAMILY, "table": TABLE, "chain": chain, "expr": [
                {"match": {"op": "==", "left": {"meta": {"key": interface}}, "right": format!("@{SET}")}},
                {"counter": null},
                {"drop": null},
            ]}}),
        );
    }
    objects
}

fn elements(ports: &BTreeSet<Port>) -> Value {
    let names: Vec<&str> = ports.iter().map(Port::name).collect();
    json!({"element": {"family": FAMILY, "table": TABLE, "name": SET, "elem": names}})
}

/// One transaction of steps.
pub(crate) fn lower(steps: &[Step]) -> Value {
    let own = || json!({"table": {"family": FAMILY, "name": TABLE}});
    let mut commands = Vec::new();
    // What is not there cannot be deleted: it is made first, which changes nothing where it is.
    let anew = |commands: &mut Vec<Value>| commands.extend([json!({"add": own()}), json!({"delete": own()})]);
    for step in steps {
        match step {
            Step::Install(ports) => {
                anew(&mut commands);
                commands.extend(table().into_iter().map(|object| json!({"add": object})));
                if !ports.is_empty() {
                    commands.push(json!({"add": elements(ports)}));
                }
            }
            Step::Close(ports) if ports.is_empty() => {}
            Step::Close(ports) => commands.push(json!({"add": elements(ports)})),
            Step::Release(ports) if ports.is_empty() => {}
            Step::Release(ports) => {
                // As above: an element that is not there.
                commands.extend([
                    json!({"add": elements(ports)}),
                    json!({"delete": elements(ports)}),
                ]);
            }
            Step::Remove => anew(&mut commands),
        }
    }
    json!({"nftables": commands})
}

/// Why what nft(8) printed says nothing.
#[derive(Debug, thiserror::Error)]
#[error("nft printed no rule set: {0}")]
pub(crate) struct InvalidRules(String);

/// Whether the table stands, and what it closes, of what nft(8) lists (`nft -j list ruleset bridge`).
pub(crate) fn read(listed: &[u8]) -> Result<(Standing, BTreeSet<Port>), InvalidRules> {
    let document: Value = serde_json::from_slice(listed).map_err(|error| InvalidRules(error.to_string()))?;
    let objects = document
        .get("nftables")
        .and_then(Value::as_array)
        .ok_or_else(|| InvalidRules("there is no list of objects".to_owned()))?;
    let mut closed = BTreeSet::new();
    let mut left = table();
    let mut standing = Standing::Absent;
    let mut is_altered = false;
    for object in objects.iter().filter_map(own) {
        standing = Standing::Whole;
        let (object, names) = plain(object);
        for name in names {
            match name.as_str().and_then(Port::new) {
                Some(port) => {
                    closed.insert(port);
                }
                None => is_altered = true,
            }
        }
        match left.iter().position(|expected| *expected == object) {
            Some(place) => {
                left.remove(place);
            }
            None => is_altered = true,
        }
    }
    if standing == Standing::Whole && (is_altered || !left.is_empty()) {
        standing = Standing::Altered;
    }
    Ok((standing, closed))
}

/// An object of this table.
fn own(object: &Value) -> Option<&Value> {
    let (kind, inner) = object.as_object()?.iter().next()?;
    let name = if kind == "table" { "name" } else { "table" };
    let is = |key: &str, value: &str| inner.get(key).and_then(Value::as_str) == Some(value);
    (is("family", FAMILY) && is(name, TABLE)).then_some(object)
}

/// It without what the kernel adds, and the elements of a set.
fn plain(object: &Value) -> (Value, Vec<Value>) {
    let mut object = object.clone();
    let mut elements = Vec::new();
    for inner in object
        .as_object_mut()
        .into_iter()
        .flat_map(|map| map.values_mut())
    {
        let Some(inner) = inner.as_object_mut() else {
            continue;
        };
        inner.remove("handle");
        match inner.remove("elem") {
            Some(Value::Array(names)) => elements = names,
            Some(other) => elements = vec![other],
            None => {}
        }
        for expression in inner
            .get_mut("expr")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(counter) = expression.get_mut("counter") {
                *counter = Value::Null;
            }
        }
    }
    (object, elements)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ports(names: &[&str]) -> BTreeSet<Port> {
        names.iter().map(|name| Port::new(name).unwrap()).collect()
    }

    /// What nft 1.0.6 printed of the table with one closed port, and one frame dropped.
    pub(crate) const LISTED: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}, {"table": {"family": "bridge", "name": "others", "handle": 1}}, {"table": {"family": "bridge", "name": "verger", "handle": 2}}, {"set": {"family": "bridge", "name": "verger_closed", "table": "verger", "type": "ifname", "handle": 1, "elem": ["va"]}}, {"chain": {"family": "bridge", "table": "verger", "name": "verger_from", "handle": 2, "type": "filter", "hook": "prerouting", "prio": -310, "policy": "accept"}}, {"chain": {"family": "bridge", "table": "verger", "name": "verger_in", "handle": 6, "type": "filter", "hook": "input", "prio": -310, "policy": "accept"}}, {"chain": {"family": "bridge", "table": "verger", "name": "verger_to", "handle": 3, "type": "filter", "hook": "postrouting", "prio": -310, "policy": "accept"}}, {"rule": {"family": "bridge", "table": "verger", "chain": "verger_from", "handle": 4, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "@verger_closed"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}}, {"rule": {"family": "bridge", "table": "verger", "chain": "verger_in", "handle": 7, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "@verger_closed"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}}, {"rule": {"family": "bridge", "table": "verger", "chain": "verger_to", "handle": 5, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": "@verger_closed"}}, {"counter": {"packets": 1, "bytes": 72}}, {"drop": null}]}}]}"#;

    /// The order of members says nothing.
    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_table_that_the_kernel_is_given_is_frozen() {
        assert_eq!(
            lower(&[Step::Install(ports(&["vb", "va"]))]),
            parsed(concat!(
                r#"{"nftables":["#,
                r#"{"add":{"table":{"family":"bridge","name":"verger"}}},"#,
                r#"{"delete":{"table":{"family":"bridge","name":"verger"}}},"#,
                r#"{"add":{"table":{"family":"bridge","name":"verger"}}},"#,
                r#"{"add":{"set":{"family":"bridge","name":"verger_closed","table":"verger","type":"ifname"}}},"#,
                r#"{"add":{"chain":{"family":"bridge","hook":"prerouting","name":"verger_from","policy":"accept","prio":-310,"table":"verger","type":"filter"}}},"#,
                r#"{"add":{"chain":{"family":"bridge","hook":"input","name":"verger_in","policy":"accept","prio":-310,"table":"verger","type":"filter"}}},"#,
                r#"{"add":{"chain":{"family":"bridge","hook":"postrouting","name":"verger_to","policy":"accept","prio":-310,"table":"verger","type":"filter"}}},"#,
                r#"{"add":{"rule":{"chain":"verger_from","expr":[{"match":{"left":{"meta":{"key":"iifname"}},"op":"==","right":"@verger_closed"}},{"counter":null},{"drop":null}],"family":"bridge","table":"verger"}}},"#,
                r#"{"add":{"rule":{"chain":"verger_in","expr":[{"match":{"left":{"meta":{"key":"iifname"}},"op":"==","right":"@verger_closed"}},{"counter":null},{"drop":null}],"family":"bridge","table":"verger"}}},"#,
                r#"{"add":{"rule":{"chain":"verger_to","expr":[{"match":{"left":{"meta":{"key":"oifname"}},"op":"==","right":"@verger_closed"}},{"counter":null},{"drop":null}],"family":"bridge","table":"verger"}}},"#,
                r#"{"add":{"element":{"elem":["va","vb"],"family":"bridge","name":"verger_closed","table":"verger"}}}"#,
                r#"]}"#
            ))
        );
    }

    #[test]
    fn smaller_steps_change_elements_alone() {
        let steps = [
            Step::Close(ports(&["va"])),
            Step::Release(ports(&["vb"])),
            Step::Close(ports(&[])),
            Step::Release(ports(&[])),
        ];
        let element = |verb: &str, name: &str| {
            format!(
                r#"{{"{verb}":{{"element":{{"elem":["{name}"],"family":"bridge","name":"verger_closed","table":"verger"}}}}}}"#
            )
        };
        assert_eq!(
            lower(&steps),
            parsed(&format!(
                r#"{{"nftables":[{},{},{}]}}"#,
                element("add", "va"),
                element("add", "vb"),
                element("delete", "vb")
            ))
        );
        assert_eq!(
            lower(&[Step::Remove]),
            parsed(
                r#"{"nftables":[{"add":{"table":{"family":"bridge","name":"verger"}}},{"delete":{"table":{"family":"bridge","name":"verger"}}}]}"#
            )
        );
    }

    #[test]
    fn what_was_given_is_read_back() {
        assert_eq!(
            read(LISTED.as_bytes()).unwrap(),
            (Standing::Whole, ports(&["va"]))
        );
        let without = LISTED.replace(r#", "elem": ["va"]"#, "");
        assert_eq!(read(without.as_bytes()).unwrap(), (Standing::Whole, ports(&[])));
        let others = r#"{"nftables": [{"metainfo": {}}, {"table": {"family": "bridge", "name": "others"}}]}"#;
        assert_eq!(read(others.as_bytes()).unwrap(), (Standing::Absent, ports(&[])));
        assert!(read(b"").is_err());
        assert!(read(b"{}").is_err());
    }

    /// Ways to change the table so that it closes less, or may: the text, and what is put in its place.
    pub(crate) const ALTERATIONS: &[(&str, &str)] = &[
        (
            r#""handle": 2}}, {"set""#,
            r#""handle": 2, "flags": "bridge"}}, {"set""#,
        ),
        (r#""policy": "accept""#, r#""policy": "drop""#),
        ("prerouting", "input"),
        (r#""prio": -310"#, r#""prio": 0"#),
        (r#"{"drop": null}"#, r#"{"accept": null}"#),
        (
            r#"{"drop": null}"#,
            r#"{"limit": {"rate": 1, "per": "second"}}, {"drop": null}"#,
        ),
        (r#""op": "==""#, r#""op": "!=""#),
        (r#""@verger_closed"#, r#""veth0"#),
        (r#"["va"]"#, r#"["va", {"elem": {"val": "vb", "timeout": 1}}]"#),
        (r#"["va"]"#, r#"["va*"]"#),
        (
            r#"{"rule": {"family": "bridge", "table": "verger", "chain": "verger_from", "handle": 4"#,
            r#"{"rule": {"family": "bridge", "table": "verger", "chain": "verger_from", "handle": 9, "expr": [{"accept": null}]}}, {"rule": {"family": "bridge", "table": "verger", "chain": "verger_from", "handle": 4"#,
        ),
        (r#""type": "ifname""#, r#""type": "ifname", "flags": ["timeout"]"#),
        (
            r#""chain": "verger_to", "handle": 5"#,
            r#""chain": "verger_from", "handle": 5"#,
        ),
    ];

    #[test]
    fn whatever_is_changed_of_it_it_does_not_stand() {
        for (from, to) in ALTERATIONS {
            let text = LISTED.replacen(from, to, 1);
            assert_ne!(text, LISTED, "{from}");
            assert_eq!(
                read(text.as_bytes()).unwrap().0,
                Standing::Altered,
                "{from} -> {to}"
            );
        }
        // Nor does it without one of its parts.
        let document: Value = serde_json::from_str(LISTED).unwrap();
        let objects = document["nftables"].as_array().unwrap();
        for place in 2..objects.len() {
            let mut less = objects.clone();
            less.remove(place);
            let text = json!({"nftables": less}).to_string();
            assert_eq!(
                read(text.as_bytes()).unwrap().0,
                Standing::Altered,
                "without {place}"
            );
        }
    }
}
