//! Who may open Docker's socket: the users of its group (group(5), passwd(5)). Those that a directory service adds are not told.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use verger_policy::facts::Evidence;

use super::Places;

/// Users besides root and this process's own that the socket's mode lets in.
pub(super) fn of_socket(places: &Places) -> Evidence<BTreeSet<String>> {
    let socket = match fs::metadata(&places.docker_socket) {
        Ok(socket) => socket,
        Err(error) => {
            return Evidence::Missing(format!("{}: {error}", places.docker_socket.display()));
        }
    };
    let read = |path: &std::path::Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (groups, users) = match (read(&places.group), read(&places.passwd)) {
        (Ok(groups), Ok(users)) => (groups, users),
        (Err(why), _) | (_, Err(why)) => return Evidence::Missing(why),
    };
    let mut found = BTreeSet::new();
    if socket.mode() & 0o002 != 0 {
        found.insert(format!(
            "everybody, for {} has mode {:o}",
            places.docker_socket.display(),
            socket.mode() & 0o777
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    let is_other = |name: &String| {
        let uid = uid_of(&users, name);
        uid != Some(0) && uid != Some(own)
    };
    if socket.uid() != 0 && socket.uid() != own && socket.mode() & 0o200 != 0 {
        found.insert(name_of(&users, socket.uid()).unwrap_or_else(|| format!("uid {}", socket.uid())));
    }
    // What is in group 0 is root's already.
    if socket.mode() & 0o020 != 0 && socket.gid() != 0 {
        let members = in_group(&groups, socket.gid())
            .into_iter()
            .chain(of_group(&users, socket.gid()));
        found.extend(members.filter(is_other));
    }
    Evidence::Seen(found)
}

/// The members that a group lists.
pub(super) fn in_group(groups: &str, gid: u32) -> Vec<String> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse::<u32>().ok()? == gid).then_some(())?;
        Some(
            fields
                .get(3)?
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let members = groups.lines().filter_map(of).flatten();
    members.filter(|name| !name.is_empty()).collect()
}

/// The users whose own group it is.
pub(super) fn of_group(users: &str, gid: u32) -> Vec<String> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(3)?.parse::<u32>().ok()? == gid).then(|| fields[0].to_owned())
    };
    users.lines().filter_map(of).collect()
}

fn uid_of(users: &str, name: &str) -> Option<u32> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut fields = fields.filter(|fields| fields.first() == Some(&name));
    fields.find_map(|fields| fields.get(2)?.parse().ok())
}

fn name_of(users: &str, uid: u32) -> Option<String> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut of = fields.filter(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(uid)));
    of.find_map(|fields| fields.first().map(|name| (*name).to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::podman::{PodmanDisk, PodmanRoots};
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::path::Path;

    pub(in crate::doors) fn places(dir: &Path) -> Places {
        Places {
            gate: dir.join("gate"),
            program: dir.join("gate/verger-gate"),
            docker_socket: dir.join("docker.sock"),
            docker_pid_file: dir.join("docker.pid"),
            group: dir.join("group"),
            passwd: dir.join("passwd"),
            podman: dir.join("absent"),
            podman_storage: PodmanDisk::new(PodmanRoots {
                graph: dir.join("graph"),
                run: dir.join("run"),
            }),
            containers_conf: Vec::new(),
        }
    }

    #[test]
    fn members_of_the_sockets_group_are_told_and_root_and_the_agent_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        let own = rustix::process::geteuid().as_raw();
        fs::write(&places.docker_socket, b"").unwrap();
        fs::set_permissions(&places.docker_socket, fs::Permissions::from_mode(0o660)).unwrap();
        fs::write(
            &places.group,
            "root:x:0:\ndocker:x:4242:ada,agent,root\nother:x:7:mallory\n",
        )
        .unwrap();
        fs::write(
            &places.passwd,
            format!("root:x:0:0::/:/bin/sh\nagent:x:{own}:9::/:/bin/sh\nada:x:1000:1000::/:/bin/sh\neve:x:1001:4242::/:/bin/sh\n"),
        )
        .unwrap();
        chown(&places.docker_socket, None, Some(4242)).unwrap();
        let found = |places: &Places| {
            of_socket(places)
                .seen()
                .unwrap()
                .iter()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(found(&places), ["ada", "eve"]);
        // A socket that its group may not open lets nobody in.
        fs::set_permissions(&places.docker_socket, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(found(&places), Vec::<String>::new());
        fs::set_permissions(&places.docker_socket, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(found(&places).iter().any(|who| who.starts_with("everybody")));
        fs::remove_file(&places.group).unwrap();
        assert!(matches!(of_socket(&places), Evidence::Missing(_)));
    }
}
