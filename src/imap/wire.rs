//! The bytes of a connection: a socket, perhaps in TLS, perhaps deflated, buffered both ways, with lines of bounded length.

use std::io::{self, Read as _, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::error::{Error, Kind, Result};

/// Bytes that are gathered before they are written, and read at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Longest line that a server may send, literals not counted.
pub(super) const LINE_MAX_BYTES: usize = 1 << 20;

enum Channel {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While one becomes the other.
    Closed,
}

impl Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Channel::Plain(socket) => socket.read(buffer),
            Channel::Tls(stream) => stream.read(buffer),
            Channel::Closed => Ok(0),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Channel::Plain(socket) => socket.write_all(bytes),
            Channel::Tls(stream) => stream.write_all(bytes),
            Channel::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Channel::Plain(socket) => socket.flush(),
            Channel::Tls(stream) => stream.flush(),
            Channel::Closed => Ok(()),
        }
    }
}

struct Deflated {
    inflate: Decompress,
    deflate: Compress,
    /// Bytes from the server that are still deflated.
    raw: Vec<u8>,
    at: usize,
}

/// One connection's bytes.
pub(super) struct Wire {
    channel: Channel,
    deflated: Option<Deflated>,
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
}

/// An error of reading or writing, said for people.
pub(super) fn broken(e: io::Error) -> Error {
    if let Some(rustls::Error::InvalidCertificate(_)) = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Error::new(Kind::Refused, "the server's certificate is not to be trusted")
            .because(e)
            .hint("where the server has a certificate of its own making, give it (or its authority's) as the certificate file");
    }
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::new(Kind::Unreachable, "the server does not answer").because(e)
        }
        io::ErrorKind::InvalidData => Error::new(Kind::Protocol, "TLS with the server failed").because(e),
        _ => Error::new(Kind::Unreachable, "the connection to the server broke").because(e),
    }
}

impl Wire {
    /// Connects, trying all addresses of the host.
    pub(super) fn connect(host: &str, port: u16, connect: Duration, idle: Duration) -> Result<Self> {
        let unreachable = |e: io::Error| {
            Error::new(Kind::Unreachable, "cannot connect to the server").with("host", host).with("port", port).because(e)
        };
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (host, port).to_socket_addrs().map_err(unreachable)? {
            match TcpStream::connect_timeout(&address, connect) {
                Ok(socket) => {
                    let set = socket.set_nodelay(true);
                    let set = set.and_then(|()| socket.set_read_timeout(Some(idle)));
                    set.and_then(|()| socket.set_write_timeout(Some(idle))).map_err(unreachable)?;
                    return Ok(Wire::over(Channel::Plain(socket)));
                }
                Err(e) => failed = e,
            }
        }
        Err(unreachable(failed))
    }

    fn over(channel: Channel) -> Self {
        Wire { channel, deflated: None, input: Vec::new(), at: 0, output: Vec::with_capacity(BUFFER_BYTES) }
    }

    /// Is nothing left of what was read?
    pub(super) fn is_drained(&self) -> bool {
        self.at == self.input.len()
    }

    /// Goes on in TLS. What was read in the clear must have been used up: anybody could have slipped it in.
    pub(super) fn start_tls(&mut self, config: Arc<ClientConfig>, host: &str) -> Result<()> {
        if !self.is_drained() {
            return Err(Error::new(Kind::Protocol, "the server sent more before TLS began than it may"));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|e| Error::usage("a host of this name can have no certificate").with("host", host).because(e))?;
        let client =
            ClientConnection::new(config, name).map_err(|e| Error::new(Kind::Protocol, "TLS cannot be set up").because(e))?;
        let Channel::Plain(socket) = std::mem::replace(&mut self.channel, Channel::Closed) else {
            return Err(Error::new(Kind::Internal, "TLS inside TLS"));
        };
        let mut stream = Box::new(StreamOwned::new(client, socket));
        while stream.conn.is_handshaking() {
            let (conn, socket) = (&mut stream.conn, &mut stream.sock);
            conn.complete_io(socket).map_err(broken)?;
        }
        self.channel = Channel::Tls(stream);
        Ok(())
    }

