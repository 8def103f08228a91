//! A request: what it asks for, and how it is sent on.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::model::{Resource, Verb};

use crate::body::{self, Read};
use crate::further::further;
use crate::query::Query;
use crate::table::{About, Body, Engine, Method, Route};
use crate::{Refusal, head, shown};

/// One thing that a call does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub on: On,
}

/// What something is done to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// All of a resource, or what has no names.
    All(Resource),
    /// A container, as the call names it: by name, id or the beginning of one.
    Container(String),
    /// The container that an exec is in.
    Exec(String),
    /// A container that is to be made.
    Made,
}

/// A call whose head has been read.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its line of the table.
    pub route: &'static Route,
    engine: Engine,
    method: Method,
    version: Option<String>,
    is_libpod: bool,
    path: Vec<String>,
    query: Query,
    raw_query: Option<String>,
    wishes: BTreeSet<Wish>,
    read: Option<Read>,
}

impl Call {
    /// Reads the method and target of a request.
    ///
    /// # Errors
    /// When it is nothing that the table holds, or could be read otherwise.
    pub fn read(engine: Engine, method: &str, target: &str) -> Result<Self, Refusal> {
        let head = head::read(engine, target)?;
        let words: Vec<&str> = head.path.iter().map(String::as_str).collect();
        let known = Method::read(method)
            .and_then(|method| Some((method, Route::find(head.is_libpod, method, &words)?)));
        let Some((method, route)) = known else {
            return Err(Refusal::denied(format!(
                "verger: `{} /{}` is no call that is known here, and so is refused",
                shown(method),
                shown(&words.join("/"))
            )));
        };
        // Podman answers without a version to a ping alone, and would take it for a path of its other API otherwise.
        if head.is_libpod && head.version.is_none() && route.about != About::Nothing {
            return Err(Refusal::unclear(
                "verger: a call of Podman's own API names its version, as in /v4.0.0/libpod",
            ));
        }
        let is_any = route.query == "*";
        let query = match is_any {
            true => Query::default(),
            false => Query::read(head.query, route.query)?,
        };
        let path = head.path.clone();
        let on = match route.about {
            About::All(resource) => Some(On::All(resource)),
            About::Container => Some(On::Container(reference(&path[1])?)),
            About::ContainerInQuery => Some(On::Container(reference(query.get("container"))?)),
            About::Exec => Some(On::Exec(path[1].clone())),
            About::Made => Some(On::Made),
            About::Nothing => None,
        };
        let mut wishes: BTreeSet<Wish> = on.map(|on| Wish { verb: route.verb, on }).into_iter().collect();
        wishes.extend(further(engine, head.is_libpod, &path, &query));
        Ok(Self {
            route,
            engine,
            method,
            version: head.version.map(str::to_owned),
            is_libpod: head.is_libpod,
            path,
            raw_query: (is_any && !head.query.is_empty()).then(|| head.query.to_owned()),
            query,
            wishes,
            read: None,
        })
    }

    /// Takes in the document that came with it, and asks for what that asks for. `runtimes` are those that a container may name.
    ///
    /// # Errors
    /// When it could be read otherwise, or asks for what nobody may have.
    pub fn take(&mut self, bytes: &[u8], runtimes: &BTreeSet<String>) -> Result<(), Refusal> {
        let Body::Json(document) = self.route.body else {
            return Err(Refusal::unclear("verger: this call takes no document"));
        };
        let read = body::read(self.engine, document, bytes, runtimes)?;
        if self.route.about == About::Container {
            let container = On::Container(self.path[1].clone());
            self.wishes.extend(read.of_own.iter().map(|verb| Wish {
                verb: *verb,
                on: container.clone(),
            }));
        }
        self.wishes.extend(read.wishes.iter().cloned());
        self.read = Some(read);
        Ok(())
    }

    /// All that it does.
    pub const fn wishes(&self) -> &BTreeSet<Wish> {
        &self.wishes
    }

    /// The containers it names.
    pub fn containers(&self) -> BTreeSet<&str> {
        let named = self.wishes.iter().filter_map(|wish| match &wish.on {
            On::Container(reference) => Some(reference.as_str()),
            On::All(_) | On::Exec(_) | On::Made => None,
        });
        named.collect()
    }

    /// The exec it is about.
    pub fn exec(&self) -> Option<&str> {
        (self.route.about == About::Exec).then(|| self.path[1].as_str())
    }

    /// The image and labels of the container it makes.
    pub fn made(&self) -> Option<(&str, &BTreeMap<String, String>)> {
        let read = self.read.as_ref().filter(|_| self.route.about == About::Made)?;
        Some((read.image.as_str(), &read.labels))
    }

    /// The path that tells of the image of the container it makes. None where that is no name of an image, or there is none.
    pub fn image_path(&self) -> Option<String> {
        let (image, _) = self.made()?;
        path_of(image, "json")
    }

