#![allow(clippy::unwrap_used)]

use verger_policy::model::printable;

use super::*;

fn enrolment() -> Enrolment {
    Enrolment {
        cluster: Digest::of(b"cluster"),
        agent: "web-1".parse().unwrap(),
        controllers: vec!["c1.example:7400".to_owned()],
        member_cas: vec![vec![0x30, 0x00]],
    }
}

fn text() -> String {
    String::from_utf8(enrolment().to_json().unwrap()).unwrap()
}

#[test]
fn a_damaged_file_is_named_with_line_and_remedy_and_moves_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, format!("data_dir = {:?}\n", folder.path())).unwrap();
    let config = Config::load(&file).unwrap();
    let error = Enrolment::load(&config).unwrap_err().to_string();
    assert!(error.contains("not enrolled"), "{error}");
    for (damage, wanted) in [
        (String::new(), "line 1 column 0"),
        (
            text().replace("\"agent\"", "\"\u{1b}[2Jagent\u{202e}\""),
            "line 4",
        ),
        (
            text().replace("\"format\": 1", "\"format\": \"\u{9b}2J\""),
            "line 2",
        ),
        (text().replace("\"format\": 1", "\"format\": 2"), "format 2"),
        (text().replace("web-1", "\u{7}"), "line 4"),
        (text().replace("web-1", "Web 1"), "`agent`"),
        (text().replace("\"3000\"", "\"30zz\""), "`memberCas`"),
        (text().replace("\"3000\"", ""), "`memberCas` holds no"),
        (text().replace("\"c1.example:7400\"", ""), "`controllers`"),
        (text().replace(&enrolment().cluster.hex(), "ab"), "`clusterId`"),
        (text()[..80].to_owned(), "EOF"),
    ] {
        files::replace(&config.cluster_file(), damage.as_bytes()).unwrap();
        let error = format!("{:#}", Enrolment::load(&config).unwrap_err());
        for part in [wanted, "cluster.json", "verger token create"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(error, printable(&error));
    }
    files::replace(&config.cluster_file(), text().as_bytes()).unwrap();
    assert_eq!(
        Enrolment::load(&config).unwrap().to_json().unwrap(),
        text().as_bytes()
    );
}
