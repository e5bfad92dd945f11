//! What one server has answered, the other knows.

use std::net::{Shutdown, TcpStream};
use std::thread;

use serde_json::json;

use crate::stage::{Backend, Setting, campaign, config};
use crate::support::{CountingTarget, Request, Vigil, exchange};

/// Clients at a time.
const CLIENTS: usize = 4;

#[test]
fn what_is_created_on_one_server_is_there_on_the_other() {
    let creates = if campaign() { 5_000 } else { 600 };
    for setting in [Setting::Postgres, Setting::PostgresRedis] {
        let (backend, target) = (Backend::new(setting), CountingTarget::start());
        let config = format!("{}\n[limits.rate]\nenabled = false\n", config(&target.url()));
        let servers: Vec<Vigil> = (0..2).map(|_| Vigil::start(backend.options(&config))).collect();
        let ports: Vec<u16> = servers.iter().map(Vigil::port).collect();
        let seen: usize = thread::scope(|scope| {
            let one = |client| {
                let ports = &ports;
                scope.spawn(move || {
                    (client..creates).step_by(CLIENTS).filter(|at| seen_there(ports, *at)).count()
                })
            };
            let clients: Vec<_> = (0..CLIENTS).map(one).collect();
            clients.into_iter().map(|client| client.join().expect("a client")).sum()
        });
        println!("{setting:?}: {creates} creates, {seen} seen at once by the other server");
        assert_eq!(seen, creates, "{setting:?}");
        assert_eq!(servers[1].get_json("/api/v1/actions?limit=1")["total"], creates);
    }
}

/// Creates an action on one server and reads it on the other.
fn seen_there(ports: &[u16], at: usize) -> bool {
    let (here, there) = (ports[at % 2], ports[(at + 1) % 2]);
    let body = json!({"target": format!("t-{at}"), "action": "reboot-rack"});
    let made = ask(here, &Request::post("/api/v1/actions", &body));
    assert_eq!(made.0, 201, "{}", made.1);
    let id = made.1["action_id"].as_i64().expect("an id");
    let (status, read) = ask(there, &Request::get(&format!("/api/v1/actions/{id}")));
    status == 200 && read["target"] == body["target"]
}

fn ask(port: u16, request: &Request) -> (u16, serde_json::Value) {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server");
    let ended = stream.try_clone().expect("the stream");
    let answer = exchange(stream, request).expect("an answer");
    let _ = ended.shutdown(Shutdown::Both);
    (answer.status, answer.json())
}
