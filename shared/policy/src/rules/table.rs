//! The table.

use super::Rule;
use crate::model::{Control, Profile, Severity};

const BASELINE: &[Profile] = &[Profile::Baseline, Profile::Restricted];
const RESTRICTED: &[Profile] = &[Profile::Restricted];
const NO_PROFILE: &[Profile] = &[];

macro_rules! rules {
    ($($name:ident = $id:literal, $control:ident, $severity:ident, $profiles:ident, $standards:expr;
       $reason:literal; $remedy:literal;)+) => {
        $(
            #[doc = $reason]
            pub const $name: Rule = Rule {
                id: $id,
                control: Control::$control,
                severity: Severity::$severity,
                reason: $reason,
                remedy: $remedy,
                standards: &$standards,
                since: "0.1.0",
                profiles: $profiles,
            };
        )+

        /// Every built-in rule.
        pub const ALL: &[&Rule] = &[$(&$name),+];
    };
}

rules! {
    // One per field of the `config` block.
    IMAGE = "config/image", Config, High, NO_PROFILE, ["NIST 800-190 4.1.5"];
    "Only blessed images may run as a workload: other bytes are another program";
    "run the blessed image, or review the new one and add its config digest to `config.images`";
    COMMAND = "config/command", Config, High, NO_PROFILE, [];
    "Another command line makes another program of the same image";
    "start the instance with the blessed argv, or state the new one in `config.command`";
    ENV = "config/env", Config, Medium, NO_PROFILE, [];
    "Environment variables change what a program loads, whom it trusts and where it connects";
    "remove or correct the variable, or state it in `config.env` under `require` or `allow`";
    USER = "config/user", Config, High, NO_PROFILE, ["CIS Docker 4.1"];
    "The ids of the first process say which files and which processes it may touch";
    "start the instance as the blessed user, or state the new ids in `config.user`";
    WORKING_DIR = "config/working-dir", Config, Low, NO_PROFILE, [];
    "Relative paths and module look-ups start in the working directory";
    "start the instance in the blessed directory, or state the new one in `config.workingDir`";
    CAPABILITIES = "config/capabilities", Config, High, NO_PROFILE, ["CIS Docker 5.3", "NIST 800-190 4.4.3"];
    "A capability is a part of root's power; what a workload does not need, an intruder must not find";
    "drop all capabilities and add only those of `config.capabilities`";
    NO_NEW_PRIVILEGES = "config/no-new-privileges", Config, Medium, NO_PROFILE, ["CIS Docker 5.25"];
    "Without NoNewPrivs every setuid file in the container is a way to another user, root included";
    "start the instance with `--security-opt no-new-privileges`";
    SECCOMP = "config/seccomp", Config, High, NO_PROFILE, ["CIS Docker 5.21", "NIST 800-190 4.4.3"];
    "The seccomp filter keeps system calls that break out of containers away from the workload";
    "start the instance under the blessed seccomp profile";
    ROOTFS = "config/rootfs", Config, Medium, NO_PROFILE, ["CIS Docker 5.12", "NIST 800-190 4.4.4"];
    "A writable root file system lets an intruder change the program that runs";
    "start the instance with `--read-only` and give it mounts for what it must write";
    NAMESPACES = "config/namespaces", Config, High, NO_PROFILE,
        ["CIS Docker 5.9", "CIS Docker 5.15", "CIS Docker 5.16", "CIS Docker 5.20", "CIS Docker 5.30", "NIST 800-190 4.4.3"];
    "A shared namespace is a channel to whom it is shared with, and often control over them";
    "start the instance with the blessed namespaces, or state the new ones in `config.namespaces`";
    MOUNTS = "config/mounts", Config, High, NO_PROFILE, ["CIS Docker 5.5", "NIST 800-190 4.5.5"];
    "A mount is a channel to whoever else has the same files, and may hide files of the image";
    "start the instance with the blessed mounts, or state the new one in `config.mounts`";
    DEVICES = "config/devices", Config, High, NO_PROFILE, ["CIS Docker 5.17"];
    "A device node reaches hardware and kernel code past every namespace";
    "start the instance without the device, or state it in `config.devices`";
    SYSCTLS = "config/sysctls", Config, Medium, NO_PROFILE, [];
    "Kernel parameters change how the kernel treats the container's network and memory";
    "start the instance with the blessed parameters, or state the new ones in `config.sysctls`";
    LIMITS = "config/limits", Config, Medium, NO_PROFILE, ["CIS Docker 5.10", "CIS Docker 5.18", "CIS Docker 5.28"];
    "A limit keeps one workload from starving the others on its host";
    "start the instance with the blessed limits, or state the new ones in `config.limits`";
    PORTS = "config/ports", Config, Medium, NO_PROFILE, ["CIS Docker 5.8", "CIS Docker 5.13", "NIST 800-190 4.4.2"];
    "A published port lets the network outside the host reach the workload";
    "publish only what `config.ports` states, on the address it states";
    MASKED_PATHS = "config/masked-paths", Config, High, NO_PROFILE, ["NIST 800-190 4.4.3"];
    "Paths under /proc and /sys that the runtime hides give kernel memory and keys away";
    "start the instance without `systempaths=unconfined` and without `--privileged`";
    READONLY_PATHS = "config/readonly-paths", Config, High, NO_PROFILE, ["NIST 800-190 4.4.3"];
    "Paths under /proc that the runtime makes read-only control the host's kernel";
    "start the instance without `systempaths=unconfined` and without `--privileged`";

    // What else the runtime is asked, of every instance: no workload can state it.
    HOOKS = "config/hooks", Config, Critical, NO_PROFILE, [];
    "A hook is a program that the runtime runs as root on the host, whatever the container may do";
    "start the instance without hooks; Docker's own is known, and left out";
    ROOT_PATH = "config/root-path", Config, Critical, NO_PROFILE, ["NIST 800-190 4.1.5"];
    "Of another root file system than the one that the storage keeps for it, the image's digest says nothing";
    "start the instance through its daemon, which mounts the root file system itself";
    ANNOTATIONS = "config/annotations", Config, High, NO_PROFILE, [];
    "Runtimes take annotations for orders: they add hooks, devices and handlers, or run something else than the config says";
    "start the instance without the annotation, or lift it with an Exception that names its value";
    SECURITY_LABELS = "config/security-labels", Config, High, NO_PROFILE, ["CIS Docker 5.1", "CIS Docker 5.2"];
    "AppArmor and SELinux keep a container from what its other limits leave open; another profile may allow it all";
    "start the instance without `--security-opt apparmor=…` and `--security-opt label=…`";
    UNREAD = "config/unread", Config, Medium, NO_PROFILE, [];
    "What of a configuration no check reads may change anything";
    "start the instance without the setting that the field names";

    // About the claim.
    AMBIGUOUS = "config/ambiguous", Config, Medium, NO_PROFILE, [];
    "An instance that several workloads claim has no single blessed configuration";
    "make the hints or the image digests of the workloads differ, or remove one of them";
    UNKNOWN_INSTANCE = "config/unknown-instance", Config, Medium, NO_PROFILE, ["NIST 800-190 4.4.5"];
    "What no workload claims, nobody has blessed";
    "stop the instance, or bless it as a workload";
    UNSUPPORTED_RULE = "config/unsupported-rule", Config, Low, NO_PROFILE, [];
    "A guardrail's rule that this version cannot judge protects nobody";
    "upgrade the agent, or take the rule out of the guardrail";

    // The live view.
    LIVE_MOUNTS = "config/live-mounts", Config, High, NO_PROFILE, [];
    "A mount that the configuration does not hold was made from outside, unseen by the runtime";
    "find who entered the mount namespace, unmount it, and start the instance anew";
    LIVE_NAMESPACES = "config/live-namespaces", Config, Medium, NO_PROFILE, [];
    "A process of the instance that left its namespaces is out of the reach of their limits";
    "find out what started the process; start the instance anew";
    LIVE_LIMITS = "config/live-limits", Config, Low, NO_PROFILE, [];
    "Resource limits that were raised from outside no longer protect the host";
    "find who changed the limits of the process; start the instance anew";
    LIVE_USER = "config/live-user", Config, Low, NO_PROFILE, [];
    "A process that runs as a user other than the configured one changed it, or was started by somebody else";
    "find out what started the process; run such commands as the configured user";
    LIVE_CAPABILITIES = "privilege/live-capabilities", Privilege, High, NO_PROFILE, ["CIS Docker 5.22"];
    "A process with a capability that the configuration does not give got it from outside";
    "find who started the process; do not use privileged exec";
    LIVE_NO_NEW_PRIVILEGES = "privilege/live-no-new-privileges", Privilege, High, NO_PROFILE, ["CIS Docker 5.25"];
    "NoNewPrivs is inherited and never taken back: a process without it was not started by the runtime's own way";
    "find who started the process; start the instance anew";
    LIVE_SECCOMP = "privilege/live-seccomp", Privilege, High, NO_PROFILE, ["CIS Docker 5.21"];
    "A seccomp filter is inherited and never taken off: a process without it was not started by the runtime's own way";
    "find who started the process; start the instance anew";

    // Effective root.
    IS_ROOT = "privilege/is-root", Privilege, High, NO_PROFILE, ["CIS Docker 4.1", "CIS Docker 5.23", "NIST 800-190 4.1.2"];
    "Uid 0 of the host's user namespace owns the host's files the moment a mount or a kernel flaw lets it see them";
    "run as another user, or map root away with a user namespace";
    CAN_BECOME_ROOT = "privilege/can-become-root", Privilege, High, NO_PROFILE,
        ["CIS Docker 5.5", "CIS Docker 5.25", "CIS Docker 5.31", "NIST 800-190 4.4.3"];
    "A way to root is as good as root for whoever takes the process over";
    "close the way named by the field: drop the capability, set no-new-privileges, remove the mount or the group";
    FOREIGN_PROCESS = "privilege/foreign-process", Privilege, Critical, NO_PROFILE, ["NIST 800-190 4.4.5"];
    "A process in the instance's namespaces but not in its cgroup came in past the runtime, its limits and its records";
    "find who entered the namespaces (nsenter, setns); stop the process";

    // Guardrails: the Pod Security Standards in our terms.
    NO_HOST_NAMESPACES = "config/no-host-namespaces", Config, High, BASELINE,
        ["Pod Security Standards: Host Namespaces", "CIS Docker 5.9", "CIS Docker 5.15", "CIS Docker 5.16"];
    "The host's network, process and IPC namespaces reach every process and every loopback service of the host";
    "run without `--network host`, `--pid host` and `--ipc host`";
    NOT_PRIVILEGED = "privilege/not-privileged", Privilege, Critical, BASELINE,
        ["Pod Security Standards: Privileged Containers", "CIS Docker 5.4"];
    "A privileged container is root on the host in all but name";
    "run without `--privileged`; add the one capability or device that is needed";
    BASELINE_CAPABILITIES = "privilege/baseline-capabilities", Privilege, High, BASELINE,
        ["Pod Security Standards: Capabilities", "CIS Docker 5.3"];
    "Capabilities beyond the runtimes' default set open known ways to the host";
    "drop the capability";
    NO_HOST_PATHS = "config/no-host-paths", Config, High, BASELINE,
        ["Pod Security Standards: HostPath Volumes", "CIS Docker 5.5"];
    "A path of the host in a container gives the host's files to whoever takes the container over";
    "use a named volume";
    NO_HOST_PORTS = "config/no-host-ports", Config, Medium, BASELINE,
        ["Pod Security Standards: Host Ports", "CIS Docker 5.8"];
    "A port of the host may be published only where a workload states it: that is the known list";
    "do not publish the port, or state it in the workload's `config.ports`";
    APPARMOR_ON = "privilege/apparmor-on", Privilege, High, BASELINE,
        ["Pod Security Standards: AppArmor", "CIS Docker 5.1"];
    "The runtime's AppArmor profile keeps a container from mounting and from writing to kernel files";
    "run without `--security-opt apparmor=unconfined`";
    PROC_MASKED = "config/proc-masked", Config, High, BASELINE,
        ["Pod Security Standards: /proc Mount Type"];
    "The runtime's masks over /proc and /sys hide kernel memory, keys and controls";
    "run without `--security-opt systempaths=unconfined`";
    SECCOMP_ON = "privilege/seccomp-on", Privilege, High, BASELINE,
        ["Pod Security Standards: Seccomp", "CIS Docker 5.21"];
    "Without a seccomp filter a container may make every system call, those that break out included";
    "run without `--security-opt seccomp=unconfined`";
    SAFE_SYSCTLS = "config/safe-sysctls", Config, Medium, BASELINE, ["Pod Security Standards: Sysctls"];
    "Kernel parameters off the safe list can disable protections or touch other containers";
    "do not set the parameter";
    VOLUME_TYPES = "config/volume-types", Config, Medium, RESTRICTED, ["Pod Security Standards: Volume Types"];
    "Only named and anonymous volumes and tmpfs are known not to reach the host's own files";
    "use a volume or a tmpfs";
    NO_ESCALATION = "privilege/no-escalation", Privilege, High, RESTRICTED,
        ["Pod Security Standards: Privilege Escalation", "CIS Docker 5.25"];
    "Setuid files and file capabilities must not give a process more than it started with";
    "run with `--security-opt no-new-privileges`";
    NON_ROOT = "privilege/non-root", Privilege, High, RESTRICTED,
        ["Pod Security Standards: Running as Non-root", "CIS Docker 4.1"];
    "A first process that is uid 0 inside makes every flaw in it a flaw of root";
    "run as another user (`--user`, or `USER` in the image)";
    MINIMAL_CAPABILITIES = "privilege/minimal-capabilities", Privilege, Medium, RESTRICTED,
        ["Pod Security Standards: Capabilities", "CIS Docker 5.3"];
    "A hardened workload keeps no capability but CAP_NET_BIND_SERVICE";
    "run with `--cap-drop ALL`, and `--cap-add NET_BIND_SERVICE` where it is needed";
    // About the agent and its host: what would otherwise read as silence.
    UNSUPPORTED_MODE = "host/unsupported-mode", Host, High, NO_PROFILE, [];
    "A mode that a host cannot give must not be taken for given";
    "ask for a mode that the host gives, or run the workload on a host that gives this one";
    STALE_SEAL = "host/stale-seal", Host, High, NO_PROFILE, [];
    "A seal past its time may hide that newer policy is being withheld";
    "seal the policy set again: `verger apply` on any file of it";
    UNREADABLE_RUNTIME = "host/unreadable-runtime", Host, High, NO_PROFILE, [];
    "What runs under a runtime that cannot be read is not judged";
    "start the runtime, and let the agent open its socket, or read its files";
    NOT_EVALUATED = "host/not-evaluated", Host, High, NO_PROFILE, [];
    "What could not be looked at may be anything: it must not pass for quiet";
    "read the reason, and give the agent what it lacks; `verger instances NAME --host HOST` lists the checks";
    FINDINGS_CONTRADICTED = "host/findings-contradicted", Host, Critical, NO_PROFILE, [];
    "A controller that holds findings which the host never told has another host's, or the host lost its own";
    "look at both; when the host's disk was set back, evict it (`verger hosts AGENT --evict`) and enrol its agent with a new key, so that it tells everything again";
    REFUSED_SET = "host/refused-set", Host, Critical, NO_PROFILE, [];
    "An honest controller offers only what people sealed: a set that a host refuses was forged, altered, mixed or kept from before, or its seal ended";
    "find out which controller offered it and whether that is still yours; the last good set stays in force. The finding ends with the next set that is accepted: `verger apply`";
    REFUSED_STAMP = "host/refused-stamp", Host, High, NO_PROFILE, [];
    "An honest controller passes on only what a majority of the members signed a moment ago of freshness and time";
    "find out which controller passed it on and whether that is still yours; what the host knew stays. The finding ends with the next stamp that counts";
    GATE_DRIFT = "host/gate-drift", Host, Critical, NO_PROFILE, [];
    "A runtime that the gate does not stand in front of launches whatever it is told to, whatever the policy says";
    "`verger-agent check-gate` says what to do about each; `verger-agent install-gate` puts the gate back";
    PAST_GATE = "host/past-gate", Host, High, NO_PROFILE, [];
    "What was launched past the gate was judged by nobody before it ran";
    "find out who launched it and how; launch it anew, through the gate";
    OTHER_DOORS = "host/other-doors", Host, High, NO_PROFILE, ["CIS Docker 2.6", "CIS Docker 1.2.2", "NIST 800-190 4.3.1"];
    "Whoever reaches the runtime's daemon is root on its host, unseen by roles";
    "close the door that the field names: take the user out of the group, or the `tcp://` address from the daemon's `hosts`";
    ROOTLESS_RUNTIMES = "host/rootless-runtimes", Host, Medium, NO_PROFILE, [];
    "What users run in namespaces of their own, without root, is judged by nobody, and no role decides about it: every control of it is unsupported";
    "have it run through the host's Docker, where it is judged; or let the user make no namespaces: `user.max_user_namespaces` in sysctl.d(5), and no range in subuid(5)";
    UNWATCHED = "host/unwatched", Host, Medium, NO_PROFILE, ["NIST 800-190 4.4.2"];
    "What is of no runtime that the agent watches is judged when it is launched at most, and by nobody while it runs";
    "run it by Docker or by root's Podman with the storage that the agent knows, where it is watched; find out who launched it if nobody knows it";
    NOT_KEPT = "host/not-kept", Host, High, NO_PROFILE, [];
    "What this host accepted is acknowledged once it is on disk, in the ledger and beside the host's identity: what is not can be taken back by whoever puts an older ledger in its place";
    "mend the disk of the agent's data_dir, or free space on it; it is tried again by itself, and at once after a restart of the agent";
    FINDINGS_ROOM = "host/findings-room", Host, High, NO_PROFILE, [];
    "Findings that there is no room for are counted, and not told one by one";
    "mend what raises so many, or except it";
    STALE_POLICY = "host/stale-policy", Host, High, NO_PROFILE, [];
    "A controller that was taken over, or cut off, can withhold newer policy: that nobody says which is the newest shows it";
    "see that a majority of the controllers' members run and stamp (`verger version -o wide`), and that this host reaches one of them";
    POLICY_CONTRADICTED = "host/policy-contradicted", Host, Critical, NO_PROFILE, [];
    "A host that holds other policy than the controllers do is not judged by what was blessed last";
    "find out who sealed the other set; seal the right one again above every epoch that `verger hosts -o wide` shows";
    CLOCK_SKEW = "host/clock-skew", Host, Medium, NO_PROFILE, [];
    "A clock that is wrong makes records that cannot be compared; policy goes by what the members say, as far as that is believed";
    "set the clock of the host; if it is right, find out who holds the members' keys";
    LEDGER_SET_BACK = "host/ledger-set-back", Host, Critical, NO_PROFILE, [];
    "An older ledger in the place of this host's would bring back policy that was replaced";
    "find out who touched the agent's folder; it catches up by itself once a controller offers what it had accepted, or later. Where it is not known how far that was, it ends once members say that the set is the newest";
    OPEN_NETWORK = "host/open-network", Host, Critical, NO_PROFILE, [];
    "An instance whose workload enforces control `channels` is to have no network, and is not seen to have none";
    "give it a network of its own on a bridge, or none, and start it again; see that the package nftables is installed and that the agent has CAP_NET_ADMIN. The finding ends once the instance is seen to be closed, or is gone";
    RULES_REMOVED = "host/rules-removed", Host, Critical, NO_PROFILE, [];
    "Somebody changed or removed the rules in the kernel that keep instances closed: until they were put there anew their network was open";
    "find out who did (`nft flush ruleset`, another tool for firewalls, a person), and have it leave table `bridge verger` alone. The finding ends when it has not happened for fifteen minutes";
    GATE_BREAK_GLASS = "host/gate-break-glass", Host, Critical, NO_PROFILE, [];
    "What was launched while the agent gave no answer was held to nothing";
    "ask who broke the glass for the reason; look at what was launched, which the agent has judged since. It ends by itself, or with `verger-agent break-glass --end`, and is over a day after the last launch";
    PAST_THE_PROXY = "host/past-the-proxy", Host, High, NO_PROFILE, [];
    "The proxy knows who calls the runtime and what he may do there: what goes past it is nobody's, and was denied";
    "find out who can open Docker's own socket, or a TCP port of it, and close that; people use the proxy's socket. It is over an hour after the last such request";
    // About what controllers hold of a host, and about themselves. Only they raise these.
    TOO_MANY_FINDINGS = "host/too-many-findings", Host, High, NO_PROFILE, [];
    "Of a host that tells more findings than controllers hold, not all are known";
    "mend what raises so many on the host, then evict it (`verger hosts AGENT --evict`) and enrol its agent with a new key, so that it tells everything again";
    SILENT = "host/silent", Host, High, NO_PROFILE, [];
    "Silence is no sign that all is well: nobody looks at a host whose agent is not heard of";
    "look after the host and its agent; if the host is gone for good: `verger hosts AGENT --remove`";
    COPIED_IDENTITY = "host/copied-identity", Host, Critical, NO_PROFILE, [];
    "An agent's key on two machines: either can tell, and be told, what is of the other";
    "find the copy, which the controllers' logs name by its address; then `verger hosts AGENT --evict`, remove the agent's data_dir on both machines, and join each under an id of its own";
    AHEAD_OF_SET = "host/ahead-of-set", Host, Critical, NO_PROFILE, [];
    "A host whose ledger holds a newer policy set than the cluster refuses all that the cluster offers: the cluster was restored from before that set, or set back";
    "seal the set above the highest epoch that a host has (`verger cluster status` says which): `verger apply --above-epoch N`";
    CONTROLLER_CLOCK = "host/controller-clock", Host, High, NO_PROFILE, [];
    "A controller whose clock is far ahead would end seals, tokens and exceptions before their time";
    "set the clocks of the controllers; if they are right, the cluster's time catches up by itself, an hour a minute";
    BREAK_GLASS = "host/break-glass", Host, Critical, NO_PROFILE, [];
    "Somebody holds every power through the API past all roles, which nothing but an emergency asks for";
    "ask the person for the reason, and read `verger audit list --actor person/break-glass.NAME`; it ends by itself, or with `verger-controller break-glass --person NAME --end`";
}
