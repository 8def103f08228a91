//! The policy objects: what a person has stated, validated.
//!
//! Values here say exactly what was written: no default is filled in (see [`Stated`]), because the canonical
//! bytes that people sign are the bytes of what they stated.

mod config;
mod control;
mod exception;
mod guardrail;
mod host;
mod name;
mod object;
mod workload;

pub use config::{
    Access, Config, Device, EnvRule, Limits, Mount, MountSource, NamespaceMode, Namespaces, Port, Publish, Rlimit,
    Rootfs, Seccomp, Stated, UserSpec,
};
pub use control::{Control, InvalidWord, Mode, Modes, Severity};
pub use exception::{Exception, ExceptionScope, MAX_EXCEPTION_DAYS};
pub use guardrail::{Guardrail, GuardrailRule, Profile, Selector, UnknownInstances};
pub use host::HostObject;
pub use name::{AgentId, InvalidName, Kind, Labels, Name, ObjectKey, RuleId, RuntimeKind};
pub use object::{Metadata, PolicyObject, Spec};
pub use workload::{ContainerHint, Workload};
