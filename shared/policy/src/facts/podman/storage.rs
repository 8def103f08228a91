//! The lists of containers/storage: `overlay-containers/containers.json`, `overlay-images/images.json`,
//! `overlay-layers/layers.json` (`containers.go`, `images.go`, `layers.go` there). Later versions keep of containers and layers a second list each, of what
//! does not outlive the host's next start.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::inspect::repository;
use super::super::shape::is_id;
use super::super::{Evidence, InvalidFacts};
use crate::digest::Digest;

const CONTAINERS: &str = "Podman's list of containers (containers.json)";
const IMAGES: &str = "Podman's list of images (images.json)";
const LAYERS: &str = "Podman's list of layers (layers.json)";
/// The most layers of an image (the kernel mounts 500 at a time).
const MOST_LAYERS: usize = 500;

/// What the storage says of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its full id.
    pub id: String,
    /// Its first name; the beginning of its id where it has none. Hostile bytes.
    pub name: String,
    /// Digest of the config of the image it was made of; missing where it was made of none.
    pub image: Evidence<Digest>,
    /// Repository name of the image as it was asked for, without tag and digest. A hint, and hostile bytes.
    pub image_name: Option<String>,
    /// The layer that it writes to.
    pub layer: String,
}

#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    names: Option<Vec<String>>,
    image: Option<String>,
    layer: Option<String>,
    metadata: Option<String>,
}

/// What Podman writes into a container's `metadata` (libpod `storage.go`).
#[derive(Deserialize)]
struct Metadata {
    #[serde(default, rename = "image-name")]
    image_name: String,
    #[serde(default, rename = "image-id")]
    image_id: String,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    layer: Option<String>,
}

#[derive(Deserialize)]
struct Layer<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow)]
    parent: Option<Cow<'a, str>>,
    #[serde(default, borrow, rename = "diff-digest")]
    diff: Option<Cow<'a, str>>,
}

/// The container of this full id in these lists.
///
/// # Errors
/// When the bytes are no such lists, or they hold none of this id, or two.
pub fn container<T: AsRef<[u8]>>(lists: &[T], id: &str) -> Result<Kept, InvalidFacts> {
    let invalid = |why: &str| InvalidFacts::new(CONTAINERS, why);
    let list: Vec<Container<'_>> = all(CONTAINERS, lists)?;
    let found = only(list.into_iter().filter(|container| container.id == id))
        .map_err(|count| invalid(&format!("it holds {count} of this id")))?;
    kept(found)
}

/// All containers of these lists by their full ids, and of each what is kept, or what is wrong with it alone. What has no id of 64
/// hexadecimal digits is none of Podman's.
///
/// # Errors
/// When the bytes are no such lists.
pub fn containers<T: AsRef<[u8]>>(
    lists: &[T],
) -> Result<BTreeMap<String, Result<Kept, InvalidFacts>>, InvalidFacts> {
    let list: Vec<Container<'_>> = all(CONTAINERS, lists)?;
    let mut found = BTreeMap::new();
    for container in list.into_iter().filter(|container| is_id(&container.id)) {
        match found.entry(container.id.clone().into_owned()) {
            Entry::Vacant(place) => _ = place.insert(kept(container)),
            Entry::Occupied(mut place) => {
                *place.get_mut() = Err(InvalidFacts::new(CONTAINERS, "it holds several of this id"));
            }
        }
    }
    Ok(found)
}

fn kept(found: Container<'_>) -> Result<Kept, InvalidFacts> {
    let invalid = |why: &str| InvalidFacts::new(CONTAINERS, why);
    let id = &*found.id;
    let layer = found
        .layer
        .filter(|layer| is_id(layer))
        .ok_or_else(|| invalid("the container has no layer"))?;
    let image = match found.image.as_deref() {
        None | Some("") => {
            Evidence::missing("the container is of no image: its root file system is a folder of the host")
        }
        Some(image) => match digest_of(image) {
            Some(digest) => Evidence::Seen(digest),
            None => Evidence::missing("the id of the container's image is no digest"),
        },
    };
    let metadata = found.metadata.as_deref().filter(|text| !text.is_empty());
    let metadata: Option<Metadata> = metadata
        .map(serde_json::from_str)
        .transpose()
        .map_err(|error| invalid(&format!("the container's metadata: {error}")))?;
    let image = match (image, &metadata) {
        // Written in two places by one program: which one another of its parts goes by is not asked.
        (Evidence::Seen(digest), Some(metadata)) if digest_of(&metadata.image_id) != Some(digest) => {
            Evidence::missing("the storage names two images of the container")
        }
        (image, _) => image,
    };
    let name = found.names.into_iter().flatten().next();
    Ok(Kept {
        name: name.unwrap_or_else(|| id.get(..12).unwrap_or(id).to_owned()),
        id: id.to_owned(),
        image_name: metadata.and_then(|metadata| repository(&metadata.image_name, image.seen())),
        image,
        layer,
    })
}

