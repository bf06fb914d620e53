//! The one error type: what failed, where, and what to do next.
//!
//! Rules: the message says what was being done, in the words of the person running floe; `context` says where (file,
//! offset, account, folder, UID); `hint` says what to do next. The [`Kind`] decides the exit code. A bad item is never an `Err`
//! of a whole run: it becomes an [`Exception`](crate::model::Exception) and the run goes on.

use std::fmt;

/// Result with floe's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing went wrong; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line or a setting makes no sense (exit code 64).
    Usage,
    /// The source could not be read or is not what it was said to be.
    Source,
    /// The archive's bytes are damaged or missing.
    Damage,
    /// Reading or writing the disk failed.
    Storage,
    /// The archive is encrypted, and what was given does not open it.
    Key,
    /// Another process writes to the archive.
    Locked,
    /// A server could not be reached, or the connection to it broke: worth another try.
    Unreachable,
    /// A server said "not now" (a 503, a `NO [LIMIT]`, a throttle): worth another try, later.
    Busy,
    /// A server refused the name or the password. Never tried again by itself: servers punish guessing.
    Login,
    /// A server said no, for good.
    Refused,
    /// A server's answer makes no sense in its protocol.
    Protocol,
    /// A bug in floe: an invariant did not hold.
    Internal,
}

impl Kind {
    /// Is the same request worth another try?
    pub fn is_transient(self) -> bool {
        matches!(self, Kind::Unreachable | Kind::Busy)
    }
}

/// What failed, where, why, and what to do next.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, message: message.into(), context: Vec::new(), hint: None, cause: None }))
    }

    /// Something about the source.
    pub fn source(message: impl Into<String>) -> Self {
        Self::new(Kind::Source, message)
    }

    /// Something about the archive's bytes.
    pub fn damage(message: impl Into<String>) -> Self {
        Self::new(Kind::Damage, message)
    }

    /// Something about the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A failed read or write of `path`.
    pub fn io(kind: Kind, what: &str, path: &std::path::Path, cause: std::io::Error) -> Self {
        Self::new(kind, what).with("path", path.display()).because(cause)
    }

    /// Adds where it happened.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the underlying error, and what to do about it where that is plain and nothing better was said.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause = cause.into();
        let hint = match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::FileTooLarge | std::io::ErrorKind::QuotaExceeded) => {
                Some("free some space on that disk, then run the same command again: what was finished before is kept")
            }
            Some(std::io::ErrorKind::PermissionDenied) => Some("run as a user who may read and write there"),
            _ => None,
        };
        if self.0.hint.is_none() {
            self.0.hint = hint.map(str::to_owned);
        }
        self.0.cause = Some(cause);
        self
    }

    /// The sort of error.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What to do next, where there is something.
    pub fn next_step(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(cause) = &self.0.cause {
            write!(f, ": {cause}")?;
        }
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name} {}", if i == 0 { " (" } else { ", " }, crate::model::printable(value))?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|c| c as _)
    }
}
