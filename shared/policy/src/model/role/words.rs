//! The words of rules: what is done, to what, and whether it may be.

use crate::model::Kind;
use crate::model::control::words;

words! {
    /// What somebody may do.
    Verb {
        /// Say that a finding is known.
        Ack = "ack",
        /// Whatever is administration of the host: swarm, plugins, registries, options that reach past containers.
        Administer = "administer",
        /// Put an object into the set, or another in its place, with a whole seal.
        Apply = "apply",
        /// Let in, or refuse, who waits for it.
        Approve = "approve",
        /// Join the input and output of its first process.
        Attach = "attach",
        /// Shut out for good, or end that.
        Ban = "ban",
        /// Make one of a build context; what its steps say is run.
        Build = "build",
        /// Make an image of one.
        Commit = "commit",
        /// Join one to a network.
        Connect = "connect",
        /// Put files into one.
        CopyIn = "copy-in",
        /// Take files out of one.
        CopyOut = "copy-out",
        /// Make one.
        Create = "create",
        /// Take it out: an object out of the set, with a whole seal.
        Delete = "delete",
        /// Take one off a network.
        Disconnect = "disconnect",
        /// Shut out, until it is let in anew.
        Evict = "evict",
        /// Start a process in one.
        Exec = "exec",
        /// Take all files out of one.
        Export = "export",
        /// Look at one.
        Get = "get",
        /// Send it a signal.
        Kill = "kill",
        /// Look at all.
        List = "list",
        /// Take in ones from a file.
        Load = "load",
        /// Read what it has said.
        Logs = "logs",
        /// Give one to a container.
        Mount = "mount",
        /// Freeze one.
        Pause = "pause",
        /// Put a change forward that others are to sign: of an object, or its removal.
        Propose = "propose",
        /// Take out all that nothing uses.
        Prune = "prune",
        /// Fetch one from a registry.
        Pull = "pull",
        /// Send one to a registry.
        Push = "push",
        /// Make one that reaches past itself, or such a process in one: privileged, with capabilities or devices, with the host's paths or namespaces.
        ReachHost = "reach-host",
        /// Give it another name.
        Rename = "rename",
        /// Renew one's own.
        Renew = "renew",
        /// Stop it and start it again.
        Restart = "restart",
        /// Take another's out of use.
        Revoke = "revoke",
        /// Put another in its place.
        Rotate = "rotate",
        /// Sign what was proposed: a change of an object, or its removal.
        Sign = "sign",
        /// Start it.
        Start = "start",
        /// Stop it.
        Stop = "stop",
        /// Give it a name.
        Tag = "tag",
        /// End a freeze.
        Unpause = "unpause",
        /// Change its limits.
        Update = "update",
        /// Be told when it ends.
        Wait = "wait",
        /// Be told of changes.
        Watch = "watch",
        /// Take back what was proposed.
        Withdraw = "withdraw",
    }
}

words! {
    /// What it is done to. The kinds of policy objects go by their own words.
    Resource {
        /// Exceptions.
        Exception = "Exception",
        /// Guardrails.
        Guardrail = "Guardrail",
        /// Sealed labels of hosts.
        Host = "Host",
        /// Roles.
        Role = "Role",
        /// Who has which role.
        RoleBinding = "RoleBinding",
        /// Workloads.
        Workload = "Workload",
        /// The record of what was done and denied.
        Audit = "audit",
        /// Logins: one's own to renew, and those of others to create and to revoke.
        Certificates = "certificates",
        /// Containers of a host's runtime; their name and labels are those of the workload whose image they are of.
        Containers = "containers",
        /// Findings; their name and labels are those of the workload they are about.
        Findings = "findings",
        /// Enrolled hosts; their name is the agent's id, their labels are the sealed ones.
        Hosts = "hosts",
        /// Images that a host's runtime holds.
        Images = "images",
        /// Instances; their name and labels are those of their host.
        Instances = "instances",
        /// Members of the control plane: who they are, and which of them votes and leads.
        Members = "members",
        /// Networks of a host's runtime.
        Networks = "networks",
        /// Changes that wait for signatures.
        Proposals = "proposals",
        /// A host's runtime as such.
        Runtime = "runtime",
        /// The policy set as such: sealed again with nothing changed.
        Set = "set",
        /// Snapshots of everything that the cluster holds, hashes of secrets among it: for whoever keeps backups.
        Snapshots = "snapshots",
        /// What the cluster says of itself.
        Status = "status",
        /// Tokens that let a host join; their name is the id of the agent they are for.
        Tokens = "tokens",
        /// The keys that may seal, and how many of them it takes.
        TrustRoot = "trust-root",
        /// Volumes of a host's runtime.
        Volumes = "volumes",
    }
}

