//! `auth`: who may do what, worked out here from the set that its seal vouches for.

use std::path::Path;

use serde_json::json;
use verger_controller_authz::{Ask, Because, GivenRule, Roles, Subject};
use verger_policy::model::{
    AgentId, InvalidSubject, Kind, Labels, LocalUid, Name, ObjectKey, PolicyObject, Resource, Role,
    RoleSubject, Scope, Spec, Verb,
};
use verger_policy::roles;
use verger_policy::set::PolicySet;
use verger_proto::cluster::v1 as pb;
use verger_wire::instant;

use crate::args::{AskArgs, AuthCommand, Format, WhoArgs};
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, note, print};
use crate::sealed;

const ANSWER: &[Column] = &[Column::new("WHO"), Column::new("MAY"), Column::new("BECAUSE")];
const WHOAMI: &[Column] = &[
    Column::new("WHO"),
    Column::new("GROUPS"),
    Column::new("BY"),
    Column::new("UNTIL"),
];
const RULES: &[Column] = &[
    Column::new("ROLE"),
    Column::new("BINDING"),
    Column::new("RULE"),
    Column::new("WITHIN"),
];
const ROLES: &[Column] = &[Column::new("ROLE"), Column::new("SAYS"), Column::new("RULE")];

pub(super) async fn auth(
    command: AuthCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    // Before anything is asked of the cluster: a slip shows at once.
    let (asked, held) = match command {
        AuthCommand::CanI { ask, who, held } => (Asked::CanI(Wanted::read(ask)?, who), held),
        AuthCommand::WhoCan { ask, held } => (Asked::WhoCan(Wanted::read(ask)?), held),
        AuthCommand::Explain { who, roles, held } => (Asked::Explain(who, roles), held),
        AuthCommand::Whoami => return whoami(context, format).await,
    };
    let session = Session::open(context).await?;
    let set = sealed::fetch(&session, &held).await?.set;
    let compiled = Roles::compile(set.objects().collect::<Vec<_>>())?;
    match asked {
        Asked::CanI(wanted, who) => {
            let (ask, who) = (wanted.of(&set)?, subject(&who, &session, &set).await?);
            can_i(&ask, &who, &compiled, format)
        }
        Asked::WhoCan(wanted) => who_can(&wanted.of(&set)?, &compiled, format),
        Asked::Explain(_, true) => all_roles(&set, format),
        Asked::Explain(who, false) => explain(&subject(&who, &session, &set).await?, &compiled, format),
    }
}

enum Asked {
    CanI(Wanted, WhoArgs),
    WhoCan(Wanted),
    Explain(WhoArgs, bool),
}

fn can_i(ask: &Ask, who: &Subject, roles: &Roles, format: Format) -> anyhow::Result<Exit> {
    let decision = roles.decide(who, ask);
    let person = who.person.as_ref().map(ToString::to_string).unwrap_or_default();
    let local = who.local.as_ref().map(|local| local.uid.get());
    let shown = match local {
        Some(uid) => format!("local/{uid}"),
        None => format!("person/{person}"),
    };
    let because: Vec<String> = decision.because.iter().map(ToString::to_string).collect();
    let word = if decision.allowed { "yes" } else { "no" };
    let mut sheet = Sheet::one(ANSWER);
    let object = json!({
        "person": person, "groups": who.groups, "local": local, "verb": ask.verb, "resource": ask.resource,
        "name": ask.single.as_ref().and_then(|single| single.name.as_ref()),
        "allowed": decision.allowed, "because": because,
    });
    let cells = vec![shown, word.to_owned(), because.join("; ")];
    sheet.push(word, cells, object);
    print(&sheet, format)?;
    Ok(if decision.allowed {
        Exit::Clean
    } else {
        Exit::Violation
    })
}

