//! The tables of what the APIs know, and what each call asks for.

mod docker;
mod libpod;

use std::fmt;

use verger_policy::model::Resource::{self, *};
use verger_policy::model::Verb::{self, *};

use About::All;

use crate::body::podman::shapes as podman;
use crate::body::shapes::{self, Shape};

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Docker's.
    Docker,
    /// Podman's: Docker's as Podman reads it, and its own below `/libpod`.
    Podman,
}

impl Engine {
    /// The path at which it is asked itself for what both know: `/containers/NAME/json`, `/images/NAME/json`. What Podman says of an image by
    /// Docker's API is of another name (`docker.io/library/…`).
    pub fn asked(self, path: &str) -> String {
        match self {
            Self::Docker => path.to_owned(),
            Self::Podman => format!("/v4.0.0/{}{path}", crate::head::LIBPOD),
        }
    }

    /// The path that removes a container by force, and its volumes without a name.
    pub fn removed(self, id: &str) -> String {
        let volumes = match self {
            Self::Docker => "v=1",
            Self::Podman => "volumes=true",
        };
        self.asked(&format!("/containers/{id}?force=1&{volumes}"))
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// The newest version of the API that this table and the shapes of bodies were made of: 1.NEWEST.
pub const NEWEST: u32 = 41;
/// The oldest: before, the body of a start could say anew what a container is.
pub(crate) const OLDEST: u32 = 24;
/// The newest version of Podman's own API that its table was made of: 4.NEWEST_LIBPOD, and any third number.
pub(crate) const NEWEST_LIBPOD: u32 = 3;

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
    ConnectOfPodman,
    Create,
    Disconnect,
    Exec,
    ExecStart,
    Limits,
    Network,
    NetworkOfPodman,
    Spec,
    Update,
    Volume,
    VolumeOfPodman,
}

impl Document {
    pub(crate) const fn shape(self) -> Shape {
        match self {
            Self::Auth => shapes::AUTH,
            Self::Commit => shapes::CONFIG,
            Self::Connect => shapes::CONNECT,
            Self::ConnectOfPodman => podman::CONNECT,
            Self::Create => shapes::CREATE,
            Self::Disconnect => shapes::DISCONNECT,
            Self::Exec => shapes::EXEC,
            Self::ExecStart => shapes::EXEC_START,
            Self::Limits => podman::LIMITS,
            Self::Network => shapes::NETWORK,
            Self::NetworkOfPodman => podman::NETWORK,
            Self::Spec => podman::SPEC,
            Self::Update => shapes::UPDATE,
            Self::Volume => shapes::VOLUME,
            Self::VolumeOfPodman => podman::VOLUME,
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

/// Everything below a word, however it is called.
const fn administer(word: &'static str) -> Route {
    Route {
        query: "*",
        ..post(word, Administer, All(Runtime), "").stream()
    }
}

impl Route {
    /// Finds the line for a path.
    pub(crate) fn find(is_libpod: bool, method: Method, path: &[&str]) -> Option<&'static Self> {
        let mut routes = if is_libpod { libpod::ROUTES } else { docker::ROUTES }.iter();
        routes.find(|route| route.fits(method, path))
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
