//! The command line of `verger`.

mod audit;
mod auth;
mod cluster;
mod exceptions;
mod findings;
mod hosts;
mod keys;
mod login;
mod trust;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::output::note;

pub(crate) use audit::{AuditCommand, AuditFilterArgs};
pub(crate) use auth::{AskArgs, AuthCommand, WhoArgs};
pub(crate) use cluster::{ClusterCommand, MemberChange, SnapshotCommand};
pub(crate) use exceptions::{ExceptionsArgs, ExceptionsCommand};
pub(crate) use findings::{FilterArgs, FindingsCommand, VerifyFindingsArgs};
pub(crate) use hosts::{Decision, HostsArgs};
pub(crate) use keys::KeysCommand;
pub(crate) use login::LoginArgs;
pub(crate) use trust::TrustCommand;

/// Blesses configurations, and says what departs from them.
///
/// Exit codes: 0 done (and nothing found) · 1 refused, or something violates the policy · 2 bad input or usage ·
/// 3 nothing violated, but something was not evaluated · 4 the cluster could not be reached · 5 conflict: somebody else
/// changed the policy set first.
#[derive(Debug, Parser)]
#[command(
    name = "verger",
    version,
    about,
    long_about,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub(crate) struct Cli {
    /// How to print results.
    #[arg(short = 'o', long = "output", global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,

    /// Context file that holds the cluster's address and your certificate [default: VERGER_CONTEXT, else
    /// ~/.config/verger/context.json].
    #[arg(long, global = true, value_name = "FILE")]
    pub context: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line. A usage error ends the program with 2; where something is missing, with an example of the
    /// command that is whole.
    pub(crate) fn read() -> Self {
        let error = match Self::try_parse() {
            Ok(cli) => return cli,
            Err(error) => error,
        };
        if error.kind() != ErrorKind::MissingRequiredArgument {
            error.exit();
        }
        // Nothing more can be said when standard error is closed.
        let _ = error.print();
        if let Some(example) = example(std::env::args_os().skip(1)) {
            note(&example);
        }
        std::process::exit(error.exit_code())
    }
}

/// The example of the command that the arguments name.
fn example(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let root = Cli::command();
    let named = arguments.fold(&root, |command, argument| {
        command.find_subcommand(argument).unwrap_or(command)
    });
    named.get_after_help().map(ToString::to_string)
}

