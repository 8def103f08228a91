//! States with a defect each, planted into the fake: what the conformance suite must catch.

mod defect;

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use verger_controller_store::conformance::state::StateRig;
use verger_controller_store::{
    AppliedMark, LogId, MAX_ROW_BYTES, MemoryState, Row, RowOp, StateDb, StoreError,
};

pub(crate) use self::defect::Defect;

/// What a crash would leave instead of what it should.
#[derive(Default)]
struct Wrong {
    /// While it is set, a crash leaves this.
    instead: Option<MemoryState>,
    /// What a crash would have left at the last flush.
    before_flush: Option<MemoryState>,
    /// The batches since the last flush.
    unflushed: Vec<(Vec<RowOp>, AppliedMark)>,
}

/// A rig over the fake with a defect.
pub(crate) struct PlantedRig {
    planted: Arc<Planted>,
    left: Option<MemoryState>,
    crashes: usize,
}

impl PlantedRig {
    pub(crate) fn new(defect: Defect) -> Self {
        let rig = Self {
            planted: Planted::over(MemoryState::new(), defect),
            left: None,
            crashes: 0,
        };
        if defect == Defect::BornWithARow {
            let born = RowOp {
                tree: "t".to_owned(),
                key: Bytes::new(),
                value: Some(Bytes::new()),
            };
            let mark = AppliedMark {
                last: LogId { index: 0, term: 0 },
                membership: Bytes::new(),
            };
            rig.planted.state.apply_batch(&[born], &mark).unwrap();
        }
        rig
    }
}

impl StateRig for PlantedRig {
    fn open(&mut self) -> Result<Arc<dyn StateDb>, StoreError> {
        Ok(Arc::clone(&self.planted) as Arc<dyn StateDb>)
    }

    fn restart(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        const PAGE: usize = 64;
        state.flush()?;
        let inner = &self.planted.state;
        if self.planted.defect == Defect::ReadsOnePageAtStart
            && let Some(mark) = inner.applied()?
        {
            let rows: Vec<_> = rows(inner)?.into_iter().take(PAGE).collect();
            inner.replace_all(&mut rows.into_iter().map(Ok), &mark)?;
        }
        self.open()
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        let Planted { state, defect, .. } = &*self.planted;
        let mut wrong = self.planted.wrong();
        let kept = state.unflushed() * (self.crashes % 3) / 2;
        self.crashes += 1;
        let left = match defect {
            Defect::LosesAFlushOnceMoreIsApplied if state.unflushed() > 0 => {
                wrong.before_flush.take().unwrap_or_else(|| state.crash(kept))
            }
            Defect::TearsABatch => {
                let left = state.crash(kept);
                if let Some((ops, mark)) = wrong.unflushed.get(kept) {
                    left.apply_batch(&ops[..ops.len() / 2], mark)?;
                }
                left
            }
            _ => wrong.instead.take().unwrap_or_else(|| state.crash(kept)),
        };
        self.left = Some(left);
        Ok(())
    }

    fn reopen(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        drop(state);
        self.planted = Planted::over(
            self.left.take().expect("cut before reopened"),
            self.planted.defect,
        );
        self.open()
    }
}

/// The fake, except for the defect.
struct Planted {
    state: MemoryState,
    defect: Defect,
    wrong: Mutex<Wrong>,
}

impl Planted {
    fn over(state: MemoryState, defect: Defect) -> Arc<Self> {
        Arc::new(Self {
            state,
            defect,
            wrong: Mutex::default(),
        })
    }

    fn wrong(&self) -> MutexGuard<'_, Wrong> {
        self.wrong.lock().unwrap()
    }

    fn shown(&self, mark: Option<AppliedMark>) -> Option<AppliedMark> {
        let mut mark = mark?;
        if self.defect == Defect::DropsTheMembership {
            mark.membership.clear();
        }
        Some(mark)
    }

    /// Reads the trees one after another, and lets writers in between.
    fn visit_without_waiting(&self) -> Result<(Vec<Row>, Option<AppliedMark>), StoreError> {
        const PATIENCE: usize = 200;
        let mut trees: Vec<_> = rows(&self.state)?.into_iter().map(|row| row.tree).collect();
        trees.dedup();
        let mut found = Vec::new();
        for tree in trees {
            let before = self.state.applied()?;
            self.state.scan_prefix(&tree, b"", &mut |row| {
                found.push(row);
                Ok(true)
            })?;
            for _ in 0..PATIENCE {
                if self.state.applied()? != before {
                    break;
                }
                std::thread::yield_now();
            }
        }
        Ok((found, self.state.applied()?))
    }
}

