//! A command with its printable form, in which secrets are masked.

use std::fmt;

use crate::endpoint::Endpoint;

/// One command to a server.
#[derive(Clone)]
pub struct Command {
    words: Vec<Vec<u8>>,
    shown: String,
}

impl Command {
    /// A command of these words.
    pub fn new<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Self {
        words.into_iter().fold(Command { words: Vec::new(), shown: String::new() }, |command, word| command.word(word))
    }

    /// `INFO section`.
    pub fn info(section: &str) -> Self {
        Command::new(["INFO", section])
    }

    /// `CONFIG SET parameter value`; a secret parameter's value is masked.
    pub fn config_set(parameter: &str, value: &str) -> Self {
        Command::config_set_all([(parameter, value)])
    }

    /// The same for several at once, which 7.0 and newer take.
    pub fn config_set_all<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        settings.into_iter().fold(Command::new(["CONFIG", "SET"]), |command, (parameter, value)| {
            let command = command.word(parameter);
            if super::config::is_secret(parameter) { command.secret(value) } else { command.word(value) }
        })
    }

    /// `REPLICAOF host port`.
    pub fn replicaof(host: &str, port: u16) -> Self {
        Command::new(["REPLICAOF", host, &port.to_string()])
    }

    /// `REPLICAOF NO ONE`.
    pub fn replicaof_no_one() -> Self {
        Command::new(["REPLICAOF", "NO", "ONE"])
    }

    /// Adds a word.
    pub fn word(mut self, word: impl AsRef<[u8]>) -> Self {
        let shown = String::from_utf8_lossy(word.as_ref());
        if shown.is_empty() || shown.contains(char::is_whitespace) {
            self.show(&format!("{shown:?}"));
        } else {
            self.show(&shown);
        }
        self.words.push(word.as_ref().to_vec());
        self
    }

    /// Adds a word that nobody may read.
    pub fn secret(mut self, word: impl AsRef<[u8]>) -> Self {
        self.show("***");
        self.words.push(word.as_ref().to_vec());
        self
    }

    /// `AUTH` with the login of an endpoint; none where it has none.
    pub fn login(endpoint: &Endpoint) -> Option<Self> {
        let password = endpoint.password.as_ref()?;
        Some(endpoint.user.iter().fold(Command::new(["AUTH"]), Command::word).secret(password))
    }

    /// The first word.
    pub fn name(&self) -> &str {
        self.words.first().and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
    }

    /// What it is called: its first word, of a command that has subcommands the first two.
    pub fn called(&self) -> String {
        const HAVE_SUBCOMMANDS: [&str; 7] = ["ACL", "CLIENT", "COMMAND", "CONFIG", "FUNCTION", "MODULE", "XINFO"];
        let words = if HAVE_SUBCOMMANDS.contains(&self.name()) { 2 } else { 1 };
        let words = self.words.iter().take(words).map(|word| String::from_utf8_lossy(word));
        words.collect::<Vec<_>>().join(" ")
    }

    /// The ACL rule that allows it.
    pub fn rule(&self) -> String {
        format!("+{}", self.called().to_lowercase().replace(' ', "|"))
    }

    pub(super) fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    pub(super) fn packed(&self) -> redis::Cmd {
        let mut command = redis::Cmd::with_capacity(self.words.len(), self.words.iter().map(Vec::len).sum());
        for word in &self.words {
            command.arg(word.as_slice());
        }
        command
    }

    fn show(&mut self, word: &str) {
        if !self.shown.is_empty() {
            self.shown.push(' ');
        }
        self.shown.push_str(word);
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_that_allows_a_command_names_its_subcommand() {
        assert_eq!(Command::config_set("save", "").rule(), "+config|set");
        assert_eq!(Command::replicaof_no_one().rule(), "+replicaof");
        assert_eq!(Command::new(["MULTI"]).rule(), "+multi");
    }

    #[test]
    fn secrets_are_masked_and_empty_words_are_visible() {
        assert_eq!(Command::config_set("masterauth", "hunter2").to_string(), "CONFIG SET masterauth ***");
        assert_eq!(Command::config_set("save", "").to_string(), "CONFIG SET save \"\"");
        assert_eq!(Command::new(["AUTH"]).secret("hunter2").to_string(), "AUTH ***");
    }
}
