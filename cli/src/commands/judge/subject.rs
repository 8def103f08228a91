//! What is judged: an instance of the documents a person has.

use std::collections::BTreeMap;
use std::path::Path;

use verger_policy::digest::Digest;
use verger_policy::facts::{Evidence, ImageDefaults, Instance, image, inspect, merge, oci};
use verger_policy::model::{ContainerHint, Labels, Name, PolicyObject, Spec};

use crate::args::JudgeArgs;
use crate::exit::Failure;
use crate::files;

/// Joins a workload with the instance that is held to it by `--workload`. No policy file can name it: label keys of
/// policies have no NUL.
const HELD: &str = "\0held";

/// Reads what the arguments name.
pub(super) fn instance(args: &JudgeArgs) -> anyhow::Result<Instance> {
    let labels = labels("--label", &args.labels)?;
    let (image, defaults) = match &args.image {
        Some(text) => image_of(text)?,
        None => (
            Evidence::missing("no image was named; give its config's digest or its inspection with --image"),
            Evidence::missing("the image's own config was not given; give its inspection with --image"),
        ),
    };
    let live = Evidence::missing("nothing runs that could be looked at");
    let oci = args.oci.as_deref().map(read(oci::parse)).transpose()?;
    let inspected = args.inspect.as_deref().map(read(inspect::parse)).transpose()?;
    let mut instance = match (inspected, oci) {
        (None, Some(oci)) => merge::from_oci(oci, image, None, defaults, Labels::default()),
        (None, None) => {
            return Err(Failure::input("give the container with --oci, --inspect, or both").into());
        }
        (Some(mut inspected), oci) => {
            inspected.image = agreed(inspected.image, image)?;
            merge::instance(inspected, oci, defaults, live)
        }
    };
    instance.labels.0.extend(labels.0);
    Ok(instance)
}

fn read<'a, T>(
    parse: impl Fn(&[u8]) -> Result<T, verger_policy::facts::InvalidFacts> + 'a,
) -> impl Fn(&Path) -> anyhow::Result<T> + 'a {
    move |file| {
        let bytes = files::document(file)?;
        parse(&bytes).map_err(|error| Failure::input(format!("{}: {error}", file.display())).into())
    }
}

/// The image: its digest, or the document that says its digest and defaults.
fn image_of(text: &str) -> anyhow::Result<(Evidence<Digest>, Evidence<ImageDefaults>)> {
    if text.starts_with("sha256:") {
        let digest = text
            .parse()
            .map_err(|error| Failure::input(format!("--image `{text}`: {error}")))?;
        let defaults = "only the image's digest was given; give its inspection with --image to judge what it defaults to";
        return Ok((Evidence::Seen(digest), Evidence::missing(defaults)));
    }
    let file = Path::new(text);
    if !file.exists() {
        return Err(Failure::input(format!(
            "--image `{text}` is neither a digest (sha256: and 64 hex digits) nor a file; a tag names no fixed image: give \
             the output of `docker image inspect`"
        ))
        .into());
    }
    let image::ImageFacts { digest, defaults } = read(image::parse)(file)?;
    Ok((Evidence::Seen(digest), Evidence::Seen(defaults)))
}

/// The digest that the inspection and `--image` agree on.
fn agreed(inspected: Evidence<Digest>, named: Evidence<Digest>) -> Result<Evidence<Digest>, Failure> {
    match (inspected, named) {
        (Evidence::Seen(inspected), Evidence::Seen(named)) if inspected != named => Err(Failure::input(
            format!("--image is {named}, but the inspection is of a container of {inspected}"),
        )),
        (Evidence::Seen(digest), _) | (Evidence::Missing(_), Evidence::Seen(digest)) => {
            Ok(Evidence::Seen(digest))
        }
        (missing, Evidence::Missing(_)) => Ok(missing),
    }
}

/// Holds the instance to one workload, whatever its hints; by digest only if its digest is listed there.
pub(super) fn hold(objects: &mut [PolicyObject], instance: &mut Instance, name: &str) -> anyhow::Result<()> {
    let name: Name = name
        .parse()
        .map_err(|error| Failure::input(format!("--workload `{name}`: {error}")))?;
    let mut found = false;
    for object in objects {
        let this = object.metadata.name == name;
        let Spec::Workload(workload) = &mut object.spec else {
            continue;
        };
        workload.hint = ContainerHint::default();
        if this {
            found = true;
            workload.hint.labels = Labels(BTreeMap::from([(HELD.to_owned(), String::new())]));
        } else {
            workload.config.images.clear();
        }
    }
    if !found {
        return Err(Failure::input(format!(
            "--workload: there is no Workload/{name} in the policy given"
        ))
        .into());
    }
    instance.labels.0.insert(HELD.to_owned(), String::new());
    Ok(())
}

/// Reads `KEY=VALUE` arguments.
pub(super) fn labels(flag: &str, texts: &[String]) -> Result<Labels, Failure> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| Failure::input(format!("{flag} `{text}`: write KEY=VALUE")))?;
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::input(format!("{flag} `{text}`: `{key}` is given twice")));
        }
    }
    Ok(Labels(labels))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_are_pairs_once_each() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(labels("--label", &words(&["a=b=c", "d="])).unwrap().0.len(), 2);
        for bad in [&["a"][..], &["=b"], &["a=1", "a=2"]] {
            assert!(
                labels("--label", &words(bad))
                    .unwrap_err()
                    .message
                    .starts_with("--label")
            );
        }
    }

    #[test]
    fn two_images_must_be_one() {
        let digest = |text: &str| Evidence::Seen(Digest::of(text.as_bytes()));
        assert!(agreed(digest("a"), digest("b")).is_err());
        assert_eq!(agreed(digest("a"), digest("a")).unwrap(), digest("a"));
        assert_eq!(agreed(Evidence::missing("x"), digest("a")).unwrap(), digest("a"));
    }

    #[test]
    fn a_tag_is_no_image() {
        let error = image_of("busybox:1.36").unwrap_err().to_string();
        assert!(error.contains("a tag names no fixed image"), "{error}");
    }
}