    /// The path that tells whether an image is there, of a call that would have it fetched only where it is not. Who runs what is there
    /// fetches nothing.
    pub fn fetched_if_missing(&self) -> Option<String> {
        let is_pull = self.is_libpod && self.path == ["images", "pull"];
        let unless_there = matches!(self.query.get("policy"), "missing" | "ifnotpresent" | "never");
        // With all its tags it is asked for at the registry, whatever is there.
        let one = ["alltags", "allTags"]
            .iter()
            .all(|key| matches!(self.query.get(key), "" | "0" | "false"));
        let plain = self.wishes.len() == 1 && one;
        (is_pull && unless_there && plain)
            .then(|| path_of(self.query.get("reference"), "exists"))
            .flatten()
    }

    /// It is there: it is asked for, and not fetched even if it is gone by then.
    pub fn is_there(&mut self) {
        self.query.set("policy", "never");
        self.wishes = BTreeSet::from([Wish {
            verb: Verb::Get,
            on: On::All(Resource::Images),
        }]);
    }

    /// Whether it asks for a list of containers and nothing else.
    pub fn is_list(&self) -> bool {
        self.path == ["containers", "json"]
    }

    /// It is answered with a part of the list: what would be counted or measured of the rest is not asked for.
    pub fn is_narrowed(&mut self) {
        for key in ["before", "last", "limit", "since", "size"] {
            self.query.remove(key);
        }
    }

    /// Whether it changes anything, or lets anything be seen that is not to be found in a list.
    pub fn is_mutation(&self) -> bool {
        !matches!(
            self.route.verb,
            Verb::Get | Verb::List | Verb::Watch | Verb::Wait | Verb::Logs
        )
    }

    /// The target to send on: each container by its full id, whatever it was named by. `ids` are by how the call names them.
    pub fn target(&self, ids: &BTreeMap<String, String>) -> String {
        let full = |reference: &str| ids.get(reference).map_or(reference, String::as_str).to_owned();
        let mut target = String::new();
        if let Some(version) = &self.version {
            target.push_str(&format!("/v{version}"));
        }
        if self.is_libpod {
            target.push_str(&format!("/{}", head::LIBPOD));
        }
        for (place, segment) in self.path.iter().enumerate() {
            target.push('/');
            match self.route.about {
                About::Container if place == 1 => target.push_str(&full(segment)),
                _ => target.push_str(segment),
            }
        }
        match (&self.raw_query, self.route.about) {
            (Some(raw), _) => target.push_str(&format!("?{raw}")),
            (None, About::ContainerInQuery) => {
                let id = full(self.query.get("container"));
                target.push_str(&self.query.encoded(Some(("container", &id))));
            }
            (None, _) => target.push_str(&self.query.encoded(None)),
        }
        target
    }

    /// The document to send on, if one came; written anew, with full ids.
    pub fn document(&self, ids: &BTreeMap<String, String>) -> Option<Vec<u8>> {
        self.read.as_ref().map(|read| read.written(ids))
    }

    /// Whether what it made, by the answer to `GET /containers/ID/json`, reaches the host or other containers where nothing of the kind was
    /// asked for. What cannot be read does.
    pub fn came_out_as_more(&self, ids: &BTreeMap<String, String>, inspected: &[u8]) -> bool {
        self.read
            .as_ref()
            .is_none_or(|asked| body::effective::is_more(self.engine, asked, ids, inspected))
    }

    /// Its method.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The content type to send on. A form in a body would be taken for the query by the daemon.
    ///
    /// # Errors
    /// When it is of a kind that no call has.
    pub fn content_type(&self, given: Option<&str>) -> Result<Option<&'static str>, Refusal> {
        let given = given.map(|text| text.split(';').next().unwrap_or_default().trim());
        match (self.route.body, given) {
            (Body::Json(_), _) => Ok(Some("application/json")),
            (_, None | Some("" | "text/plain")) => Ok(None),
            (_, Some("application/x-tar" | "application/tar")) => Ok(Some("application/x-tar")),
            (_, Some("application/octet-stream")) => Ok(Some("application/octet-stream")),
            (_, Some("application/json")) => Ok(Some("application/json")),
            (_, Some(other)) => Err(Refusal::unclear(format!(
                "verger: a body of the type `{}` is refused",
                shown(other)
            ))),
        }
    }
}

/// A container as a call may name it.
pub(crate) fn reference(text: &str) -> Result<String, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || text.len() > 255 || !text.bytes().all(plain) {
        return Err(Refusal::unclear(format!(
            "verger: `{}` is no name or id of a container",
            shown(text)
        )));
    }
    Ok(text.to_owned())
}

/// The path of a document about an image. None where that is no name of one: what is more than one path, or another.
fn path_of(image: &str, document: &str) -> Option<String> {
    let target = format!("/images/{image}/{document}");
    let head = head::read(Engine::Docker, &target).ok()?;
    let is_path = head.query.is_empty() && head.version.is_none() && !image.contains('?');
    is_path.then_some(target)
}

#[cfg(test)]
mod tests;
