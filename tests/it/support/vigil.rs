//! The binary itself, as an operator starts it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{Launch, Process, Request, Response, conform, exchange, free_port, temp_dir, wait_until};

/// How long a start may take; a first one compiles the embedded plugins.
const UP: Duration = Duration::from_mins(1);

/// What to start it with. The default is a fresh data directory and the built-in settings.
#[derive(Clone, Default)]
pub(crate) struct Options {
    /// Further arguments of `vigil serve`.
    pub args: Vec<String>,
    /// Its environment; it has nothing else but `PATH` and a `HOME` of its own.
    pub env: Vec<(String, String)>,
    /// Text of its `vigil.toml`.
    pub config: Option<String>,
    /// A data directory to share or to keep, instead of a fresh one.
    pub data_dir: Option<PathBuf>,
    /// A program with arguments that becomes the binary in the end (`exec`), with the same process id.
    pub prefix: Vec<String>,
    /// Do not wait until it answers.
    pub no_wait: bool,
    /// Answers under another port than a free one.
    pub port: Option<u16>,
    /// Count requests as the defaults say. Tests ask far more often than a stranger may, so the others go without.
    pub rated: bool,
    /// Kept as long as anything has these options: the directory of the data and the log.
    home: Option<Arc<TempDir>>,
}

impl Options {
    pub(crate) fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    pub(crate) fn rated(mut self) -> Self {
        self.rated = true;
        self
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn database(self, url: impl Into<String>) -> Self {
        self.arg("--database").arg(url)
    }

    pub(crate) fn redis(self, url: impl Into<String>) -> Self {
        self.arg("--redis").arg(url)
    }
}

/// A running `vigil serve`.
pub(crate) struct Vigil {
    options: Options,
    home: Arc<TempDir>,
    port: u16,
    process: Option<Process>,
}

impl Vigil {
    /// The binary this build made.
    pub(crate) fn binary() -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_vigil"))
    }

    /// Starts it and waits until `/health` answers.
    #[track_caller]
    pub(crate) fn start(options: Options) -> Self {
        let home = options.home.clone().unwrap_or_else(|| Arc::new(temp_dir()));
        let port = options.port.unwrap_or_else(free_port);
        let mut vigil = Self { options, home, port, process: None };
        vigil.start_again();
        vigil
    }

    /// Starts a stopped one again: same data, same port.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "it is running");
        self.process = Some(self.launch().spawn());
        if !self.options.no_wait {
            self.wait_until_up();
        }
    }

    fn launch(&self) -> Launch {
        let mut launch = self.command(&["serve"]);
        launch = launch.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        launch = launch.arg("--data-dir").arg(self.data_dir());
        if !self.options.rated {
            launch = launch.env("VIGIL_LIMITS__RATE__ENABLED", "false");
        }
        if let Some(config) = &self.options.config {
            let file = self.home.path().join("vigil.toml");
            fs::write(&file, config).unwrap();
            launch = launch.arg("--config").arg(file);
        }
        launch.args(&self.options.args).log(&self.log_file())
    }

    /// The binary with another sub-command and the same environment and home.
    pub(crate) fn command(&self, args: &[&str]) -> Launch {
        let launch = match self.options.prefix.split_first() {
            None => Launch::new(Self::binary()),
            Some((first, rest)) => Launch::new(first).args(rest).arg(Self::binary()),
        };
        let launch = launch.args(args).clear_env().directory(self.home.path());
        let launch = launch.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let launch = launch.env("HOME", self.home.path());
        self.options.env.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
    }

    #[track_caller]
    pub(crate) fn wait_until_up(&mut self) {
        let begun = Instant::now();
        while !self.try_send(&Request::get("/health")).is_ok_and(|answer| answer.status == 200) {
            let process = self.process.as_mut().expect("it is running");
            if let Some(status) = process.wait(Duration::from_millis(20)) {
                panic!("vigil serve ended with {status}:\n{}", process.tail());
            }
            assert!(begun.elapsed() < UP, "vigil serve does not answer:\n{}", process.tail());
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it is running").pid()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its URL without a trailing slash.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A directory that lives as long as this handle.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.home.path().join("data"))
    }

    fn log_file(&self) -> PathBuf {
        self.home.path().join("vigil.log")
    }

    /// Everything it wrote so far, over all its starts.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The lines of its log that are JSON.
    pub(crate) fn log_lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Changes its environment for its next start.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.options.env.retain(|(known, _)| known != name);
        self.options.env.push((name.to_owned(), value.to_owned()));
    }

    /// Kills it in the middle of whatever it does.
    pub(crate) fn kill9(&mut self) {
        self.take().end(Signal::KILL, Duration::from_secs(5));
    }

    /// Asks it to stop and waits for the end, at most 40 s.
    pub(crate) fn sigterm(&mut self) -> ExitStatus {
        self.take().end(Signal::TERM, Duration::from_secs(40))
    }

    /// Stops it in order and starts it again.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        let status = self.sigterm();
        assert!(status.success(), "vigil serve ended with {status}:\n{}", self.log());
        self.start_again();
    }

    /// Sends any signal; for `STOP` and `CONT`.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it is running").signal(signal);
    }

    /// Its exit status, if it ends by itself within `limit`; it may then be started again.
    pub(crate) fn wait_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let status = self.process.as_mut().expect("it is running").wait(limit)?;
        self.process = None;
        Some(status)
    }

    fn take(&mut self) -> Process {
        self.process.take().expect("it is running")
    }

    /// Sends a request; an error where no whole answer came back. The answer is held against the description.
    #[track_caller]
    pub(crate) fn try_send(&self, request: &Request) -> std::io::Result<Response> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let answer = exchange(stream, request)?;
        conform::check(request, &answer);
        Ok(answer)
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| panic!("{error}; its log:\n{}", self.log()))
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(&Request::get(path))
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.send(&Request::post(path, body))
    }

    /// The body of a GET that must succeed.
    #[track_caller]
    pub(crate) fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert!(answer.status < 300, "GET {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// The body of a POST that must succeed.
    #[track_caller]
    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body);
        assert!(answer.status < 300, "POST {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// One series of `/metrics` by its text up to the value, `requests_total{method="GET",…}`; 0 if it is absent.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").expect(200).text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or(0.0)
    }

    /// Sends bytes as they are and answers everything that comes back until the server closes, or 5 s pass.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Errors are answers too: the server may hang up on the way.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// Asks a path until its JSON satisfies `done`; answers that JSON.
    #[track_caller]
    pub(crate) fn wait_json(&self, path: &str, limit: Duration, done: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let begun = Instant::now();
        while begun.elapsed() < limit {
            last = self.get_json(path);
            if done(&last) {
                return last;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited {limit:?} in vain at {path}; the last answer: {last:#}\nits log:\n{}", self.log())
    }

    /// Waits until its log has this text.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str, limit: Duration) {
        wait_until(limit, &format!("{text:?} in the log"), || self.log().contains(text));
    }
}