    /// Goes on deflated (RFC 4978).
    pub(super) fn start_deflate(&mut self) {
        let raw = self.input.split_off(self.at);
        self.input.clear();
        self.at = 0;
        self.deflated =
            Some(Deflated { inflate: Decompress::new(false), deflate: Compress::new(Compression::fast(), false), raw, at: 0 });
    }

    /// Fills the input again, which is used up.
    fn fill(&mut self) -> Result<()> {
        self.input.clear();
        self.at = 0;
        let Some(state) = &mut self.deflated else {
            self.input.resize(BUFFER_BYTES, 0);
            let n = self.channel.read(&mut self.input).map_err(broken)?;
            self.input.truncate(n);
            return if n == 0 { Err(closed()) } else { Ok(()) };
        };
        self.input.reserve(BUFFER_BYTES);
        loop {
            if state.at < state.raw.len() {
                let before = state.inflate.total_in();
                let status = state.inflate.decompress_vec(&state.raw[state.at..], &mut self.input, FlushDecompress::None);
                let status =
                    status.map_err(|e| Error::new(Kind::Protocol, "the server's deflated bytes are no such").because(e))?;
                state.at += (state.inflate.total_in() - before) as usize;
                if !self.input.is_empty() {
                    return Ok(());
                }
                if status == flate2::Status::StreamEnd {
                    return Err(closed());
                }
            }
            state.raw.resize(BUFFER_BYTES, 0);
            let n = self.channel.read(&mut state.raw).map_err(broken)?;
            state.raw.truncate(n);
            state.at = 0;
            if n == 0 {
                return Err(closed());
            }
        }
    }

    /// Appends a line without its end to `line`; a bare LF ends it too.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<()> {
        let limit = line.len() + LINE_MAX_BYTES;
        loop {
            if self.is_drained() {
                self.fill()?;
            }
            let rest = &self.input[self.at..];
            let end = memchr::memchr(b'\n', rest);
            let taken = &rest[..end.unwrap_or(rest.len())];
            if line.len() + taken.len() > limit {
                return Err(Error::new(Kind::Protocol, "the server sent a line without end"));
            }
            line.extend_from_slice(taken);
            self.at += taken.len() + usize::from(end.is_some());
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(());
            }
        }
    }

    /// Hands the next `count` bytes to `take`, piece by piece.
    pub(super) fn read_exact(&mut self, count: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = count;
        while left > 0 {
            if self.is_drained() {
                self.fill()?;
            }
            let rest = &self.input[self.at..];
            let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&rest[..n])?;
            self.at += n;
            left -= n as u64;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], flush: FlushCompress) -> io::Result<()> {
        let Some(state) = &mut self.deflated else {
            return self.channel.write_all(bytes);
        };
        let mut rest = bytes;
        let mut out = Vec::with_capacity(BUFFER_BYTES);
        loop {
            let before = state.deflate.total_in();
            out.clear();
            state.deflate.compress_vec(rest, &mut out, flush).map_err(io::Error::other)?;
            rest = &rest[(state.deflate.total_in() - before) as usize..];
            self.channel.write_all(&out)?;
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }

    /// Sends everything written so far.
    pub(super) fn push(&mut self) -> Result<()> {
        self.flush().map_err(broken)
    }

    /// Ends both directions at once, without a word.
    pub(super) fn shut(&mut self) {
        let socket = match &self.channel {
            Channel::Plain(socket) => socket,
            Channel::Tls(stream) => &stream.sock,
            Channel::Closed => return,
        };
        // It may be gone already.
        let _ = socket.shutdown(std::net::Shutdown::Both);
        self.channel = Channel::Closed;
    }
}

fn closed() -> Error {
    Error::new(Kind::Unreachable, "the server closed the connection")
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.output.len() + bytes.len() > BUFFER_BYTES {
            let held = std::mem::take(&mut self.output);
            let sent = self.send(&held, FlushCompress::None);
            self.output = held;
            self.output.clear();
            sent?;
        }
        if bytes.len() > BUFFER_BYTES {
            self.send(bytes, FlushCompress::None)?;
        } else {
            self.output.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.output);
        let sent = self.send(&held, FlushCompress::Sync);
        self.output = held;
        self.output.clear();
        sent?;
        self.channel.flush()
    }
}
