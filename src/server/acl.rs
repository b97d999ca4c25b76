//! ACL users: read as rules with hashed passwords, never as plain text.

use std::collections::BTreeMap;

use super::{Command, Server, elements, text};
use crate::error::{Code, Error, Result};

/// Users and their rules, as `ACL LIST` prints them (passwords as `#sha256`).
pub type Users = BTreeMap<String, Vec<String>>;

impl Server {
    /// The server's ACL users.
    pub async fn users(&self) -> Result<Users> {
        let lines = elements(self.read(&Command::new(["ACL", "LIST"])).await?);
        lines.iter().map(|line| parse(&text(line)?).ok_or_else(|| unreadable(self))).collect()
    }

    /// Makes a user of this name have exactly these rules.
    pub async fn set_user(&self, name: &str, rules: &[String]) -> Result<()> {
        let command = Command::new(["ACL", "SETUSER", name, "reset"]);
        let command =
            rules.iter().fold(
                command,
                |command, rule| {
                    if rule.starts_with('#') { command.secret(rule) } else { command.word(rule) }
                },
            );
        self.change(&command).await
    }
}

fn unreadable(server: &Server) -> Error {
    Error::new(Code::CommandFailed, "sent an ACL user that can't be read").at(server)
}

/// Reads `user NAME rule...`.
fn parse(line: &str) -> Option<(String, Vec<String>)> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    words.next().filter(|word| *word == "user")?;
    let name = words.next()?.to_owned();
    // Said by some versions and left unsaid by others; it is the default of all.
    Some((name, words.filter(|word| *word != "sanitize-payload").map(str::to_owned).collect()))
}

/// The users to carry: those of the source that the target has not, or has with other rules.
///
/// Before 6.2 there were no channel rules and every user could use every channel; 6.2 and later print theirs.
pub fn to_carry(source: &Users, target: &Users, source_has_channels: bool) -> Users {
    let with_channels = source.iter().map(|(name, rules)| {
        let mut rules = rules.clone();
        if !source_has_channels {
            rules.push("&*".into());
        }
        (name, rules)
    });
    with_channels
        .filter(|(name, rules)| target.get(*name).is_none_or(|present| sorted(present) != sorted(rules)))
        .map(|(name, rules)| (name.clone(), rules))
        .collect()
}

/// Flags, keys and channels come in another order from other versions. The order of command rules matters; they
/// are kept as one.
fn sorted(rules: &[String]) -> (Vec<&String>, Vec<&String>) {
    let (commands, mut others): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.starts_with(['+', '-']));
    others.sort();
    (commands, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(lines: &[&str]) -> Users {
        lines.iter().map(|line| parse(line).unwrap()).collect()
    }

    #[test]
    fn equal_users_are_not_carried() {
        let source = users(&["user default on nopass sanitize-payload ~* &* +@all"]);
        let target = users(&["user default on nopass ~* &* +@all"]);
        assert!(to_carry(&source, &target, true).is_empty());
    }

    #[test]
    fn a_user_from_before_channel_rules_keeps_every_channel() {
        let source = users(&["user app on #ab ~* +@all"]);
        assert_eq!(to_carry(&source, &Users::new(), false)["app"].last().unwrap(), "&*");
    }

    #[test]
    fn the_order_of_command_rules_matters() {
        let source = users(&["user app on ~* &* +@all -flushall"]);
        let target = users(&["user app on ~* &* -flushall +@all"]);
        assert_eq!(to_carry(&source, &target, true).len(), 1);
    }
}
