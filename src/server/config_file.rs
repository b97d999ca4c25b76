//! The configuration file of a server, where that can be read from here.

use std::collections::BTreeMap;

use super::{Server, files::Files};

/// What a configuration file says, by parameter. The values of lines with the same name are joined.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// All lines that say something.
    pub lines: Vec<String>,
    values: BTreeMap<String, String>,
}

impl ConfigFile {
    /// Reads it.
    pub fn parse(text: &str) -> Self {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for line in &lines {
            let mut words = words(line).into_iter();
            let Some(name) = words.next().map(|name| name.to_lowercase()) else { continue };
            let value = words.collect::<Vec<_>>().join(" ");
            let several = ["save", "client-output-buffer-limit"].contains(&name.as_str());
            match values.get_mut(&name).filter(|_| several) {
                Some(all) => *all = format!("{all} {value}"),
                None => drop(values.insert(name, value)),
            }
        }
        ConfigFile { lines: lines.into_iter().map(str::to_owned).collect(), values }
    }

    /// What it says of a parameter that has these names.
    pub fn value(&self, names: &[String]) -> Option<&str> {
        names.iter().find_map(|name| self.values.get(name)).map(String::as_str)
    }
}

impl Server {
    /// Its configuration file; none where it has none, or it can't be read from here.
    pub async fn config_file(&self) -> Option<ConfigFile> {
        if self.identity.config_file.is_empty() {
            return None;
        }
        let files = Files::of(self, &self.info("server").await.ok()?)?;
        files.read(&self.identity.config_file).ok().map(|text| ConfigFile::parse(&text))
    }
}

/// The words of a line, as the server takes it apart.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    while rest.peek().is_some() {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = rest.next() else { break };
        let mut word = Vec::new();
        let quote = (first == '"' || first == '\'').then_some(first);
        let mut next = if quote.is_some() { rest.next() } else { Some(first) };
        while let Some(c) = next {
            match (c, quote) {
                (c, Some(quote)) if c == quote => break,
                (c, None) if c.is_whitespace() => break,
                ('\\', Some('"')) => word.extend(escaped(&mut rest)),
                ('\\', Some('\'')) if rest.next_if_eq(&'\'').is_some() => word.push(b'\''),
                (c, _) => word.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
            next = rest.next();
        }
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    words
}

/// What follows a backslash between double quotes.
fn escaped(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Vec<u8> {
    match rest.next() {
        Some('n') => vec![b'\n'],
        Some('r') => vec![b'\r'],
        Some('t') => vec![b'\t'],
        Some('b') => vec![8],
        Some('a') => vec![7],
        Some('x') => {
            let digits: String = (0..2).filter_map(|_| rest.next_if(char::is_ascii_hexdigit)).collect();
            u8::from_str_radix(&digits, 16).map_or_else(|_| b"x".to_vec(), |byte| vec![byte])
        }
        Some(other) => other.to_string().into_bytes(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_server_reads_them() {
        let text = "# comment\nsave 3600 1\n SAVE 300 100\nmaxmemory 1gb\nmaxmemory 2gb\nrequirepass \"a\\\"b \\x41\\xc3\\xa4\"\n\
                    logfile ''\nbind 127.0.0.1 ::1\nproc-title-template '{title} it\\'s'\n";
        let file = ConfigFile::parse(text);
        let value = |name: &str| file.value(&[name.to_owned()]);
        assert_eq!(value("save"), Some("3600 1 300 100"));
        assert_eq!(value("maxmemory"), Some("2gb"));
        assert_eq!(value("requirepass"), Some("a\"b Aä"));
        assert_eq!(value("logfile"), Some(""));
        assert_eq!(value("bind"), Some("127.0.0.1 ::1"));
        assert_eq!(value("proc-title-template"), Some("{title} it's"));
        assert_eq!(value("timeout"), None);
        assert_eq!(file.value(&["slave-priority".into(), "save".into()]), Some("3600 1 300 100"));
    }
}