/// The full id of the container of this name, or whose id begins so.
///
/// # Errors
/// When the bytes are no such lists, or no container of them is meant, or two are.
pub fn find<T: AsRef<[u8]>>(lists: &[T], wanted: &str) -> Result<String, InvalidFacts> {
    let list: Vec<Container<'_>> = all(CONTAINERS, lists)?;
    let is_meant = |container: &Container<'_>| {
        container.names.iter().flatten().any(|name| name == wanted)
            || wanted.len() >= 4 && container.id.starts_with(wanted)
    };
    only(list.into_iter().filter(is_meant))
        .map(|container| container.id.into_owned())
        .map_err(|count| InvalidFacts::new(CONTAINERS, &format!("it holds {count} containers `{wanted}`")))
}

/// The top layers that an image may have: its own. Those that were made of it for other ids of users are not taken for it.
///
/// # Errors
/// When the bytes are no list of images, or it holds none of this digest, or two.
pub fn top_layers(bytes: &[u8], image: &Digest) -> Result<Vec<String>, InvalidFacts> {
    let invalid = |why: &str| InvalidFacts::new(IMAGES, why);
    let list: Vec<Image<'_>> = serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))?;
    let found = only(list.into_iter().filter(|listed| listed.id == image.hex()))
        .map_err(|count| invalid(&format!("it holds {count} of this id")))?;
    Ok(found
        .layer
        .into_iter()
        .filter(|layer| !layer.is_empty())
        .collect())
}

/// The digests of what is below a layer, the lowest first, and the layer right below it (none where there is nothing).
///
/// # Errors
/// When the bytes are no lists of layers, the layer is not in it or twice, one has no digest, or they are more than any image has.
pub fn diffs_below<T: AsRef<[u8]>>(
    lists: &[T],
    layer: &str,
) -> Result<(Option<String>, Vec<Digest>), InvalidFacts> {
    let invalid = |why: &str| InvalidFacts::new(LAYERS, why);
    let list: Vec<Layer<'_>> = all(LAYERS, lists)?;
    let mut layers = BTreeMap::new();
    for one in &list {
        if layers.insert(&*one.id, one).is_some() {
            return Err(invalid("it holds a layer twice"));
        }
    }
    let parent_of = |id: &str| match layers.get(id) {
        Some(layer) => Ok(layer.parent.as_deref().filter(|parent| !parent.is_empty())),
        None => Err(invalid("a layer of the container is not in it")),
    };
    let top = parent_of(layer)?;
    let mut diffs = Vec::new();
    let mut next = top;
    while let Some(id) = next {
        if diffs.len() == MOST_LAYERS {
            return Err(invalid("a layer is on more others than an image can have"));
        }
        next = parent_of(id)?;
        let diff = layers
            .get(id)
            .and_then(|layer| layer.diff.as_deref()?.parse().ok());
        diffs.push(diff.ok_or_else(|| invalid("a layer has no digest of what is in it"))?);
    }
    diffs.reverse();
    Ok((top.map(str::to_owned), diffs))
}

/// Whether an image config lists these layers, the lowest first (OCI image-spec, `rootfs.diff_ids`).
pub fn is_image(config: &[u8], diffs: &[Digest]) -> bool {
    #[derive(Deserialize)]
    struct Config {
        rootfs: Rootfs,
    }
    #[derive(Deserialize)]
    struct Rootfs {
        diff_ids: Option<Vec<String>>,
    }
    let Ok(config) = serde_json::from_slice::<Config>(config) else {
        return false;
    };
    let listed = config.rootfs.diff_ids.unwrap_or_default();
    listed.len() == diffs.len()
        && listed
            .iter()
            .zip(diffs)
            .all(|(listed, diff)| listed.parse::<Digest>().as_ref() == Ok(diff))
}

/// The name of the file that the storage keeps a thing of an image in by this key (containers/storage `makeBigDataBaseName`).
pub fn big_data_file(key: &str) -> String {
    let is_plain = key
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if is_plain {
        key.to_owned()
    } else {
        format!("={}", STANDARD.encode(key))
    }
}

fn digest_of(id: &str) -> Option<Digest> {
    is_id(id).then(|| format!("sha256:{id}").parse().ok()).flatten()
}

/// What several lists hold.
fn all<'a, T: Deserialize<'a>, L: AsRef<[u8]>>(
    document: &'static str,
    lists: &'a [L],
) -> Result<Vec<T>, InvalidFacts> {
    let mut all = Vec::new();
    for list in lists {
        let list: Vec<T> = serde_json::from_slice(list.as_ref())
            .map_err(|error| InvalidFacts::new(document, &error.to_string()))?;
        all.extend(list);
    }
    Ok(all)
}

/// The one there is, or how many there are.
fn only<T>(mut found: impl Iterator<Item = T>) -> Result<T, usize> {
    match (found.next(), found.count()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(0),
        (Some(_), more) => Err(more + 1),
    }
}
