//! The demo's own supervisor answers as the real one does.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::support::{Launch, Program, Request, Supervisord, Vigil, exchange, temp_dir, wait_until};

/// Parameters as XML values.
const CHECKOUT: &str = "<string>checkout</string>";
const NO_WAIT: &str = "<boolean>0</boolean>";

fn call(socket: &Path, method: &str, params: &[&str]) -> String {
    let params: Vec<String> =
        params.iter().map(|value| format!("<param><value>{value}</value></param>")).collect();
    let params = params.concat();
    let body = format!(
        "<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"
    );
    let request = Request::new("POST", "/RPC2").header("Content-Type", "text/xml").body(body);
    let answer = exchange(UnixStream::connect(socket).unwrap(), &request).unwrap();
    assert_eq!(answer.header("content-type"), Some("text/xml"));
    format!("{}\n{}", answer.status, answer.text())
}

/// The answer without what differs from run to run: times, process ids, log files.
fn comparable(xml: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in xml.lines() {
        let name = lines.last().map_or("", String::as_str);
        let varies = ["start", "stop", "now", "pid", "logfile", "stdout_logfile", "stderr_logfile"];
        let varying = varies.iter().any(|varying| name == format!("<name>{varying}</name>"));
        let digits = name == "<name>description</name>";
        lines.push(match line {
            _ if varying => "…".into(),
            // "pid 4711, uptime 0:00:01"
            _ if digits => line.split(|c: char| c.is_ascii_digit()).filter(|part| part.len() > 1).collect(),
            _ => line.into(),
        });
    }
    lines.join("\n")
}

/// Ends every start and stop on its way.
fn settle(socket: &Path) {
    wait_until(Duration::from_secs(15), "the process to settle", || {
        let info = call(socket, "supervisor.getProcessInfo", &[CHECKOUT]);
        ["STARTING", "STOPPING"].iter().all(|state| !info.contains(&format!("<string>{state}</string>")))
    });
}

#[test]
fn the_demo_s_supervisor_answers_as_supervisord_does() {
    let real = Supervisord::start(&[Program::sleeper("checkout")]);
    let directory = temp_dir();
    let ours = directory.path().join("ours.sock");
    let _demo = Launch::new(Vigil::binary()).args(["demo-service", "--supervise"]).arg(&ours).spawn();
    wait_until(Duration::from_secs(5), "the demo's supervisor", || UnixStream::connect(&ours).is_ok());
    settle(&ours);
    let inner = |method: &str| {
        format!(
            "<value><struct><member><name>methodName</name><value><string>{method}</string></value></member>\
             <member><name>params</name><value><array><data><value>{CHECKOUT}</value></data></array></value></member>\
             </struct></value>"
        )
    };
    let [stop, start, nope] = ["supervisor.stopProcess", "supervisor.startProcess", "nope"].map(inner);
    let restart = format!("<array><data>{stop}{start}{start}{nope}</data></array>");
    let script: &[(&str, &[&str])] = &[
        ("supervisor.getState", &[]),
        ("supervisor.getAPIVersion", &[]),
        ("supervisor.getIdentification", &[]),
        ("supervisor.getAllProcessInfo", &[]),
        ("supervisor.getProcessInfo", &[CHECKOUT]),
        ("supervisor.getProcessInfo", &["checkout:*"]),
        ("supervisor.getProcessInfo", &["<string>a&lt;b</string>"]),
        ("supervisor.startProcess", &[CHECKOUT]),
        ("supervisor.stopProcess", &["checkout:checkout", NO_WAIT]),
        ("supervisor.getProcessInfo", &[CHECKOUT]),
        ("supervisor.stopProcess", &["checkout:checkout"]),
        ("supervisor.startProcess", &[CHECKOUT, NO_WAIT]),
        ("supervisor.startProcessGroup", &[CHECKOUT]),
        ("supervisor.stopProcessGroup", &[CHECKOUT]),
        ("supervisor.stopProcessGroup", &[CHECKOUT]),
        ("supervisor.startProcessGroup", &[CHECKOUT, NO_WAIT]),
        ("system.multicall", &[&restart]),
        ("supervisor.stopProcess", &["checkout:*"]),
        ("supervisor.startProcess", &["checkout:*"]),
        ("supervisor.startProcess", &["nope"]),
        ("supervisor.startProcess", &["checkout:nope"]),
        ("supervisor.stopProcessGroup", &["nope"]),
        ("supervisor.startProcess", &[]),
        ("supervisor.getState", &[CHECKOUT]),
        ("supervisor.nope", &[]),
    ];
    for (method, params) in script {
        let [expected, found] =
            [&real.socket(), &ours].map(|socket| comparable(&call(socket, method, params)));
        assert_eq!(found, expected, "{method} {params:?}");
        settle(&real.socket());
        settle(&ours);
    }
}

#[test]
fn the_demo_heals_what_it_breaks() {
    let home = temp_dir();
    let log = home.path().join("demo.log");
    let launch = Launch::new(Vigil::binary()).args(["demo", "--once"]).env("NO_COLOR", "1").log(&log);
    let mut demo = launch.spawn();
    let status = demo.wait(Duration::from_mins(1));
    let text = demo.tail();
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {text}");
    for expected in
        ["broken", "opened: checkout-spins", "calls supervisor.stopProcess", "healed", "Why?", "audit"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}
