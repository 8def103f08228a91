//! A login for somebody who has none any more: the certificate ended, or the context file was lost.
//!
//! Whoever can do this on a member's host could read its authorities' keys anyway; so it is a command that leaves a record, not a
//! way round one. Sealing keys are not logins: nothing that this gives can bless anything.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use verger_policy::model::printable;
use verger_transport::{Authority, Label, Purpose};

use crate::config::Config;
use crate::emergency::{Question, reason_in, settle};
use crate::login::{NewLogin, Reserved, context_of};

#[derive(Args)]
pub(crate) struct RecoverArgs {
    /// Whose login.
    #[arg(long, value_name = "NAME")]
    person: String,

    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Where to write the context file (0600). Hand it over, and remove it here.
    #[arg(long, value_name = "FILE")]
    context: PathBuf,
}

/// Writes a context file with a new certificate, after the audit holds that it was issued.
///
/// # Errors
/// When it is not founded, the cluster refuses, or the file cannot be written.
pub(crate) async fn recover(config: &Config, args: &RecoverArgs) -> anyhow::Result<()> {
    let RecoverArgs {
        person,
        reason,
        context,
    } = args;
    let name: Label = person
        .parse()
        .with_context(|| format!("--person {}", printable(person)))?;
    let reason = reason_in(reason)?;
    let mut reserved = Reserved::new("--context", context)?;
    let login = NewLogin::generate()?;
    let question = Question::RecoverLogin {
        person: name.to_string(),
        reason,
        key: login.digest()?.to_string(),
    };
    let (cluster, _) = settle(config, question).await?;
    let pki = config.pki_dir();
    let people = Authority::load(&pki, Purpose::People)?;
    let members = Authority::load(&pki, Purpose::Members)?;
    reserved.fill(&context_of(
        config, &cluster, &name, &login, &people, &members, None,
    )?)?;
    reserved.keep();
    writeln!(
        std::io::stdout(),
        "Login of {name} issued, in place of any other, and on record\nContext: {}\nNext: verger context use {}",
        context.display(),
        context.display()
    )?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::init::tests::Place;
    use crate::{emergency, wire_up};
    use verger_controller_state::limits;
    use verger_transport::{Client, Identity};

    fn recover_in(place: &Place, person: &str, reason: &str, file: &str) -> Result<(), String> {
        let args = RecoverArgs {
            person: person.to_owned(),
            reason: reason.to_owned(),
            context: place.path(file),
        };
        let done = place.runtime.block_on(recover(&place.config, &args));
        done.map_err(|error| format!("{error:#}"))
    }

    /// The member, once the one before it in this process has let go of its files.
    pub(crate) fn opened(place: &Place) -> verger_controller_raft::Member {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            match place.runtime.block_on(wire_up::open_stopped(&place.config)) {
                Ok(member) => return member,
                Err(error) if format!("{error:#}").contains("in use") => {
                    assert!(std::time::Instant::now() < deadline, "{error:#}");
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error:#}"),
            }
        }
    }

    #[test]
    fn a_lost_login_is_issued_anew_and_on_record() {
        let place = Place::new();
        let early = recover_in(&place, "ada", "lost", "early.json").unwrap_err();
        assert!(!place.path("early.json").exists(), "{early}");
        place.init("root.json", &place.path("ada.json")).unwrap();
        recover_in(
            &place,
            "bob",
            "the only administrator lost his laptop",
            "bob.json",
        )
        .unwrap();
        let context: serde_json::Value =
            serde_json::from_slice(&std::fs::read(place.path("bob.json")).unwrap()).unwrap();
        assert_eq!(context["person"], "bob");
        let text = |field: &str| context[field].as_str().unwrap().to_owned();
        let identity = Identity::from_pem(&text("certificate"), &text("key")).unwrap();
        Client::new(&text("clusterId"), &identity, &[]).map(drop).unwrap();
        let member = opened(&place);
        // The founding, its login, and this.
        assert_eq!(member.read(|state| state.audit_head().written), 3);
        assert!(member.read(|state| state.login("bob").is_some() && state.login("ada").is_some()));
        // Somebody has its files, and does not answer.
        let held = recover_in(&place, "bob", "again", "again.json").unwrap_err();
        assert!(held.contains("its stores cannot be opened"), "{held}");
        assert!(!place.path("again.json").exists());
        // It runs, as it does where others vote, too.
        let member = Arc::new(member);
        let socket = place.config.emergency_socket();
        let serving = emergency::serve(socket.clone(), Arc::clone(&member), "c1".to_owned());
        let door = place.runtime.spawn(serving);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while let Err(error) = recover_in(&place, "bob", "again", "again.json") {
            // Not yet at its door.
            assert!(
                error.contains("its stores cannot be opened") && std::time::Instant::now() < deadline,
                "{error}"
            );
            std::thread::yield_now();
        }
        assert_eq!(member.read(|state| state.audit_head().written), 4);
        let refused = recover_in(&place, "break-glass.bob", "why", "glass.json").unwrap_err();
        assert!(refused.contains("break-glass"), "{refused}");
        assert!(!place.path("glass.json").exists());
        door.abort();
    }

    #[test]
    fn what_names_nobody_or_no_reason_or_a_file_that_is_there_issues_nothing() {
        let place = Place::new();
        place.init("root.json", &place.path("ada.json")).unwrap();
        let long = "x".repeat(limits::NAME_BYTES + 1);
        for (person, reason, file, wanted) in [
            ("", "lost", "new.json", "--person"),
            ("a/b", "lost", "new.json", "--person"),
            ("ada", " ", "new.json", "--reason"),
            ("ada", &long, "new.json", "--reason"),
            ("ada", "lost", "ada.json", "it exists; remove it"),
            ("ada", "lost", "missing/new.json", "is no folder"),
        ] {
            let refused = recover_in(&place, person, reason, file).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
            assert!(!place.path("new.json").exists());
        }
        let member = opened(&place);
        assert_eq!(member.read(|state| state.audit_head().written), 2);
    }
}
