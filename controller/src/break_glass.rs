//! Every power through the API for a short while: for an emergency in which nobody whom the roles let can be reached.
//!
//! Like [`crate::recover`] it is for who is on a member's own host, and leaves a record; unlike it, it goes past all roles, under
//! a name of its own, ends by itself, and is a finding until it has. Both work while the member runs, which it does in most
//! emergencies, and while it is stopped, where nobody else votes. Sealing keys are not logins: nothing that this gives can bless anything.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use verger_controller_state::{break_glass_name, limits};
use verger_policy::model::printable;
use verger_transport::{Authority, Label, Purpose};

use crate::config::Config;
use crate::emergency::{Question, reason_in, settle};
use crate::login::{NewLogin, Reserved, context_of};

#[derive(Args)]
#[command(
    after_help = "Example: verger-controller break-glass --person ada --reason \"roles lock everybody out\" --context glass.json"
)]
pub(crate) struct BreakGlassArgs {
    /// Who it is for. The login's name is break-glass.NAME, in the audit as well.
    #[arg(long, value_name = "NAME")]
    person: String,

    /// Why, for the audit and for the finding.
    #[arg(long, value_name = "TEXT", required_unless_present = "end")]
    reason: Option<String>,

    /// How long: 4h at most.
    #[arg(long = "for", value_name = "TIME", default_value = "1h")]
    time: SignedDuration,

    /// Where to write the context file (0600). It is of no use once the time is over.
    #[arg(long, value_name = "FILE", required_unless_present = "end")]
    context: Option<PathBuf>,

    /// End it now, before its time.
    #[arg(long, conflicts_with_all = ["reason", "time", "context"])]
    end: bool,
}

