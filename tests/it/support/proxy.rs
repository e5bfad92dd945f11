//! A proxy between Vigil and a server, whose behaviour is switched while connections are open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::Socket;

/// How often a pump looks whether the mode has changed.
const LOOK: Duration = Duration::from_millis(10);

/// What happens to the bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They are held, in both directions, and the connections stay open; new ones are taken and also hang.
    Blackhole,
    /// Open connections are reset, new ones too.
    Reset,
    /// Each piece waits this long before it passes.
    Delay(Duration),
    /// This many more bytes pass *from the server*, over all connections; then the connection is reset.
    CutAfter(u64),
}

/// Where a proxy listens or connects to.
#[derive(Clone, Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

struct State {
    mode: Mutex<Mode>,
    /// Bytes still to pass in [`Mode::CutAfter`].
    left: AtomicU64,
    stopped: AtomicBool,
    connections: AtomicUsize,
    /// Counts the resets, so that a short one is not missed by a connection that was not looking.
    resets: AtomicUsize,
    upstream: Place,
}

impl State {
    /// The mode for a connection made after so many resets.
    fn mode(&self, resets: usize) -> Mode {
        let over = self.stopped.load(Ordering::Relaxed) || self.resets.load(Ordering::SeqCst) != resets;
        if over { Mode::Reset } else { *self.mode.lock().unwrap() }
    }

    fn connect(&self) -> io::Result<Socket> {
        Ok(match &self.upstream {
            Place::Tcp(address) => TcpStream::connect(address)?.into(),
            Place::Unix(path) => UnixStream::connect(path)?.into(),
        })
    }
}

/// A running proxy. Dropping it resets its connections.
pub(crate) struct FaultProxy {
    state: Arc<State>,
    place: Place,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 before a server on another port of it.
    pub(crate) fn tcp(upstream_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = Place::Tcp(listener.local_addr().unwrap());
        Self::start(listener.into(), place, Place::Tcp(([127, 0, 0, 1], upstream_port).into()))
    }

    /// Listens on a unix socket before another.
    pub(crate) fn unix(listen: &Path, upstream: &Path) -> Self {
        let listener = UnixListener::bind(listen).unwrap();
        Self::start(listener.into(), Place::Unix(listen.to_owned()), Place::Unix(upstream.to_owned()))
    }

    fn start(listener: Socket, place: Place, upstream: Place) -> Self {
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Pass),
            left: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            resets: AtomicUsize::new(0),
            upstream,
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(&listener, &shared));
        Self { state, place }
    }

    pub(crate) fn set(&self, mode: Mode) {
        if let Mode::CutAfter(bytes) = mode {
            self.state.left.store(bytes, Ordering::SeqCst);
        }
        *self.state.mode.lock().unwrap() = mode;
        if mode == Mode::Reset {
            self.state.resets.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The port it listens on; 0 on a unix socket.
    pub(crate) fn port(&self) -> u16 {
        match &self.place {
            Place::Tcp(address) => address.port(),
            Place::Unix(_) => 0,
        }
    }

    /// How many connections it has taken so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which then sees that it is over.
        match &self.place {
            Place::Tcp(address) => drop(TcpStream::connect(address)),
            Place::Unix(path) => drop(UnixStream::connect(path)),
        }
    }
}

fn accept(listener: &Socket, state: &Arc<State>) {
    while let Ok((client, _)) = listener.accept() {
        if state.stopped.load(Ordering::Relaxed) {
            return;
        }
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(state);
        thread::spawn(move || carry(&client, &state));
    }
}

fn carry(client: &Socket, state: &Arc<State>) {
    let resets = state.resets.load(Ordering::SeqCst);
    // In a black hole even the connection to the server is not made.
    while state.mode(resets) == Mode::Blackhole {
        thread::sleep(LOOK);
    }
    if state.mode(resets) == Mode::Reset {
        return reset(client);
    }
    let Ok(server) = state.connect() else { return reset(client) };
    let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let shared = Arc::clone(state);
    let up = thread::spawn(move || pump(&client_too, &server_too, &shared, (resets, false)));
    pump(&server, client, state, (resets, true));
    let _ = up.join();
}

/// Moves bytes one way until an end or a fault.
fn pump(mut from: &Socket, mut to: &Socket, state: &State, (resets, from_server): (usize, bool)) {
    let _ = from.set_read_timeout(Some(LOOK));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match state.mode(resets) {
            Mode::Reset => return [from, to].into_iter().for_each(reset),
            Mode::Blackhole => {
                thread::sleep(LOOK);
                continue;
            }
            Mode::Pass | Mode::Delay(_) | Mode::CutAfter(_) => {}
        }
        let got = match from.read(&mut buffer) {
            Ok(0) => return drop(to.shutdown(std::net::Shutdown::Write)),
            Ok(got) => got,
            Err(error) if is_timeout(&error) => continue,
            Err(_) => return [from, to].into_iter().for_each(reset),
        };
        let (pass, cut) = admit(state, got, (resets, from_server));
        if to.write_all(&buffer[..pass]).is_err() || cut {
            return [from, to].into_iter().for_each(reset);
        }
    }
}

/// How many of these bytes may pass, after waiting as the mode wants; and whether the connection ends with them.
fn admit(state: &State, got: usize, (resets, from_server): (usize, bool)) -> (usize, bool) {
    if let Mode::Delay(time) = state.mode(resets) {
        thread::sleep(time);
    }
    // What was read before the black hole opened is held until it closes.
    while state.mode(resets) == Mode::Blackhole {
        thread::sleep(LOOK);
    }
    match state.mode(resets) {
        Mode::Reset => (0, true),
        Mode::CutAfter(_) if from_server => {
            let take = |left: u64| Some(left.saturating_sub(got as u64));
            let left = state.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap();
            let pass = usize::try_from(left).unwrap_or(usize::MAX).min(got);
            (pass, left <= got as u64)
        }
        Mode::Pass | Mode::Blackhole | Mode::Delay(_) | Mode::CutAfter(_) => (got, false),
    }
}

/// Ends a connection with RST (on a unix socket its peer sees an end), once its last owner lets go of it.
fn reset(socket: &Socket) {
    let _ = socket.set_linger(Some(Duration::ZERO));
    // Wakes the pump of the other direction.
    let _ = socket.shutdown(std::net::Shutdown::Read);
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
