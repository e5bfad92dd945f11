//! A real supervisord, spoken to over XML-RPC on its unix socket.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Launch, Process, Request, exchange, program, temp_dir, wait_until};

/// A `[program:x]` section.
pub(crate) struct Program {
    /// Name of the program, and so of its group.
    pub name: &'static str,
    /// Command line.
    pub command: String,
    /// How many; with more than one, the processes are called `name_00`, `name_01`, …
    pub numprocs: usize,
    /// Start with supervisord.
    pub autostart: bool,
}

impl Program {
    /// One process that does nothing for an hour, started at once.
    pub(crate) fn sleeper(name: &'static str) -> Self {
        Self { name, command: "/bin/sleep 3600".into(), numprocs: 1, autostart: true }
    }

    /// The same `numprocs` times, as a group.
    pub(crate) fn group(name: &'static str, numprocs: usize) -> Self {
        Self { numprocs, ..Self::sleeper(name) }
    }
}

pub(crate) struct Supervisord {
    directory: TempDir,
    server: Process,
}

impl Supervisord {
    pub(crate) fn start(programs: &[Program]) -> Self {
        let directory = temp_dir();
        let file = directory.path().join("supervisord.conf");
        fs::write(&file, config(directory.path().to_str().unwrap(), programs)).unwrap();
        let launch = Launch::new(program("supervisord", "supervisor")).arg("-n").arg("-c").arg(&file);
        // TERM, not KILL: it has children of its own to stop.
        let server = launch.on_death("TERM").log(&directory.path().join("out")).spawn();
        let mut supervisord = Self { directory, server };
        wait_until(Duration::from_secs(10), "supervisord", || {
            assert!(supervisord.server.alive(), "supervisord ended: {}", supervisord.server.tail());
            UnixStream::connect(supervisord.socket()).is_ok()
                && supervisord.call("supervisor.getState", &[]).contains("RUNNING")
        });
        wait_until(Duration::from_secs(10), "its programs", || {
            !supervisord.call("supervisor.getAllProcessInfo", &[]).contains("<string>STARTING</string>")
        });
        supervisord
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("supervisor.sock")
    }

    /// `group:process` (or `process` where they are the same) to its pid; 0 when it does not run.
    #[track_caller]
    pub(crate) fn pid_of(&self, name: &str) -> u32 {
        let info = self.info(name);
        member(&info, "pid").parse().unwrap_or_else(|_| panic!("no pid of {name} in {info}"))
    }

    /// `RUNNING`, `STOPPED`, `FATAL`, …
    #[track_caller]
    pub(crate) fn state_of(&self, name: &str) -> String {
        member(&self.info(name), "statename")
    }

    /// How many processes of a group run.
    pub(crate) fn running(&self, group: &str, numprocs: usize) -> usize {
        (0..numprocs).filter(|n| self.state_of(&format!("{group}:{group}_{n:02}")) == "RUNNING").count()
    }

    pub(crate) fn start_process(&self, name: &str) -> String {
        self.call("supervisor.startProcess", &[name])
    }

    pub(crate) fn stop_process(&self, name: &str) -> String {
        self.call("supervisor.stopProcess", &[name])
    }

    fn info(&self, name: &str) -> String {
        self.call("supervisor.getProcessInfo", &[name])
    }

    /// Calls a method with string parameters; the answer's XML.
    pub(crate) fn call(&self, method: &str, params: &[&str]) -> String {
        let mut body = format!("<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>");
        for param in params {
            let _ = write!(body, "<param><value><string>{param}</string></value></param>");
        }
        body += "</params></methodCall>";
        let request = Request::new("POST", "/RPC2").header("Content-Type", "text/xml").body(body);
        exchange(UnixStream::connect(self.socket()).unwrap(), &request).unwrap().text()
    }
}

impl Drop for Supervisord {
    fn drop(&mut self) {
        self.server.end(Signal::TERM, Duration::from_secs(10));
    }
}

/// The text of the first scalar member of this name.
fn member(xml: &str, name: &str) -> String {
    let Some((_, rest)) = xml.split_once(&format!("<name>{name}</name>")) else { return String::new() };
    let value = rest.split("</value>").next().unwrap_or_default();
    value.rsplit_once("</").map_or("", |(head, _)| head.rsplit('>').next().unwrap_or_default()).to_owned()
}

fn config(directory: &str, programs: &[Program]) -> String {
    let mut text = format!(
        "[unix_http_server]\nfile={directory}/supervisor.sock\n\
         [supervisord]\nnodaemon=true\nlogfile={directory}/log\npidfile={directory}/pid\n\
         childlogdir={directory}\nminfds=256\nminprocs=50\n\
         [rpcinterface:supervisor]\n\
         supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
    );
    for Program { name, command, numprocs, autostart } in programs {
        let process = if *numprocs > 1 { "%(program_name)s_%(process_num)02d" } else { "%(program_name)s" };
        let _ = write!(
            text,
            "[program:{name}]\ncommand={command}\nprocess_name={process}\nnumprocs={numprocs}\n\
             autostart={autostart}\nstopasgroup=true\nkillasgroup=true\n"
        );
    }
    text
}
