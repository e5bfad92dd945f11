//! Child processes that cannot outlive the tests.
//!
//! `Drop` kills by pid. For a test process that is itself killed, `setpriv --pdeathsig` asks the kernel to signal
//! the child; the kernel ties that to the *thread* that forked, so one thread, which never ends, forks them all.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::process::{Pid, Signal, kill_process};

type Job = (Command, Sender<io::Result<Child>>);

/// What to start, and how it is to end.
pub(crate) struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    clear_env: bool,
    user: Option<String>,
    directory: Option<PathBuf>,
    log: Option<PathBuf>,
    death: &'static str,
}

impl Launch {
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            clear_env: false,
            user: None,
            directory: None,
            log: None,
            death: "KILL",
        }
    }

    pub(crate) fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Start with nothing in the environment but what [`Launch::env`] adds.
    pub(crate) fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// Run as this user; only where the tests run as root.
    pub(crate) fn user(mut self, user: Option<&str>) -> Self {
        self.user = user.map(str::to_owned);
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Append stdout and stderr to this file; otherwise they are thrown away.
    pub(crate) fn log(mut self, log: &Path) -> Self {
        self.log = Some(log.to_owned());
        self
    }

    /// The signal sent when the test process dies; `KILL` unless the program has children to stop first.
    pub(crate) fn on_death(mut self, signal: &'static str) -> Self {
        self.death = signal;
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("setpriv", "util-linux"));
        command.args(["--pdeathsig", self.death]);
        if let Some(user) = &self.user {
            command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.args).stdin(Stdio::null());
        if self.clear_env {
            command.env_clear();
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        match &self.log {
            Some(log) => {
                let file = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
                command.stdout(file.try_clone().unwrap()).stderr(file);
            }
            None => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
        }
        command
    }

    /// Start it and let it run.
    pub(crate) fn spawn(&self) -> Process {
        let (answer, child) = channel();
        spawner().send((self.command(), answer)).unwrap();
        let child = child.recv().unwrap().unwrap();
        Process { child, name: self.program.display().to_string(), log: self.log.clone() }
    }

    /// Start it and wait for its end; fails the test unless it ends well.
    #[track_caller]
    pub(crate) fn run(&self) {
        let mut process = self.spawn();
        let status = process.wait(Duration::from_mins(1));
        assert!(
            status.is_some_and(|s| s.success()),
            "{} ended with {status:?}: {}",
            process.name,
            process.tail()
        );
    }
}

/// A running child. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: Option<PathBuf>,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // An error means it has ended, which is what most callers wanted.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Its exit status if it ended within `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if begun.elapsed() >= limit {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.wait(Duration::ZERO).is_none()
    }

    /// Signals it and waits; after `limit` it is killed. Answers how it ended.
    pub(crate) fn end(&mut self, signal: Signal, limit: Duration) -> ExitStatus {
        self.signal(signal);
        self.wait(limit).unwrap_or_else(|| {
            let _ = self.child.kill();
            self.child.wait().unwrap_or(ExitStatus::from_raw(9))
        })
    }

    /// The last 4 KiB of its log, for the message of a failed test.
    pub(crate) fn tail(&self) -> String {
        let text = self.log.as_deref().map(fs::read).transpose().ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is; fails the test with the Debian package to install when it is nowhere.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"].map(PathBuf::from));
    let found = places.into_iter().map(|place| place.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| missing(name, package))
}

/// Fails the test: the program is not installed.
pub(crate) fn missing(name: &str, package: &str) -> ! {
    panic!("this test needs `{name}`, which is not installed: apt-get install {package}")
}

/// Removes `directory` when the test process ends, however it ends. For what lives in a static and is never dropped:
/// a shell waits for the end of its standard input, which only this process holds open.
pub(crate) fn remove_at_exit(directory: &Path) {
    static WAITING: Mutex<Vec<Child>> = Mutex::new(Vec::new());
    let script = "cat >/dev/null; sleep 0.5; rm -rf -- \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(directory).stdin(Stdio::piped());
    let shell = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Kept for ever: the end of its standard input is the signal.
    WAITING.lock().unwrap().push(shell);
}

fn spawner() -> &'static Sender<Job> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (jobs, todo) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in todo {
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    })
}
