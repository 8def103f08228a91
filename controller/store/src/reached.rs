//! Up to where the log is durable, for whoever writes what is made of its records: none of that may outlast them.
//!
//! Raft applies what a quorum has, whether or not this member's own disk has it by then. Rows of a record that are durable when the record
//! is lost in a crash would stand behind the end of the log, where nothing tells such a log from one that lost what it had said it keeps.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::StoreError;

/// Up to which index every record of a log is durable.
#[derive(Debug)]
pub struct Reached {
    present: Mutex<Present>,
    moved: Condvar,
}

#[derive(Debug)]
struct Present {
    upto: Option<u64>,
    /// Why it will not get on.
    ended: Option<StoreError>,
}

impl Reached {
    /// Up to this index; `None` where there is no record.
    pub(crate) const fn at(upto: Option<u64>) -> Self {
        Self {
            present: Mutex::new(Present { upto, ended: None }),
            moved: Condvar::new(),
        }
    }

    /// Of what has no log: nothing is waited for.
    #[must_use]
    pub fn everything() -> Arc<Self> {
        Arc::new(Self::at(Some(u64::MAX)))
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is up to here, which is less than before where records were taken back. It gets no further once it has ended.
    pub(crate) fn moves(&self, upto: Option<u64>) {
        let mut present = self.present();
        let upto = match present.ended {
            Some(_) => present.upto.min(upto),
            None => upto,
        };
        if present.upto != upto {
            present.upto = upto;
            drop(present);
            self.moved.notify_all();
        }
    }

    /// Nobody waits any more: it will not get on. The first reason stays.
    pub(crate) fn ends(&self, why: StoreError) {
        self.present().ended.get_or_insert(why);
        self.moved.notify_all();
    }

    /// Waits until the record at this index is durable, and all before it.
    ///
    /// # Errors
    /// When it will not be.
    pub(crate) fn wait_for(&self, index: u64) -> Result<(), StoreError> {
        let waits = |present: &mut Present| present.ended.is_none() && present.upto < Some(index);
        let present = self.moved.wait_while(self.present(), waits);
        let present = present.unwrap_or_else(PoisonError::into_inner);
        match &present.ended {
            // What is durable stays so.
            _ if present.upto >= Some(index) => Ok(()),
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_waits_goes_on_when_the_log_has_got_there_or_never_will() {
        let reached = Arc::new(Reached::at(None));
        let waits = |index| {
            let reached = Arc::clone(&reached);
            std::thread::spawn(move || reached.wait_for(index))
        };
        let (third, fourth) = (waits(3), waits(4));
        reached.moves(Some(2));
        reached.moves(Some(3));
        assert!(third.join().unwrap().is_ok());
        assert!(reached.wait_for(0).is_ok());
        // Records were taken back.
        reached.moves(Some(1));
        let third = waits(3);
        reached.ends(StoreError::Closed);
        for waited in [third, fourth] {
            assert!(matches!(waited.join().unwrap(), Err(StoreError::Closed)));
        }
        assert!(reached.wait_for(1).is_ok());
        // Whatever is said of it afterwards.
        reached.moves(Some(9));
        assert!(matches!(reached.wait_for(2), Err(StoreError::Closed)));
        reached.moves(Some(0));
        assert!(reached.wait_for(1).is_err());
        assert!(Reached::everything().wait_for(u64::MAX).is_ok());
    }
}
