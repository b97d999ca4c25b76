//! A lighter stream of the replica: what is set there while it sends its data, and put back afterwards.
//!
//! The server that serves is left as it is. The values that they had are in the journal, so what a controller that was killed
//! has left is put back by the next comparison, and before the replica is promoted.

use std::sync::Arc;

use crate::{
    error::{Code, Error, Result},
    journal::Record,
    pair::Pair,
    run::Run,
    server::Server,
};

/// It neither compresses what is expanded a moment later, nor waits for other replicas that may come.
const LIGHTER: [(&str, &str); 2] = [("rdbcompression", "no"), ("repl-diskless-sync-delay", "0")];

/// Puts back what an earlier comparison has left on a replica.
pub(crate) async fn put_back(pair: &Pair, replica: &Server) -> Result<()> {
    set_back(pair, replica).await?.iter().try_for_each(|record| pair.journal.append(record))
}

async fn set_back(pair: &Pair, replica: &Server) -> Result<Vec<Record>> {
    replica.set_back(&pair.journal, Some(&LIGHTER.map(|(parameter, _)| parameter))).await
}

/// A replica that has these settings.
pub(super) struct Lighter<'a> {
    pair: &'a Pair,
    replica: Server,
    /// Notes the commands: what is put back is no change.
    noted: Arc<Run>,
}

impl<'a> Lighter<'a> {
    /// Sets them, as far as the account may and the journal can be written.
    pub async fn begin(pair: &'a Pair, replica: &Server) -> Result<Self> {
        let noted = Arc::new(pair.run.part());
        let lighter = Lighter { pair, replica: replica.noted_by(&noted), noted };
        match lighter.set().await {
            // It only takes longer then.
            Ok(()) | Err(Error { code: Code::PermissionDenied | Code::CommandFailed | Code::JournalFailed, .. }) => {
                Ok(lighter)
            }
            Err(error) => {
                lighter.end().await;
                Err(error)
            }
        }
    }

    async fn set(&self) -> Result<()> {
        for (parameter, value) in LIGHTER {
            self.replica.raise(&self.pair.journal, parameter, value).await?;
        }
        Ok(())
    }

    /// Puts back what they were.
    pub async fn end(self) {
        let _shield = self.noted.shield();
        let mut done = set_back(self.pair, &self.replica).await;
        if done.as_ref().is_err_and(|error| error.code == Code::ConnectionLost) {
            // The connection may have been cut, and the server be there.
            done = match self.replica.reconnect().await {
                Ok(replica) => set_back(self.pair, &replica).await,
                Err(error) => Err(error),
            };
        }
        let what = LIGHTER.map(|(parameter, _)| parameter).join(" and ");
        match done {
            Ok(records) => {
                if let Err(error) = records.iter().try_for_each(|record| self.pair.journal.append(record)) {
                    self.pair.run.warn(format!("{what} are put back, but that is not noted: {error}"));
                }
            }
            Err(error) => {
                self.pair.run.take_in(&self.noted);
                let later = "the next comparison or switchover does it";
                self.pair.run.warn(format!("{what} are not put back yet, {later}: {error}"));
            }
        }
    }
}
