//! Which keys documents of the API have, as its version 1.41 states them (moby 20.10, api/swagger.yaml and api/types).

use verger_policy::json::strict::Keys;

/// What may be in a place of a document, and what of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Anything but an object.
    Plain,
    /// A list of this.
    Each(&'static Shape),
    /// An object with keys that somebody chose, each with this.
    Map(&'static Shape),
    /// An object with these keys, those of one line alike.
    Of(&'static [(&'static str, Shape)]),
}

use Shape::{Each, Map, Of, Plain};

impl Keys for Shape {
    fn are_chosen(self) -> bool {
        matches!(self, Map(_))
    }

    fn below(self, key: &str) -> Result<Self, String> {
        match self {
            Plain | Each(_) => Err(format!("{key:?} is where no key is known")),
            Map(shape) => Ok(*shape),
            Of(lines) => {
                let line = lines
                    .iter()
                    .find(|(keys, _)| keys.split_whitespace().any(|known| known == key));
                line.map(|(_, shape)| *shape)
                    .ok_or_else(|| format!("{key:?} is not a key that is known here, in this spelling"))
            }
        }
    }

    fn item(self) -> Result<Self, String> {
        match self {
            Plain => Ok(Plain),
            Each(shape) => Ok(*shape),
            Map(_) | Of(_) => Err("a list is where an object is known".to_owned()),
        }
    }
}

const TEXTS: Shape = Map(&Plain);
/// Of one key alone the daemon reads nothing: `{"80/tcp":{}}`.
const SET: Shape = Map(&Of(&[]));

const HEALTH: Shape = Of(&[("Test Interval Timeout StartPeriod Retries", Plain)]);
const CONFIG_KEYS: (&str, Shape) = (
    "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd ArgsEscaped Image
     WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild StopSignal StopTimeout Shell",
    Plain,
);
const CONFIG_SETS: (&str, Shape) = ("ExposedPorts Volumes", SET);
const LABELS: (&str, Shape) = ("Labels", TEXTS);
const HEALTHCHECK: (&str, Shape) = ("Healthcheck", HEALTH);

/// What runs in a container.
pub(crate) const CONFIG: Shape = Of(&[CONFIG_KEYS, CONFIG_SETS, LABELS, HEALTHCHECK]);

/// A container that is made. Keys of `HostConfig` are none of the whole: the daemon would take them for it.
pub(crate) const CREATE: Shape = Of(&[
    CONFIG_KEYS,
    CONFIG_SETS,
    LABELS,
    HEALTHCHECK,
    ("HostConfig", HOST),
    ("NetworkingConfig", Of(&[("EndpointsConfig", Map(&ENDPOINT))])),
]);

const RESOURCES: (&str, Shape) = (
    "CpuShares Memory NanoCpus CgroupParent BlkioWeight CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime
     CpusetCpus CpusetMems DeviceCgroupRules KernelMemory KernelMemoryTCP MemoryReservation MemorySwap
     MemorySwappiness OomKillDisable PidsLimit CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth",
    Plain,
);
const BLOCK_WEIGHTS: (&str, Shape) = ("BlkioWeightDevice", Each(&Of(&[("Path Weight", Plain)])));
const BLOCK_RATES: (&str, Shape) = (
    "BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps",
    Each(&Of(&[("Path Rate", Plain)])),
);
const DEVICES: (&str, Shape) = (
    "Devices",
    Each(&Of(&[("PathOnHost PathInContainer CgroupPermissions", Plain)])),
);
const DEVICE_REQUESTS: (&str, Shape) = (
    "DeviceRequests",
    Each(&Of(&[
        ("Driver Count DeviceIDs Capabilities", Plain),
        ("Options", TEXTS),
    ])),
);
const ULIMITS: (&str, Shape) = ("Ulimits", Each(&Of(&[("Name Hard Soft", Plain)])));
const RESTART: (&str, Shape) = ("RestartPolicy", Of(&[("Name MaximumRetryCount", Plain)]));

