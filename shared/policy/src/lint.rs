//! What is allowed but probably not meant: expired, unreachable, contradictory, doubled objects of a set.
//!
//! Lints look at the objects whose bodies are here; run them where the whole set is (CLI, controller).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::compile::JUDGED_CONTROLS;
use crate::digest::Digest;
use crate::expression::Expression;
use crate::model::{
    CHECK_RULES, Config, ContainerHint, Control, Exception, Guardrail, Labels, Mode, Modes, Name, ObjectKey,
    PolicyObject, RoleBinding, Rootfs, RuleId, Seccomp, Spec, Stated, Tighten, Workload,
};
use crate::roles;
use crate::rules;
use crate::set::PolicySet;

/// How long before its end an exception is worth a word.
pub const EXPIRY_NOTICE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is odd about an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "lint")]
pub enum Oddity {
    /// An exception that no longer lifts anything.
    Expired {
        /// When it ended.
        at: Timestamp,
    },
    /// An exception that ends within [`EXPIRY_NOTICE`].
    ExpiresSoon {
        /// When it ends.
        at: Timestamp,
    },
    /// An exception for a workload that the set does not have.
    NoSuchWorkload {
        /// The workload it names.
        workload: Name,
    },
    /// An exception for an image that its workload does not bless: nothing fits both.
    ImageNotBlessed {
        /// The image it names.
        image: Digest,
    },
    /// An exception for a rule of the host, which is about no workload: sealed before such ones were refused.
    LiftsNothing {
        /// The rule it names.
        rule: RuleId,
    },
    /// A check of a guardrail that says the same of everything.
    ConstantCheck {
        /// Its id.
        check: String,
        /// What it says.
        always: bool,
    },
    /// A check of a guardrail that this version cannot read: it is judged to be an error.
    UnreadableCheck {
        /// Its id.
        check: String,
        /// What is wrong with it.
        fault: String,
    },
    /// An exception for a check of a guardrail that the set does not have.
    NoSuchCheck {
        /// The rule it names.
        rule: RuleId,
    },
    /// No `Host` has the labels it asks for.
    SelectsNoHost,
    /// No workload has the labels it asks for, so it holds for nothing.
    SelectsNoWorkload,
    /// Another workload has the same image and the same hints, on hosts that may be the same: every instance of one
    /// is an instance of both, and `enforce` refuses what is ambiguous.
    SameAs {
        /// The other workload.
        other: Name,
        /// An image both bless.
        image: Digest,
    },
    /// Another workload has the same image on hosts that may be the same, only labels tell them apart, and one of them is enforced:
    /// the gate launches what both allow, and nothing else.
    SharesImage {
        /// The other workload.
        other: Name,
        /// An image both bless.
        image: Digest,
    },
    /// A binding of a role that is neither built in nor in the set: it gives nothing.
    NoSuchRole {
        /// The role it names.
        role: Name,
    },
    /// A role that no binding gives to anybody.
    BoundToNobody,
    /// Nothing is ever taken away from a launch for this field: what is blessed of it is everything, or nothing of `config` is refused.
    TightensNothing {
        /// The field.
        field: Tighten,
    },
    /// A namespace is shared with a workload that the set does not have.
    NamespaceOfNobody {
        /// The workload it names.
        workload: Name,
    },
}

/// One oddity of one object. `Display` is a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lint {
    /// The object.
    pub object: ObjectKey,
    /// What is odd about it.
    #[serde(flatten)]
    pub oddity: Oddity,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.object)?;
        match &self.oddity {
            Oddity::Expired { at } => write!(f, "ended at {at} and lifts nothing; delete or renew it"),
            Oddity::ExpiresSoon { at } => write!(f, "ends at {at}; renew it if it is still needed"),
            Oddity::NoSuchWorkload { workload } => {
                write!(
                    f,
                    "is for workload {workload}, which the set does not have; correct `scope.workload`"
                )
            }
            Oddity::ImageNotBlessed { image } => {
                write!(
                    f,
                    "is for image {image}, which its workload does not bless; correct `scope.image`"
                )
            }
            Oddity::LiftsNothing { rule } => {
                write!(
                    f,
                    "is for rule {rule}, which is about the host and never lifted; remove it from `rules`"
                )
            }
            Oddity::ConstantCheck { check, always } => {
                write!(
                    f,
                    "has the check {check}, which is {always} of everything; correct its expression"
                )
            }
            Oddity::UnreadableCheck { check, fault } => {
                write!(
                    f,
                    "has the check {check}, which is an error of everything: {fault}"
                )
            }
            Oddity::NoSuchCheck { rule } => {
                write!(
                    f,
                    "is for {rule}, a check that no guardrail of the set has; correct `rules`"
                )
            }
            Oddity::SelectsNoHost => {
                f.write_str("selects no host; correct its host labels, or label a host with a `Host` object")
            }
            Oddity::SelectsNoWorkload => {
                f.write_str("selects no workload; correct `select.workloads`, or label a workload")
            }
            Oddity::SameAs { other, image } => {
                write!(
                    f,
                    "has the image {image} and the hints of workload {other}; tell them apart by a label"
                )
            }
            Oddity::SharesImage { other, image } => {
                write!(
                    f,
                    "has the image {image} of workload {other}: only a label tells them apart, which whoever launches one chooses, so where either is enforced the gate launches only what both allow; give each an image of its own"
                )
            }
            Oddity::NoSuchRole { role } => write!(
                f,
                "gives role {role}, which is not built in and not in the set; correct `role`"
            ),
            Oddity::BoundToNobody => f.write_str("is given to nobody; bind it with a `RoleBinding`"),
            Oddity::TightensNothing { field } => write!(
                f,
                "lets the gate take away what a launch asks beyond `{field}`, and there is never anything to take: enforce control `config` and state less of `config.{field}`, or remove it from `tighten`"
            ),
            Oddity::NamespaceOfNobody { workload } => {
                write!(
                    f,
                    "shares a namespace of workload {workload}, which the set does not have"
                )
            }
        }
    }
}

