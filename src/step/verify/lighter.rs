//! A lighter stream of the replica: what is set there while it sends its data, and put back afterwards.
//!
//! The server that serves is left as it is.

use std::sync::Arc;

use crate::{
    error::{Code, Error, Result},
    pair::Pair,
    run::Run,
    server::Server,
};

/// It neither compresses what is expanded a moment later, nor waits for other replicas that may come.
const LIGHTER: [(&str, &str); 2] = [("rdbcompression", "no"), ("repl-diskless-sync-delay", "0")];

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
        for (parameter, value) in LIGHTER {
            let raised = lighter.replica.raise(&pair.journal, parameter, value).await;
            match raised {
                // It is only slower then.
                Err(Error { code: Code::PermissionDenied | Code::CommandFailed | Code::JournalFailed, .. }) => break,
                raised => raised?,
            }
        }
        Ok(lighter)
    }

    /// Puts back what they were.
    pub async fn end(self) {
        let only = LIGHTER.map(|(parameter, _)| parameter);
        let restored = self.replica.restore(&self.pair.journal, Some(&only)).await;
        if let Err(error) = restored {
            self.pair.run.take_in(&self.noted);
            self.pair.run.warn(format!("{} are not put back yet, the next verify does it: {error}", only.join(", ")));
        }
    }
}
