//! People who log in by an identity provider, and broken glass: real controller, real CLI, a provider on loopback.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verger_integration_tests::people::{Lie, Login, Provider, log_in, open};
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Scene, checked};

const ROLES: &str = "\
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: admins }
spec: { role: admin, subjects: [ person/you ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: sres }
spec: { role: operator, subjects: [ group/sre ] }
";

/// A cluster that takes the provider's word, with roles.
fn scene() -> (Provider, Scene) {
    let provider = Provider::start().unwrap();
    let scene = Scene::without_agent(&Programs::find().unwrap(), &provider.configuration()).unwrap();
    scene.apply(ROLES).unwrap();
    (provider, scene)
}

/// The words of the command that an administrator hands to somebody new.
fn invitation(scene: &Scene) -> Vec<String> {
    let line = scene.say(&["context", "invite"]).unwrap();
    let words = line.trim().strip_prefix("verger ").unwrap();
    words.split(' ').map(str::to_owned).collect()
}

/// `verger`, as whoever keeps a context there.
fn verger(scene: &Scene, context: &str, arguments: &[&str]) -> Command {
    let mut command = scene.verger();
    command.env("VERGER_CONTEXT", scene.path(context)).args(arguments);
    command
}

fn try_in(scene: &Scene, context: &str) -> Login {
    let words = invitation(scene);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = verger(scene, context, &words);
    command.args(["--no-browser", "-o", "json"]);
    log_in(command, |back| open(back).map(drop)).unwrap()
}

#[track_caller]
fn refused(command: &mut Command, why: &str) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(why), "{said}");
}

fn audit(scene: &Scene, action: &str) -> Vec<Value> {
    scene.rows(&["audit", "list", "--action", action]).unwrap()
}

#[test]
fn somebody_new_logs_in_with_the_powers_of_his_groups_and_loses_them_with_the_group() {
    let (provider, scene) = scene();
    provider.seat("bea", "b-1", &["sre", "all hands"]);
    let login = try_in(&scene, "bea.json");
    assert!(login.done, "{}", login.err);
    let told: Value = serde_json::from_str(&login.out).unwrap();
    assert_eq!(
        (&told["person"], &told["groups"]),
        (&json!("bea"), &json!(["sre"]))
    );
    let me = checked(&mut verger(&scene, "bea.json", &["auth", "whoami", "-o", "json"])).unwrap();
    let me: Value = serde_json::from_slice(&me.stdout).unwrap();
    assert_eq!(
        (&me["groups"], &me["issuer"]),
        (&json!(["sre"]), &json!(provider.issuer()))
    );
    // The binding of the group is in force; what it does not give is not.
    checked(&mut verger(
        &scene,
        "bea.json",
        &["token", "create", "--agent", "h1"],
    ))
    .unwrap();
    checked(&mut verger(
        &scene,
        "bea.json",
        &["auth", "can-i", "create", "tokens"],
    ))
    .unwrap();
    let create = ["context", "create", "--person", "eve", "--out", "/dev/null/x"];
    refused(&mut verger(&scene, "bea.json", &create), "ROLE_DENIED");
    refused(
        &mut verger(&scene, "bea.json", &["context", "renew"]),
        "verger login",
    );
    let rows = audit(&scene, "log-in");
    let detail = rows[0]["detail"].as_str().unwrap();
    assert_eq!(rows[0]["actor"], "person/bea");
    assert!(
        detail.contains(provider.issuer()) && detail.contains("b-1") && detail.ends_with("groups: sre"),
        "{detail}"
    );
    let token = &audit(&scene, "create-token")[0];
    assert!(
        token["policies"].to_string().contains("RoleBinding/sres"),
        "{token}"
    );

    // Taken out of the group at the provider: gone with the next login, which needs no more than the context.
    provider.seat("bea", "b-1", &[]);
    let mut again = verger(&scene, "bea.json", &["login", "--no-browser"]);
    again.args(["-o", "json"]);
    // Words are a second apart.
    let login = insist(|| log_in(clone_of(&again), |back| open(back).map(drop)).unwrap());
    assert!(login.done, "{}", login.err);
    refused(
        &mut verger(&scene, "bea.json", &["token", "create", "--agent", "h2"]),
        "ROLE_DENIED",
    );
}

/// The same program again.
fn clone_of(command: &Command) -> Command {
    let mut clone = Command::new(command.get_program());
    clone.args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            clone.env(name, value);
        }
    }
    clone
}