impl Resource {
    /// That of policy objects of a kind.
    pub const fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Exception => Self::Exception,
            Kind::Guardrail => Self::Guardrail,
            Kind::Host => Self::Host,
            Kind::Role => Self::Role,
            Kind::RoleBinding => Self::RoleBinding,
            Kind::Workload => Self::Workload,
        }
    }

    /// What can be done to it, sorted. Nothing else means anything.
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Exception
            | Self::Guardrail
            | Self::Host
            | Self::Role
            | Self::RoleBinding
            | Self::Workload => &[
                Verb::Apply,
                Verb::Delete,
                Verb::Get,
                Verb::List,
                Verb::Propose,
                Verb::Sign,
                Verb::Watch,
            ],
            Self::Audit => &[Verb::List, Verb::Watch],
            Self::Certificates => &[Verb::Create, Verb::Renew, Verb::Revoke],
            Self::Containers => &[
                Verb::Attach,
                Verb::Commit,
                Verb::Connect,
                Verb::CopyIn,
                Verb::CopyOut,
                Verb::Create,
                Verb::Delete,
                Verb::Disconnect,
                Verb::Exec,
                Verb::Export,
                Verb::Get,
                Verb::Kill,
                Verb::List,
                Verb::Logs,
                Verb::Pause,
                Verb::Prune,
                Verb::ReachHost,
                Verb::Rename,
                Verb::Restart,
                Verb::Start,
                Verb::Stop,
                Verb::Unpause,
                Verb::Update,
                Verb::Wait,
                Verb::Watch,
            ],
            Self::Findings => &[Verb::Ack, Verb::Get, Verb::List, Verb::Watch],
            Self::Hosts => &[
                Verb::Approve,
                Verb::Ban,
                Verb::Delete,
                Verb::Evict,
                Verb::Get,
                Verb::List,
            ],
            Self::Images => &[
                Verb::Build,
                Verb::Delete,
                Verb::Export,
                Verb::Get,
                Verb::List,
                Verb::Load,
                Verb::Prune,
                Verb::Pull,
                Verb::Push,
                Verb::Tag,
            ],
            Self::Instances => &[Verb::Get, Verb::List],
            Self::Members => &[Verb::Create, Verb::Delete, Verb::Update],
            Self::Networks => &[
                Verb::Connect,
                Verb::Create,
                Verb::Delete,
                Verb::Disconnect,
                Verb::Get,
                Verb::List,
                Verb::Prune,
            ],
            Self::Proposals => &[Verb::Get, Verb::List, Verb::Withdraw],
            Self::Runtime => &[Verb::Administer, Verb::Get],
            Self::Set => &[Verb::Apply, Verb::Propose, Verb::Sign],
            Self::Snapshots => &[Verb::Create],
            Self::Status => &[Verb::Get],
            Self::Tokens => &[Verb::Create],
            Self::TrustRoot => &[Verb::Rotate],
            Self::Volumes => &[
                Verb::Create,
                Verb::Delete,
                Verb::Get,
                Verb::List,
                Verb::Mount,
                Verb::Prune,
            ],
        }
    }

    /// Whether single ones have a name and labels, by which a scope can tell them apart.
    pub const fn has_names(self) -> bool {
        !matches!(
            self,
            Self::Audit
                | Self::Certificates
                | Self::Images
                | Self::Members
                | Self::Networks
                | Self::Proposals
                | Self::Runtime
                | Self::Set
                | Self::Snapshots
                | Self::Status
                | Self::TrustRoot
                | Self::Volumes
        )
    }

    /// Whether it is what a host's runtime holds. Of these alone a local user can be given anything.
    pub const fn is_of_runtime(self) -> bool {
        matches!(
            self,
            Self::Containers | Self::Images | Self::Networks | Self::Runtime | Self::Volumes
        )
    }
}

words! {
    /// What a rule of a role does. A deny wins over every allow; what no rule allows is denied.
    Effect {
        /// Lets it happen.
        Allow = "allow",
        /// Forbids it, whoever else allows it.
        Deny = "deny",
    }
}