/// Everything odd about a set at `now`, in the order of its objects.
pub fn lint(set: &PolicySet, now: Timestamp) -> Vec<Lint> {
    let world = World::of(set);
    let mut lints = Vec::new();
    for object in set.objects() {
        let mut oddities = Vec::new();
        match &object.spec {
            Spec::Workload(workload) => world.workload(object, workload, &mut oddities),
            Spec::Guardrail(guardrail) => world.guardrail(guardrail, &mut oddities),
            Spec::Exception(exception) => world.exception(exception, now, &mut oddities),
            Spec::Role(_) if world.bound.contains(&object.metadata.name) => {}
            Spec::Role(_) => oddities.push(Oddity::BoundToNobody),
            Spec::RoleBinding(binding) => world.binding(binding, &mut oddities),
            Spec::Host(_) => {}
        }
        lints.extend(oddities.into_iter().map(|oddity| Lint {
            object: object.key(),
            oddity,
        }));
    }
    lints
}

/// The set, arranged for questions.
struct World<'s> {
    hosts: BTreeSet<&'s Labels>,
    workloads: BTreeMap<&'s Name, (&'s Workload, &'s Labels)>,
    claims: BTreeMap<(Digest, &'s ContainerHint), Vec<(&'s Name, &'s Workload)>>,
    images: BTreeMap<Digest, Vec<(&'s Name, &'s Workload)>>,
    /// Whether a guardrail enforces.
    enforces: bool,
    roles: BTreeSet<&'s Name>,
    bound: BTreeSet<&'s Name>,
    /// The rules of guardrails' own checks.
    checks: BTreeSet<RuleId>,
}

impl<'s> World<'s> {
    fn of(set: &'s PolicySet) -> Self {
        let mut world = Self {
            hosts: BTreeSet::new(),
            workloads: BTreeMap::new(),
            claims: BTreeMap::new(),
            images: BTreeMap::new(),
            enforces: false,
            roles: BTreeSet::new(),
            bound: BTreeSet::new(),
            checks: BTreeSet::new(),
        };
        for object in set.objects() {
            match &object.spec {
                Spec::Host(host) => _ = world.hosts.insert(&host.labels),
                Spec::Workload(workload) => {
                    let name = &object.metadata.name;
                    world.workloads.insert(name, (workload, &object.metadata.labels));
                    for image in &workload.config.images {
                        world.images.entry(*image).or_default().push((name, workload));
                        world
                            .claims
                            .entry((*image, &workload.hint))
                            .or_default()
                            .push((name, workload));
                    }
                }
                Spec::Role(_) => _ = world.roles.insert(&object.metadata.name),
                Spec::RoleBinding(binding) => _ = world.bound.insert(&binding.role),
                Spec::Guardrail(guardrail) => {
                    let name = &object.metadata.name;
                    let rules = guardrail.checks.iter().filter_map(|check| check.rule(name));
                    world.checks.extend(rules);
                    world.enforces |= guardrail.mode == Some(Mode::Enforce);
                }
                Spec::Exception(_) => {}
            }
        }
        world
    }

    fn some_host(&self, selector: &Labels) -> bool {
        selector.is_empty() || self.hosts.iter().any(|labels| selector.select(labels))
    }

