//! A TCP proxy that cuts connections after so many bytes, in either direction, as a bad line does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// So long a line holds back what was under way when it was cut.
const HELD_BACK: Duration = Duration::from_millis(1500);

/// Passes on to a port of this machine. The first connections are cut, each after another number of bytes.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    /// Connections that were cut.
    pub cuts: Arc<AtomicUsize>,
}

impl Proxy {
    /// Cuts the n-th connection after `cuts[n]` bytes, counted over both directions; later ones never.
    pub fn start(to: u16, cuts: Vec<u64>) -> Proxy {
        Proxy::run(to, cuts, false)
    }

    /// Cuts the n-th connection after the client has sent so many bytes, and what it has sent beyond them reaches the server only when the
    /// client has long gone.
    pub fn holding_back(to: u16, cuts: Vec<u64>) -> Proxy {
        Proxy::run(to, cuts, true)
    }

    fn run(to: u16, cuts: Vec<u64>, holds_back: bool) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cut);
        thread::spawn(move || {
            for (n, client) in listener.incoming().enumerate() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let left = Arc::new(AtomicU64::new(cuts.get(n).copied().unwrap_or(u64::MAX)));
                if holds_back {
                    hold_back(&client, &server, &left, &counted);
                    answer(&server, &client);
                } else {
                    pump(&client, &server, &left, &counted);
                    pump(&server, &client, &left, &counted);
                }
            }
        });
        Proxy { port, cuts: cut }
    }
}

fn pump(from: &TcpStream, to: &TcpStream, left: &Arc<AtomicU64>, cuts: &Arc<AtomicUsize>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let (left, cuts) = (Arc::clone(left), Arc::clone(cuts));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |l| Some(l.saturating_sub(n as u64))).unwrap_or(0);
            let pass = n.min(usize::try_from(before).unwrap_or(n));
            if to.write_all(&buffer[..pass]).is_err() {
                break;
            }
            if pass < n {
                cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Passes on what the server says, and takes it also when the client has gone.
fn answer(server: &TcpStream, client: &TcpStream) {
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let _ = to.write_all(&buffer[..n]);
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn hold_back(client: &TcpStream, server: &TcpStream, left: &Arc<AtomicU64>, cuts: &Arc<AtomicUsize>) {
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut left, cuts) = (left.load(Ordering::SeqCst), Arc::clone(cuts));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let pass = n.min(usize::try_from(left).unwrap_or(n));
            left -= pass as u64;
            if to.write_all(&buffer[..pass]).is_err() {
                break;
            }
            if pass < n {
                cuts.fetch_add(1, Ordering::SeqCst);
                let mut held = buffer[pass..n].to_vec();
                from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                while let (Ok(n @ 1..), true) = (from.read(&mut buffer), held.len() < 4 << 20) {
                    held.extend_from_slice(&buffer[..n]);
                }
                let _ = from.shutdown(Shutdown::Both);
                thread::sleep(HELD_BACK);
                let _ = to.write_all(&held);
                // The server answers to nobody, and is not told that nobody listens before it has done what it was asked.
                thread::sleep(Duration::from_secs(10));
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
