//! What command-line programs share at a terminal: lines that cannot fail, and requests to stop.
//!
//! A program outlives the other end of its output. [`print`] and [`print_error`] write lines beside the work and ignore a
//! failure; [`write_result`] writes what a command was run for and returns one.

mod interruption;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;

pub use interruption::{INTERRUPTED, interruption_flag};

/// Writes a line to standard output. If nobody reads it or the disk behind it is full, the line is dropped.
pub fn print(line: impl Display) {
    let _ = write_line(io::stdout().lock(), &line);
}

/// Writes a line to standard error. If nobody reads it or the disk behind it is full, the line is dropped.
pub fn print_error(line: impl Display) {
    let _ = write_line(io::stderr().lock(), &line);
}

/// Writes the result of a command to standard output, all of it before it returns. Breaks if the reader went away, as
/// `head` does, which is no failure of the command.
///
/// # Errors
///
/// Any other failure to write, such as a full disk.
pub fn write_result(result: &[u8]) -> io::Result<ControlFlow<()>> {
    written(io::stdout().lock(), result)
}

/// In one piece, so that lines of several processes do not mix.
fn write_line(mut output: impl Write, line: &dyn Display) -> io::Result<()> {
    output.write_all(format!("{line}\n").as_bytes())?;
    output.flush()
}

fn written(mut output: impl Write, result: &[u8]) -> io::Result<ControlFlow<()>> {
    match output.write_all(result).and_then(|()| output.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_goes_away_is_no_failure() {
        assert!(written(Vec::new(), b"result").unwrap().is_continue());
        let closed = Failing(ErrorKind::BrokenPipe);
        assert!(written(closed, b"result").unwrap().is_break());
        let full = written(Failing(ErrorKind::StorageFull), b"result");
        assert_eq!(full.unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_line_is_written_whole() {
        let mut output = Vec::new();
        write_line(&mut output, &format_args!("{} of {}", 1, 2)).unwrap();
        assert_eq!(output, b"1 of 2\n");
    }
}
