//! Files of `/proc`: names and paths in them are chosen by processes in containers.

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::facts::proc::{self, CgroupLine};
use verger_policy::facts::{Evidence, HostMounts, InvalidFacts, LiveMount};

use super::assert_short;

const MOUNTINFO: &[&[u8]] = &[
    include_bytes!("../../fixtures/odd.mountinfo"),
    include_bytes!("../../fixtures/donor.mountinfo"),
    b"36 35 98:0 /mnt1\\040a /mnt2\\012x\\134 rw,noatime master:1 - ext3 /dev/r\\134oot rw\n",
];
const STATUS: &[&[u8]] = &[
    include_bytes!("../../fixtures/odd.status"),
    include_bytes!("../../fixtures/hardened.status"),
];
const STAT: &[&[u8]] = &[
    b"42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20",
    b"1 (sh) S 0 1 1 0 -1 4194560 9 9 0 0 0 0 0 0 20 0 1 0 18446744073709551615 0",
];
const LIMITS: &[&[u8]] = &[
    b"Limit                     Soft Limit           Hard Limit           Units     \n\
      Max cpu time              unlimited            unlimited            seconds   \n\
      Max open files            1024                 2048                 files     \n\
      Max core file size        0                    unlimited            bytes     \n",
];
const CGROUP: &[&[u8]] = &[
    b"12:pids:/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n2:cpu,cpuacct:/a:b\n0::/x\n",
];

/// What was read, or nothing after a refusal that is safe to show.
fn read<T>(result: Result<T, InvalidFacts>) -> Option<T> {
    result.map_err(|error| assert_short(&error.to_string())).ok()
}

/// As the kernel escapes it (`seq_escape`).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
        .replace('\n', "\\012")
}

fn line(mount: &LiveMount) -> String {
    let LiveMount {
        target,
        fstype,
        root,
        source,
        options,
        device,
        shared,
        slave,
        host_paths: _,
    } = mount;
    let optional = format!(
        "{}{}",
        if *shared { " shared:1" } else { "" },
        if *slave { " master:2" } else { "" }
    );
    let options = options.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let fields = [device, root, target, &options].map(|text| escaped(text));
    format!(
        "1 2 {}{optional} - {} {} rw\n",
        fields.join(" "),
        escaped(fstype),
        escaped(source)
    )
}

#[test]
fn hostile_mountinfo_never_panics_and_what_parses_is_bounded() {
    check!()
        .with_generator(Damaged::lines(MOUNTINFO))
        .with_iterations(2_000)
        .for_each(|bytes| {
            let Some(mounts) = read(proc::mountinfo(bytes)) else {
                return;
            };
            assert!(mounts.len() <= bytes.split(|byte| *byte == b'\n').count());
            let written: String = mounts.iter().map(line).collect();
            // A byte that is no UTF-8 becomes three.
            let held: usize = mounts
                .iter()
                .map(|mount| mount.target.len() + mount.source.len())
                .sum();
            assert!(held <= 3 * bytes.len());
            assert_eq!(
                read(proc::mountinfo(written.as_bytes())),
                Some(mounts),
                "{written}"
            );
        });
}

#[test]
fn hostile_mounts_are_placed_only_below_what_the_host_has_of_the_same_device() {
    check!()
        .with_generator((Damaged::lines(MOUNTINFO), Damaged::lines(MOUNTINFO)))
        .with_iterations(1_000)
        .for_each(|(host, inside)| {
            let (Some(host), Some(inside)) = (read(proc::mountinfo(host)), read(proc::mountinfo(inside)))
            else {
                return;
            };
            let table = HostMounts::of(host.clone());
            for mount in &inside {
                let Evidence::Seen(paths) = table.paths_of(mount) else {
                    continue;
                };
                assert!(paths.len() <= host.len());
                for path in paths {
                    let holds = |of: &LiveMount| of.device == mount.device && path.starts_with(&of.target);
                    assert!(host.iter().any(holds), "{path}");
                }
            }
        });
}

#[test]
fn hostile_status_is_refused_or_read_field_by_field() {
    check!()
        .with_generator(Damaged::lines(STATUS))
        .with_iterations(2_000)
        .for_each(|bytes| {
            let Some(status) = read(proc::status(bytes)) else { return };
            let ids = |ids: [u32; 4]| ids.map(|id| id.to_string()).join("\t");
            let groups: Vec<String> = status.groups.iter().map(u32::to_string).collect();
            let caps = status.caps;
            let written = format!(
                "Uid:\t{}\nGid:\t{}\nGroups:\t{}\nCapInh:\t{:x}\nCapPrm:\t{:x}\nCapEff:\t{:x}\nCapBnd:\t{:x}\nCapAmb:\t{:x}\n\
                 NoNewPrivs:\t{}\nSeccomp:\t{}\n",
                ids(status.uids),
                ids(status.gids),
                groups.join(" "),
                caps.inheritable,
                caps.permitted,
                caps.effective,
                caps.bounding,
                caps.ambient,
                u8::from(status.no_new_privs),
                status.seccomp as u8,
            );
            let again = read(proc::status(written.as_bytes()));
            let nameless = proc::Status { comm: String::new(), ..status };
            assert_eq!(again, Some(nameless));
        });
}

#[test]
fn a_process_cannot_forge_a_line_of_its_status_by_its_name() {
    check!()
        .with_generator(Damaged::bytes([
            b"x\nUid:\t0\t0\t0\t0".as_slice(),
            b"sh",
            b"a\\b:c",
        ]))
        .with_iterations(2_000)
        .for_each(|name| {
            // The kernel escapes newlines and backslashes of a name, and no other byte (proc(5)).
            let name = name.text().replace('\\', "\\\\").replace('\n', "\\n");
            let fixture = String::from_utf8_lossy(STATUS[0]).into_owned();
            let rest = fixture.split_once('\n').unwrap().1;
            let honest = proc::status(STATUS[0]).unwrap();
            let hostile = proc::status(format!("Name:\t{name}\n{rest}").as_bytes()).unwrap();
            assert_eq!(
                proc::Status {
                    comm: honest.comm.clone(),
                    ..hostile
                },
                honest
            );
        });
}

#[test]
fn hostile_stat_limits_and_cgroup_never_panic_and_say_what_is_written() {
    check!()
        .with_generator((
            Damaged::bytes(STAT),
            Damaged::lines(LIMITS),
            Damaged::lines(CGROUP),
        ))
        .with_iterations(2_000)
        .for_each(|(stat, limits, cgroup)| {
            if let Some(ticks) = read(proc::start_ticks(stat)) {
                let text = stat.text();
                let rest = text.rsplit_once(')').unwrap().1;
                let field = rest.split_ascii_whitespace().nth(19).unwrap();
                assert_eq!(field.trim_start_matches('+').parse(), Ok(ticks));
            }
            if let Some(limits) = read(proc::limits(limits)) {
                assert!(
                    limits
                        .keys()
                        .all(|name| proc::limit_names().any(|known| known == *name))
                );
            }
            if let Some(lines) = read(proc::cgroup(cgroup)) {
                let write =
                    |CgroupLine {
                         hierarchy,
                         controllers,
                         path,
                     }: &CgroupLine| { format!("{hierarchy}:{controllers}:{path}\n") };
                let written: String = lines.iter().map(write).collect();
                assert_eq!(read(proc::cgroup(written.as_bytes())), Some(lines));
            }
        });
}
