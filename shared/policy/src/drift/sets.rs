//! Fields that are sets: one failing check per member that differs.

use std::collections::{BTreeMap, BTreeSet};

use super::sheet::{Sheet, member};
use crate::facts::{
    CapabilityFacts, DeviceFacts, Evidence, PortFacts, RUNTIME_SYSCTLS, capabilities as names,
};
use crate::model::{Device, Port, Publish, Rlimit, Stated};
use crate::rules::{self, Rule};

/// What is stated as a slice-like value and what is seen; or a check that says why not.
pub(super) fn both<'a, S, F>(
    sheet: &mut Sheet,
    rule: &'static Rule,
    field: &'static str,
    stated: &'a Stated<S>,
    facts: &'a Evidence<F>,
) -> Option<(Option<&'a S>, &'a F)> {
    match (stated, facts) {
        (Stated::Any, _) => sheet.opted_out(rule, field),
        (_, Evidence::Missing(reason)) => sheet.skip(rule, field, reason),
        (Stated::Absent, Evidence::Seen(facts)) => return Some((None, facts)),
        (Stated::Is(stated), Evidence::Seen(facts)) => return Some((Some(stated), facts)),
    }
    None
}

pub(super) fn capabilities(
    sheet: &mut Sheet,
    stated: &Stated<BTreeSet<String>>,
    facts: &Evidence<CapabilityFacts>,
) {
    let rule = &rules::CAPABILITIES;
    let Some((wanted, facts)) = both(sheet, rule, "capabilities", stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let mut mask = 0;
    for name in wanted.into_iter().flatten() {
        match names::number(name) {
            Some(number) => mask |= 1 << number,
            None if facts.unnamed.contains(name) => {}
            None => sheet.fail(rule, member("capabilities", name), "kept", "dropped"),
        }
    }
    for name in names::names(facts.given & !mask) {
        sheet.fail(rule, member("capabilities", &name), "dropped", "kept");
    }
    for name in names::names(mask & !facts.given) {
        sheet.fail(rule, member("capabilities", &name), "kept", "dropped");
    }
    for name in facts
        .unnamed
        .iter()
        .filter(|name| !wanted.is_some_and(|wanted| wanted.contains(*name)))
    {
        sheet.fail(rule, member("capabilities", name), "dropped", "kept");
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "capabilities");
    }
}

pub(super) fn devices(
    sheet: &mut Sheet,
    stated: &Stated<Vec<Device>>,
    facts: &Evidence<BTreeMap<String, DeviceFacts>>,
) {
    let rule = &rules::DEVICES;
    let Some((wanted, seen)) = both(sheet, rule, "devices", stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let wanted: BTreeMap<&str, &Device> = wanted
        .into_iter()
        .flatten()
        .map(|device| (device.path.as_str(), device))
        .collect();
    for (path, facts) in seen {
        let Some(device) = wanted.get(path.as_str()) else {
            sheet.fail(rule, member("devices", path), "no device", &facts.access);
            continue;
        };
        if device.access != facts.access {
            let field = format!("{}.access", member("devices", path));
            sheet.fail(rule, field, &device.access, &facts.access);
        }
        // A policy names a device by its path: under that path it must be the host's device of the same path.
        let field = format!("{}.source", member("devices", path));
        match &facts.host_path {
            Evidence::Seen(host) if host == path => {}
            Evidence::Seen(host) => sheet.fail(rule, field, path, host),
            Evidence::Missing(reason) => sheet.skip(rule, field, reason),
        }
    }
    for (path, device) in wanted {
        if !seen.contains_key(path) {
            sheet.fail(rule, member("devices", path), &device.access, "no device");
        }
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "devices");
    }
}

