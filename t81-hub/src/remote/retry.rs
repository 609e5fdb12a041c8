//! Trying again what may succeed later.

use std::time::{Duration, Instant};

use super::{DownloadProgress, RemoteError};
use crate::HubError;

/// How often something is tried, the first time included.
pub(super) const ATTEMPTS: u32 = 5;
/// A server that asks for a longer pause is taken at its word: the user decides.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a pause looks whether it was cancelled.
const NAP: Duration = Duration::from_millis(50);

/// Why an attempt failed, and whether another one makes sense.
#[derive(Debug)]
pub(super) enum Failure {
    /// It does not.
    Final(HubError),
    /// It does, after a pause: the server's choice or a growing one.
    Transient {
        error: RemoteError,
        wait: Option<Duration>,
    },
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::Final(error.into())
    }
}

/// Runs `attempt` until it succeeds, fails for good or has failed [`ATTEMPTS`] times. `first_wait` is the first pause; the
/// next ones double.
pub(super) fn with_retries<T>(
    first_wait: Duration,
    progress: &dyn DownloadProgress,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, HubError> {
    let mut retries = Retries::new(first_wait);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => retries.after(failure, progress)?,
        }
    }
}

/// The attempts that are left.
pub(super) struct Retries {
    left: u32,
    first_wait: Duration,
    wait: Duration,
}

impl Retries {
    pub(super) fn new(first_wait: Duration) -> Self {
        Self {
            left: ATTEMPTS - 1,
            first_wait,
            wait: first_wait,
        }
    }

    /// Something was gained, so that the count begins anew.
    pub(super) fn renew(&mut self) {
        *self = Self::new(self.first_wait);
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The failure, if there is to be no other attempt; [`RemoteError::Interrupted`] if the pause was cancelled.
    pub(super) fn after(
        &mut self,
        failure: Failure,
        progress: &dyn DownloadProgress,
    ) -> Result<(), HubError> {
        let (error, wait) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Transient { error, wait } => (error, wait.unwrap_or(self.wait)),
        };
        if self.left == 0 || wait > LONGEST_WAIT {
            return Err(error.into());
        }
        self.left -= 1;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        progress.note(&format!(
            "{}; trying again in {:.1} s",
            cause(&error),
            wait.as_secs_f64()
        ));
        pause(wait, progress)?;
        Ok(())
    }
}

/// Waits, unless it is cancelled.
pub(super) fn pause(wait: Duration, progress: &dyn DownloadProgress) -> Result<(), RemoteError> {
    let end = Instant::now() + wait;
    loop {
        if progress.cancelled() {
            return Err(RemoteError::Interrupted);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(NAP));
    }
}

/// What happened, without the advice that only the last attempt's error needs.
fn cause(error: &RemoteError) -> String {
    match error {
        RemoteError::BrokenOff {
            file, have, source, ..
        } => format!("the connection broke at byte {have} of {file} ({source})"),
        RemoteError::Network {
            endpoint, source, ..
        } => format!("cannot reach {endpoint} ({source})"),
        RemoteError::RateLimited { endpoint, .. } => {
            format!("{endpoint} limits how often it answers")
        }
        RemoteError::Server { url, status, .. } => format!("{url} answers with status {status}"),
        other => other.to_string(),
    }
}
