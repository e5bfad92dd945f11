//! The harness itself works: each server starts, answers, stops, and is gone afterwards.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

/// Whether a process of this id exists and is not merely waiting to be buried.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn send(port: u16, request: &Request) -> std::io::Result<Response> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    exchange(stream, request)
}

#[test]
fn a_child_is_killed_when_its_handle_goes() {
    let child = Launch::new("/bin/sleep").arg("3600").spawn();
    let pid = child.pid();
    wait_until(Duration::from_secs(5), "sleep", || alive(pid));
    drop(child);
    assert!(!alive(pid));
}

#[test]
fn a_child_is_killed_with_a_killed_parent() {
    // The middle shell stands for a test process; the file tells whom it started.
    let dir = temp_dir();
    let file = dir.path().join("pid");
    let script = "setpriv --pdeathsig KILL -- sleep 3600 & echo $! >\"$1\"; wait";
    let mut parent = Launch::new("/bin/sh").args(["-c", script, "sh"]).arg(&file).spawn();
    let pid: u32 = wait_for(Duration::from_secs(5), "its child", || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    });
    // The kernel is asked by setpriv before it becomes sleep.
    wait_until(Duration::from_secs(5), "sleep", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
    });
    parent.end(rustix::process::Signal::KILL, Duration::from_secs(5));
    wait_until(Duration::from_secs(5), "its death", || !alive(pid));
}

#[test]
#[should_panic(expected = "apt-get install the-package")]
fn a_missing_program_names_its_package() {
    program("no-such-program", "the-package");
}

