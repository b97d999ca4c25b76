//! What a step is called with.

use std::{path::PathBuf, sync::Arc};

use crate::{
    endpoint::Endpoint,
    error::Result,
    pair::Pair,
    run::{Event, Run},
    server::Server,
};

/// What a step on two servers is given.
pub struct Call {
    /// The context of this call.
    pub run: Arc<Run>,
    /// The live master, by the address it had when the upgrade began.
    pub source: Endpoint,
    /// The new instance, by the address it had when the upgrade began.
    pub target: Endpoint,
    /// Where journals are kept; none for the default.
    pub journal_dir: Option<PathBuf>,
    /// Cut off another controller that is at work on these servers.
    pub break_lock: bool,
}

impl Call {
    /// Says that a step begins, and finds the two servers.
    pub async fn begin(&self, step: &'static str) -> Result<Pair> {
        self.run.emit(&Event::Step { step });
        self.find().await
    }

    /// The same for a step that changes them: other controllers are kept out from now on. A dry run looks past them.
    pub async fn begin_alone(&self, step: &'static str) -> Result<Pair> {
        let pair = self.begin(step).await?;
        if self.run.dry || !pair.lock(self.break_lock).await? {
            return Ok(pair);
        }
        self.find_alone().await
    }

    /// Finds the two servers anew in a step that changes them.
    pub async fn find_alone(&self) -> Result<Pair> {
        let pair = self.find().await?;
        pair.lock(self.break_lock).await?;
        Ok(pair)
    }

    /// The same servers, for somebody who looks on beside this call.
    pub fn looked_on(&self, client_name: &'static str) -> Self {
        Call {
            run: Arc::new(Run::onlooker(client_name)),
            source: self.source.clone(),
            target: self.target.clone(),
            journal_dir: self.journal_dir.clone(),
            break_lock: false,
        }
    }

    /// Finds the two servers, wherever they are now.
    pub async fn find(&self) -> Result<Pair> {
        Pair::find(&self.run, &self.source, &self.target, self.journal_dir.as_deref()).await
    }
}

/// What a step on one server is given.
pub struct ServerCall {
    /// The context of this call.
    pub run: Arc<Run>,
    /// The server.
    pub server: Endpoint,
    /// Cut off another controller that is at work on it.
    pub break_lock: bool,
}

impl ServerCall {
    /// Says that a step begins, and connects.
    pub async fn begin(&self, step: &'static str) -> Result<Server> {
        self.run.emit(&Event::Step { step });
        self.connect().await
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Server> {
        self.server.check_address()?;
        Server::connect_alone(&self.run, &self.server).await
    }

    /// The same for a step that changes the server: other controllers are kept out from now on. A dry run looks past them.
    pub async fn begin_alone(&self, step: &'static str) -> Result<Server> {
        let server = self.begin(step).await?;
        if !self.run.dry {
            server.lock(self.break_lock).await?;
        }
        Ok(server)
    }
}
