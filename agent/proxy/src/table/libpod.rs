//! Podman's own API, below `/libpod` (Podman 4.3, pkg/api/server). What makes several containers at once, or touches the host (pods, kube,
//! secrets, checkpoints, mounts), is for whoever administers the runtime.

use verger_policy::model::Resource::*;
use verger_policy::model::Verb::*;

use super::About::{self, All, Container, ContainerInQuery, Nothing};
use super::{Answer, Document, Method, Route, administer, delete, get, post, route};

const LOGS: &str = "follow since until tail timestamps stdout stderr";
const ATTACH: &str = "detachKeys detachkeys logs stream stdin stdout stderr";
const BUILD: &str = "buildargs cachefrom cacheto cachettl cgroupparent compression cpuperiod cpuquota cpusetcpus cpusetmems cpushares
    cppflags dnsoptions dnssearch dnsservers dockerfile dropcaps excludes extrahosts forcerm from httpproxy identitylabel
    idmappingoptions isolation jobs labels layers memory memswap networkmode nocache nsoptions omithistory output outputformat platform
    pull pullpolicy q quiet rm seccomp setenv shmsize skipunusedstages squash t target timestamp tlsVerify ulimits unsetenv annotations
    addcaps additionalbuildcontexts apparmor devices labelopts remote rusagelogfile secrets securityopt volume manifest allplatforms
    ignore registry rusage osfeature osversion";

