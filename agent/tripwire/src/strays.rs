//! The record of strays, which the agent reads and raises.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use verger_tripwire_protocol::{InvalidRecord, Record, Row, TOLD_APART};

use crate::judgement::Stray;

/// The record and the file it is kept in.
#[derive(Debug)]
pub struct Strays {
    file: PathBuf,
    rows: BTreeMap<Stray, (Timestamp, Timestamp, u64)>,
    more: u64,
    is_changed: bool,
}

impl Strays {
    /// Goes on from what is in the file. One that cannot be read is put aside under another name, and never lost.
    ///
    /// # Errors
    /// When it can be neither read nor put aside.
    pub fn open(file: &Path) -> io::Result<Self> {
        let mut strays = Self {
            file: file.to_owned(),
            rows: BTreeMap::new(),
            more: 0,
            is_changed: false,
        };
        match Record::read(file) {
            Ok(record) => {
                strays.more = record.more;
                for row in record.strays {
                    let stray = Stray {
                        method: row.method,
                        path: row.path,
                        user: row.user,
                    };
                    strays.rows.insert(stray, (row.first, row.last, row.count));
                }
            }
            Err(InvalidRecord::File(_, error)) => return Err(error),
            Err(InvalidRecord::Content(..)) => fs::rename(file, file.with_extension("damaged"))?,
        }
        Ok(strays)
    }

    /// Takes note of one. Of more kinds than are told apart those are kept that came last.
    pub fn note(&mut self, stray: Stray, at: Timestamp) {
        self.is_changed = true;
        if !self.rows.contains_key(&stray) && self.rows.len() >= TOLD_APART {
            let oldest = self.rows.iter().min_by_key(|(_, (_, last, _))| *last);
            if let Some((oldest, (_, _, count))) = oldest.map(|(stray, row)| (stray.clone(), *row)) {
                self.rows.remove(&oldest);
                self.more = self.more.saturating_add(count);
            }
        }
        let (_, last, count) = self.rows.entry(stray).or_insert((at, at, 0));
        *last = at;
        *count = count.saturating_add(1);
    }

    /// Writes what is new. A caller does so once in a while, and not for every stray: each of them would wait for the disk.
    ///
    /// # Errors
    /// When it cannot be written; it is written the next time.
    pub fn keep(&mut self) -> io::Result<()> {
        if self.is_changed {
            self.save()?;
            self.is_changed = false;
        }
        Ok(())
    }

    /// The record as it is now.
    pub fn record(&self) -> Record {
        let mut strays: Vec<Row> = self
            .rows
            .iter()
            .map(|(stray, (first, last, count))| Row {
                method: stray.method.clone(),
                path: stray.path.clone(),
                user: stray.user.clone(),
                first: *first,
                last: *last,
                count: *count,
            })
            .collect();
        strays.sort_by_key(|row| std::cmp::Reverse(row.last));
        Record {
            version: 1,
            strays,
            more: self.more,
        }
    }

    fn save(&self) -> io::Result<()> {
        let draft = self.file.with_extension("new");
        let mut file = fs::File::create(&draft)?;
        file.write_all(&serde_json::to_vec(&self.record())?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn stray(path: &str) -> Stray {
        Stray {
            method: "GET".to_owned(),
            path: path.to_owned(),
            user: String::new(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn format_1_never_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("strays.json");
        let mut strays = Strays::open(&file).unwrap();
        strays.note(stray("/info"), at(0));
        strays.note(stray("/info"), at(60));
        strays.keep().unwrap();
        let frozen = r#"{"version":1,"strays":[{"method":"GET","path":"/info","user":"","first":"1970-01-01T00:00:00Z","last":"1970-01-01T00:01:00Z","count":2}],"more":0}"#;
        assert_eq!(fs::read_to_string(&file).unwrap(), frozen);
        assert_eq!(Strays::open(&file).unwrap().record(), strays.record());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted_also_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("strays.json");
        let mut strays = Strays::open(&file).unwrap();
        let many = i64::try_from(TOLD_APART).unwrap() + 5;
        for number in 0..many {
            strays.note(stray(&format!("/{number}")), at(number));
        }
        strays.keep().unwrap();
        let mut strays = Strays::open(&file).unwrap();
        strays.note(stray("/5"), at(many));
        strays.note(stray("/another"), at(many + 1));
        let record = strays.record();
        // Those that came first made room.
        assert_eq!((record.strays.len(), record.more), (TOLD_APART, 6));
        let shown = |place: usize| (record.strays[place].path.as_str(), record.strays[place].count);
        assert_eq!((shown(0), shown(1)), (("/another", 1), ("/5", 2)));
        assert!(
            record
                .strays
                .iter()
                .all(|row| row.path != "/4" && row.path != "/6")
        );
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("strays.json");
        fs::write(&file, b"{\"version\":9").unwrap();
        let mut strays = Strays::open(&file).unwrap();
        strays.note(stray("/info"), at(0));
        strays.keep().unwrap();
        assert_eq!(
            fs::read(file.with_extension("damaged")).unwrap(),
            b"{\"version\":9"
        );
        assert_eq!(Strays::open(&file).unwrap().record().strays.len(), 1);
    }
}
