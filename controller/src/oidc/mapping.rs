//! From claims to a name and groups. Strict: what does not fit is refused, and never made to.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use verger_controller_api::identity_provider::{Known, ProviderError};
use verger_controller_state::{Vouched, limits};
use verger_policy::model::{Name, printable_within};
use verger_transport::Label;

use super::settings::Settings;

/// Claims by name, of a token that was verified.
pub(super) type Claims = Map<String, Value>;

/// Which claims say what.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) person_claim: String,
    pub(super) person_domain: Option<String>,
    pub(super) groups_claim: String,
    /// Those that count, by the provider's names; all where `None`.
    pub(super) groups: Option<BTreeSet<Name>>,
    pub(super) prefix: Option<Name>,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            person_claim,
            person_domain,
            groups_claim,
            groups,
            prefix,
        } = self;
        write!(f, "names from `{person_claim}`")?;
        if let Some(domain) = person_domain {
            write!(f, " without @{domain}")?;
        }
        write!(f, ", groups from `{groups_claim}`")?;
        if let Some(prefix) = prefix {
            write!(f, " below {prefix}/")?;
        }
        match groups {
            None => Ok(()),
            Some(groups) => write!(f, ", {} of them", groups.len()),
        }
    }
}

fn refused(what: impl Into<String>) -> ProviderError {
    ProviderError::Claims(what.into())
}

impl Mapping {
    /// Who it is.
    ///
    /// # Errors
    /// When a claim is missing, or is not what it should be.
    pub(super) fn known(&self, settings: &Settings, claims: &Claims) -> Result<Known, ProviderError> {
        let person = self.person(claims)?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > limits::PROVIDER_BYTES {
            return Err(refused("the claim `sub` is missing or too long"));
        }
        let issued = claims.get("iat").and_then(Value::as_i64);
        let issued = issued.and_then(|at| Timestamp::from_second(at).ok());
        Ok(Known {
            word: Vouched {
                issuer: settings.issuer.clone(),
                subject: subject.to_owned(),
                issued: issued.ok_or_else(|| refused("the claim `iat` is not a time"))?,
                groups: self.groups(claims)?,
            },
            seconds: settings.seconds,
            replaces: settings.replaces.contains(&person),
            person,
        })
    }