const HOST: Shape = Of(&[
    RESOURCES,
    BLOCK_WEIGHTS,
    BLOCK_RATES,
    DEVICES,
    DEVICE_REQUESTS,
    ULIMITS,
    RESTART,
    (
        "Binds ContainerIDFile NetworkMode AutoRemove VolumeDriver VolumesFrom CapAdd CapDrop Capabilities
         CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged
         PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Runtime ConsoleSize Isolation
         MaskedPaths ReadonlyPaths Init",
        Plain,
    ),
    ("LogConfig", Of(&[("Type", Plain), ("Config", TEXTS)])),
    ("PortBindings", Map(&Each(&Of(&[("HostIp HostPort", Plain)])))),
    ("StorageOpt Tmpfs Sysctls", TEXTS),
    (
        "Mounts",
        Each(&Of(&[
            ("Type Source Target ReadOnly Consistency", Plain),
            ("BindOptions", Of(&[("Propagation NonRecursive", Plain)])),
            (
                "VolumeOptions",
                Of(&[
                    ("NoCopy", Plain),
                    LABELS,
                    ("DriverConfig", Of(&[("Name", Plain), ("Options", TEXTS)])),
                ]),
            ),
            ("TmpfsOptions", Of(&[("SizeBytes Mode", Plain)])),
        ])),
    ),
]);

const ENDPOINT: Shape = Of(&[
    (
        "Links Aliases NetworkID EndpointID Gateway IPAddress IPPrefixLen IPv6Gateway GlobalIPv6Address
         GlobalIPv6PrefixLen MacAddress",
        Plain,
    ),
    (
        "IPAMConfig",
        Of(&[("IPv4Address IPv6Address LinkLocalIPs", Plain)]),
    ),
    ("DriverOpts", TEXTS),
]);

/// A process that is made in a container. `Container` is docker-py's, which says again what the path says; no daemon reads it.
pub(crate) const EXEC: Shape = Of(&[(
    "User Privileged Tty AttachStdin AttachStderr AttachStdout Detach DetachKeys Env WorkingDir Cmd Container",
    Plain,
)]);
/// One that is started. `OutputCapacity` is bollard's word to itself, and `h` and `w` are Podman's.
pub(crate) const EXEC_START: Shape = Of(&[("Detach Tty OutputCapacity h w", Plain)]);
/// Other limits.
pub(crate) const UPDATE: Shape = Of(&[
    RESOURCES,
    BLOCK_WEIGHTS,
    BLOCK_RATES,
    DEVICES,
    DEVICE_REQUESTS,
    ULIMITS,
    RESTART,
]);
/// A network that is made.
pub(crate) const NETWORK: Shape = Of(&[
    (
        "Name CheckDuplicate Driver Scope EnableIPv6 Internal Attachable Ingress ConfigOnly",
        Plain,
    ),
    (
        "IPAM",
        Of(&[
            ("Driver", Plain),
            ("Options", TEXTS),
            (
                "Config",
                Each(&Of(&[
                    ("Subnet IPRange Gateway", Plain),
                    ("AuxiliaryAddresses", TEXTS),
                ])),
            ),
        ]),
    ),
    ("ConfigFrom", Of(&[("Network", Plain)])),
    ("Options", TEXTS),
    LABELS,
]);
/// A container that joins one.
pub(crate) const CONNECT: Shape = Of(&[("Container", Plain), ("EndpointConfig", ENDPOINT)]);
/// One that leaves it.
pub(crate) const DISCONNECT: Shape = Of(&[("Container Force", Plain)]);
/// A volume that is made.
pub(crate) const VOLUME: Shape = Of(&[("Name Driver", Plain), ("DriverOpts", TEXTS), LABELS]);
/// Who one is to a registry.
pub(crate) const AUTH: Shape = Of(&[(
    "username password auth email serveraddress identitytoken registrytoken",
    Plain,
)]);