fn who_can(ask: &Ask, roles: &Roles, format: Format) -> anyhow::Result<Exit> {
    let mut sheet = Sheet::list(ANSWER, "nobody that a binding names may do that");
    if !roles.are_in_force() {
        note(&Because::NothingBound.to_string());
    }
    for (subject, decision) in roles.who_can(ask) {
        let because: Vec<String> = decision.because.iter().map(ToString::to_string).collect();
        let subject = subject.to_string();
        let cells = vec![subject.clone(), "yes".to_owned(), because.join("; ")];
        let object = json!({ "subject": subject, "because": because });
        sheet.push(subject, cells, object);
    }
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

fn explain(who: &Subject, roles: &Roles, format: Format) -> anyhow::Result<Exit> {
    let mut sheet = Sheet::list(
        RULES,
        "no binding names this person; what no rule allows is denied, once any role is bound",
    );
    if !roles.are_in_force() {
        note(&Because::NothingBound.to_string());
    }
    for (given, scope) in roles.given(who) {
        let GivenRule { binding, role, rule } = given;
        let cells = vec![
            role.to_string(),
            binding.to_string(),
            rule.to_string(),
            within(scope),
        ];
        let object = json!({ "role": role, "binding": binding, "rule": rule, "scope": scope });
        sheet.push(role.to_string(), cells, object);
    }
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

fn all_roles(set: &PolicySet, format: Format) -> anyhow::Result<Exit> {
    let mut sheet = Sheet::list(ROLES, "");
    let mut push = |name: &str, says: &str, role: &Role| {
        for rule in &role.rules {
            let cells = vec![name.to_owned(), says.to_owned(), rule.to_string()];
            sheet.push(name, cells, json!({ "role": name, "says": says, "rule": rule }));
        }
    };
    for built_in in roles::ALL {
        push(built_in.name, built_in.says, &built_in.role());
    }
    for object in set.objects() {
        if let PolicyObject {
            spec: Spec::Role(role),
            metadata,
        } = object
        {
            push(metadata.name.as_str(), "stated in the set", role);
        }
    }
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

fn within(scope: &Scope) -> String {
    if scope.is_everything() {
        "everything".to_owned()
    } else {
        scope.to_string()
    }
}

/// Asks the cluster who it takes the caller for.
async fn whoami(context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?;
    let answer = session
        .ask(pb::WhoAmIRequest {}, async |session, request| {
            session.certificates().who_am_i(request).await
        })
        .await?;
    let pb::WhoAmIResponse {
        person,
        groups,
        issuer,
        subject,
        ends,
        break_glass,
        agent_cas: _,
    } = answer.into_inner();
    let ends = ends
        .map(|at| instant("ends", at))
        .transpose()?
        .map(|at| at.to_string());
    let by = match (issuer.is_empty(), break_glass.is_empty()) {
        (false, _) => format!("{issuer} as {subject}"),
        (true, false) => format!("break-glass, past all roles: {break_glass}"),
        (true, true) => "a login of this cluster".to_owned(),
    };
    let shown = if groups.is_empty() {
        "none".to_owned()
    } else {
        groups.join(", ")
    };
    let until = ends.clone().unwrap_or_else(|| "renewed as you use it".to_owned());
    let mut sheet = Sheet::one(WHOAMI);
    let object = json!({
        "person": person, "groups": groups, "issuer": issuer, "subject": subject, "ends": ends, "breakGlass": break_glass,
    });
    sheet.push(
        person.clone(),
        vec![format!("person/{person}"), shown, by, until],
        object,
    );
    print(&sheet, format)?;
    Ok(Exit::Clean)
}

/// Whoever is asked about. Of oneself the cluster knows the groups; of others nobody does before they log in.
async fn subject(args: &WhoArgs, session: &Session, set: &PolicySet) -> anyhow::Result<Subject> {
    if let Some(local) = local(args, set)? {
        return Ok(local);
    }
    let mut named = args.clone();
    let you = match args.person {
        Some(_) => "",
        None => {
            let answer = session
                .ask(pb::WhoAmIRequest {}, async |session, request| {
                    session.certificates().who_am_i(request).await
                })
                .await?;
            named.groups.extend(answer.into_inner().groups);
            session.context().person.as_str()
        }
    };
    Ok(stated(&named, you)?)
}

/// A user of a host, if it is one that is named.
fn local(args: &WhoArgs, set: &PolicySet) -> Result<Option<Subject>, Failure> {
    let Some(uid) = args
        .person
        .as_deref()
        .and_then(|text| text.strip_prefix("local/"))
    else {
        return match &args.host {
            Some(_) => Err(Failure::input(
                "--on AGENT is for a host's user: --as local/UID".to_owned(),
            )),
            None => Ok(None),
        };
    };
    let uid: LocalUid = uid
        .parse()
        .map_err(|error: InvalidSubject| Failure::input(format!("PERSON `local/{uid}`: {error}")))?;
    if !args.groups.is_empty() {
        return Err(Failure::input(
            "a host's user is in no group of the cluster".to_owned(),
        ));
    }
    let host = match &args.host {
        None => Labels::default(),
        Some(agent) => {
            let id: AgentId = agent
                .parse()
                .map_err(|error| Failure::input(format!("--on AGENT `{agent}`: {error}")))?;
            set.host_labels(&id).cloned().unwrap_or_default()
        }
    };
    Ok(Some(Subject::local(uid, host)))
}

fn stated(args: &WhoArgs, you: &str) -> Result<Subject, Failure> {
    let name = args.person.as_deref().unwrap_or(you);
    let name = name.strip_prefix("person/").unwrap_or(name);
    let Ok(RoleSubject::Person(person)) = format!("person/{name}").parse() else {
        return Err(Failure::input(format!(
            "PERSON `{name}` is not a name of a person"
        )));
    };
    let group = |group: &String| {
        let group = group.strip_prefix("group/").unwrap_or(group);
        let parsed: Result<Name, _> = group.parse();
        parsed.map_err(|error| Failure::input(format!("GROUP `{group}`: {error}")))
    };
    Ok(Subject {
        person: Some(person),
        groups: args.groups.iter().map(group).collect::<Result<_, _>>()?,
        local: None,
    })
}

/// What is asked about, before the set is known.
struct Wanted {
    verb: Verb,
    resource: Resource,
    name: Option<Name>,
    labels: Labels,
}

impl Wanted {
    fn read(args: AskArgs) -> Result<Self, Failure> {
        let AskArgs {
            verb,
            resource,
            labels,
        } = args;
        let verb = verb
            .parse()
            .map_err(|error| Failure::input(format!("VERB {error}")))?;
        let (word, name) = match resource.split_once('/') {
            Some((word, name)) => (word, Some(name)),
            None => (&*resource, None),
        };
        let resource = self::resource(word)?;
        let name: Option<Name> = name
            .map(str::parse)
            .transpose()
            .map_err(|error| Failure::input(format!("RESOURCE `{resource}/NAME`: {error}")))?;
        let label = |label: String| match label.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Failure::input(format!("--label `{label}` is not KEY=VALUE"))),
        };
        let labels = Labels(labels.into_iter().map(label).collect::<Result<_, _>>()?);
        Ok(Self {
            verb,
            resource,
            name,
            labels,
        })
    }

    /// With the labels that what is named has in the set, unless others were given.
    fn of(self, set: &PolicySet) -> Result<Ask, Failure> {
        let Self {
            verb,
            resource,
            name,
            labels,
        } = self;
        let ask = match name {
            None if labels.is_empty() => Ask::all(verb, resource),
            name => {
                let known = || name.as_ref().and_then(|name| labels_of(set, resource, name));
                let labels = if labels.is_empty() {
                    known().unwrap_or_default()
                } else {
                    labels
                };
                Ask::one(verb, resource, name, labels)
            }
        };
        ask.check().map_err(|error| Failure::input(error.to_string()))?;
        Ok(ask)
    }
}

/// A resource as people write it: kinds in any case, singular or plural.
fn resource(word: &str) -> Result<Resource, Failure> {
    // `hosts` are machines, and `Host` is a kind.
    if let Ok(resource) = word.parse() {
        return Ok(resource);
    }
    super::objects::kind(word).map(Resource::of_kind).map_err(|_| {
        let known: Vec<&str> = Resource::ALL.iter().map(|resource| resource.word()).collect();
        Failure::input(format!("RESOURCE `{word}` is none of: {}", known.join(", ")))
    })
}

fn labels_of(set: &PolicySet, resource: Resource, name: &Name) -> Option<Labels> {
    let kind = match resource {
        Resource::Hosts | Resource::Instances | Resource::Tokens => {
            let agent: AgentId = name.as_str().parse().ok()?;
            return set.host_labels(&agent).cloned();
        }
        Resource::Containers | Resource::Findings => Kind::Workload,
        other => Kind::ALL
            .iter()
            .copied()
            .find(|kind| Resource::of_kind(*kind) == other)?,
    };
    let key = ObjectKey {
        kind,
        name: name.clone(),
    };
    let body = set.body(&key)?;
    Some(body.object().metadata.labels.clone())
}
