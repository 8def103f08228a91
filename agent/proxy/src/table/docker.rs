//! Docker's API.

use verger_policy::model::Resource::*;
use verger_policy::model::Verb::*;

use super::About::{self, All, Container, ContainerInQuery, Nothing};
use super::{Answer, Document, Method, Route, administer, delete, get, post, route};

const BUILD: &str = "t dockerfile remote q nocache rm forcerm pull memory memswap cpushares cpusetcpus cpusetmems
    cpuperiod cpuquota buildargs shmsize squash labels networkmode platform target outputs extrahosts cachefrom cgroupparent
    ulimits isolation securityopt session buildid version";

/// The table.
pub(super) const ROUTES: &[Route] = &[
    get("_ping", Get, Nothing, "").answers(Answer::Ping),
    route(Method::Head, "_ping", Get, Nothing, "").answers(Answer::Ping),
    get("version", Get, All(Runtime), ""),
    get("info", Get, All(Runtime), ""),
    get("events", Watch, All(Containers), "since until filters"),
    get("system/df", List, All(Containers), "type"),
    // Containers
    get(
        "containers/json",
        List,
        All(Containers),
        // `trunc_cmd`, `link` and `only_ids` are docker-py's: no daemon of these versions does anything by the first and the last.
        "all limit size filters before since trunc_cmd",
    ),
    post("containers/create", Create, About::Made, "name platform")
        .json(Document::Create)
        .answers(Answer::Made),
    post("containers/prune", Prune, All(Containers), "filters"),
    get("containers/*/json", Get, Container, "size"),
    get("containers/*/top", Get, Container, "ps_args"),
    get("containers/*/stats", Get, Container, "stream one-shot"),
    get("containers/*/changes", Get, Container, ""),
    get(
        "containers/*/logs",
        Logs,
        Container,
        "follow stdout stderr since until timestamps tail details",
    ),
    get("containers/*/export", Export, Container, ""),
    route(Method::Head, "containers/*/archive", CopyOut, Container, "path"),
    get("containers/*/archive", CopyOut, Container, "path"),
    route(
        Method::Put,
        "containers/*/archive",
        CopyIn,
        Container,
        "path noOverwriteDirNonDir copyUIDGID",
    )
    .stream(),
    post(
        "containers/*/start",
        Start,
        Container,
        "detachKeys checkpoint checkpoint-dir",
    ),
    post("containers/*/stop", Stop, Container, "t signal"),
    post("containers/*/restart", Restart, Container, "t signal"),
    post("containers/*/kill", Kill, Container, "signal"),
    post("containers/*/pause", Pause, Container, ""),
    post("containers/*/unpause", Unpause, Container, ""),
    post("containers/*/wait", Wait, Container, "condition"),
    post("containers/*/resize", Attach, Container, "h w"),
    post("containers/*/rename", Rename, Container, "name"),
    post("containers/*/update", Update, Container, "").json(Document::Update),
    post(
        "containers/*/attach",
        Attach,
        Container,
        "stream stdin stdout stderr detachKeys logs",
    )
    .answers(Answer::Hijack),
    post("containers/*/exec", Exec, Container, "")
        .json(Document::Exec)
        .answers(Answer::ExecMade),
    delete("containers/*", Delete, Container, "v force link"),
    get("containers/*/checkpoints", Administer, All(Runtime), "dir"),
    post("containers/*/checkpoints", Administer, All(Runtime), "").stream(),
    delete("containers/*/checkpoints/*", Administer, All(Runtime), "dir"),
    post(
        "commit",
        Commit,
        ContainerInQuery,
        "container repo tag comment author pause changes",
    )
    .json(Document::Commit),
    // Processes in them
    get("exec/*/json", Get, About::Exec, ""),
    post("exec/*/start", Exec, About::Exec, "")
        .json(Document::ExecStart)
        .answers(Answer::Hijack),
    post("exec/*/resize", Exec, About::Exec, "h w"),
    // Images
    get(
        "images/json",
        List,
        All(Images),
        "all filters digests shared-size filter only_ids",
    ),
    get("images/search", Get, All(Images), "term limit filters"),
    get("images/get", Export, All(Images), "names"),
    get("images/**/json", Get, All(Images), ""),
    get("images/**/history", Get, All(Images), ""),
    get("images/**/get", Export, All(Images), ""),
    get("distribution/**/json", Get, All(Images), ""),
    post(
        "images/create",
        Pull,
        All(Images),
        "fromImage fromSrc repo tag message platform changes",
    )
    .stream(),
    post("images/load", Load, All(Images), "quiet").stream(),
    post("images/prune", Prune, All(Images), "filters"),
    post("images/**/push", Push, All(Images), "tag"),
    post("images/**/tag", Tag, All(Images), "repo tag"),
    delete("images/**", Delete, All(Images), "force noprune"),
    post("build", Build, All(Images), BUILD).stream(),
    post("build/prune", Prune, All(Images), "all filters keep-storage"),
    post("build/cancel", Build, All(Images), "id"),
    post("session", Build, All(Images), "").answers(Answer::Session),
    post("grpc", Administer, All(Runtime), "").answers(Answer::Session),
    // Networks
    get("networks", List, All(Networks), "filters"),
    post("networks/create", Create, All(Networks), "").json(Document::Network),
    post("networks/prune", Prune, All(Networks), "filters"),
    get("networks/*", Get, All(Networks), "verbose scope"),
    delete("networks/*", Delete, All(Networks), ""),
    post("networks/*/connect", Connect, All(Networks), "").json(Document::Connect),
    post("networks/*/disconnect", Disconnect, All(Networks), "").json(Document::Disconnect),
    // Volumes
    get("volumes", List, All(Volumes), "filters"),
    post("volumes/create", Create, All(Volumes), "").json(Document::Volume),
    post("volumes/prune", Prune, All(Volumes), "filters"),
    get("volumes/*", Get, All(Volumes), ""),
    delete("volumes/*", Delete, All(Volumes), "force"),
    // The host
    post("auth", Administer, All(Runtime), "").json(Document::Auth),
    administer("swarm"),
    administer("services"),
    administer("nodes"),
    administer("tasks"),
    administer("secrets"),
    administer("configs"),
    administer("plugins"),
];
