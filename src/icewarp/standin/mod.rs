//! The stand-in for an IceWarp server: XML API, IMAP and DAV on loopback, for rehearsals and tests.
//!
//! It follows what is known of IceWarp, takes the strict side where little is known, and can be told to be difficult
//! ([`Difficulties`]). What it shows is that floe's logic holds, not how a real server behaves. State lies in a folder: accounts as
//! JSON, messages and items as files. It survives a kill of the process.

mod api;
mod dav;
mod difficulty;
mod directory;
mod http;
mod imap;
mod mail;
mod place;
mod world;
mod xml;

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use self::difficulty::Tallies;
pub use self::difficulty::{Difficulties, Language, Nth};
use self::world::{Login, World};
use crate::error::{Error, Kind, Result};
use crate::net::Secret;

/// The version that it gives itself.
const VERSION: &str = "14.3.0.3";

/// The domain that is there from the start.
const DOMAIN: &str = "standin.test";

/// The account of it that is server administrator.
const ADMIN: &str = "migration.admin@standin.test";

/// IMAP connections at one time.
const CONNECTIONS_MAX: usize = 512;

/// What a mutex guards, also after a panic elsewhere.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 32 hexadecimal digits that nobody can guess.
fn random_hex() -> String {
    let mut bytes = [0; 16];
    // The system's generator does not fail on anything that floe runs on; were it to, logins would only fail.
    if rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).is_err() {
        bytes = std::process::id().to_le_bytes().repeat(4).try_into().unwrap_or_default();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A running stand-in; it stops when dropped.
pub struct StandIn {
    world: Arc<World>,
    http: SocketAddr,
    imap: SocketAddr,
    stopping: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    clients: Clients,
    http_stop: Option<tokio::sync::oneshot::Sender<()>>,
}

type Clients = Arc<Mutex<Vec<TcpStream>>>;

impl StandIn {
    /// Starts it on a folder, which is made if need be; what an earlier one kept there is served again.
    ///
    /// # Errors
    /// `Kind::Storage` if the folder cannot be read or written, `Kind::Unreachable` if there is no free port.
    pub fn start(dir: &Path, difficulties: Difficulties) -> Result<StandIn> {
        let world = Arc::new(World::open(dir, difficulties)?);
        let (imap, http) = (listen()?, listen()?);
        let addresses = (imap.local_addr().map_err(no_port)?, http.local_addr().map_err(no_port)?);
        world.set_http(addresses.1);
        let stopping = Arc::new(AtomicBool::new(false));
        let clients = Clients::default();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let threads = vec![
            std::thread::spawn({
                let (world, stopping, clients) = (Arc::clone(&world), Arc::clone(&stopping), Arc::clone(&clients));
                move || accept(&world, &imap, &stopping, &clients)
            }),
            std::thread::spawn({
                let world = Arc::clone(&world);
                move || http::serve(&world, http, stopped)
            }),
        ];
        Ok(StandIn { world, imap: addresses.0, http: addresses.1, stopping, threads, clients, http_stop: Some(stop) })
    }

    /// Address of the XML API and of DAV, without a slash at the end.
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Address of IMAP, without TLS.
    pub fn imap(&self) -> SocketAddr {
        self.imap
    }

    /// The administrator's account: an ordinary one with rights over the server.
    pub fn admin(&self) -> &'static str {
        ADMIN
    }

    /// The administrator's password, which is that of `globaladmin` as well.
    ///
    /// # Errors
    /// `Kind::Usage` if somebody took the file away.
    pub fn password(&self) -> Result<Secret> {
        Secret::from_file(&self.password_file())
    }

    /// The file, of mode 0600, that holds that password.
    pub fn password_file(&self) -> PathBuf {
        self.world.password_file()
    }

    /// Where invitations are put that a real server would have mailed.
    pub fn outbox(&self) -> PathBuf {
        self.world.outbox()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.http_stop.take().map(|stop| stop.send(()));
        // Wakes the thread that waits for clients.
        let _ = TcpStream::connect(self.imap);
        for client in locked(&self.clients).drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn listen() -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_port)
}

fn no_port(e: io::Error) -> Error {
    Error::new(Kind::Unreachable, "the stand-in finds no free port on loopback").because(e)
}

/// Takes IMAP clients in until it is told to stop.
fn accept(world: &Arc<World>, listener: &TcpListener, stopping: &AtomicBool, clients: &Clients) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else { continue };
        let peer = stream.peer_addr().ok();
        {
            let mut clients = locked(clients);
            if clients.len() >= CONNECTIONS_MAX {
                continue;
            }
            clients.push(handle);
        }
        let (world, clients) = (Arc::clone(world), Arc::clone(clients));
        std::thread::spawn(move || {
            // A connection that ends early is the client's affair, or was asked for.
            let _ = imap::serve(&world, stream);
            locked(&clients).retain(|client| client.peer_addr().ok().is_some_and(|other| Some(other) != peer));
        });
    }
}