/// Writes a context file that serves past all roles for a while, after the cluster has said so; or ends one early.
///
/// # Errors
/// When there is no reason, the time is too long, the cluster refuses, or the file cannot be written.
pub(crate) async fn break_glass(config: &Config, args: &BreakGlassArgs) -> anyhow::Result<()> {
    let BreakGlassArgs {
        person,
        reason,
        time,
        context,
        end,
    } = args;
    let name: Label = break_glass_name(person)
        .parse()
        .with_context(|| format!("--person {}: it becomes break-glass.NAME", printable(person)))?;
    if *end {
        let question = Question::EndBreakGlass {
            person: person.clone(),
        };
        settle(config, question).await?;
        writeln!(std::io::stdout(), "{name} is over, and that is on record")?;
        return Ok(());
    }
    let (Some(reason), Some(context)) = (reason, context) else {
        anyhow::bail!("--reason and --context are needed");
    };
    let reason = reason_in(reason)?;
    let most = SignedDuration::from_secs(limits::BREAK_GLASS_SECONDS);
    anyhow::ensure!(
        time.is_positive() && *time <= most,
        "--for: at most {} h; whoever needs longer breaks it again, and says why",
        limits::BREAK_GLASS_SECONDS / 3_600
    );
    let mut reserved = Reserved::new("--context", context)?;
    let login = NewLogin::generate()?;
    let question = Question::BreakGlass {
        person: person.clone(),
        reason,
        key: login.digest()?.to_string(),
        ends: Timestamp::now().saturating_add(*time).unwrap_or(Timestamp::MAX),
    };
    let (cluster, ends) = settle(config, question).await?;
    let ends = ends.context("the login is over already")?;
    let pki = config.pki_dir();
    let people = Authority::load(&pki, Purpose::People)?;
    let members = Authority::load(&pki, Purpose::Members)?;
    let bytes = context_of(config, &cluster, &name, &login, &people, &members, Some(ends))?;
    reserved.fill(&bytes)?;
    reserved.keep();
    writeln!(
        std::io::stdout(),
        "{name} may do everything until {ends}, and the finding host/break-glass says so\nContext: {}\n\
         Next: verger --context {} auth whoami\nWhen done: verger-controller break-glass --person {person} --end",
        context.display(),
        context.display()
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use verger_policy::finding::Lifecycle;
    use verger_transport::{Client, Identity};

    use super::*;
    use crate::emergency;
    use crate::init::tests::Place;
    use crate::recover::tests::opened;

    /// Once a member before it in this process has let go of its files.
    fn break_in(place: &Place, args: BreakGlassArgs) -> Result<(), String> {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let done = place.runtime.block_on(break_glass(&place.config, &args));
            match done.map_err(|error| format!("{error:#}")) {
                Err(error) if error.contains("in use") && std::time::Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                done => return done,
            }
        }
    }

    fn args(place: &Place, person: &str, reason: &str, time: &str, file: &str) -> BreakGlassArgs {
        BreakGlassArgs {
            person: person.to_owned(),
            reason: Some(reason.to_owned()),
            time: time.parse().unwrap(),
            context: Some(place.path(file)),
            end: false,
        }
    }

    fn end(person: &str) -> BreakGlassArgs {
        BreakGlassArgs {
            person: person.to_owned(),
            reason: None,
            time: SignedDuration::from_hours(1),
            context: None,
            end: true,
        }
    }

    fn open_findings(member: &verger_controller_raft::Member) -> usize {
        member.read(|state| {
            let findings = state.findings_after_uid(None);
            findings
                .filter(|finding| {
                    finding.rule.as_str() == "host/break-glass" && finding.lifecycle == Lifecycle::Open
                })
                .count()
        })
    }

    fn context(place: &Place, file: &str) -> (serde_json::Value, i64) {
        let bytes = std::fs::read(place.path(file)).unwrap();
        let context: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let text = |field: &str| context[field].as_str().unwrap().to_owned();
        let identity = Identity::from_pem(&text("certificate"), &text("key")).unwrap();
        Client::new(&text("clusterId"), &identity, &[]).map(drop).unwrap();
        let end = identity.not_after().unwrap();
        (context, end)
    }

    #[test]
    fn glass_is_broken_on_a_stopped_member_and_says_so() {
        let place = Place::new();
        place.init("root.json", &place.path("ada.json")).unwrap();
        break_in(
            &place,
            args(&place, "bob", "nobody can be reached", "30m", "bob.json"),
        )
        .unwrap();
        let (context, end_of_it) = context(&place, "bob.json");
        assert_eq!(context["person"], "break-glass.bob");
        assert_eq!(context["login"], "breakGlass");
        let left = end_of_it - Timestamp::now().as_second();
        assert!((1_700..=1_800).contains(&left), "{left}");
        let member = opened(&place);
        assert_eq!(open_findings(&member), 1);
        place.runtime.block_on(member.stop());
        break_in(&place, end("bob")).unwrap();
        assert_eq!(open_findings(&opened(&place)), 0);
    }

    #[test]
    fn glass_is_broken_while_the_member_runs_by_root_or_its_own_user() {
        let place = Place::new();
        place.init("root.json", &place.path("ada.json")).unwrap();
        let member = Arc::new(opened(&place));
        let socket = place.config.emergency_socket();
        let door = place.runtime.spawn(emergency::serve(
            socket.clone(),
            Arc::clone(&member),
            "c1".to_owned(),
        ));
        while !socket.exists() {
            std::thread::yield_now();
        }
        use std::os::unix::fs::PermissionsExt as _;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777 != 0o600 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        break_in(&place, args(&place, "bob", "why", "1h", "bob.json")).unwrap();
        context(&place, "bob.json");
        assert_eq!(open_findings(&member), 1);
        let again = break_in(&place, end("eve")).unwrap_err();
        assert!(again.contains("eve has no break-glass login"), "{again}");
        break_in(&place, end("bob")).unwrap();
        assert_eq!(open_findings(&member), 0);
        // Senseless words change nothing, and the door stays open.
        let written = member.read(|state| state.audit_head().written);
        place.runtime.block_on(async {
            for senseless in ["{}\n", "\n", "{\"breakGlass\":{}}\n"] {
                let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, senseless.as_bytes())
                    .await
                    .unwrap();
                let mut answer = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer)
                    .await
                    .unwrap();
                assert!(answer.contains("cannot be read"), "{answer}");
            }
        });
        assert_eq!(member.read(|state| state.audit_head().written), written);
        break_in(&place, args(&place, "bob", "why", "1h", "again.json")).unwrap();
        door.abort();
    }

    #[test]
    fn glass_is_not_broken_without_a_reason_or_for_long() {
        let place = Place::new();
        place.init("root.json", &place.path("ada.json")).unwrap();
        let long = "x".repeat(limits::NAME_BYTES + 1);
        let label = "x".repeat(60);
        for (person, reason, time, wanted) in [
            ("bob", " ", "1h", "--reason"),
            ("bob", long.as_str(), "1h", "--reason"),
            ("bob", "why", "5h", "--for"),
            ("bob", "why", "0s", "--for"),
            ("bob", "why", "-1h", "--for"),
            ("Bob", "why", "1h", "--person"),
            (label.as_str(), "why", "1h", "--person"),
        ] {
            let refused = break_in(&place, args(&place, person, reason, time, "new.json")).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
            assert!(!place.path("new.json").exists());
        }
        let member = opened(&place);
        assert_eq!(open_findings(&member), 0);
        place.runtime.block_on(member.stop());
        break_in(&place, args(&place, "bob", "why", "4h", "new.json")).unwrap();
    }
}
