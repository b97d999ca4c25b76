//! Work beside a step, on a thread and a runtime of its own, so that neither waits for the other.

use std::{future::Future, io, thread};

use tokio::sync::oneshot;

/// Work beside a step.
pub struct Beside<T> {
    stop: oneshot::Sender<bool>,
    done: oneshot::Receiver<T>,
}

impl<T: Send + 'static> Beside<T> {
    /// Starts it. It is to come to its end when the receiver it is given says so; at once where that says false.
    pub fn start<F>(work: impl FnOnce(oneshot::Receiver<bool>) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = T>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ((stop, stopped), (tell, done)) = (oneshot::channel(), oneshot::channel());
        thread::Builder::new().name("redis-baton beside".into()).spawn(move || {
            let _ = tell.send(runtime.block_on(work(stopped)));
            // A name that is still being looked up can't be stopped.
            runtime.shutdown_background();
        })?;
        Ok(Beside { stop, done })
    }

    /// Ends it, at its leisure or at once; returns what came of it, unless it broke.
    pub async fn end(self, at_leisure: bool) -> Option<T> {
        let _ = self.stop.send(at_leisure);
        self.done.await.ok()
    }
}
