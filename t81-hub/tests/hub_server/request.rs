//! A request as it came in.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

/// Which of the two ports was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The Hub itself.
    Hub,
    /// Where large files come from.
    Cdn,
}

/// A request, and what was made of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which port was asked.
    pub host: Host,
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path, as it was sent, without the query.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The status of the answer.
    pub status: u16,
    /// The file of a repository that was asked for.
    pub file: Option<String>,
}

impl Request {
    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// First byte of the range asked for; a whole file begins at 0.
    pub fn start(&self) -> usize {
        self.header("range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .split('-')
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0)
    }

    pub(crate) fn read(reader: &mut BufReader<TcpStream>, host: Host) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        Some(Self {
            host,
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            status: 0,
            file: None,
        })
    }
}

/// `%41` and the like, decoded.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut index = 0;
    while index < bytes.len() {
        let escape = (bytes[index] == b'%')
            .then(|| text.get(index + 1..index + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(bytes[index]));
        index += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
