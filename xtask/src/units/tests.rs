#![allow(clippy::unwrap_used)]
use super::*;
use crate::workspace::Workspace;

/// A copy of `deploy` with `change` made to one unit.
fn changed(unit: &str, change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let deploy = Workspace::find().unwrap().root().join("deploy");
    let copy = tempfile::tempdir().unwrap();
    for dir in ["systemd", "sysusers.d", "tmpfiles.d"] {
        fs::create_dir(copy.path().join(dir)).unwrap();
        copy_files(&deploy.join(dir), &copy.path().join(dir), |_| true).unwrap();
    }
    let path = copy.path().join("systemd").join(unit);
    let before = fs::read_to_string(&path).unwrap();
    let after = change(&before);
    assert_ne!(before, after, "the change changes nothing");
    fs::write(path, after).unwrap();
    copy
}

#[test]
fn the_shipped_units_pass() {
    check(&Workspace::find().unwrap().root().join("deploy")).unwrap();
}

#[test]
fn a_unit_that_lost_its_hardening_is_refused() {
    for (unit, _) in UNITS {
        let weaker = changed(unit, |text| {
            text.lines()
                .filter(|line| !line.starts_with("SystemCall"))
                .map(|line| format!("{line}\n"))
                .collect()
        });
        let error = check(weaker.path()).unwrap_err().to_string();
        assert!(error.contains(unit) && error.contains("exposure"), "{error}");
    }
}

#[test]
fn a_manual_page_that_is_not_there_is_refused() {
    let promised = changed("verger-agent.service", |text| {
        text.replace("[Unit]", "[Unit]\nDocumentation=man:verger-agent(8)")
    });
    let error = check(promised.path()).unwrap_err().to_string();
    assert!(error.contains("man"), "{error}");
}

#[test]
fn a_misspelt_key_is_refused() {
    let misspelt = changed("verger-agent.service", |text| {
        text.replace("WatchdogSec=", "WatchdogSecs=")
    });
    let error = check(misspelt.path()).unwrap_err().to_string();
    assert!(error.contains("WatchdogSecs"), "{error}");
}

#[test]
fn a_misspelt_key_of_a_socket_is_refused() {
    let misspelt = changed("verger-agent.socket", |text| {
        text.replace("SocketMode=", "SocketModes=")
    });
    let error = check(misspelt.path()).unwrap_err().to_string();
    assert!(error.contains("SocketModes"), "{error}");
}

#[test]
fn what_answers_the_gate_comes_before_what_asks_it() {
    let deploy = Workspace::find().unwrap().root().join("deploy/systemd");
    for unit in ["verger-agent.service", "verger-agent.socket"] {
        let text = fs::read_to_string(deploy.join(unit)).unwrap();
        let before: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Before="))
            .collect();
        for asks in ["docker.service", "containerd.service"] {
            assert!(
                before
                    .iter()
                    .any(|units| units.split(' ').any(|unit| unit == asks)),
                "{unit}: {asks}"
            );
        }
        // Or neither would ever start.
        let after = text.lines().filter(|line| line.starts_with("After="));
        assert!(
            after
                .into_iter()
                .all(|line| !line.contains("docker") && !line.contains("containerd"))
        );
    }
}

#[test]
fn a_folder_of_a_user_that_nobody_makes_is_refused() {
    let orphan = changed("verger-agent.service", |text| format!("{text}\n"));
    fs::write(
        orphan.path().join("tmpfiles.d/verger.conf"),
        "d /etc/verger 0755 nobody-made-me root -\n",
    )
    .unwrap();
    assert!(check(orphan.path()).is_err());
}

#[test]
fn the_figure_is_read_from_the_line_that_bears_it() {
    assert_eq!(
        parse_exposure("x: 9.9\n→ Overall exposure level for verger-agent.service: 2.3 OK 🙂\n"),
        Some(23)
    );
    assert_eq!(
        parse_exposure("→ Overall exposure level for a.service: 10.0 DANGEROUS\n"),
        Some(100)
    );
    assert_eq!(parse_exposure("nothing"), None);
}