    pub(super) fn person(&self, claims: &Claims) -> Result<Label, ProviderError> {
        let claim = &self.person_claim;
        let text = claims.get(claim).and_then(Value::as_str).ok_or_else(|| {
            refused(format!(
                "it has no claim `{claim}`: see `oidc.person_claim` and `oidc.scopes`"
            ))
        })?;
        // Whoever may write any address into his profile must not become whom he likes.
        if claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err(refused(
                "the provider has not verified the address in the claim `email`",
            ));
        }
        let shown = printable_within(text, 100);
        let name = match &self.person_domain {
            None => text,
            Some(domain) => text
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('@'))
                .ok_or_else(|| {
                    refused(format!(
                        "`{shown}` in the claim `{claim}` is not of the domain {domain}"
                    ))
                })?,
        };
        name.parse().map_err(|error| {
            refused(format!(
                "`{shown}` in the claim `{claim}` makes no name of a person: {error}"
            ))
        })
    }

    pub(super) fn groups(&self, claims: &Claims) -> Result<BTreeSet<Name>, ProviderError> {
        let claim = &self.groups_claim;
        // Left out for being too many (OpenID Connect Core 1.0, 5.6.2): a role that denies could hang on one of them.
        let elsewhere = claims.get("_claim_names").and_then(|names| names.get(claim));
        if elsewhere.is_some() {
            return Err(refused(format!(
                "it does not list the groups, but says where to ask for them: have the provider list those that matter in the claim `{claim}`"
            )));
        }
        let listed: Vec<&str> = match claims.get(claim) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many
                .iter()
                .map(|group| {
                    let text = group.as_str();
                    text.ok_or_else(|| {
                        refused(format!(
                            "the claim `{claim}` lists other things than names of groups"
                        ))
                    })
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(refused(format!("the claim `{claim}` is not a list of groups"))),
        };
        let mut groups = BTreeSet::new();
        for group in listed {
            // What is no name, no role can be bound to: nothing is lost by leaving it out.
            let Ok(name) = group.parse::<Name>() else { continue };
            if self.groups.as_ref().is_some_and(|known| !known.contains(&name)) {
                continue;
            }
            let name = match &self.prefix {
                None => name,
                Some(prefix) => match format!("{prefix}/{name}").parse() {
                    Ok(name) => name,
                    Err(_) => continue,
                },
            };
            groups.insert(name);
        }
        if groups.len() > limits::GROUPS {
            return Err(refused(format!(
                "it lists {} groups, and {} are the most: name those that matter in `oidc.groups`",
                groups.len(),
                limits::GROUPS
            )));
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            person_claim: "preferred_username".to_owned(),
            person_domain: None,
            groups_claim: "groups".to_owned(),
            groups: None,
            prefix: None,
        }
    }

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn names(groups: &BTreeSet<Name>) -> Vec<&str> {
        groups.iter().map(Name::as_str).collect()
    }

    #[test]
    fn a_name_is_taken_as_it_is_or_not_at_all() {
        let person = |mapping: &Mapping, value: Value| {
            mapping
                .person(&claims(value))
                .map(|person| person.to_string())
                .map_err(|error| error.to_string())
        };
        let plain = mapping();
        assert_eq!(
            person(&plain, json!({"preferred_username": "bea"})).unwrap(),
            "bea"
        );
        for bad in ["Bea", "bea ", "", "bea@example.org", "a/b", "\u{1b}", "béa"] {
            let error = person(&plain, json!({"preferred_username": bad})).unwrap_err();
            assert!(error.contains("makes no name"), "{error}");
            assert!(!error.contains('\u{1b}'));
        }
        assert!(
            person(&plain, json!({"sub": "bea"}))
                .unwrap_err()
                .contains("person_claim")
        );
        let mail = Mapping {
            person_claim: "email".to_owned(),
            person_domain: Some("example.org".to_owned()),
            ..mapping()
        };
        let good = json!({"email": "bea@example.org", "email_verified": true});
        assert_eq!(person(&mail, good).unwrap(), "bea");
        for bad in [
            json!({"email": "bea@example.org"}),
            json!({"email": "bea@example.org", "email_verified": "true"}),
            json!({"email": "bea@evil.org", "email_verified": true}),
            json!({"email": "beaexample.org", "email_verified": true}),
            json!({"email": "a@b@example.org", "email_verified": true}),
        ] {
            assert!(person(&mail, bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_are_those_that_count_under_the_names_that_are_configured() {
        let all = json!({"groups": ["sre", "Dom Users", "dev", "sre"]});
        assert_eq!(
            names(&mapping().groups(&claims(all.clone())).unwrap()),
            ["dev", "sre"]
        );
        let some = Mapping {
            groups: Some(["sre".parse().unwrap(), "ops".parse().unwrap()].into()),
            prefix: Some("corp".parse().unwrap()),
            ..mapping()
        };
        assert_eq!(names(&some.groups(&claims(all)).unwrap()), ["corp/sre"]);
        for none in [json!({}), json!({"groups": null}), json!({"groups": []})] {
            assert!(mapping().groups(&claims(none)).unwrap().is_empty());
        }
        assert_eq!(
            names(&mapping().groups(&claims(json!({"groups": "sre"}))).unwrap()),
            ["sre"]
        );
    }

    #[test]
    fn groups_that_are_not_all_listed_give_no_login() {
        let many: Vec<String> = (0..=limits::GROUPS).map(|number| format!("g{number}")).collect();
        for (value, wanted) in [
            (json!({"groups": many}), "oidc.groups"),
            (json!({"_claim_names": {"groups": "src1"}}), "where to ask"),
            (json!({"groups": [1]}), "other things"),
            (json!({"groups": {"a": true}}), "not a list"),
        ] {
            let error = mapping().groups(&claims(value)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
