//! Fuzz targets: what processes say of themselves, and files of users and groups.

use bolero::check;
use verger_fuzz::Damaged;

use super::host::is_roots;
use super::podman;
use super::process::{container_of, folders};
use super::rootless::user_of;
use super::sockets::listeners;
use super::users::{in_group, of_group};

#[test]
fn a_hostile_command_line_or_environment_names_a_container_or_folders_and_nothing_panics() {
    check!()
        .with_generator(Damaged::bytes([
            b"/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0ab12\0".as_slice(),
            b"A=1\0PATH=/a:/b:\0B=2\0",
        ]))
        .with_iterations(10_000)
        .for_each(|bytes| {
            if let Some((namespace, id)) = container_of(bytes) {
                assert!(!namespace.is_empty() && !id.is_empty());
            }
            assert!(folders(bytes).len() <= bytes.len() + 1);
        });
}

#[test]
fn hostile_tables_of_sockets_and_users_name_no_more_than_they_have_lines() {
    check!()
        .with_generator(Damaged::lines([
            b"  sl  local_address rem_address   st\n   0: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n".as_slice(),
            b"docker:x:999:ada,bob\nroot:x:0:\n",
            b"eve:x:1000:999:Eve:/home/eve:/bin/sh\n",
        ]))
        .with_iterations(10_000)
        .for_each(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.lines().count();
            assert!(listeners(&text).len() <= lines);
            assert!(in_group(&text, 999).len() <= text.len() + 1);
            assert!(of_group(&text, 999).len() <= lines);
        });
}

#[test]
fn a_damaged_map_of_uids_names_a_user_that_it_holds_and_never_root() {
    check!()
        .with_generator(Damaged::lines([
            b"         0       1000          1\n         1     100000      65536\n".as_slice(),
            b"0 0 1\n998 998 1\n",
        ]))
        .with_iterations(10_000)
        .for_each(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Some(uid) = user_of(&text) {
                assert!(uid != 0 && text.contains(&uid.to_string()));
            }
        });
}

#[test]
fn a_damaged_status_is_roots_only_where_it_says_so() {
    check!()
        .with_generator(Damaged::lines([
            b"Name:\tsleep\nUid:\t0\t0\t0\t0\nNSpid:\t7\n".as_slice(),
            b"Name:\tsleep\nUid:\t1000\t0\t0\t0\nNSpid:\t7\t1\n",
        ]))
        .with_iterations(10_000)
        .for_each(|bytes| {
            if is_roots(bytes) {
                let text = String::from_utf8_lossy(bytes);
                assert!(text.contains("Uid:") && text.contains("NSpid:"));
            }
        });
}

#[test]
fn a_hostile_conmon_names_a_container_and_a_runtime_and_a_hostile_file_of_podmans_names_paths() {
    check!()
        .with_generator(Damaged::bytes([
            b"/usr/bin/conmon\0--api-version\x001\0-c\0ab12\0-u\0ab12\0-r\0/usr/bin/crun\0-b\0/b\0-n\0web\0"
                .as_slice(),
            b"conmon\0--cid=ab12\0--runtime=/usr/sbin/runc\0",
        ]))
        .with_iterations(10_000)
        .for_each(|bytes| {
            if let Some(held) = podman::container_of(bytes) {
                assert!(!held.id.is_empty() && !held.runtime.is_empty());
                assert!(held.bundle.is_none_or(|bundle| !bundle.is_empty()));
            }
        });
    check!()
        .with_generator(Damaged::lines([
            b"[containers]\ndefault_ulimits = [\"nofile=1:1\"]\n[engine]\nruntime = \"/opt/own\"\n[engine.runtimes]\ncrun = [\"/usr/bin/crun\"]\n".as_slice(),
        ]))
        .with_iterations(5_000)
        .for_each(|bytes| match podman::named(&String::from_utf8_lossy(bytes)) {
            Ok(paths) => assert!(paths.iter().all(|path| path.starts_with('/'))),
            Err(why) => assert!(!why.contains(char::is_control), "{why}"),
        });
}
