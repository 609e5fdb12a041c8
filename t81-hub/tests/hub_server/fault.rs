//! What can go wrong.

use std::time::Duration;

use super::request::{Host, Request};

/// A fault that strikes requests whose path contains a text; always, unless [`Fault::times`] says how often.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(crate) path: String,
    pub(crate) effect: Effect,
    left: Option<usize>,
    skipped: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Another status, with headers.
    Status(u16, Vec<(String, String)>),
    /// So many bytes at once, with pauses in between.
    Slow(usize, Duration),
    /// The announced length is off by so much.
    Length(i64),
    /// The whole file, whatever range was asked for.
    IgnoreRange,
    /// A range that begins elsewhere than was asked for.
    ShiftRange,
    /// One byte of the body is another one.
    Corrupt,
    /// Not one more byte after so many, while the connection stays open.
    Stall(usize),
    /// A body that is not what was asked for.
    Body(String),
}

impl Fault {
    fn new(path: &str, effect: Effect) -> Self {
        Self {
            path: path.to_owned(),
            effect,
            left: None,
            skipped: 0,
        }
    }

    /// The connection ends after `bytes` of the body.
    pub fn cut(path: &str, bytes: usize) -> Self {
        Self::new(path, Effect::Cut(bytes))
    }

    /// The answer has another status, and headers.
    pub fn status(path: &str, status: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Self::new(path, Effect::Status(status, headers))
    }

    /// Bodies come in chunks of `bytes` with a pause after each.
    pub fn slow(path: &str, bytes: usize, pause: Duration) -> Self {
        Self::new(path, Effect::Slow(bytes, pause))
    }

    /// The announced length of a body is `by` more than its length.
    pub fn wrong_length(path: &str, by: i64) -> Self {
        Self::new(path, Effect::Length(by))
    }

    /// Ranges are ignored: the whole file comes.
    pub fn ignore_range(path: &str) -> Self {
        Self::new(path, Effect::IgnoreRange)
    }

    /// Ranges begin one byte too late, and say so.
    pub fn shift_range(path: &str) -> Self {
        Self::new(path, Effect::ShiftRange)
    }

    /// The last byte of a body is another one.
    pub fn corrupt(path: &str) -> Self {
        Self::new(path, Effect::Corrupt)
    }

    /// After `bytes` of the body nothing more comes, and the connection stays open.
    pub fn stall(path: &str, bytes: usize) -> Self {
        Self::new(path, Effect::Stall(bytes))
    }

    /// Another body than was asked for, with status 200.
    pub fn body(path: &str, body: &str) -> Self {
        Self::new(path, Effect::Body(body.to_owned()))
    }

    /// Strikes so often, then no more.
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }

    /// Lets so many requests pass first.
    pub fn after(mut self, requests: usize) -> Self {
        self.skipped = requests;
        self
    }

    /// Whether it strikes this request; counts. What damages a body strikes only where bytes are sent.
    pub(crate) fn strikes(&mut self, request: &Request, sends_bytes: bool) -> bool {
        let for_bodies = !matches!(self.effect, Effect::Status(..) | Effect::Body(_));
        if !request.path.contains(&self.path)
            || (for_bodies && !sends_bytes)
            || self.left == Some(0)
            || (matches!(self.effect, Effect::Body(_)) && request.host != Host::Hub)
        {
            return false;
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            return false;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        true
    }
}
