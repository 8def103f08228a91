//! What a command is about, as it is kept: the audit says what it was before and after.

use verger_policy::digest::Digest;

use crate::command::Action;
use crate::logins::break_glass_name;
use crate::rows;
use crate::state::State;

impl State {
    /// Digest of the stored record that an action is about: of a login, a host, a token, a member, or the trust root in force; `None` of others,
    /// and of what is not there.
    pub(super) fn record_of(&self, action: &Action) -> Option<Digest> {
        let login = |person: &str| {
            let login = self.logins.get(person)?;
            rows::login(person, login).value
        };
        let stored = match action {
            Action::RotateTrustRoot { .. } => {
                let cluster = self.cluster.as_ref()?;
                let envelope = cluster.later.last().unwrap_or(&cluster.envelope);
                return Some(Digest::of(envelope));
            }
            Action::RecoverLogin { person, .. }
            | Action::CreateLogin { person, .. }
            | Action::LogIn { person, .. }
            | Action::RevokeLogin { person, .. }
            | Action::RestoreLogin { person } => login(person),
            Action::BreakGlass { person, .. } | Action::EndBreakGlass { person } => {
                login(&break_glass_name(person))
            }
            Action::Enrol { agent, .. }
            | Action::RemoveHost { agent }
            | Action::DecideHost { agent, .. }
            | Action::EvictHost { agent, .. }
            | Action::BanHost { agent, .. }
            | Action::UnbanHost { agent } => {
                let host = self.hosts.get(agent)?;
                rows::host(agent, host).value
            }
            Action::CreateToken { id, .. } => {
                let token = self.tokens.get(id)?;
                rows::token(id, token).value
            }
            Action::InviteMember { member, .. }
            | Action::AdmitMember { member, .. }
            | Action::NoteMember { member, .. }
            | Action::RemoveMember { member } => {
                let record = self.members.get(member)?;
                rows::member(member, record).value
            }
            Action::Found { .. }
            | Action::ApplySet { .. }
            | Action::Ingest { .. }
            | Action::AckFinding { .. }
            | Action::Propose { .. }
            | Action::SignProposal { .. }
            | Action::WithdrawProposal { .. }
            | Action::RecordCertificate { .. }
            | Action::RaiseVersion { .. }
            | Action::SaveSnapshot
            | Action::Restore { .. }
            | Action::TellCopy { .. }
            | Action::TellAhead { .. }
            | Action::TellSilence { .. }
            | Action::NoteDenied { .. }
            | Action::Stamp { .. }
            | Action::Tick { .. } => None,
        };
        stored.map(|value| Digest::of(&value))
    }
}