#[test]
fn postgres_is_shared_and_each_database_is_fresh() {
    let cluster = Postgres::shared();
    let (one, two) = (cluster.database(), cluster.database());
    assert_ne!(one, two);
    let name = one.rsplit('/').next().unwrap();
    cluster.psql(name, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    assert_eq!(cluster.psql(name, "SELECT n FROM t"), "7");
    let copy = cluster.database_from(name);
    assert_eq!(cluster.psql(copy.rsplit('/').next().unwrap(), "SELECT n FROM t"), "7");
    assert_eq!(cluster.psql("postgres", "SHOW fsync"), "off");
}

#[test]
fn postgres_survives_a_restart_and_a_crash() {
    let mut cluster = Postgres::start(true);
    assert_eq!(cluster.psql("postgres", "SHOW fsync"), "on");
    cluster.psql("postgres", "CREATE TABLE t AS SELECT 7 AS n");
    cluster.restart();
    cluster.crash();
    cluster.start_again();
    assert_eq!(cluster.psql("postgres", "SELECT n FROM t"), "7");
}

#[test]
fn redis_forgets_and_comes_back() {
    let mut redis = Redis::start();
    assert_eq!(redis.command(&["SET", "a", "1"]), "+OK\r\n");
    redis.flush();
    assert_eq!(redis.command(&["GET", "a"]), "$-1\r\n");
    assert!(redis.socket().exists());
    let url = redis.url();
    redis.stop();
    assert!(TcpStream::connect(("127.0.0.1", redis.port())).is_err());
    redis.start_again();
    assert_eq!(redis.url(), url);
}

#[test]
fn supervisord_runs_programs() {
    let supervisord = Supervisord::start(&[Program::sleeper("checkout"), Program::group("web", 2)]);
    let pid = supervisord.pid_of("web:web_00");
    assert!(alive(pid));
    assert_ne!(supervisord.pid_of("checkout"), pid);
    assert_eq!(supervisord.running("web", 2), 2);
    assert!(supervisord.stop_process("web:web_00").contains("<boolean>1"));
    assert_eq!((supervisord.pid_of("web:web_00"), supervisord.running("web", 2)), (0, 1));
    assert!(supervisord.start_process("web:web_01").contains("ALREADY_STARTED"));
    drop(supervisord);
    wait_until(Duration::from_secs(5), "its programs to end", || !alive(pid));
}

#[test]
fn a_target_counts_delays_and_fails() {
    let target = CountingTarget::start();
    let port = target.address().port();
    target.behave(Behaviour { fail_first: 1, ..Behaviour::default() });
    let call = Request::post("/restart", &json!({"target": "web-01"})).header("Idempotency-Key", "k-1");
    assert_eq!(send(port, &call).unwrap().status, 503);
    assert_eq!(send(port, &call).unwrap().json(), json!({"status": "completed"}));
    assert_eq!((target.count(), target.count_by_key()["k-1"], target.count_by_target()["web-01"]), (2, 2, 2));
    target.assert_never_two_at_once();
    let calls: Vec<Call> = target.calls();
    assert!(
        calls[0].status == 503 && calls[1].key() == Some("k-1") && calls[1].ended >= Some(calls[1].began)
    );

    target.behave(Behaviour { delay: Duration::from_millis(200), ..Behaviour::default() });
    let both: Vec<_> =
        (0..2).map(|_| call.clone()).map(|call| std::thread::spawn(move || send(port, &call))).collect();
    for thread in both {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(target.overlaps().len(), 1);
}

#[test]
fn a_target_answers_oddly() {
    let target = CountingTarget::start();
    let port = target.address().port();
    let say = |answer| target.behave(Behaviour { answer, ..Behaviour::default() });
    say(Answer::Echo);
    let echo = send(port, &Request::new("PUT", "/x?y=1").header("A", "b").body("hello")).unwrap().json();
    assert_eq!(
        (&echo["path"], &echo["headers"]["a"], &echo["body"]),
        (&json!("/x?y=1"), &json!("b"), &json!("hello"))
    );
    say(Answer::Huge(3_000_000));
    assert_eq!(send(port, &Request::get("/")).unwrap().body.len(), 3_000_000);
    say(Answer::Redirect("http://elsewhere.example/".into()));
    assert_eq!(send(port, &Request::get("/")).unwrap().header("location"), Some("http://elsewhere.example/"));
    say(Answer::Close);
    assert!(send(port, &Request::get("/")).is_err());
    say(Answer::Hang);
    let stream = TcpStream::connect(target.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(exchange(stream, &Request::get("/")).is_err());
}

#[test]
fn a_proxy_does_each_fault() {
    let target = CountingTarget::start();
    let proxy = FaultProxy::tcp(target.address().port());
    let get = || send(proxy.port(), &Request::get("/"));
    assert_eq!(get().unwrap().status, 200);
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let begun = Instant::now();
    assert_eq!(get().unwrap().status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    proxy.set(Mode::CutAfter(20));
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.write_all(&Request::get("/").bytes()).unwrap();
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got);
    assert!(got.len() <= 20, "{}", got.len());
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    proxy.set(Mode::Reset);
    assert!(get().is_err());
    proxy.set(Mode::Blackhole);
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut held = stream.try_clone().unwrap();
    held.write_all(&Request::get("/held").bytes()).unwrap();
    assert!(held.read(&mut [0]).is_err());
    proxy.set(Mode::Pass);
    held.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(held.read(&mut [0; 9]).unwrap() > 0);
}

#[test]
fn a_proxy_stands_before_a_unix_socket() {
    let supervisord = Supervisord::start(&[Program::sleeper("checkout")]);
    let directory = temp_dir();
    let door = directory.path().join("door");
    let proxy = FaultProxy::unix(&door, &supervisord.socket());
    let call = Request::new("POST", "/RPC2")
        .body("<?xml version='1.0'?><methodCall><methodName>supervisor.getState</methodName></methodCall>");
    assert_eq!(exchange(UnixStream::connect(&door).unwrap(), &call).unwrap().status, 200);
    assert_eq!(proxy.connections(), 1);
    proxy.set(Mode::Reset);
    assert!(exchange(UnixStream::connect(&door).unwrap(), &call).is_err());
}

#[test]
fn vigil_starts_and_restarts() {
    let mut vigil = Vigil::start(Options::default());
    let (pid, url) = (vigil.pid(), vigil.url());
    assert_eq!(vigil.get("/no-such-place").status, 404);
    assert!(vigil.raw(b"nonsense\r\n\r\n").starts_with(b"HTTP/1.1 400"));
    vigil.restart();
    assert_eq!(vigil.url(), url);
    assert_ne!(vigil.pid(), pid);
    vigil.kill9();
    vigil.start_again();
    assert!(vigil.sigterm().success());
}