/// Providers tell whole seconds, and of two words of one second the first counts.
fn insist(mut attempt: impl FnMut() -> Login) -> Login {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let login = attempt();
        if login.done || !login.err.contains("LOGIN_STALE") {
            return login;
        }
        assert!(Instant::now() < deadline, "{}", login.err);
    }
}

#[test]
fn until_a_role_is_bound_an_account_at_the_provider_gives_nothing() {
    let provider = Provider::start().unwrap();
    let scene = Scene::without_agent(&Programs::find().unwrap(), &provider.configuration()).unwrap();
    provider.seat("bea", "b-1", &["sre"]);
    let login = try_in(&scene, "bea.json");
    assert!(login.done, "{}", login.err);
    refused(&mut verger(&scene, "bea.json", &["hosts"]), "ROLE_DENIED");
    let create = ["context", "create", "--person", "eve", "--out", "/dev/null/x"];
    refused(&mut verger(&scene, "bea.json", &create), "ROLE_DENIED");
    // The local login founds the rest, and what is bound to the group is the group's from then on.
    scene.say(&["hosts"]).unwrap();
    scene.apply(ROLES).unwrap();
    checked(&mut verger(&scene, "bea.json", &["hosts"])).unwrap();
    refused(&mut verger(&scene, "bea.json", &create), "ROLE_DENIED");
}

#[test]
fn tokens_that_are_not_the_providers_word_for_this_login_are_refused() {
    let (provider, scene) = scene();
    provider.seat("bea", "b-1", &["sre"]);
    let good = try_in(&scene, "good.json");
    assert!(good.done, "{}", good.err);
    let kept = provider.last_token().unwrap();
    for (lie, why) in [
        (Lie::Claim("aud", json!("another")), "TOKEN_AUDIENCE"),
        (Lie::Claim("azp", json!("another")), "TOKEN_AUDIENCE"),
        (Lie::Claim("iss", json!("http://127.0.0.1:1")), "TOKEN_ISSUER"),
        (Lie::Claim("nonce", json!("of another key")), "TOKEN_NONCE"),
        (Lie::Claim("nonce", Value::Null), "TOKEN_NONCE"),
        (Lie::Old, "TOKEN_EXPIRED"),
        (Lie::OtherKey, "TOKEN_SIGNATURE"),
        (Lie::Unsigned, "TOKEN_"),
        // Good a moment ago, for another key.
        (Lie::Token(kept), "TOKEN_NONCE"),
        (Lie::Claim("preferred_username", json!("Bea!")), "CLAIMS_REFUSED"),
        // The founder's name is taken.
        (Lie::Claim("preferred_username", json!("you")), "LOGIN_TAKEN"),
        (
            Lie::Claim("preferred_username", json!("break-glass.you")),
            "LOGIN_NAME",
        ),
        // Somebody else under the same name.
        (Lie::Claim("sub", json!("b-2")), "LOGIN_TAKEN"),
    ] {
        provider.lie(lie.clone());
        let bad = try_in(&scene, "bad.json");
        assert!(!bad.done && bad.err.contains(why), "{lie:?}: {}", bad.err);
        assert!(!scene.path("bad.json").exists(), "{lie:?}");
    }
    // Nothing of it has touched the login that is good, and the next one works.
    checked(&mut verger(&scene, "good.json", &["auth", "whoami"])).unwrap();
    let again = insist(|| try_in(&scene, "bad.json"));
    assert!(again.done, "{}", again.err);
    scene.say(&["audit", "verify"]).unwrap();
}

#[test]
fn a_stolen_code_is_of_no_use_without_the_verifier_and_the_key() {
    let (provider, scene) = scene();
    provider.seat("bea", "b-1", &["sre"]);
    let words = invitation(&scene);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The thief has the address that bea's browser was sent to, and brings its code to a login of his own.
    let mut bea = verger(&scene, "bea.json", &words);
    bea.arg("--no-browser");
    let login = log_in(bea, |stolen| {
        let code = stolen
            .split(['?', '&'])
            .find(|part| part.starts_with("code="))
            .unwrap();
        let mut thief = verger(&scene, "thief.json", &words);
        thief.arg("--no-browser");
        let theft = log_in(thief, |own| {
            let (place, query) = own.split_once('?').unwrap();
            let state = query.split('&').find(|part| part.starts_with("state=")).unwrap();
            open(&format!("{place}?{code}&{state}")).map(drop)
        })?;
        assert!(
            !theft.done && theft.err.contains("PROVIDER_REFUSED"),
            "{}",
            theft.err
        );
        assert!(!scene.path("thief.json").exists());
        // And a code that is pushed into bea's login from elsewhere is of no attempt of hers.
        let (place, _) = stolen.split_once('?').unwrap();
        let pushed = open(&format!("{place}?code=code-of-mallory&state=guessed"))?;
        assert!(pushed.starts_with("HTTP/1.1 404"), "{pushed}");
        open(stolen).map(drop)
    })
    .unwrap();
    // Used up by the thief, it gives bea nothing either; her next login does.
    assert!(
        !login.done && login.err.contains("PROVIDER_REFUSED"),
        "{}",
        login.err
    );
    let again = try_in(&scene, "bea.json");
    assert!(again.done, "{}", again.err);
}

