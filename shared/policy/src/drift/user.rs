//! The ids of the first process.

use std::collections::BTreeSet;

use super::sheet::Sheet;
use crate::facts::{Evidence, ImageDefaults, UserFacts};
use crate::model::{Stated, UserSpec};
use crate::rules;

const RULE: &rules::Rule = &rules::USER;

pub(super) fn judge(
    sheet: &mut Sheet,
    stated: &Stated<UserSpec>,
    facts: &Evidence<UserFacts>,
    image: &Evidence<ImageDefaults>,
) {
    let facts = match (stated, facts) {
        (Stated::Any, _) => return sheet.opted_out(RULE, "user"),
        (_, Evidence::Missing(reason)) => return sheet.skip(RULE, "user", reason),
        (_, Evidence::Seen(facts)) => facts,
    };
    let mark = sheet.mark();
    match (stated, image) {
        (Stated::Is(UserSpec { uid, gid, groups }), _) => {
            same(sheet, "user.uid", *uid, &facts.uid);
            same(sheet, "user.gid", *gid, &facts.gid);
            let mut wanted = groups.clone();
            wanted.remove(gid);
            match &facts.groups {
                Evidence::Missing(reason) => sheet.skip(RULE, "user.groups", reason),
                Evidence::Seen(groups) if *groups == wanted => {}
                Evidence::Seen(groups) => sheet.fail(RULE, "user.groups", &list(&wanted), &list(groups)),
            }
        }
        (_, Evidence::Missing(reason)) => sheet.skip(RULE, "user", reason),
        (_, Evidence::Seen(image)) => of_image(sheet, &image.user, facts),
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(RULE, "user");
    }
}

/// Against the user the image names. Names are looked up in the image's own files, which are not seen here: but where
/// the very same text was asked for, the runtime has looked up the same.
fn of_image(sheet: &mut Sheet, image: &str, facts: &UserFacts) {
    let (user, group) = image.split_once(':').unwrap_or((image, ""));
    let uid = match user {
        "" | "root" => Some(0),
        user => user.parse().ok(),
    };
    let gid = match (group, uid) {
        ("" | "root", Some(0)) => Some(0),
        (group, _) => group.parse().ok(),
    };
    let mark = sheet.mark();
    if let Some(uid) = uid {
        same(sheet, "user.uid", uid, &facts.uid);
    }
    if let Some(gid) = gid {
        same(sheet, "user.gid", gid, &facts.gid);
    }
    if (uid.is_none() || gid.is_none()) && sheet.is_clean_since(mark) {
        match &facts.requested {
            Evidence::Missing(reason) => sheet.skip(RULE, "user", reason),
            Evidence::Seen(requested) if requested == image => {}
            Evidence::Seen(requested) => sheet.fail(RULE, "user", image, requested),
        }
    }
    match &facts.added_groups {
        Evidence::Missing(reason) => sheet.skip(RULE, "user.groups", reason),
        Evidence::Seen(added) if added.is_empty() => {}
        Evidence::Seen(added) => {
            let added: Vec<&str> = added.iter().map(String::as_str).collect();
            sheet.fail(RULE, "user.groups", "no group added", &added.join(", "));
        }
    }
}

fn same(sheet: &mut Sheet, field: &'static str, wanted: u32, seen: &Evidence<u32>) {
    match seen {
        Evidence::Missing(reason) => sheet.skip(RULE, field, reason),
        Evidence::Seen(seen) if *seen == wanted => {}
        Evidence::Seen(seen) => sheet.fail(RULE, field, &wanted.to_string(), &seen.to_string()),
    }
}

fn list(groups: &BTreeSet<u32>) -> String {
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    if groups.is_empty() {
        "none".to_owned()
    } else {
        groups.join(", ")
    }
}