impl StateDb for Planted {
    fn apply_batch(&self, ops: &[RowOp], applied: &AppliedMark) -> Result<(), StoreError> {
        let mut ops = ops.to_vec();
        let large = |op: &RowOp| op.value.as_ref().is_some_and(|value| value.len() > MAX_ROW_BYTES);
        match self.defect {
            Defect::ForgetsADelete => ops.retain(|op| op.value.is_some()),
            Defect::FirstChangeWins => ops.reverse(),
            Defect::IgnoresAnEmptyBatch if ops.is_empty() => return Ok(()),
            Defect::MovesTheMarkBackwards
                if self
                    .state
                    .applied()?
                    .is_some_and(|mark| mark.last >= applied.last) =>
            {
                let rows = rows(&self.state)?;
                return self.state.replace_all(&mut rows.into_iter().map(Ok), applied);
            }
            Defect::RefusesTheLimit => {
                let size = ops
                    .iter()
                    .filter_map(|op| op.value.as_ref())
                    .map(Bytes::len)
                    .max();
                if size >= Some(MAX_ROW_BYTES) {
                    return Err(StoreError::TooLarge {
                        what: "a row",
                        size: MAX_ROW_BYTES,
                        limit: MAX_ROW_BYTES,
                    });
                }
            }
            Defect::CutsToTheLimit => ops
                .iter_mut()
                .filter_map(|op| op.value.as_mut())
                .for_each(cut_to_the_limit),
            Defect::KeepsHalfOfARefusedBatch => {
                if let Some(at @ 1..) = ops.iter().position(large) {
                    self.state.apply_batch(&ops[..at], applied)?;
                }
            }
            _ => {}
        }
        self.state.apply_batch(&ops, applied)?;
        self.wrong().unflushed.push((ops, applied.clone()));
        Ok(())
    }

    fn get(&self, tree: &str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.defect == Defect::MixesUpTrees
            && let Some(value) = self.state.get("t", key)?
        {
            return Ok(Some(value));
        }
        self.state.get(tree, key)
    }

    fn scan_prefix(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(Row) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        match self.defect {
            Defect::IgnoresThePrefix => self.state.scan_prefix(tree, b"", visit),
            Defect::NeverStops => self
                .state
                .scan_prefix(tree, prefix, &mut |row| visit(row).map(|_| true)),
            Defect::SwallowsTheVisitorsError => self
                .state
                .scan_prefix(tree, prefix, &mut |row| Ok(visit(row).unwrap_or(false))),
            Defect::ScansIntoOtherTrees if !tree.is_empty() => {
                let wanted = [tree.as_bytes(), prefix].concat();
                let mut inside = rows(&self.state)?;
                inside.retain(|row| [row.tree.as_bytes(), &row.key].concat().starts_with(&wanted));
                inside.into_iter().try_for_each(|row| visit(row).map(drop))
            }
            Defect::SortsKeysAsSignedBytes => {
                let mut inside = Vec::new();
                self.state.scan_prefix(tree, prefix, &mut |row| {
                    inside.push(row);
                    Ok(true)
                })?;
                inside.sort_by_key(|row| row.key.iter().map(|byte| byte.cast_signed()).collect::<Vec<_>>());
                for row in inside {
                    if !visit(row)? {
                        break;
                    }
                }
                Ok(())
            }
            _ => self.state.scan_prefix(tree, prefix, visit),
        }
    }

    fn applied(&self) -> Result<Option<AppliedMark>, StoreError> {
        Ok(self.shown(self.state.applied()?))
    }

