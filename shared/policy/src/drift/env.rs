//! Environment variables. Their values are often secrets: names are shown, values never.

use super::sheet::{Sheet, member};
use crate::facts::{EnvFacts, Evidence, ImageDefaults, RUNTIME_PATH};
use crate::model::{EnvRule, Stated};
use crate::rules;

const SET: &str = "set: <redacted>";
const NOT_SET: &str = "not set";
const AS_STATED: &str = "the stated value: <redacted>";
const OTHER: &str = "another value: <redacted>";

pub(super) fn judge(
    sheet: &mut Sheet,
    stated: &Stated<EnvRule>,
    facts: &Evidence<EnvFacts>,
    image: &Evidence<ImageDefaults>,
) {
    let rule = &rules::ENV;
    let nothing = EnvRule::default();
    let wanted = match stated {
        Stated::Any => return sheet.opted_out(rule, "env"),
        Stated::Absent => &nothing,
        Stated::Is(wanted) => wanted,
    };
    let env = match facts {
        Evidence::Missing(reason) => return sheet.skip(rule, "env", reason),
        Evidence::Seen(EnvFacts(env)) => env,
    };
    let mark = sheet.mark();
    for (name, value) in &wanted.require {
        match env.get(name) {
            Some(seen) if seen == value => {}
            Some(_) => sheet.fail(rule, member("env", name), AS_STATED, OTHER),
            None => sheet.fail(rule, member("env", name), SET, NOT_SET),
        }
    }
    let of_image = image.seen().map(|image| &image.env);
    let mut unknown = Vec::new();
    for (name, value) in env {
        if wanted.require.contains_key(name) || wanted.allows(name) {
            continue;
        }
        match of_image.map(|env| env.get(name)) {
            Some(Some(own)) if own == value => {}
            Some(Some(_)) => sheet.fail(rule, member("env", name), "the image's value: <redacted>", OTHER),
            // Where neither the image nor the launcher sets a search path, the runtime does.
            Some(None) | None if name == "PATH" && value == RUNTIME_PATH => {}
            Some(None) => sheet.fail(rule, member("env", name), NOT_SET, SET),
            None => unknown.push(name.as_str()),
        }
    }
    match (image, stated) {
        (Evidence::Missing(reason), _) if !unknown.is_empty() => sheet.skip(rule, "env", reason),
        // Whether all of the image's variables are there cannot be told.
        (Evidence::Missing(reason), Stated::Absent) => sheet.skip(rule, "env", reason),
        (Evidence::Seen(image), Stated::Absent) => {
            for name in image.env.keys().filter(|name| !env.contains_key(*name)) {
                sheet.fail(rule, member("env", name), SET, NOT_SET);
            }
        }
        _ => {}
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "env");
    }
}
