//! A real Prometheus over given samples: it scrapes nothing, and nobody writes to it.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Launch, Process, Request, exchange, free_port, program, temp_dir, wait_until};

/// One server on 127.0.0.1.
pub(crate) struct Prometheus {
    _directory: TempDir,
    port: u16,
    _server: Process,
}

impl Prometheus {
    /// With the samples of that OpenMetrics text, of whatever time.
    pub(crate) fn over(openmetrics: &str) -> Self {
        let directory = temp_dir();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("samples"), openmetrics).unwrap();
        fs::write(path("config.yml"), "").unwrap();
        let promtool = Launch::new(program("promtool", "prometheus"));
        let promtool = promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(path("samples"));
        promtool.arg(path("data")).log(&path("promtool.log")).run();
        let port = free_port();
        let launch = Launch::new(program("prometheus", "prometheus"))
            .arg("--config.file")
            .arg(path("config.yml"))
            .arg("--storage.tsdb.path")
            .arg(path("data"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut server = launch.log(&path("prometheus.log")).spawn();
        wait_until(Duration::from_secs(30), "prometheus", || {
            assert!(server.alive(), "prometheus ended: {}", server.tail());
            let ready = TcpStream::connect(("127.0.0.1", port))
                .and_then(|stream| exchange(stream, &Request::get("/-/ready")));
            ready.is_ok_and(|answer| answer.status == 200)
        });
        Self { _directory: directory, port, _server: server }
    }

    #[track_caller]
    fn ask(&self, request: &Request) -> Value {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        exchange(stream, request).unwrap().expect(200).json()
    }

    /// Its version's first number.
    pub(crate) fn major(&self) -> u32 {
        let about = self.ask(&Request::get("/api/v1/status/buildinfo"));
        let version = about["data"]["version"].as_str().unwrap();
        version.split('.').next().unwrap().parse().unwrap()
    }

    /// What an expression is at one moment, given in milliseconds: a vector's or matrix' members.
    #[track_caller]
    pub(crate) fn query(&self, expression: &str, at: i64) -> Vec<Value> {
        let time = format!("{}.{:03}", at / 1_000, at % 1_000);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .append_pair("time", &time)
            .finish();
        let request = Request::new("POST", "/api/v1/query").body(form);
        let mut answer = self.ask(&request.header("Content-Type", "application/x-www-form-urlencoded"));
        let Value::Array(members) = answer["data"]["result"].take() else { panic!("{expression}: {answer}") };
        members
    }
}
