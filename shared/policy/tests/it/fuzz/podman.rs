//! What Podman's storage holds, and the configs that Podman writes. Whoever may run a container has a hand in both.

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_policy::facts::podman::{self, Places};
use verger_policy::facts::{Evidence, MountOrigin, NamespaceOwner, image};

use super::assert_short;
use super::facts::{assert_usable, oci, policy};

const CONFIG: &[u8] = include_bytes!("../../fixtures/podman.config.json");
const CONTAINERS: &[u8] = include_bytes!("../../fixtures/podman.containers.json");
const IMAGES: &[u8] = include_bytes!("../../fixtures/podman.images.json");
const LAYERS: &[u8] = include_bytes!("../../fixtures/podman.layers.json");
const IMAGE: &[u8] = include_bytes!("../../fixtures/podman.image.json");
const ID: &str = "9c4cfe14bf0d1385d984719d94c16919384e16989678747d4c1b4e26078f9052";
const LAYER: &str = "a33de01d2622fa52eb8eb0964196bf580a36b2c7b50efc6eb1f474abbf59a69c";

fn places() -> Places {
    Places {
        graph: ["/var/lib/containers/storage".to_owned()].into(),
        run: ["/run/containers/storage".to_owned()].into(),
    }
}

#[test]
fn hostile_lists_of_containers_name_the_container_that_was_asked_for_or_none() {
    check!()
        .with_generator(Damaged::json([CONTAINERS]))
        .with_iterations(5_000)
        .for_each(|bytes| {
            match podman::containers(&[&**bytes]) {
                // Whether it is sought or found among all, it is the same.
                Ok(all) => match (podman::container(&[&**bytes], ID), all.get(ID)) {
                    (Ok(kept), found) => assert_eq!(found, Some(&Ok(kept))),
                    (Err(_), found) => assert!(found.is_none_or(Result::is_err)),
                },
                Err(error) => assert_short(&error.to_string()),
            }
            match podman::container(&[&**bytes], ID) {
                Ok(kept) => {
                    assert_eq!(kept.id, ID);
                    assert!(
                        kept.layer.len() == 64 && kept.layer.bytes().all(|byte| byte.is_ascii_hexdigit())
                    );
                    // What is found once is not found again beside itself.
                    assert!(podman::container(&[&**bytes, &**bytes], ID).is_err());
                    assert_eq!(podman::container(&[&**bytes, b"[]"], ID), Ok(kept));
                }
                Err(error) => assert_short(&error.to_string()),
            }
            if let Err(error) = podman::find(&[&**bytes], "web") {
                assert_short(&error.to_string());
            }
        });
}

#[test]
fn hostile_lists_of_layers_and_images_end_and_make_an_image_of_its_own_layers_alone() {
    let digest = Digest::of(IMAGE);
    let own = podman::diffs_below(&[LAYERS], LAYER).unwrap().1;
    check!()
        .with_generator((
            Damaged::json([LAYERS]),
            Damaged::json([IMAGES]),
            Damaged::json([IMAGE]),
        ))
        .with_iterations(5_000)
        .for_each(|(layers, images, config)| {
            match podman::diffs_below(&[&**layers], LAYER) {
                Ok((top, diffs)) => {
                    assert_eq!(top.is_none(), diffs.is_empty());
                    assert!(diffs.len() <= 500);
                    // The config that is whole says which layers are its own.
                    assert_eq!(podman::is_image(IMAGE, &diffs), diffs == own);
                    let other = [diffs.as_slice(), &own].concat();
                    assert!(!(podman::is_image(config, &diffs) && podman::is_image(config, &other)));
                }
                Err(error) => assert_short(&error.to_string()),
            }
            match podman::top_layers(images, &digest) {
                Ok(tops) => assert!(tops.iter().all(|top| !top.is_empty())),
                Err(error) => assert_short(&error.to_string()),
            }
        });
}

#[test]
fn a_hostile_config_hides_no_bind_but_podmans_own_files_of_that_container() {
    let policy = policy();
    let kept = podman::container(&[CONTAINERS], ID).unwrap();
    let defaults = image::parse(IMAGE).unwrap().defaults;
    check!()
        .with_generator(Damaged::json([CONFIG]))
        .with_iterations(1_000)
        .for_each(|bytes| {
            let Some(read) = oci(bytes) else { return };
            let mounts = read.mounts.clone();
            let owner = read.config.namespaces.network.clone();
            let instance = podman::instance(
                kept.clone(),
                read,
                &places(),
                Evidence::Seen(defaults.clone()),
                Evidence::missing("nobody looked"),
            );
            let told = instance.config.mounts.seen().unwrap();
            for mount in mounts
                .iter()
                .filter(|mount| mount.fstype == "bind" && mount.source != mount.target)
            {
                let own = ["/var/lib", "/run"].map(|root| match root {
                    "/run" => format!("/run/containers/storage/overlay-containers/{ID}/userdata/"),
                    _ => format!("/var/lib/containers/storage/overlay-containers/{ID}/userdata/"),
                });
                let is_own = own.iter().any(|own| mount.source.starts_with(own.as_str()));
                assert!(is_own || told.contains_key(&mount.target), "{mount:?}");
            }
            for facts in told.values() {
                if let MountOrigin::Volume(name) = &facts.origin {
                    let path = format!("/var/lib/containers/storage/volumes/{name}/_data");
                    assert_eq!(facts.host_path.as_deref(), Some(path.as_str()));
                }
            }
            // A network is its own by what was looked at, and by no word of the config.
            let network = &instance.config.namespaces.network;
            assert_ne!(*network, Evidence::Seen(NamespaceOwner::Own));
            if matches!(owner, Evidence::Seen(NamespaceOwner::Instance(_))) {
                assert_eq!(*network, Evidence::missing("nobody looked"));
                assert!(matches!(instance.config.ports, Evidence::Missing(_)));
            }
            assert_usable(&policy, &instance);
        });
}
