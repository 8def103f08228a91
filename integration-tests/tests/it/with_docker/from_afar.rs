//! People who come to the runtime from afar, with Docker's own CLI: who they are is what their certificates and the members say.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use verger_integration_tests::programs::Programs;
use verger_integration_tests::runtime_proxy::{Afar, Front};
use verger_integration_tests::scene::{Docker, HOST};
use verger_transport::{Authority, Identity, KeyPair, Purpose, SpiffeId};

const ROLES: &str = "
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/afar }
spec: { role: proxy/runner, subjects: [ person/ann ], scope: { names: [ proxy/* ] } }
";

fn front() -> Front {
    let front = Front::found(&Programs::find().unwrap(), Docker::find().unwrap()).unwrap();
    front.scene.apply(ROLES).unwrap();
    let epoch = front.scene.epoch().unwrap();
    let there = || Ok((front.scene.rows(&["hosts"])?[0]["epoch"] == epoch).then_some(()));
    front.scene.wait_for("the policy to be in force", there).unwrap();
    front
}

/// All that it prints, and how it ends.
fn ends(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(told).unwrap(),
    )
}

fn docker(afar: &Afar, words: &[&str]) -> (i32, String) {
    let mut command = afar.cli();
    command.args(words);
    ends(command)
}

#[test]
fn a_person_has_what_the_roles_say_and_who_has_none_or_no_good_certificate_has_nothing() {
    let front = front();
    let web = front.web.as_str();
    let (ann, bob) = (front.afar("ann").unwrap(), front.afar("bob").unwrap());
    let works = &["exec", web, "sh", "-c", "echo out; exit 7"];
    assert_eq!(docker(&ann, works), (7, "out\n".to_owned()));
    let (code, told) = docker(&ann, &["exec", &front.other, "true"]);
    assert!(
        code != 0 && told.contains("verger: person/ann may not get container"),
        "{told}"
    );
    let (code, told) = docker(&bob, works);
    assert!(
        code != 0
            && told.contains("verger: person/bob may not get container")
            && told.contains("no rule allows it"),
        "{told}"
    );
    // Nobody from afar is root here.
    let (code, told) = docker(&bob, &["run", "--privileged", "verger-test/app", "true"]);
    assert!(code != 0 && told.contains("verger: person/bob may not"), "{told}");

    let stranger = ends(ann.command(ann.words(false).into_iter().chain(["ps".to_owned()])));
    assert!(
        stranger.0 != 0 && !stranger.1.contains("CONTAINER"),
        "{stranger:?}"
    );
    let identity = ann.identity().unwrap();
    let key = identity.key().unwrap();
    let own = front.scene.path("controller/pki");
    let own = Authority::load(&own, Purpose::People).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cluster = front.scene.rows(&["version"]).unwrap()[0]["controller"]["clusterId"]
        .as_str()
        .unwrap()
        .to_owned();
    let foreign = Authority::create(folder.path(), Purpose::People, &cluster).unwrap();
    let issue = |authority: &Authority, peer: &str, key: &KeyPair, life: u64| {
        let id = SpiffeId {
            cluster: cluster.clone(),
            peer: peer.parse().unwrap(),
        };
        let issued = authority.issue(&key.request().unwrap(), &id, Duration::from_secs(life), &[]);
        Identity::new(issued.unwrap().chain, key)
    };
    // The control: the authority that people are known by, the key of the login, and time.
    let twin = ann.with("twin", &issue(&own, "person/ann", &key, 3_600)).unwrap();
    assert_eq!(docker(&twin, works).0, 7);
    let ended = issue(&own, "person/ann", &key, 0);
    while jiff::Timestamp::now().as_second() <= ended.not_after().unwrap() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for (name, bad) in [
        ("foreign", issue(&foreign, "person/ann", &key, 3_600)),
        ("ended", ended),
        ("member", issue(&own, "controller/one", &key, 3_600)),
    ] {
        let (code, told) = docker(&ann.with(name, &bad).unwrap(), works);
        assert!(code != 0 && code != 7 && told.contains("tls"), "{name}: {told}");
    }
    // A certificate alone is no login.
    let fresh = KeyPair::generate().unwrap();
    for (name, peer, says) in [
        (
            "other-key",
            "person/ann",
            "verger: person/ann is not served: this login was replaced",
        ),
        (
            "nobody",
            "person/eve",
            "verger: person/eve is not served: the cluster knows no login",
        ),
    ] {
        let (code, told) = docker(&ann.with(name, &issue(&own, peer, &fresh, 3_600)).unwrap(), works);
        assert!(code != 0 && told.contains(says), "{name}: {told}");
    }
    let log = std::fs::read_to_string(front.scene.agent.log()).unwrap();
    assert!(log.contains("somebody at the runtime's door is refused"), "{log}");
}

#[test]
fn a_terminal_works_from_afar_and_ends_with_the_login() {
    let mut front = front();
    let ann = front.afar("ann").unwrap();
    let line = ann.words(true).join(" ");
    let terminal = format!(
        "stty rows 33 cols 77; {line} exec -it {} sh -c 'read x; echo got-$x; n=0; until size=$(stty size 2>/dev/null); test -n \"$size\"; do n=$((n+1)); test $n -lt 100 || exit 9; sleep 0.1; done; echo $size; exit 5'",
        front.web
    );
    let script = [
        "script",
        "--quiet",
        "--return",
        "--log-out",
        "/dev/null",
        "--command",
        &terminal,
    ];
    let mut shell = ann.command(script.map(str::to_owned));
    let mut child = shell
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("got-typed") && told.contains("33 77"), "{told}");
    assert_eq!(output.status.code(), Some(5));

    // What is open ends once the login is taken away, whatever it says.
    let words = ["exec", "--interactive", &front.web, "sh", "-c", "echo open; cat"];
    let mut open = ann.cli();
    let mut open = open
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(open.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    assert_eq!(first, "open\n");
    front
        .scene
        .say(&["context", "revoke", "--person", "ann", "--reason", "left"])
        .unwrap();
    // The other end is not closed: only the agent ends it.
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    open.wait().unwrap();
    drop(open.stdin.take());
    let (code, told) = docker(&ann, &["inspect", &front.web]);
    assert!(
        code != 0 && told.contains("verger: person/ann is not served: this login was revoked"),
        "{told}"
    );

    // Where no controller can be asked nobody from afar is served; users of the host are.
    let you = front.env_of("you", &front.scene.context()).unwrap();
    assert_eq!(
        docker(&you, &["inspect", "--format", "{{.Name}}", &front.web]).0,
        0
    );
    front.scene.controller.stop().unwrap();
    let told = front.scene.wait_for("the agent to notice", || {
        let (code, told) = docker(&you, &["inspect", "--format", "{{.Name}}", &front.web]);
        Ok((code != 0).then_some(told))
    });
    let told = told.unwrap();
    assert!(
        told.contains("verger: whether the login of person/you still serves cannot be asked"),
        "{told}"
    );
    let mut local = front.cli(10_001);
    local.args(["inspect", "--format", "{{.Name}}", &front.web]);
    assert_eq!(ends(local).0, 0);
    let _ = HOST;
}
