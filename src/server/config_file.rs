//! The configuration file of a server, where that can be read from here.

use std::collections::BTreeMap;

use super::{Server, info::Info};

/// The clock of `/proc/PID/stat`, in ticks a second: the same on every Linux.
const TICKS: f64 = 100.0;

/// How far apart two clocks may be that tell for how long a process has run, in seconds.
const APART: f64 = 3.0;

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
    /// Its configuration file; none where it has none, can't be read from here, or may be another server's: a file
    /// counts only if the server's process is one of this host.
    pub async fn config_file(&self) -> Option<ConfigFile> {
        if self.identity.config_file.is_empty() || !runs_here(&self.info("server").await.ok()?) {
            return None;
        }
        std::fs::read_to_string(&self.identity.config_file).ok().map(|text| ConfigFile::parse(&text))
    }
}

/// Whether the process is one of this host: there is one of that number here that has run for as long.
fn runs_here(info: &Info) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let age = || {
        let stat = read(&format!("/proc/{}/stat", info.number("process_id")?))?;
        age(&stat, &read("/proc/uptime")?)
    };
    match (age(), info.number("uptime_in_seconds")) {
        (Some(age), Some(uptime)) => (age - uptime as f64).abs() < APART,
        _ => false,
    }
}

/// Seconds for which a process has run.
fn age(stat: &str, uptime: &str) -> Option<f64> {
    // The name of a process comes first, and may contain anything.
    let started: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(uptime.split_whitespace().next()?.parse::<f64>().ok()? - started / TICKS)
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

    #[test]
    fn how_long_a_process_has_run() {
        let stat = "42 (redis ) server) S 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 5 0 10000 1 1";
        assert_eq!(age(stat, "160.5 300.1\n"), Some(60.5));
        assert_eq!(age("", "160.5 1\n"), None);
    }
}
