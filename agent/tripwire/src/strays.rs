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

    /// Takes note of one, and keeps it.
    ///
    /// # Errors
    /// When it cannot be written; it is written with the next one.
    pub fn note(&mut self, stray: Stray, at: Timestamp) -> io::Result<()> {
        let is_known = self.rows.contains_key(&stray);
        if is_known || self.rows.len() < TOLD_APART {
            let (_, last, count) = self.rows.entry(stray).or_insert((at, at, 0));
            *last = at;
            *count = count.saturating_add(1);
        } else {
            self.more = self.more.saturating_add(1);
        }
        self.save()
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
        strays.note(stray("/info"), at(0)).unwrap();
        strays.note(stray("/info"), at(60)).unwrap();
        let frozen = r#"{"version":1,"strays":[{"method":"GET","path":"/info","user":"","first":"1970-01-01T00:00:00Z","last":"1970-01-01T00:01:00Z","count":2}],"more":0}"#;
        assert_eq!(fs::read_to_string(&file).unwrap(), frozen);
        assert_eq!(Strays::open(&file).unwrap().record(), strays.record());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted_also_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("strays.json");
        let mut strays = Strays::open(&file).unwrap();
        for number in 0..TOLD_APART + 5 {
            strays.note(stray(&format!("/{number}")), at(0)).unwrap();
        }
        let mut strays = Strays::open(&file).unwrap();
        strays.note(stray("/0"), at(9)).unwrap();
        strays.note(stray("/another"), at(9)).unwrap();
        let record = strays.record();
        assert_eq!((record.strays.len(), record.more), (TOLD_APART, 6));
        assert_eq!(
            (record.strays[0].path.as_str(), record.strays[0].count),
            ("/0", 2)
        );
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("strays.json");
        fs::write(&file, b"{\"version\":9").unwrap();
        let mut strays = Strays::open(&file).unwrap();
        strays.note(stray("/info"), at(0)).unwrap();
        assert_eq!(
            fs::read(file.with_extension("damaged")).unwrap(),
            b"{\"version\":9"
        );
        assert_eq!(Strays::open(&file).unwrap().record().strays.len(), 1);
    }
}
