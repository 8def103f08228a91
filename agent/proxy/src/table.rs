//! The one table of what the API knows, and what each call of it asks for.

use verger_policy::model::Resource::{self, *};
use verger_policy::model::Verb::{self, *};

use crate::body::shapes;
use crate::body::shapes::Shape;

/// The newest version of the API that this table and the shapes of bodies were made of: 1.NEWEST.
pub const NEWEST: u32 = 41;
/// The oldest: before, the body of a start could say anew what a container is.
pub(crate) const OLDEST: u32 = 24;

/// How it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Delete,
    Get,
    Head,
    Post,
    Put,
}

impl Method {
    /// The word; None of others, which no call has.
    pub fn read(word: &str) -> Option<Self> {
        match word {
            "DELETE" => Some(Self::Delete),
            "GET" => Some(Self::Get),
            "HEAD" => Some(Self::Head),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            _ => None,
        }
    }
}

/// What comes with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: a body is refused.
    None,
    /// A document of this shape, which is read whole and written anew.
    Json(Document),
    /// Bytes that are passed on as they come: nothing depends on what they say.
    Stream,
}

/// Documents, by what is read of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Document {
    Auth,
    Commit,
    Connect,
    Create,
    Disconnect,
    Exec,
    ExecStart,
    Network,
    Update,
    Volume,
}

impl Document {
    pub(crate) const fn shape(self) -> Shape {
        match self {
            Self::Auth => shapes::AUTH,
            Self::Commit => shapes::CONFIG,
            Self::Connect => shapes::CONNECT,
            Self::Create => shapes::CREATE,
            Self::Disconnect => shapes::DISCONNECT,
            Self::Exec => shapes::EXEC,
            Self::ExecStart => shapes::EXEC_START,
            Self::Network => shapes::NETWORK,
            Self::Update => shapes::UPDATE,
            Self::Volume => shapes::VOLUME,
        }
    }
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An answer that is passed on as it comes.
    Plain,
    /// As [`Self::Plain`], or bytes both ways, once the caller asks for it.
    Hijack,
    /// HTTP/2 both ways, once the caller asks for it.
    Session,
    /// A document that names the exec that was made.
    ExecMade,
    /// A document that names the container that was made.
    Made,
    /// What the daemon is: its version is not told as a newer one than this table knows.
    Ping,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// All of a resource, or what has no names.
    All(Resource),
    /// The container that the path names.
    Container,
    /// The container that the query names.
    ContainerInQuery,
    /// The exec that the path names: the container it is in.
    Exec,
    /// A container that is to be made.
    Made,
    /// Nothing that anybody could be kept from.
    Nothing,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub(crate) method: Method,
    /// The path after the version: words, `*` for one of any kind, and `**` for one or more.
    pub(crate) path: &'static str,
    pub(crate) verb: Verb,
    pub(crate) about: About,
    /// What comes with it.
    pub body: Body,
    /// What comes back.
    pub answer: Answer,
    /// The keys that its query may have; `*`: any.
    pub(crate) query: &'static str,
}

const fn route(method: Method, path: &'static str, verb: Verb, about: About, query: &'static str) -> Route {
    Route {
        method,
        path,
        verb,
        about,
        body: Body::None,
        answer: Answer::Plain,
        query,
    }
}

const fn get(path: &'static str, verb: Verb, about: About, query: &'static str) -> Route {
    route(Method::Get, path, verb, about, query)
}

const fn post(path: &'static str, verb: Verb, about: About, query: &'static str) -> Route {
    route(Method::Post, path, verb, about, query)
}

const fn delete(path: &'static str, verb: Verb, about: About, query: &'static str) -> Route {
    route(Method::Delete, path, verb, about, query)
}

impl Route {
    const fn json(self, document: Document) -> Self {
        Self {
            body: Body::Json(document),
            ..self
        }
    }

    const fn stream(self) -> Self {
        Self {
            body: Body::Stream,
            ..self
        }
    }

    const fn answers(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }
}

use About::{All, Container, ContainerInQuery, Nothing};

const BUILD: &str = "t dockerfile remote q nocache rm forcerm pull memory memswap cpushares cpusetcpus cpusetmems
    cpuperiod cpuquota buildargs shmsize squash labels networkmode platform target outputs extrahosts cachefrom cgroupparent
    ulimits isolation securityopt session buildid version";

/// The table.
pub(crate) const ROUTES: &[Route] = &[
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

/// Everything below a word, however it is called.
const fn administer(word: &'static str) -> Route {
    Route {
        query: "*",
        ..post(word, Administer, All(Runtime), "").stream()
    }
}

impl Route {
    /// Finds the line for a path.
    pub(crate) fn find(method: Method, path: &[&str]) -> Option<&'static Self> {
        ROUTES.iter().find(|route| route.fits(method, path))
    }

    fn fits(&self, method: Method, path: &[&str]) -> bool {
        if self.query == "*" {
            return path.first() == Some(&self.path);
        }
        let pattern: Vec<&str> = self.path.split('/').collect();
        let Some(many) = pattern.iter().position(|word| *word == "**") else {
            return self.method == method && all_fit(&pattern, path);
        };
        let (before, after) = (&pattern[..many], &pattern[many + 1..]);
        self.method == method
            && path.len() > before.len() + after.len()
            && all_fit(before, &path[..before.len()])
            && all_fit(after, &path[path.len() - after.len()..])
    }
}

fn all_fit(pattern: &[&str], path: &[&str]) -> bool {
    let fits = |(word, segment): (&&str, &&str)| *word == "*" || word == segment;
    pattern.len() == path.len() && pattern.iter().zip(path).all(fits)
}
