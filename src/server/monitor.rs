//! `MONITOR`, within limits: who sends which commands. What they are sent with is never kept.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::StreamExt;

use super::{Command, Server};
use crate::error::{Code, Error, Result};

/// By when the server has shown our own probe, if it shows anything.
const PROOF: Duration = Duration::from_secs(1);

/// What `MONITOR` has shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// How often each command came, by address and command.
    pub calls: BTreeMap<(String, String), u64>,
    /// How many lines that were.
    pub lines: u64,
    /// For how long.
    pub time: Duration,
}

impl Server {
    /// Runs `MONITOR` over a connection of its own, for so long or so many lines. However this ends, the connection does
    /// too, and with it the server's work for it.
    pub async fn monitor(&self, time: Duration, lines: u64) -> Result<Shown> {
        let opening = tokio::time::timeout(self.endpoint.connect_timeout, async {
            let monitor = self.endpoint.client_logging_in()?.get_async_monitor().await;
            monitor.map_err(|e| Error::new(Code::ConnectionLost, format!("MONITOR could not begin: {e}")))
        });
        let unanswered = || Error::new(Code::NoAnswer, "did not answer MONITOR");
        let monitor =
            self.run.interruptible(opening).await?.map_err(|_| unanswered()).flatten().map_err(|e| e.at(self))?;
        // The crate drops what the server says to MONITOR itself, a refusal too. So it is told by what is shown.
        self.read(&Command::new(["PING"])).await?;
        let mut shown = Shown::default();
        let began = Instant::now();
        let mut stream = monitor.into_on_message::<String>();
        while shown.lines < lines.max(1) {
            let left = if shown.lines == 0 { PROOF.max(time) } else { time }.saturating_sub(began.elapsed());
            let Ok(next) = self.run.interruptible(tokio::time::timeout(left, stream.next())).await? else { break };
            let Some(line) = next else {
                return Err(Error::new(Code::ConnectionLost, "ended the connection in MONITOR").at(self));
            };
            shown.lines += 1;
            if let Some(seen) = parse(&line) {
                *shown.calls.entry(seen).or_default() += 1;
            }
        }
        shown.time = began.elapsed();
        if shown.lines == 0 {
            let found = format!("shows user {} nothing in MONITOR", self.user());
            return Err(Error::new(Code::PermissionDenied, found).at(self).remedy("allow it MONITOR, or go without"));
        }
        Ok(shown)
    }
}

/// Address and command of a line such as `1795385575.317486 [0 127.0.0.1:46986] "SET" "key" "value"`. What a script calls
/// comes from no address: the script itself was shown.
fn parse(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once('[')?;
    let (from, sent) = rest.split_once("] \"")?;
    let (_, address) = from.split_once(' ')?;
    let (command, _) = sent.split_once('"')?;
    (address != "lua").then(|| (address.to_owned(), command.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_its_arguments() {
        let read = |line| parse(line).map(|(address, command)| format!("{address} {command}"));
        let seen = |line| read(line).unwrap_or_default();
        assert_eq!(seen(r#"1795385575.317486 [0 127.0.0.1:46986] "SET" "a] \"b" "secret""#), "127.0.0.1:46986 set");
        assert_eq!(seen(r#"1.5 [15 [::1]:46986] "exec""#), "[::1]:46986 exec");
        assert_eq!(seen(r#"1.5 [0 unix:/run/a b/s] "GET" "k""#), "unix:/run/a b/s get");
        assert_eq!(read(r#"1.5 [0 lua] "GET" "k""#), None);
        assert_eq!(read("OK"), None);
    }
}