    fn workload(&self, object: &PolicyObject, workload: &Workload, found: &mut Vec<Oddity>) {
        if !self.some_host(&workload.hosts) {
            found.push(Oddity::SelectsNoHost);
        }
        let name = &object.metadata.name;
        let mut others = BTreeSet::new();
        for image in &workload.config.images {
            let rivals = self.claims.get(&(*image, &workload.hint)).into_iter().flatten();
            for (other, rival) in rivals.filter(|(other, _)| *other != name) {
                if !exclude(&workload.hosts, &rival.hosts) && others.insert(*other) {
                    found.push(Oddity::SameAs {
                        other: (*other).clone(),
                        image: *image,
                    });
                }
            }
        }
        let enforces = |workload: &Workload| {
            let default = Modes::default();
            let modes = workload.mode.as_ref().unwrap_or(&default);
            self.enforces
                || JUDGED_CONTROLS
                    .iter()
                    // Not judged, and yet each instance of either has its network closed.
                    .chain([&Control::Channels])
                    .any(|control| modes.of(*control) == Mode::Enforce)
        };
        for image in &workload.config.images {
            for (other, rival) in self.images.get(image).into_iter().flatten() {
                let apart = exclude(&workload.hosts, &rival.hosts);
                let enforced = enforces(workload) || enforces(rival);
                if *other != name && enforced && !apart && others.insert(*other) {
                    found.push(Oddity::SharesImage {
                        other: (*other).clone(),
                        image: *image,
                    });
                }
            }
        }
        let default = Modes::default();
        let modes = workload.mode.as_ref().unwrap_or(&default);
        let refuses = self.enforces || modes.of(Control::Config) == Mode::Enforce;
        for field in &workload.tighten {
            if !refuses || is_widest(&workload.config, *field) {
                found.push(Oddity::TightensNothing { field: *field });
            }
        }
        for target in workload.config.namespaces.workloads() {
            if !self.workloads.contains_key(target) {
                found.push(Oddity::NamespaceOfNobody {
                    workload: target.clone(),
                });
            }
        }
    }

    fn guardrail(&self, guardrail: &Guardrail, found: &mut Vec<Oddity>) {
        if !self.some_host(&guardrail.select.hosts) {
            found.push(Oddity::SelectsNoHost);
        }
        for check in &guardrail.checks {
            let check_id = || check.id.clone();
            match Expression::read(&check.expression) {
                Ok(expression) => found.extend(expression.constant().map(|always| Oddity::ConstantCheck {
                    check: check_id(),
                    always,
                })),
                Err(fault) => found.push(Oddity::UnreadableCheck {
                    check: check_id(),
                    fault: fault.to_string(),
                }),
            }
        }
        let wanted = &guardrail.select.workloads;
        if !wanted.is_empty() && !self.workloads.values().any(|(_, labels)| wanted.select(labels)) {
            found.push(Oddity::SelectsNoWorkload);
        }
    }

    fn binding(&self, binding: &RoleBinding, found: &mut Vec<Oddity>) {
        let role = &binding.role;
        if roles::find(role.as_str()).is_none() && !self.roles.contains(role) {
            found.push(Oddity::NoSuchRole { role: role.clone() });
        }
    }

    fn exception(&self, exception: &Exception, now: Timestamp, found: &mut Vec<Oddity>) {
        let at = exception.not_after;
        if at <= now {
            found.push(Oddity::Expired { at });
        } else if at.duration_since(now) <= EXPIRY_NOTICE {
            found.push(Oddity::ExpiresSoon { at });
        }
        let of_host =
            |rule: &&RuleId| rules::find(rule.as_str()).is_some_and(|found| found.control == Control::Host);
        for rule in exception.rules.iter().filter(of_host) {
            found.push(Oddity::LiftsNothing { rule: rule.clone() });
        }
        let of_check =
            |rule: &&RuleId| rule.as_str().starts_with(CHECK_RULES) && !self.checks.contains(*rule);
        for rule in exception.rules.iter().filter(of_check) {
            found.push(Oddity::NoSuchCheck { rule: rule.clone() });
        }
        if let Some(name) = &exception.scope.workload {
            match (self.workloads.get(name), exception.scope.image) {
                (None, _) => found.push(Oddity::NoSuchWorkload {
                    workload: name.clone(),
                }),
                (Some((workload, _)), Some(image)) if !workload.config.images.contains(&image) => {
                    found.push(Oddity::ImageNotBlessed { image });
                }
                (Some(_), _) => {}
            }
        }
        if !self.some_host(&exception.scope.hosts) {
            found.push(Oddity::SelectsNoHost);
        }
    }
}

/// Whether what is blessed of a field is all that can be asked for.
fn is_widest(config: &Config, field: Tighten) -> bool {
    match field {
        Tighten::Capabilities => config.capabilities == Stated::Any,
        Tighten::NoNewPrivileges => matches!(config.no_new_privileges, Stated::Any | Stated::Is(false)),
        Tighten::Rootfs => matches!(config.rootfs, Stated::Any | Stated::Is(Rootfs::Writable)),
        Tighten::Seccomp => matches!(config.seccomp, Stated::Any | Stated::Is(Seccomp::Unconfined)),
    }
}

/// Whether no host can have the labels of both selectors.
fn exclude(a: &Labels, b: &Labels) -> bool {
    a.0.iter()
        .any(|(key, value)| b.0.get(key).is_some_and(|other| other != value))
}