/// How to print results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// More columns.
    Wide,
    /// One JSON document.
    Json,
    /// YAML documents.
    Yaml,
    /// One JSON document a line.
    Jsonl,
    /// Names only, one a line.
    Name,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Seal policy objects from files and submit them.
    #[command(after_help = "Example: verger apply -f shop.yaml")]
    Apply(ApplyArgs),
    /// Show what `apply` would change.
    #[command(after_help = "Example: verger diff -f shop.yaml")]
    Diff(DiffArgs),
    /// Print one policy object.
    #[command(after_help = "Example: verger get Workload shop -o yaml")]
    Get(GetArgs),
    /// List policy objects.
    List(ListArgs),
    /// Remove one policy object.
    #[command(after_help = "Example: verger delete Workload shop")]
    Delete(DeleteArgs),
    /// Sign a change that somebody proposed, after it was shown. The signature that completes the threshold puts it in force.
    #[command(after_help = "Example: verger sign 7 --root sha256:ROOT")]
    Sign(SignArgs),
    /// List changes that wait for signatures, show one, or take one back.
    #[command(after_help = "Example: verger proposals 7 --withdraw")]
    Proposals(ProposalsArgs),
    /// Explain a rule, a kind or a field; without an argument, list the rules.
    Explain {
        /// A rule id (`privilege/is-root`) or a kind (`Workload`).
        topic: Option<String>,
    },
    /// Write a Workload draft from a running container.
    #[command(after_help = "Example: verger bless --from-running shop > shop.yaml")]
    Bless(BlessArgs),
    /// Judge a container configuration offline, with the same core the agents use.
    #[command(
        after_help = "Example: verger judge --policy shop.yaml --oci config.json --inspect inspect.json\nOne of --oci (config.json of the bundle) and --inspect (`docker inspect CONTAINER > inspect.json`) is enough."
    )]
    Judge(JudgeArgs),
    /// List hosts, show one, or decide what one may: let it in, shut it out, forget it.
    #[command(
        after_help = "Example: verger hosts web-1 --evict --reason \"its disk was stolen\"\nLet in, by the key that `verger-agent join` shows on the host: verger hosts web-1 --approve --key sha256:KEY"
    )]
    Hosts(HostsArgs),
    /// List instances, or show one with its checks.
    #[command(after_help = "Example: verger instances shop --host web-1")]
    Instances(InstancesArgs),
    /// Findings of the cluster.
    #[command(subcommand)]
    Findings(FindingsCommand),
    /// Exceptions of the policy set: which there are, which end soon, which nothing needs any more.
    #[command(subcommand)]
    Exceptions(ExceptionsCommand),
    /// The audit: what was done, by whom, and what was refused.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Who may do what, by the roles of the policy set.
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Sealing keys. They never leave this machine.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The trust root: whose keys may seal.
    #[command(subcommand)]
    Trust(TrustCommand),
    /// The members of the control plane.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Join tokens for agents.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Log in by the cluster's identity provider, with your browser, and write the context file.
    #[command(
        after_help = "Example: verger login --oidc\nThe first time, as `verger context invite` prints it: verger login --oidc --enrol HOST:PORT --cluster-id ID --ca-pin PIN"
    )]
    Login(LoginArgs),
    /// The context file.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print the versions of this program and of the cluster.
    Version,
    /// Print a completion script.
    #[command(after_help = "Example: verger completions bash > /etc/bash_completion.d/verger")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages.
    #[command(after_help = "Example: verger man /usr/local/share/man/man1")]
    Man {
        /// Into this folder.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// Sealing key [default: VERGER_KEY, else the context's]: a file of `verger keys generate`, an OpenSSH private key, or a .pub
    /// whose key ssh-agent holds (so do security keys).
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Days until the seal must be renewed.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub valid_days: u16,

    /// Leave the change with the cluster for others to sign (`verger sign`): nothing is in force until enough of them have.
    #[arg(long)]
    pub propose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The proposal's number.
    pub number: u64,

    /// The root of the set you have looked at with `verger proposals NUMBER`: nothing else is signed. Without it you are asked
    /// after the change was shown.
    #[arg(long, value_name = "ROOT")]
    pub root: Option<String>,

    /// Sealing key [default: VERGER_KEY, else the context's]: a file of `verger keys generate`, an OpenSSH private key, or a .pub
    /// whose key ssh-agent holds (so do security keys).
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    #[command(flatten)]
    pub held: SetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ProposalsArgs {
    /// Show this one: what it changes, and who has signed it.
    pub number: Option<u64>,

    /// Take it back.
    #[arg(long, requires = "number")]
    pub withdraw: bool,

    #[command(flatten)]
    pub held: SetArgs,
}

#[derive(Debug, Default, Args)]
pub(crate) struct SetArgs {
    /// Go on with the set the cluster shows now although it showed you, or you sealed, a later one (or another of the same
    /// epoch); the later one is forgotten. Only when you know why the cluster went back, such as a restored controller.
    #[arg(long)]
    pub accept_older_set: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A file, a folder (its *.yaml, *.yml and *.json, applied as one change), or `-`.
    #[arg(
        short = 'f',
        long = "file",
        required_unless_present = "above_epoch",
        value_name = "PATH"
    )]
    pub files: Vec<PathBuf>,

    /// Seal the set, changed or not, above this epoch: after the cluster was restored, when hosts have come further than its set. `verger
    /// cluster status` says how far.
    #[arg(long, value_name = "EPOCH")]
    pub above_epoch: Option<u64>,

    /// Show the diff and have the cluster check it; change nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Bless images that run on no host yet.
    #[arg(long)]
    pub unseen_images: bool,

    #[command(flatten)]
    pub seal: SealArgs,

    #[command(flatten)]
    pub held: SetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A file, a folder, or `-`.
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    pub held: SetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArgs {
    /// `Workload`, `Guardrail`, `Exception` or `Host`.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

/// How current what is shown has to be.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StaleArgs {
    /// Also where the member that answers cannot tell whether what it knows is current: when there is no quorum. It may be out of date, and
    /// so may what you may see.
    #[arg(long)]
    pub stale_ok: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub object: ObjectArgs,

    #[command(flatten)]
    pub held: SetArgs,

    #[command(flatten)]
    pub stale: StaleArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this kind.
    pub kind: Option<String>,

    #[command(flatten)]
    pub held: SetArgs,

    #[command(flatten)]
    pub stale: StaleArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub object: ObjectArgs,

    /// Check only; change nothing.
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub seal: SealArgs,

    #[command(flatten)]
    pub held: SetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BlessArgs {
    /// The container, by name or id, on this machine's Docker.
    #[arg(long, value_name = "CONTAINER", required_unless_present = "from_podman")]
    pub from_running: Option<String>,

    /// The container, by name or id, in the storage of root's Podman.
    #[arg(long, value_name = "CONTAINER", conflicts_with = "from_running")]
    pub from_podman: Option<String>,

    /// What Podman keeps for good (`podman info`: graphRoot).
    #[arg(long, value_name = "DIR", default_value = "/var/lib/containers/storage")]
    pub podman_graph_root: PathBuf,

    /// What Podman keeps while the host is up (`podman info`: runRoot).
    #[arg(long, value_name = "DIR", default_value = "/run/containers/storage")]
    pub podman_run_root: PathBuf,

    /// Docker's socket.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    pub docker_host: String,

    /// Where Docker keeps its running containers' OCI configs.
    #[arg(long, env = "VERGER_OCI_ROOTS", value_delimiter = ':')]
    pub oci_root: Vec<PathBuf>,

    /// Name of the workload [default: made from the container's name].
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("container").args(["oci", "inspect"]).required(true).multiple(true))]
pub(crate) struct JudgeArgs {
    /// Policy files or folders.
    #[arg(long, required = true, value_name = "PATH")]
    pub policy: Vec<PathBuf>,