#[test]
fn a_provider_that_is_away_or_refuses_is_said_and_a_local_login_works_all_the_same() {
    let (provider, scene) = scene();
    let nobody = try_in(&scene, "bea.json");
    assert!(
        !nobody.done && nobody.err.contains("nobody is there"),
        "{}",
        nobody.err
    );
    drop(provider);
    // What it published is still known, and the browser finds nobody: nothing is waited for here.
    scene.say(&["auth", "whoami"]).unwrap();
    let dead = Provider::start().unwrap();
    let gone = dead.configuration();
    drop(dead);
    let scene = Scene::without_agent(&Programs::find().unwrap(), &gone).unwrap();
    let away = try_in(&scene, "bea.json");
    assert!(
        !away.done && away.err.contains("PROVIDER_UNREACHABLE"),
        "{}",
        away.err
    );
    scene.say(&["auth", "whoami"]).unwrap();
    // And a cluster without one says so.
    let scene = Scene::without_agent(&Programs::find().unwrap(), "").unwrap();
    refused(scene.verger().args(["context", "invite"]), "no identity provider");
}

#[test]
fn broken_glass_goes_past_roles_while_the_controller_runs_and_is_a_finding_until_it_ends() {
    let mut scene = Scene::without_agent(&Programs::find().unwrap(), "").unwrap();
    scene.apply(ROLES).unwrap();
    let bob = scene.path("bob.json").display().to_string();
    scene
        .say(&["context", "create", "--person", "bob", "--out", &bob])
        .unwrap();
    // Bob has no role; and to break the glass takes a reason.
    let bless = ["token", "create", "--agent", "h1"];
    refused(&mut verger(&scene, "bob.json", &bless), "ROLE_DENIED");
    let glass = scene.path("glass.json").display().to_string();
    let no_reason = ["break-glass", "--person", "bob", "--context", &glass];
    refused(&mut scene.on_the_member(&no_reason).unwrap(), "--reason");
    let broken = [
        "break-glass",
        "--person",
        "bob",
        "--reason",
        "everybody is away",
        "--for",
        "30m",
        "--context",
        &glass,
    ];
    checked(&mut scene.on_the_member(&broken).unwrap()).unwrap();
    checked(&mut verger(&scene, "glass.json", &bless)).unwrap();
    let open_now = |scene: &Scene| {
        let findings = scene.open_findings().unwrap();
        findings
            .into_iter()
            .find(|finding| finding["rule"] == "host/break-glass")
    };
    let finding = open_now(&scene).expect("it is a finding");
    assert!(finding.to_string().contains("everybody is away"), "{finding}");
    // It gives no login that outlives it, and is on record: that it was broken, and what it did.
    let eve = scene.path("eve.json").display().to_string();
    let create = ["context", "create", "--person", "eve", "--out", &eve];
    refused(&mut verger(&scene, "glass.json", &create), "ROLE_DENIED");
    assert!(
        audit(&scene, "break-glass")[0]["detail"]
            .to_string()
            .contains("everybody is away")
    );
    assert_eq!(
        audit(&scene, "create-token")[0]["actor"],
        "person/break-glass.bob"
    );
    // The usual login has gained nothing by it.
    refused(&mut verger(&scene, "bob.json", &bless), "ROLE_DENIED");
    checked(
        &mut scene
            .on_the_member(&["break-glass", "--person", "bob", "--end"])
            .unwrap(),
    )
    .unwrap();
    assert!(open_now(&scene).is_none());
    refused(&mut verger(&scene, "glass.json", &bless), "LOGIN_ENDED");
    // With the controller stopped as well.
    scene.controller.stop().unwrap();
    let again = scene.path("again.json").display().to_string();
    let broken = [
        "break-glass",
        "--person",
        "bob",
        "--reason",
        "again",
        "--context",
        &again,
    ];
    checked(&mut scene.on_the_member(&broken).unwrap()).unwrap();
    scene.controller.start().unwrap();
    checked(&mut verger(&scene, "again.json", &bless)).unwrap();
    assert!(open_now(&scene).is_some());
}
