//! Which keys documents of Podman's own API have (Podman 4.3, pkg/specgen; the types of its limits are those of the OCI runtime spec).

use super::super::shapes::Shape::{self, Each, Map, Of, Plain};

const TEXTS: Shape = Map(&Plain);
const NAMESPACE: Shape = Of(&[("nsmode value", Plain)]);
const DEVICES: Shape = Each(&Of(&[("path type major minor fileMode uid gid", Plain)]));
const DEVICE_RULES: Shape = Each(&Of(&[("allow type major minor access", Plain)]));
const MAPS: Shape = Each(&Of(&[("container_id host_id size", Plain)]));
const RATE: Shape = Of(&[("major minor rate", Plain)]);
const WEIGHT: Shape = Of(&[("major minor weight leafWeight", Plain)]);

/// What is attached to a network.
const ENDPOINT: (&str, Shape) = ("static_ips aliases static_mac interface_name", Plain);

/// A container that is made.
pub(crate) const SPEC: Shape = Of(&[
    (
        "name pod entrypoint command env_host httpproxy terminal stdin stop_signal stop_timeout timeout conmon_pid_file
         raw_image_name image_os image_arch image_variant restart_policy restart_tries oci_runtime systemd sdnotifyMode
         namespace hostname hostusers remove containerCreateCommand timezone dependencyContainers init_container_type
         envmerge unsetenv unsetenvall manage_password passwd_entry",
        Plain,
    ),
    (
        "image rootfs rootfs_overlay image_volume_mode volumes_from init init_path devices_from shm_size work_dir
         create_working_dir rootfs_propagation volatile chroot_directories",
        Plain,
    ),
    (
        "privileged user groups cap_add cap_drop selinux_opts apparmor_profile seccomp_policy seccomp_profile_path
         no_new_privileges read_only_filesystem umask procfs_opts mask unmask cgroups_mode cgroup_parent",
        Plain,
    ),
    (
        "publish_image_ports cni_networks use_image_resolve_conf dns_server dns_search dns_option use_image_hosts hostadd
         oom_score_adj cpu_period cpu_quota health_check_on_failure_action",
        Plain,
    ),
    (
        "env labels annotations sysctl secret_env storage_opts unified expose",
        TEXTS,
    ),
    ("pidns utsns ipcns userns cgroupns netns", NAMESPACE),
    (
        "log_configuration",
        Of(&[("driver path size", Plain), ("options", TEXTS)]),
    ),
    ("personality", Of(&[("domain flags", Plain)])),
    (
        "mounts",
        Each(&Of(&[
            ("destination type source options", Plain),
            (
                "uidMappings gidMappings",
                Each(&Of(&[("containerID hostID size", Plain)])),
            ),
        ])),
    ),
    ("volumes", Each(&Of(&[("Name Dest Options IsAnonymous", Plain)]))),
    (
        "overlay_volumes",
        Each(&Of(&[("destination source options", Plain)])),
    ),
    (
        "image_volumes",
        Each(&Of(&[("Source Destination ReadWrite", Plain)])),
    ),
    ("devices host_device_list", DEVICES),
    ("device_cgroup_rule", DEVICE_RULES),
    ("secrets", Each(&Of(&[("Source Target UID GID Mode", Plain)]))),
    (
        "idmappings",
        Of(&[
            ("HostUIDMapping HostGIDMapping AutoUserNs", Plain),
            ("UIDMap GIDMap", MAPS),
            (
                "AutoUserNsOpts",
                Of(&[
                    ("Size InitialSize PasswdFile GroupFile", Plain),
                    ("AdditionalUIDMappings AdditionalGIDMappings", MAPS),
                ]),
            ),
        ]),
    ),
    (
        "portmappings",
        Each(&Of(&[(
            "host_ip container_port host_port range protocol",
            Plain,
        )])),
    ),
    ("Networks", Map(&Of(&[ENDPOINT]))),
    ("network_options", Map(&Plain)),
    ("resource_limits", LIMITS),
    ("r_limits", Each(&Of(&[("type hard soft", Plain)]))),
    ("weightDevice", Map(&WEIGHT)),
    (
        "throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice throttleWriteIOPSDevice",
        Map(&RATE),
    ),
    (
        "healthconfig",
        Of(&[("Test Interval Timeout StartPeriod Retries", Plain)]),
    ),
]);

/// Limits.
pub(crate) const LIMITS: Shape = Of(&[
    (
        "memory",
        Of(&[(
            "limit reservation swap kernel kernelTCP swappiness disableOOMKiller useHierarchy checkBeforeUpdate",
            Plain,
        )]),
    ),
    (
        "cpu",
        Of(&[(
            "shares quota burst period realtimeRuntime realtimePeriod cpus mems idle",
            Plain,
        )]),
    ),
    ("pids", Of(&[("limit", Plain)])),
    (
        "blockIO",
        Of(&[
            ("weight leafWeight", Plain),
            ("weightDevice", Each(&WEIGHT)),
            (
                "throttleReadBpsDevice throttleWriteBpsDevice throttleReadIOPSDevice throttleWriteIOPSDevice",
                Each(&RATE),
            ),
        ]),
    ),
    ("hugepageLimits", Each(&Of(&[("pageSize limit", Plain)]))),
    (
        "network",
        Of(&[
            ("classID", Plain),
            ("priorities", Each(&Of(&[("name priority", Plain)]))),
        ]),
    ),
    ("rdma", Map(&Of(&[("hcaHandles hcaObjects", Plain)]))),
    ("unified", TEXTS),
    ("devices", DEVICE_RULES),
]);

/// A network that is made.
pub(crate) const NETWORK: Shape = Of(&[
    (
        "name id driver network_interface created ipv6_enabled internal dns_enabled",
        Plain,
    ),
    (
        "subnets",
        Each(&Of(&[
            ("subnet gateway", Plain),
            ("lease_range", Of(&[("start_ip end_ip", Plain)])),
        ])),
    ),
    ("labels options ipam_options", TEXTS),
]);
/// A container that joins one.
pub(crate) const CONNECT: Shape = Of(&[("container", Plain), ENDPOINT]);
/// A volume that is made.
pub(crate) const VOLUME: Shape = Of(&[("Name Driver", Plain), ("Label Labels Options", TEXTS)]);
