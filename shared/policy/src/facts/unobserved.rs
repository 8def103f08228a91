//! What could not be observed of an instance: evidence that is missing, whoever asks for it.
//!
//! This is not what is *not evaluated*: a policy may opt out, and some things this version does not judge. Those are
//! known to whoever reads the policy; that something could not be read is known to nobody until it is told.

use super::{
    BeyondFacts, ConfigFacts, Evidence, Instance, LimitFacts, LiveFacts, NamespaceFacts, NamespaceOwner,
    ProcessFacts, SeccompFacts, UserFacts,
};

/// A piece of evidence that is missing, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unobserved<'a> {
    /// Which, as a path such as `live.mounts`; its first part says what had to be read: `image`, `config` or `live`.
    pub what: &'static str,
    /// Why, in a sentence for a person.
    pub reason: &'a str,
}

impl Instance {
    /// Everything that could not be observed of it. Of mounts, devices and processes that lack the same, the first stands for all.
    pub fn unobserved(&self) -> Vec<Unobserved<'_>> {
        let Self {
            id: _,
            name: _,
            image,
            image_name: _,
            image_defaults,
            labels: _,
            config,
            live,
        } = self;
        let mut list = List::default();
        list.look("image", image);
        list.look("image.defaults", image_defaults);
        list.config(config);
        if let Some(live) = list.look("live", live) {
            list.live(live);
        }
        list.0
    }
}

#[derive(Default)]
struct List<'a>(Vec<Unobserved<'a>>);

impl<'a> List<'a> {
    /// The evidence, if it is there; otherwise it is put on the list, once.
    fn look<T>(&mut self, what: &'static str, evidence: &'a Evidence<T>) -> Option<&'a T> {
        match evidence {
            Evidence::Seen(seen) => Some(seen),
            Evidence::Missing(reason) => {
                if self.0.iter().all(|listed| listed.what != what) {
                    self.0.push(Unobserved { what, reason });
                }
                None
            }
        }
    }

    fn config(&mut self, config: &'a ConfigFacts) {
        let ConfigFacts {
            command,
            env,
            user,
            working_dir,
            capabilities,
            no_new_privileges,
            seccomp,
            rootfs_readonly,
            namespaces,
            mounts,
            devices,
            sysctls,
            limits,
            ports,
            masked_paths,
            readonly_paths,
            apparmor,
            beyond,
        } = config;
        self.look("config.command", command);
        self.look("config.env", env);
        if let Some(user) = self.look("config.user", user) {
            self.user(user, namespaces);
        }
        self.look("config.workingDir", working_dir);
        self.look("config.capabilities", capabilities);
        self.look("config.noNewPrivileges", no_new_privileges);
        if let Some(SeccompFacts::Profile {
            digest,
            runtime_default,
        }) = self.look("config.seccomp", seccomp)
        {
            self.look("config.seccomp.digest", digest);
            self.look("config.seccomp.default", runtime_default);
        }
        self.look("config.rootfs", rootfs_readonly);
        self.namespaces(namespaces);
        for mount in self.look("config.mounts", mounts).into_iter().flatten() {
            // Of what is no bind and no volume it is of no account.
            if mount.1.host_path.is_some() {
                self.look("config.mounts.propagation", &mount.1.propagation);
            }
        }
        for device in self.look("config.devices", devices).into_iter().flatten() {
            self.look("config.devices.hostPath", &device.1.host_path);
        }
        self.look("config.sysctls", sysctls);
        let LimitFacts {
            memory,
            pids,
            cpu,
            rlimits,
        } = limits;
        self.look("config.limits.memory", memory);
        self.look("config.limits.pids", pids);
        self.look("config.limits.cpu", cpu);
        self.look("config.limits.rlimits", rlimits);
        self.look("config.ports", ports);
        self.look("config.maskedPaths", masked_paths);
        self.look("config.readonlyPaths", readonly_paths);
        self.look("config.apparmor", apparmor);
        if let Some(BeyondFacts { hooks, root, .. }) = self.look("config.beyond", beyond) {
            self.look("config.beyond.hooks", hooks);
            self.look("config.beyond.root", &root.kept);
        }
    }

    fn user(&mut self, user: &'a UserFacts, namespaces: &NamespaceFacts) {
        let UserFacts {
            uid,
            gid,
            groups,
            requested,
            added_groups,
            host_uid,
        } = user;
        self.look("config.user.uid", uid);
        self.look("config.user.gid", gid);
        self.look("config.user.groups", groups);
        self.look("config.user.requested", requested);
        self.look("config.user.addedGroups", added_groups);
        // Of a namespace that is another instance's, the mapping is that one's: it is nowhere to be read here.
        if !matches!(namespaces.user, Evidence::Seen(NamespaceOwner::Instance(_))) {
            self.look("config.user.hostUid", host_uid);
        }
    }

    fn namespaces(&mut self, namespaces: &'a NamespaceFacts) {
        let NamespaceFacts {
            network,
            ipc,
            pid,
            uts,
            user,
            cgroup,
        } = namespaces;
        self.look("config.namespaces.network", network);
        self.look("config.namespaces.ipc", ipc);
        self.look("config.namespaces.pid", pid);
        self.look("config.namespaces.uts", uts);
        self.look("config.namespaces.user", user);
        self.look("config.namespaces.cgroup", cgroup);
    }

    fn live(&mut self, live: &'a LiveFacts) {
        let LiveFacts {
            init_pid: _,
            processes,
            mounts,
            kernel_paths,
        } = live;
        for mount in self.look("live.mounts", mounts).into_iter().flatten() {
            self.look("live.mounts.hostPaths", &mount.host_paths);
        }
        self.look("live.kernelPaths", kernel_paths);
        for process in processes {
            let ProcessFacts {
                namespaces,
                host_user_namespace,
                limits,
                ..
            } = process;
            self.look("live.processes.namespaces", namespaces);
            self.look("live.processes.userNamespace", host_user_namespace);
            self.look("live.processes.limits", limits);
        }
    }
}

impl ConfigFacts {
    /// Says of everything that a runtime's word alone does not tell that it is missing for this reason: why the OCI config,
    /// which would tell it, could not be read.
    pub fn lacks_oci_config(&mut self, why: &str) {
        let reason = format!("its OCI config cannot be read: {why}");
        if let Evidence::Seen(user) = &mut self.user {
            blame(&mut user.uid, &reason);
            blame(&mut user.gid, &reason);
            blame(&mut user.groups, &reason);
            blame(&mut user.host_uid, &reason);
        }
        if let Evidence::Seen(SeccompFacts::Profile { digest, .. }) = &mut self.seccomp {
            blame(digest, &reason);
        }
        blame(&mut self.beyond, &reason);
        blame(&mut self.namespaces.user, &reason);
        blame(&mut self.namespaces.cgroup, &reason);
        if let Evidence::Seen(mounts) = &mut self.mounts {
            for mount in mounts.values_mut() {
                blame(&mut mount.propagation, &reason);
            }
        }
    }
}

fn blame<T>(evidence: &mut Evidence<T>, reason: &str) {
    if let Evidence::Missing(held) = evidence {
        reason.clone_into(held);
    }
}
