//! The sets and the requests.

use verger_decisions::chance::{object, parsed};
use verger_policy::draft;
use verger_policy::model::{Labels, PolicyObject, Resource, RoleBinding, RoleSubject, Scope, Spec, Verb};
use verger_policy::roles::{Ask, Subject};
use verger_rig::dice::Dice;

/// Requests of a load.
const REQUESTS: usize = 256;
/// People who ask.
const PEOPLE: u64 = 8;
/// The roles that are not built in: with scopes of their own, and with denies.
const ROLES: &str = "
apiVersion: verger/v1
kind: Role
metadata: { name: careful }
spec: { rules: [ { effect: deny, verbs: [ delete, apply ], resources: [ Workload ], names: [ t1/*, t2/frozen ] } ] }
---
apiVersion: verger/v1
kind: Role
metadata: { name: responder }
spec:
  rules:
    - { effect: allow, verbs: [ get, list, watch ], resources: [ findings, instances, Workload ] }
    - { effect: allow, verbs: [ ack ], resources: [ findings ], labels: { tier: web } }
---
apiVersion: verger/v1
kind: Role
metadata: { name: deployer }
spec: { rules: [ { effect: allow, verbs: [ get, apply, propose ], resources: [ Workload ] } ] }
";

/// Objects, and what is asked of them.
pub(crate) struct Load {
    pub(crate) objects: Vec<PolicyObject>,
    pub(crate) requests: Vec<Request>,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) subject: Subject,
    pub(crate) ask: Ask,
}

fn bind(number: usize, role: &str, subject: &str, names: &[String]) -> PolicyObject {
    let names = names.iter().map(|name| parsed(name)).collect();
    let binding = RoleBinding {
        role: parsed(role),
        subjects: [parsed::<RoleSubject>(subject)].into(),
        scope: Scope {
            names,
            labels: Labels::default(),
        },
        hosts: Labels::default(),
    };
    object(&format!("b{number}"), Spec::RoleBinding(binding))
}

fn roles() -> Vec<PolicyObject> {
    draft::read("roles.yaml", ROLES.as_bytes()).expect("the roles above are right")
}

/// Whoever asks: people, their groups, and what binds them. Ten bindings.
fn core() -> Vec<PolicyObject> {
    let below = |name: &str| vec![format!("{name}/*")];
    let mut number = 0..;
    let mut bind = |role: &str, subject: &str, names: &[String]| {
        bind(number.next().unwrap_or_default(), role, subject, names)
    };
    vec![
        bind("viewer", "group/staff", &[]),
        bind("careful", "group/staff", &[]),
        bind("responder", "group/sre", &[]),
        bind("admin", "person/p0", &[]),
        bind("deployer", "person/p1", &below("t1")),
        bind("deployer", "person/p2", &below("t2")),
        bind("deployer", "group/sre", &below("t3")),
        bind("operator", "person/p3", &[]),
        bind("author", "person/p4", &[below("t4"), below("t5")].concat()),
        bind("approver", "person/p5", &[]),
    ]
}

fn ask(dice: &mut Dice) -> Ask {
    let (verb, resource) = dice
        .pick(&[
            (Verb::Get, Resource::Workload),
            (Verb::Apply, Resource::Workload),
            (Verb::Apply, Resource::Workload),
            (Verb::Delete, Resource::Workload),
            (Verb::List, Resource::Findings),
            (Verb::Ack, Resource::Findings),
            (Verb::Get, Resource::Instances),
            (Verb::Get, Resource::Status),
            (Verb::Sign, Resource::Set),
        ])
        .copied()
        .unwrap_or((Verb::Get, Resource::Workload));
    if !resource.has_names() || dice.below(5) == 0 {
        return Ask::all(verb, resource);
    }
    let name = dice
        .pick(&["web", "frozen", "api/v1"])
        .copied()
        .unwrap_or_default();
    let name = format!("t{}/{name}", dice.below(7));
    let tier = dice.pick(&["web", "db"]).copied().unwrap_or_default();
    let labels = [("tier", tier), ("app", "shop")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Ask::one(verb, resource, Some(parsed(&name)), Labels(labels.into()))
}

impl Load {
    /// So many bindings, of which ten bind those who ask.
    pub(crate) fn of(bindings: usize) -> Self {
        let mut dice = Dice::new(7);
        let mut objects = roles();
        objects.extend(core());
        for number in 10..bindings {
            let subject = if number % 4 == 0 {
                format!("group/of-others-{}", number / 8)
            } else {
                format!("person/other-{}", number / 2)
            };
            objects.push(bind(number, role_of(number), &subject, &names_of(number)));
        }
        // The same requests at every size.
        let requests = (0..REQUESTS).map(|_| {
            let person = format!("p{}", dice.below(PEOPLE));
            let groups = match dice.below(4) {
                0 => vec![],
                1 => vec!["staff"],
                2 => vec!["sre"],
                _ => vec!["sre", "staff"],
            };
            Request {
                subject: Subject {
                    person: Some(parsed(&person)),
                    groups: groups.into_iter().map(parsed).collect(),
                    local: None,
                },
                ask: ask(&mut dice),
            }
        });
        let requests = requests.collect();
        Self { objects, requests }
    }

    /// The same, asked by those others: nobody's bindings are in a cache before they are asked for.
    pub(crate) fn spread(bindings: usize) -> Self {
        let mut dice = Dice::new(7);
        let all = Self::of(bindings);
        let requests = (0..REQUESTS * 16).map(|_| {
            let number = dice.below(bindings as u64);
            Request {
                subject: Subject {
                    person: Some(parsed(&format!("other-{}", number / 2))),
                    groups: [parsed(&format!("of-others-{}", number / 8))].into(),
                    local: None,
                },
                ask: ask(&mut dice),
            }
        });
        Self {
            requests: requests.collect(),
            ..all
        }
    }

    /// So many bindings of one person, each of a part of the names.
    pub(crate) fn of_one(bindings: usize) -> Self {
        let mut dice = Dice::new(7);
        let mut objects = roles();
        objects.extend(
            (0..bindings).map(|number| bind(number, role_of(number), "person/p0", &[format!("t{number}/*")])),
        );
        let requests = (0..REQUESTS).map(|_| Request {
            subject: Subject::person(parsed("p0")),
            ask: ask(&mut dice),
        });
        let requests = requests.collect();
        Self { objects, requests }
    }
}

fn role_of(number: usize) -> &'static str {
    [
        "viewer",
        "deployer",
        "author",
        "careful",
        "responder",
        "operator",
        "approver",
    ][number % 7]
}

fn names_of(number: usize) -> Vec<String> {
    match number % 3 {
        0 => vec![],
        1 => vec![format!("t{}/*", number % 500)],
        _ => vec![format!("t{}/*", number % 300), format!("u{number}")],
    }
}
