//! What a write resolves to: durable here, and a way to wait for more.

use crate::database::Database;
use crate::error::Error;
use rhizome_pod::WriteDone;
use rhizome_schema::Code;
use std::time::Duration;

/// A write that is durable on this device.
#[derive(Clone)]
pub struct Written {
    db: Database,
    done: WriteDone,
}

impl Written {
    pub(crate) fn new(db: Database, done: WriteDone) -> Self {
        Self { db, done }
    }

    /// The event: a name that is the same on every device.
    #[must_use]
    pub fn event(&self) -> rhizome_log::EventId {
        self.done.id
    }

    /// Waits until the write has its place in the order that all devices share, and took effect
    /// there. `deadline-exceeded` takes nothing back: the write is saved and goes on travelling.
    pub async fn committed(&self, timeout: Duration) -> Result<(), Error> {
        let (log, seq) = (self.done.log, self.done.seq);
        let placed = self.db.handle().until(move |replica| replica.is_committed(&log, seq));
        match tokio::time::timeout(timeout, placed).await {
            Ok(placed) => placed?,
            Err(_) => {
                let message = format!(
                    "saved here, not confirmed by other devices within {} ms",
                    timeout.as_millis()
                );
                return Err(Error::new(Code::DeadlineExceeded, message));
            }
        }
        self.refused(Code::FailedPrecondition)
    }

    /// Why the documents did not take it, if so.
    pub(crate) fn refused(&self, code: Code) -> Result<(), Error> {
        let index = self.db.handle().index();
        let outcome = self.db.documents().outcome(index, &self.done.log, self.done.seq)?;
        match outcome {
            Some(outcome) => {
                let message = format!("somebody else was faster: {}", outcome.reason);
                Err(Error::new(code, message))
            }
            None => Ok(()),
        }
    }
}
