//! Fuzz target: command lines, as whoever may call the runtime might write them.

#![allow(clippy::unwrap_used)]

use std::os::unix::ffi::OsStringExt as _;

use bolero::check;
use verger_fuzz::Damaged;

use super::*;

#[test]
fn hostile_command_lines_are_refused_in_one_line_or_name_one_container() {
    let seeds = [
        "--root\n/r\n--log\n/l\n--log-format\njson\ncreate\n--bundle\n/b\n--pid-file\n/p\nab12",
        "--systemd-cgroup\nexec\n--process\n/p\n--detach\nab12",
        "--root=/r\nkill\nab12\n9",
        "--root\n/r\nstart\nab12",
    ];
    check!()
        .with_generator(Damaged::lines(seeds))
        .with_iterations(10_000)
        .for_each(|bytes| {
            let words: Vec<OsString> = bytes
                .split(|byte| *byte == b'\n')
                .map(|word| OsString::from_vec(word.to_vec()))
                .collect();
            log(&words);
            match read(&words) {
                Ok(Command::Judged(judged)) => {
                    assert_eq!(words.iter().filter(|word| **word == *judged.id).count().min(1), 1);
                    assert!(words.iter().any(|word| *word == *judged.operation.word()));
                }
                Ok(Command::Passed) => {
                    // What begins with a command that is judged is judged.
                    let first = words[0].to_string_lossy();
                    assert!(!["create", "run", "restore", "start", "exec"].contains(&&*first));
                }
                Err(error) => assert!(!error.to_string().contains(char::is_control)),
            }
        });
}
