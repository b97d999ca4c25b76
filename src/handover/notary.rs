//! What the journal is told in the cut.

use crate::{
    decide::handover::{Machine, Next},
    error::Error,
    journal::{Journal, Record},
};

/// Writes down where the server has ended, where that may have to be known by a rerun: not if the other one is promoted at
/// once, since a write to disk takes longer than all the rest.
pub(super) struct Notary<'a> {
    journal: &'a Journal,
    noted: bool,
    /// Why it could not be written.
    pub failed: Option<Error>,
}

impl<'a> Notary<'a> {
    pub fn new(journal: &'a Journal) -> Self {
        Notary { journal, noted: false, failed: None }
    }

    /// Notes it before what is next is done.
    pub fn note(&mut self, machine: &Machine, until: Option<f64>) {
        match (machine.next(), machine.ended_at()) {
            (Next::Release | Next::Undo, _) if self.noted => {
                self.noted = false;
                self.append(&Record::ServesOn);
            }
            (Next::Promote | Next::Release | Next::Undo | Next::Stop(_), _) => {}
            (_, Some(offset)) if !self.noted => {
                self.noted = true;
                self.append(&Record::Ended { offset, until });
            }
            _ => {}
        }
    }

    fn append(&mut self, record: &Record) {
        if let Err(error) = self.journal.append(record) {
            self.failed = Some(error);
        }
    }
}
