//! `verger trust`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Make trust root version 1 and print the cluster id it founds. With a threshold above one, the others sign it next
    /// (`verger trust sign`).
    #[command(
        after_help = "Example: verger trust init --key key.pem --name ada --out trust-root.json\nFour eyes: verger trust init --key key.pem --name ada --with bob=PUBLIC_KEY --threshold 2 --out trust-root.json"
    )]
    Init {
        /// The sealing key: a file of `verger keys generate`, an OpenSSH private key, or a .pub whose key ssh-agent holds.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,

        /// Whose key it is.
        #[arg(long)]
        name: String,

        /// Somebody else who may seal: a name and the public key that `verger keys show` prints, or an SSH key as it stands in
        /// its .pub file (ssh-ed25519 AAAA…). May be given several times.
        #[arg(long = "with", value_name = "NAME=PUBLIC_KEY")]
        with: Vec<String>,

        /// How many of the keys must sign each policy set.
        #[arg(long, default_value_t = 1, value_name = "N")]
        threshold: usize,

        /// A controller that says how fresh the policy set is, as `verger-controller member-key` prints it on its host. It seals
        /// nothing. May be given several times; a majority of them must say so.
        #[arg(long = "member", value_name = "NAME=PUBLIC_KEY")]
        members: Vec<String>,

        /// Where to write it; refused if the file is there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Begin a change of the trust root: other keys, another threshold. Old and new keys sign the file (`verger trust sign`),
    /// then it is submitted.
    #[command(
        after_help = "Example: verger trust rotate --add bob=PUBLIC_KEY --remove eve --threshold 2 --out rotation.json"
    )]
    Rotate {
        /// Somebody who may seal from then on: a name and the public key that `verger keys show` prints, or an SSH key as it stands in its
        /// .pub file (ssh-ed25519 AAAA…).
        #[arg(long, value_name = "NAME=PUBLIC_KEY")]
        add: Vec<String>,

        /// Somebody who no longer may.
        #[arg(long, value_name = "NAME")]
        remove: Vec<String>,

        /// A controller that says how fresh the policy set is from then on, as `verger-controller member-key` prints it on its host.
        #[arg(long, value_name = "NAME=PUBLIC_KEY")]
        add_member: Vec<String>,

        /// One that no longer does.
        #[arg(long, value_name = "NAME")]
        remove_member: Vec<String>,

        /// How many of the keys must sign each policy set from then on [default: as now].
        #[arg(long, value_name = "N")]
        threshold: Option<usize>,

        /// Days until the seal under the new trust root must be renewed.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
        valid_days: u16,

        /// Where to write the change; refused if the file is there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Submit a change of the trust root that old and new keys have signed.
    #[command(after_help = "Example: verger trust submit --file rotation.json")]
    Submit {
        /// The file.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Sign a trust root, or a change of it, that somebody made with your key in it, after it was shown.
    #[command(
        after_help = "Example: verger trust sign --file trust-root.json --key key.pem --digest CLUSTER_ID"
    )]
    Sign {
        /// The file; your signature is added to it.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,

        /// The sealing key: a file of `verger keys generate`, an OpenSSH private key, or a .pub whose key ssh-agent holds.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,

        /// The digest of the trust root you have looked at with `verger trust show` (of version 1 it is the cluster's id):
        /// nothing else is signed. Without it you are asked after it was shown.
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
    },
    /// Print a trust root file (cluster id, keys, threshold), or what a file of `verger trust rotate` changes.
    #[command(after_help = "Example: verger trust show --file trust-root.json")]
    Show {
        /// The file.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}
