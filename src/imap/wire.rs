//! The bytes of a connection: a socket, perhaps in TLS, perhaps deflated, buffered both ways, with lines of bounded length.

use std::io::{self, Read as _, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::error::{Error, Kind, Result};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes that are read at a time.
const INPUT_BYTES: usize = 256 << 10;
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
    raw: Input,
    /// The last bytes filled the room that there was: more may come without another from the server.
    is_more: bool,
}

/// Bytes that were read and not used yet, in a buffer that is made once.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    at: usize,
    end: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Forgets what it holds; the whole buffer, to be filled.
    fn room(&mut self) -> &mut [u8] {
        self.buffer.resize(INPUT_BYTES, 0);
        (self.at, self.end) = (0, 0);
        &mut self.buffer
    }

    fn fill(&mut self, channel: &mut Channel) -> Result<()> {
        let n = channel.read(self.room()).map_err(broken)?;
        self.end = n;
        if n == 0 { Err(closed()) } else { Ok(()) }
    }
}

/// One connection's bytes.
pub(super) struct Wire {
    channel: Channel,
    deflated: Option<Deflated>,
    input: Input,
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
        Wire { channel, deflated: None, input: Input::default(), output: Vec::with_capacity(BUFFER_BYTES) }
    }

    /// Is nothing left of what was read?
    pub(super) fn is_drained(&self) -> bool {
        self.input.rest().is_empty()
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
        let raw = std::mem::take(&mut self.input);
        let (inflate, deflate) = (Decompress::new(false), Compress::new(Compression::fast(), false));
        self.deflated = Some(Deflated { inflate, deflate, raw, is_more: false });
    }

    /// Fills the input again, which is used up.
    fn fill(&mut self) -> Result<()> {
        let Some(Deflated { inflate, raw, is_more, .. }) = &mut self.deflated else { return self.input.fill(&mut self.channel) };
        let foreign = || Error::new(Kind::Protocol, "the server's deflated bytes are no such");
        loop {
            if *is_more || !raw.rest().is_empty() {
                let before = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(raw.rest(), self.input.room(), FlushDecompress::None);
                let status = status.map_err(|e| foreign().because(e))?;
                let taken = (inflate.total_in() - before.0) as usize;
                raw.at += taken;
                self.input.end = (inflate.total_out() - before.1) as usize;
                *is_more = self.input.end == INPUT_BYTES;
                if self.input.end > 0 {
                    return Ok(());
                }
                if status == flate2::Status::StreamEnd {
                    return Err(closed());
                }
                if taken == 0 && !raw.rest().is_empty() {
                    return Err(foreign());
                }
            } else {
                raw.fill(&mut self.channel)?;
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
            let rest = self.input.rest();
            let end = memchr::memchr(b'\n', rest);
            let taken = &rest[..end.unwrap_or(rest.len())];
            if line.len() + taken.len() > limit {
                return Err(Error::new(Kind::Protocol, "the server sent a line without end"));
            }
            line.extend_from_slice(taken);
            self.input.at += taken.len() + usize::from(end.is_some());
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
            let rest = self.input.rest();
            let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&rest[..n])?;
            self.input.at += n;
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