pub(super) fn sysctls(
    sheet: &mut Sheet,
    stated: &Stated<BTreeMap<String, String>>,
    facts: &Evidence<BTreeMap<String, String>>,
) {
    let rule = &rules::SYSCTLS;
    let Some((wanted, seen)) = both(sheet, rule, "sysctls", stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let nothing = BTreeMap::new();
    let wanted = wanted.unwrap_or(&nothing);
    for (name, value) in seen {
        match wanted.get(name) {
            Some(wanted) if wanted == value => {}
            Some(wanted) => sheet.fail(rule, member("sysctls", name), wanted, value),
            None if RUNTIME_SYSCTLS.contains(&(name.as_str(), value.as_str())) => {}
            None => sheet.fail(rule, member("sysctls", name), NOT_SET, value),
        }
    }
    for (name, value) in wanted.iter().filter(|(name, _)| !seen.contains_key(*name)) {
        sheet.fail(rule, member("sysctls", name), value, NOT_SET);
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "sysctls");
    }
}

const NOT_SET: &str = "not set";

pub(super) fn rlimits(
    sheet: &mut Sheet,
    stated: &Stated<BTreeMap<String, Rlimit>>,
    facts: &Evidence<BTreeMap<String, Rlimit>>,
) {
    let rule = &rules::LIMITS;
    let Some((wanted, seen)) = both(sheet, rule, "limits.rlimits", stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let nothing = BTreeMap::new();
    let wanted = wanted.unwrap_or(&nothing);
    let names: BTreeSet<&String> = wanted.keys().chain(seen.keys()).collect();
    for name in names {
        let (wanted, seen) = (wanted.get(name), seen.get(name));
        if wanted != seen {
            let show = |limit: Option<&Rlimit>| limit.map_or_else(|| NOT_SET.to_owned(), rlimit);
            sheet.fail(rule, member("limits.rlimits", name), &show(wanted), &show(seen));
        }
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "limits.rlimits");
    }
}

pub(super) fn rlimit(limit: &Rlimit) -> String {
    let word = |n: u64| {
        if n == u64::MAX {
            "unlimited".to_owned()
        } else {
            n.to_string()
        }
    };
    format!("soft {}, hard {}", word(limit.soft), word(limit.hard))
}

pub(super) fn ports(sheet: &mut Sheet, stated: &Stated<Vec<Port>>, facts: &Evidence<Vec<PortFacts>>) {
    let rule = &rules::PORTS;
    let Some((wanted, seen)) = both(sheet, rule, "ports", stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let nothing = BTreeSet::new();
    let wanted: BTreeMap<&str, &BTreeSet<String>> = wanted
        .into_iter()
        .flatten()
        .map(|port| {
            let places = match &port.publish {
                Publish::None => &nothing,
                Publish::At(places) => places,
            };
            (port.listen.as_str(), places)
        })
        .collect();
    let seen: BTreeMap<&str, &BTreeSet<String>> = seen
        .iter()
        .map(|port| (port.listen.as_str(), &port.publish))
        .collect();
    let all: BTreeSet<&str> = wanted.keys().chain(seen.keys()).copied().collect();
    for listen in all {
        let wanted = wanted.get(listen).copied().unwrap_or(&nothing);
        let seen = seen.get(listen).copied().unwrap_or(&nothing);
        if wanted != seen {
            let show = |places: &BTreeSet<String>| match places.is_empty() {
                true => "not published".to_owned(),
                false => places.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            };
            sheet.fail(rule, member("ports", listen), &show(wanted), &show(seen));
        }
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "ports");
    }
}

/// Paths that must be covered at least; more is stricter.
pub(super) fn paths(
    sheet: &mut Sheet,
    rule: &'static Rule,
    field: &'static str,
    stated: &Stated<BTreeSet<String>>,
    default: &[&str],
    facts: &Evidence<BTreeSet<String>>,
    covered: &str,
) {
    let Some((wanted, seen)) = both(sheet, rule, field, stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let mut need = |path: &str| {
        if !seen.contains(path) {
            sheet.fail(rule, member(field, path), covered, "as the kernel shows it");
        }
    };
    match wanted {
        Some(wanted) => wanted.iter().for_each(|path| need(path)),
        None => default.iter().for_each(|path| need(path)),
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, field);
    }
}
