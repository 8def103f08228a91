//! The table.

use crate::model::Resource::{self, *};
use crate::model::Verb::{self, *};

/// One built-in role. It denies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinRole {
    /// What bindings call it.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub says: &'static str,
    /// Verbs, and the resources they are allowed on where they mean something.
    pub allows: &'static [(&'static [Verb], &'static [Resource])],
}

/// What authors write. Who may do what is for admins.
const DRAFTED: &[Resource] = &[Exception, Guardrail, Host, Workload];
const KINDS: &[Resource] = &[Exception, Guardrail, Host, Role, RoleBinding, Workload];
const SEEN: &[Resource] = &[
    Exception,
    Guardrail,
    Host,
    Role,
    RoleBinding,
    Workload,
    Findings,
    Hosts,
    Instances,
    Proposals,
    Status,
];

const LOOK: (&[Verb], &[Resource]) = (&[Get, List, Watch], SEEN);
/// What a host's runtime shows; not what containers have said, which is not made for every eye.
const LOOK_ON_HOSTS: (&[Verb], &[Resource]) = (
    &[Get, List, Wait, Watch],
    &[Containers, Images, Networks, Runtime, Volumes],
);
const RUN: (&[Verb], &[Resource]) = (&[Kill, Logs, Pause, Restart, Start, Stop, Unpause], &[Containers]);
const LOGIN: (&[Verb], &[Resource]) = (&[Renew], &[Certificates]);
const RECORD: (&[Verb], &[Resource]) = (&[List, Watch], &[Audit]);
const WITHDRAWAL: (&[Verb], &[Resource]) = (&[Withdraw], &[Proposals]);

/// Every built-in role.
pub const ALL: &[BuiltinRole] = &[
    BuiltinRole {
        name: "viewer",
        says: "looks at everything but the audit and what containers said, and changes nothing",
        allows: &[LOOK, LOOK_ON_HOSTS, LOGIN],
    },
    BuiltinRole {
        name: "operator",
        says: "looks at everything, acknowledges findings, lets hosts join and shuts them out, starts and stops containers",
        allows: &[
            LOOK,
            LOOK_ON_HOSTS,
            RUN,
            LOGIN,
            RECORD,
            (&[Ack], &[Findings]),
            (&[Create], &[Tokens]),
            (&[Approve, Evict], &[Hosts]),
        ],
    },
    BuiltinRole {
        name: "author",
        says: "writes policy: applies and proposes all but roles and their bindings, and signs nobody's proposals",
        allows: &[
            LOOK,
            LOOK_ON_HOSTS,
            LOGIN,
            WITHDRAWAL,
            (&[Apply, Delete, Propose], DRAFTED),
            (&[Apply, Propose], &[Set]),
        ],
    },
    BuiltinRole {
        name: "approver",
        says: "signs or withdraws what others propose, and writes nothing",
        allows: &[
            LOOK,
            LOOK_ON_HOSTS,
            LOGIN,
            RECORD,
            WITHDRAWAL,
            (&[Sign], KINDS),
            (&[Sign], &[Set]),
        ],
    },
    BuiltinRole {
        name: "admin",
        says: "may do everything, and alone says who may do what",
        allows: &[(Verb::ALL, Resource::ALL)],
    },
];