/// The table. Paths are those after `/libpod`.
pub(super) const ROUTES: &[Route] = &[
    get("_ping", Get, Nothing, "").answers(Answer::Ping),
    route(Method::Head, "_ping", Get, Nothing, "").answers(Answer::Ping),
    get("version", Get, All(Runtime), ""),
    get("info", Get, All(Runtime), ""),
    get("events", Watch, All(Containers), "since until filters stream"),
    get("system/df", List, All(Containers), ""),
    post("system/prune", Administer, All(Runtime), "all filters volumes"),
    // Containers
    get(
        "containers/json",
        List,
        All(Containers),
        "all external filters last limit namespace size sync pod",
    ),
    get(
        "containers/stats",
        List,
        All(Containers),
        "containers interval stream all",
    ),
    get("containers/showmounted", Administer, All(Runtime), ""),
    post("containers/create", Create, About::Made, "")
        .json(Document::Spec)
        .answers(Answer::Made),
    post("containers/prune", Prune, All(Containers), "filters"),
    get("containers/*/exists", Get, Container, "external"),
    get("containers/*/json", Get, Container, "size"),
    get("containers/*/top", Get, Container, "ps_args stream delay"),
    get("containers/*/stats", Get, Container, "stream"),
    get("containers/*/changes", Get, Container, "difftype diffType"),
    get("containers/*/logs", Logs, Container, LOGS),
    get("containers/*/export", Export, Container, ""),
    // Runs the check that the container was made with.
    get("containers/*/healthcheck", Exec, Container, ""),
    route(Method::Head, "containers/*/archive", CopyOut, Container, "path"),
    get("containers/*/archive", CopyOut, Container, "path"),
    route(
        Method::Put,
        "containers/*/archive",
        CopyIn,
        Container,
        "path copyUIDGID nooverwritedirnondir noOverwriteDirNonDir rename",
    )
    .stream(),
    post(
        "containers/*/start",
        Start,
        Container,
        "detachkeys detachKeys recursive",
    ),
    // What is set up runs nothing of the container's yet.
    post("containers/*/init", Start, Container, ""),
    post("containers/*/stop", Stop, Container, "timeout t ignore"),
    post("containers/*/restart", Restart, Container, "timeout t"),
    post("containers/*/kill", Kill, Container, "signal"),
    post("containers/*/pause", Pause, Container, ""),
    post("containers/*/unpause", Unpause, Container, ""),
    post("containers/*/wait", Wait, Container, "condition interval"),
    // Whether it would be started again: who runs it in the foreground asks.
    post("containers/*/shouldrestart", Wait, Container, ""),
    post("containers/*/resize", Attach, Container, "h w running"),
    post("containers/*/rename", Rename, Container, "name"),
    post("containers/*/update", Update, Container, "").json(Document::Limits),
    post("containers/*/attach", Attach, Container, ATTACH).answers(Answer::Hijack),
    post("containers/*/exec", Exec, Container, "")
        .json(Document::Exec)
        .answers(Answer::ExecMade),
    post("containers/*/mount", Administer, All(Runtime), ""),
    post("containers/*/unmount", Administer, All(Runtime), ""),
    delete(
        "containers/*",
        Delete,
        Container,
        "force v volumes timeout ignore depend",
    ),
    post(
        "commit",
        Commit,
        ContainerInQuery,
        "container repo tag comment author pause changes format squash",
    ),
    // Processes in them
    get("exec/*/json", Get, About::Exec, ""),
    post("exec/*/start", Exec, About::Exec, "")
        .json(Document::ExecStart)
        .answers(Answer::Hijack),
    post("exec/*/resize", Exec, About::Exec, "h w running"),
    // Images
    get("images/json", List, All(Images), "all filters"),
    get(
        "images/search",
        Get,
        All(Images),
        "term limit filters listtags tlsverify tlsVerify authfile",
    ),
    get("images/**/json", Get, All(Images), ""),
    get("images/**/exists", Get, All(Images), ""),
    get("images/**/history", Get, All(Images), ""),
    get("images/**/tree", Get, All(Images), "whatrequires"),
    get("images/**/get", Export, All(Images), "compress format"),
    get(
        "images/export",
        Export,
        All(Images),
        "compress format references ociAcceptUncompressedLayers ociacceptuncompressedlayers",
    ),
    post(
        "images/pull",
        Pull,
        All(Images),
        "reference alltags allTags arch authfile os password policy quiet username variant tlsverify tlsVerify",
    ),
    post(
        "images/import",
        Load,
        All(Images),
        "changes message reference url architecture os variant",
    )
    .stream(),
    post("images/load", Load, All(Images), "").stream(),
    post("images/prune", Prune, All(Images), "all external filters"),
    post("images/**/tag", Tag, All(Images), "repo tag"),
    post("images/**/untag", Tag, All(Images), "repo tag"),
    post(
        "images/**/push",
        Push,
        All(Images),
        "all authfile compress compressionformat destination format password quiet removesignatures tlsverify tlsVerify username",
    ),
    delete(
        "images/remove",
        Delete,
        All(Images),
        "all force ignore images lookupmanifest lookupManifest noprune",
    ),
    delete(
        "images/**",
        Delete,
        All(Images),
        "force lookupmanifest lookupManifest",
    ),
    post("build", Build, All(Images), BUILD).stream(),
    // Networks
    get("networks/json", List, All(Networks), "filters"),
    post("networks/create", Create, All(Networks), "").json(Document::NetworkOfPodman),
    post("networks/prune", Prune, All(Networks), "filters"),
    get("networks/*/json", Get, All(Networks), ""),
    get("networks/*/exists", Get, All(Networks), ""),
    post("networks/*/connect", Connect, All(Networks), "").json(Document::ConnectOfPodman),
    post("networks/*/disconnect", Disconnect, All(Networks), "").json(Document::Disconnect),
    delete("networks/*", Delete, All(Networks), "force"),
    // Volumes
    get("volumes/json", List, All(Volumes), "filters"),
    post("volumes/create", Create, All(Volumes), "").json(Document::VolumeOfPodman),
    post("volumes/prune", Prune, All(Volumes), "filters"),
    get("volumes/*/json", Get, All(Volumes), ""),
    get("volumes/*/exists", Get, All(Volumes), ""),
    delete("volumes/*", Delete, All(Volumes), "force timeout"),
    // The host
    administer("generate"),
    administer("kube"),
    administer("manifests"),
    administer("play"),
    administer("pods"),
    administer("secrets"),
];
