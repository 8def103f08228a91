//! `verger keys`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a sealing key (0600).
    #[command(
        after_help = "Example: verger keys generate --out key.pem\nWith a passphrase: verger keys generate --passphrase --out id_verger"
    )]
    Generate {
        /// Where to write it; refused if the file is there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,

        /// Protect it with a passphrase: an SSH key (ssh-ed25519) in OpenSSH's form. The passphrase is asked for on the
        /// terminal, or read from the file that VERGER_PASSPHRASE_FILE names.
        #[arg(long)]
        passphrase: bool,
    },
    /// List the keys that may seal, and which of them can be used here: the context's key file, and keys in ssh-agent.
    List,
    /// Begin to put another key in the place of one that may seal: writes the change of the trust root, signed by both. Others may have
    /// to sign it too; then it is submitted (`verger trust submit`).
    #[command(after_help = "Example: verger keys rotate --key key.pem --new new.pem --out rotation.json")]
    Rotate {
        /// The key that no longer seals then.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,

        /// The key that takes its place; `verger keys generate` makes one.
        #[arg(long, value_name = "FILE")]
        new: PathBuf,

        /// Days until the seal under the new trust root must be renewed.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
        valid_days: u16,

        /// Where to write the change; refused if the file is there.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the public half of a sealing key of any form.
    #[command(after_help = "Example: verger keys show --key key.pem")]
    Show {
        /// The key file.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}
