//! What a watch sees of containers, and what two looks say happened: pure, but for the looking itself.

use std::collections::{BTreeMap, BTreeSet};

use verger_agent_core::runtime::RuntimeEvent;
use verger_policy::facts::InstanceId;
use verger_policy::model::RuntimeKind;

use super::PodmanDisk;
use super::life::Life;
use crate::bundle::Stamp;

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    life: Life,
    name: Option<String>,
    config: Option<Stamp>,
}

/// All of them by their full ids.
pub(super) type Sights = BTreeMap<String, Sight>;

/// Looks. What cannot be read now is told by the runtime's listing. Blocks on the file system.
pub(super) fn look(disk: &PodmanDisk) -> Sights {
    let listed = disk.listed().unwrap_or_default();
    let mut ids: BTreeSet<String> = disk.in_use().unwrap_or_default();
    ids.extend(listed.keys().cloned());
    let sight = |id: String| {
        let kept = listed.get(&id).and_then(|kept| kept.as_ref().ok());
        let sight = Sight {
            life: Life::of(disk, &id),
            name: kept.map(|kept| kept.name.clone()),
            config: disk.config_stamp(&id),
        };
        (id, sight)
    };
    ids.into_iter().map(sight).collect()
}

pub(super) fn instance(id: &str) -> InstanceId {
    InstanceId {
        runtime: RuntimeKind::Podman,
        id: id.to_owned(),
    }
}

/// What happened between two looks.
pub(super) fn changes(before: &Sights, now: &Sights) -> Vec<RuntimeEvent> {
    let gone = before.keys().filter(|id| !now.contains_key(*id));
    let gone = gone.map(|id| RuntimeEvent::Gone(instance(id)));
    let there = now
        .iter()
        .filter_map(|(id, sight)| change(id, before.get(id), sight));
    gone.chain(there).collect()
}

fn change(id: &str, before: Option<&Sight>, now: &Sight) -> Option<RuntimeEvent> {
    let id = instance(id);
    let was_running = before.is_some_and(|before| before.life.may_run());
    let pid_before = before.and_then(|before| before.life.pid());
    match now.life.pid() {
        Some(pid) if pid_before != Some(pid) => return Some(RuntimeEvent::Started(id)),
        Some(_) => {}
        None if was_running && !now.life.may_run() => return Some(RuntimeEvent::Gone(id)),
        None => {}
    }
    match before {
        Some(before) if before == now => None,
        None if now.life == Life::Ended => None,
        _ => Some(RuntimeEvent::Changed(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::First;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn runs(pid: u32, is_frozen: bool) -> Life {
        let first = First {
            start_ticks: 7,
            is_frozen,
            network: Ok(1),
        };
        Life::Runs { pid, first }
    }

    fn sights(name: &str, life: Life) -> Sights {
        let sight = Sight {
            life,
            name: Some(name.to_owned()),
            config: None,
        };
        [(ID.to_owned(), sight)].into()
    }

    #[test]
    fn a_life_is_told_step_by_step_and_what_stays_is_not() {
        let id = || instance(ID);
        let steps = [
            (Sights::new(), None),
            (sights("web", Life::Made), Some(RuntimeEvent::Changed(id()))),
            (sights("web", runs(7, false)), Some(RuntimeEvent::Started(id()))),
            (sights("shop", runs(7, false)), Some(RuntimeEvent::Changed(id()))),
            (sights("shop", runs(7, true)), Some(RuntimeEvent::Changed(id()))),
            (sights("shop", runs(7, false)), Some(RuntimeEvent::Changed(id()))),
            // It was started anew between two looks.
            (sights("shop", runs(8, false)), Some(RuntimeEvent::Started(id()))),
            (sights("shop", Life::Ended), Some(RuntimeEvent::Gone(id()))),
            (sights("shop", Life::Made), Some(RuntimeEvent::Changed(id()))),
            (sights("shop", runs(9, false)), Some(RuntimeEvent::Started(id()))),
            (
                sights("shop", Life::Unknown("why".to_owned())),
                Some(RuntimeEvent::Changed(id())),
            ),
            (Sights::new(), Some(RuntimeEvent::Gone(id()))),
        ];
        for pair in steps.windows(2) {
            let [(before, _), (now, expected)] = pair else {
                continue;
            };
            assert_eq!(changes(before, now), Vec::from_iter(expected.clone()), "{now:?}");
            assert_eq!(changes(now, now), []);
        }
        assert_eq!(changes(&Sights::new(), &sights("web", Life::Ended)), []);
    }
}