    /// The OCI runtime configuration.
    #[arg(long, value_name = "FILE")]
    pub oci: Option<PathBuf>,

    /// The output of `docker inspect CONTAINER`. With `--oci` it adds what only the runtime knows.
    #[arg(long, value_name = "FILE")]
    pub inspect: Option<PathBuf>,

    /// Hold it to this workload, and judge as if its image were blessed by digest only if it is.
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,

    /// Digest of the image config, or a file with the output of `docker image inspect` or an OCI image config.
    #[arg(long, value_name = "DIGEST|FILE")]
    pub image: Option<String>,

    /// A label of the container. Repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,

    /// A sealed label of the host it would run on. Repeatable.
    #[arg(long = "host-label", value_name = "KEY=VALUE")]
    pub host_labels: Vec<String>,

    /// Judge as of this moment (RFC 3339) [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InstancesArgs {
    /// An instance, by name, id or unique prefix; needs `--host`.
    #[arg(requires = "host")]
    pub instance: Option<String>,

    /// Only on this host.
    #[arg(long)]
    pub host: Option<String>,

    /// Only of this workload; `-` for those of none.
    #[arg(long)]
    pub workload: Option<String>,

    #[command(flatten)]
    pub stale: StaleArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a single-use token for one agent, and print its join command.
    #[command(after_help = "Example: verger token create --agent web-1")]
    Create {
        /// The agent's id: the name its host will have.
        #[arg(long)]
        agent: String,

        /// Seconds it is good for.
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
        ttl: u32,

        /// Let the host in only after a person has approved it, by its key (`verger hosts AGENT --approve`). It waits for a day.
        #[arg(long)]
        approval: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Print the context in use, without its secrets.
    Show,
    /// Take a context file over as the default one.
    #[command(after_help = "Example: verger context use ada.json --key key.pem")]
    Use {
        /// The file `verger-controller init` wrote.
        file: PathBuf,

        /// The sealing key to use by default.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Give somebody a login, in place of any other of that person, and write the context file to hand over.
    #[command(after_help = "Example: verger context create --person bob --out bob.json")]
    Create {
        /// Whose: the name in the certificate.
        #[arg(long, value_name = "NAME")]
        person: String,

        /// Where to write the context file (0600); refused if the file is there. It holds the person's key: hand it over on a safe
        /// way, and remove it here.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take somebody's login out of use, at once: whatever certificate is held, and streams that are open.
    #[command(after_help = "Example: verger context revoke --person bob --reason \"left the team\"")]
    Revoke {
        /// Whose: the name in the certificate.
        #[arg(long, value_name = "NAME")]
        person: String,

        /// Why, for the record.
        #[arg(long, value_name = "TEXT", required_unless_present = "lift")]
        reason: Option<String>,

        /// Lift it: whoever the identity provider vouches for may log in again. No login of before serves.
        #[arg(long, conflicts_with = "reason")]
        lift: bool,
    },
    /// Print the command by which somebody logs in who has nothing yet but an account at the identity provider.
    Invite,
    /// Renew your certificate now. Every command that talks to the cluster does so once half of its life is over.
    Renew,
    /// Write the files with which `docker` reaches an agent's proxy from afar, and print what to set for it.
    #[command(
        after_help = "Example: verger context docker-env --host web-1:2376 --out web-1-docker\n\nThe host is called by the agent's name, which is what its certificate holds: have that name lead to its address. What is printed is for a shell: eval \"$(verger context docker-env …)\". Run it again once the certificate is renewed."
    )]
    DockerEnv {
        /// The agent's name, and the port of `[proxy] remote` there.
        #[arg(long, value_name = "AGENT:PORT")]
        host: String,

        /// The folder for ca.pem, cert.pem and key.pem; made where it is not there. It holds your key.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The commands at the ends of the tree.
    fn leaves(command: &clap::Command) -> Vec<&clap::Command> {
        if command.has_subcommands() {
            command.get_subcommands().flat_map(leaves).collect()
        } else {
            vec![command]
        }
    }

    #[test]
    fn every_command_that_can_miss_something_has_an_example_that_is_whole() {
        let root = Cli::command();
        let mut examples = 0;
        for command in leaves(&root) {
            let needs = command.get_arguments().any(clap::Arg::is_required_set)
                || command.get_groups().any(ArgGroup::is_required_set);
            let example = command.get_after_help().map(ToString::to_string);
            assert!(
                !needs || example.is_some(),
                "`{}` has required arguments and no example",
                command.get_name()
            );
            let Some(example) = example else { continue };
            let line = example.strip_prefix("Example: ").expect("examples begin alike");
            let line = line.lines().next().unwrap_or_default();
            let line = line.split(" > ").next().unwrap_or_default();
            // Quoted words of a shell are one argument.
            let words = line.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            });
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
            examples += 1;
        }
        assert!(examples > 10, "{examples}");
    }
}
