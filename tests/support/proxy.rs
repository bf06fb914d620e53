//! A TCP proxy that cuts connections after so many bytes, in either direction, as a bad line does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cut);
        thread::spawn(move || {
            for (n, client) in listener.incoming().enumerate() {
                let Ok(client) = client else { return };
                let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let left = Arc::new(AtomicU64::new(cuts.get(n).copied().unwrap_or(u64::MAX)));
                pump(&client, &server, &left, &counted);
                pump(&server, &client, &left, &counted);
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