    fn visit_at(
        &self,
        begin: &mut dyn FnMut(Option<&AppliedMark>) -> Result<(), StoreError>,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if self.defect != Defect::VisitsWhatIsWrittenMeanwhile {
            return self.state.visit_at(begin, visit);
        }
        begin(self.shown(self.state.applied()?).as_ref())?;
        for Row { tree, key, .. } in rows(&self.state)? {
            if let Some(value) = self.state.get(&tree, &key)? {
                visit(Row { tree, key, value })?;
            }
        }
        Ok(())
    }

    fn visit_all(
        &self,
        visit: &mut dyn FnMut(Row) -> Result<(), StoreError>,
    ) -> Result<Option<AppliedMark>, StoreError> {
        let mark = match self.defect {
            Defect::VisitsTreesByNameAlone => {
                let mut rows = rows(&self.state)?;
                rows.sort_by(|a, b| a.tree.cmp(&b.tree));
                rows.into_iter().try_for_each(visit)?;
                self.state.applied()?
            }
            Defect::SwallowsTheVisitorsError => {
                self.state.visit_all(visit).or_else(|_| self.state.applied())?
            }
            Defect::VisitsWithoutWaiting => {
                let (rows, mark) = self.visit_without_waiting()?;
                rows.into_iter().try_for_each(visit)?;
                mark
            }
            _ => self.state.visit_all(visit)?,
        };
        Ok(self.shown(mark))
    }

    fn replace_all(
        &self,
        rows: &mut dyn Iterator<Item = Result<Row, StoreError>>,
        applied: &AppliedMark,
    ) -> Result<(), StoreError> {
        const MEGABYTE: usize = 1 << 20;
        let mut mark = applied.clone();
        let (mut bytes, mut part) = (0, Vec::new());
        let before = self.state.crash(0);
        let mut given: Box<dyn Iterator<Item = Result<Row, StoreError>> + '_> = Box::new(rows);
        match self.defect {
            Defect::MergesAReplacement => {
                given = Box::new(self::rows(&self.state)?.into_iter().map(Ok).chain(given))
            }
            Defect::KeepsTheHigherMark => {
                let before = self.state.applied()?;
                mark = before.filter(|mark| mark.last > applied.last).unwrap_or(mark);
            }
            Defect::LoadsOneMegabyte => {
                given = Box::new(given.take_while(|row| {
                    bytes += row.as_ref().map_or(0, |row| row.value.len());
                    bytes <= MEGABYTE
                }));
            }
            Defect::SkipsAnEmptyReplacement => {
                let mut peeked = given.peekable();
                if peeked.peek().is_none() {
                    return Ok(());
                }
                given = Box::new(peeked);
            }
            Defect::ReplacesWithoutABarrier => self.wrong().instead = Some(MemoryState::new()),
            Defect::KeepsAPartOfAFailedReplacement => {
                given = Box::new(given.inspect(|row| part.extend(row.as_ref().ok().cloned())));
            }
            Defect::CutsAReplacementToTheLimit => {
                given = Box::new(given.map(|row| {
                    let mut row = row?;
                    cut_to_the_limit(&mut row.value);
                    Ok(row)
                }));
            }
            Defect::BringsBackOldRowsAfterACrash => self.wrong().instead = Some(self.state.crash(0)),
            _ => {}
        }
        let replaced = self.state.replace_all(&mut *given, &mark);
        drop(given);
        let mut wrong = self.wrong();
        wrong.unflushed.clear();
        match self.defect {
            Defect::BringsBackOldRowsAfterACrash => wrong.instead = None,
            Defect::BringsBackOldRowsAfterAFailure if replaced.is_err() => wrong.instead = Some(before),
            Defect::KeepsAPartOfAFailedReplacement if replaced.is_err() => {
                self.state.replace_all(&mut part.into_iter().map(Ok), &mark)?;
            }
            _ => {}
        }
        replaced
    }

    fn flush(&self) -> Result<(), StoreError> {
        if self.defect == Defect::FlushesNothing {
            return Ok(());
        }
        *self.wrong() = Wrong {
            before_flush: Some(self.state.crash(0)),
            ..Wrong::default()
        };
        self.state.flush()
    }
}

fn rows(state: &dyn StateDb) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    state.visit_all(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}

fn cut_to_the_limit(value: &mut Bytes) {
    value.truncate(MAX_ROW_BYTES);
}
