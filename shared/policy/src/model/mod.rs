//! The policy objects: what a person has stated, validated.
//!
//! Values here say exactly what was written: no default is filled in (see [`Stated`]), because the canonical
//! bytes that people sign are the bytes of what they stated.

mod capability;
mod config;
mod control;
mod env;
mod exception;
mod guardrail;
mod host;
mod name;
mod object;
mod printable;
mod role;
mod workload;

pub use capability::CAPABILITIES;
pub use config::{
    Access, Config, Device, EnvRule, Limits, Mount, MountSource, NamespaceMode, Namespaces, Port,
    Propagation, Publish, Rlimit, Rootfs, Seccomp, Stated, UserSpec,
};
pub use control::{Control, InvalidWord, Mode, Modes, Severity};
pub use env::{STEERING_VARIABLES, steering_variable};
pub use exception::{Exception, ExceptionScope, InvalidWindow, MAX_EXCEPTION_DAYS, Standing};
pub use guardrail::{
    CHECK_RULES, Guardrail, GuardrailCheck, GuardrailRule, MAX_CHECKS, Profile, Selector, UnknownInstances,
};
pub use host::HostObject;
pub use name::{AgentId, InvalidName, InvalidObjectKey, Kind, Labels, Name, ObjectKey, RuleId, RuntimeKind};
pub use object::{Metadata, OBJECT_PREFIX, PolicyObject, Spec};
pub use printable::{damaged_json, is_printable, printable, printable_within};
pub use role::{
    Effect, InvalidSubject, LocalUid, MAX_ROLE_WORDS, NamePattern, PersonName, Resource, Role, RoleBinding,
    RoleRule, RoleSubject, Scope, Verb,
};
pub use workload::{ContainerHint, Tighten, Workload};
