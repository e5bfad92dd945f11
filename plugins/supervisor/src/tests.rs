//! The actions against a stand-in that behaves as supervisord does.

use vigil_plugin_sdk::serde_json::{Value as Json, json};
use vigil_plugin_sdk::{ChangeStatus, Error, Outcome, Plugin, Request, Target, Trigger};

use crate::params::Params;
use crate::process::State;
use crate::rpc::Rpc;
use crate::{actions, xmlrpc};

/// Processes that take `delay` polls to start and to stop.
struct Fake {
    processes: Vec<(String, i64, i64)>,
    delay: u32,
    polls: u32,
    next_pid: i64,
    mutations: Vec<String>,
    /// Answers 202 to what changes something.
    planning: bool,
    left_ms: u64,
    fault_on_start: Option<i64>,
    comes_up: i64,
}

fn fake(states: &[(&str, i64)]) -> Fake {
    let processes = states.iter().zip(100..).map(|((name, state), pid)| {
        let pid = if *state == 20 { pid } else { 0 };
        ((*name).to_owned(), *state, pid)
    });
    Fake {
        processes: processes.collect(),
        delay: 2,
        polls: 0,
        next_pid: 4711,
        mutations: vec![],
        planning: false,
        left_ms: 30_000,
        fault_on_start: None,
        comes_up: 20,
    }
}

fn info((full, state, pid): &(String, i64, i64)) -> String {
    let (group, name) = full.split_once(':').unwrap();
    let member = |n: &str, v: String| format!("<member><name>{n}</name><value>{v}</value></member>");
    format!(
        "<value><struct>{}{}{}{}</struct></value>",
        member("group", format!("<string>{group}</string>")),
        member("name", name.to_owned()),
        member("state", format!("<int>{state}</int>")),
        member("pid", format!("<int>{pid}</int>"))
    )
}

fn respond(value: &str) -> (u16, String) {
    (200, format!("<methodResponse><params><param>{value}</param></params></methodResponse>"))
}

fn fault(code: i64) -> (u16, String) {
    let xml = format!(
        "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>{code}</int></value></member>\
         <member><name>faultString</name><value>F</value></member></struct></value></fault></methodResponse>"
    );
    assert!(xmlrpc::answer(&xml).is_ok());
    (200, xml)
}

impl Fake {
    /// What starts or stops has done so after `delay` polls.
    fn settle(&mut self, at: usize) {
        self.polls += 1;
        if self.polls <= self.delay {
            return;
        }
        let (_, state, pid) = &mut self.processes[at];
        match *state {
            10 => *state = self.comes_up,
            40 => (*state, *pid) = (0, 0),
            _ => {}
        }
    }

    fn answer(&mut self, method: &str, name: &str) -> (u16, String) {
        if method == "getAllProcessInfo" {
            let all: String = self.processes.iter().map(info).collect();
            return respond(&format!("<value><array><data>{all}</data></array></value>"));
        }
        let Some(at) = self.processes.iter().position(|(n, ..)| n == name) else { return fault(10) };
        if method == "getProcessInfo" {
            self.settle(at);
            return respond(&info(&self.processes[at]));
        }
        self.mutations.push(format!("{method} {name}"));
        if self.planning {
            return (202, String::new());
        }
        self.polls = 0;
        let process = &mut self.processes[at];
        let up = matches!(process.1, 10 | 20);
        match (method, up) {
            ("startProcess", true) => return fault(60),
            ("stopProcess" | "signalProcess", false) => return fault(70),
            ("startProcess", false) => {
                if let Some(code) = self.fault_on_start {
                    return fault(code);
                }
                (process.1, process.2) = (10, self.next_pid);
                self.next_pid += 22;
            }
            ("stopProcess", true) => process.1 = 40,
            ("signalProcess", true) => {}
            other => panic!("{other:?}"),
        }
        respond("<value><boolean>1</boolean></value>")
    }
}

impl Rpc for Fake {
    fn post(&mut self, xml: String) -> Result<(u16, String), Error> {
        let between = |from: &str, to: &str| {
            let (_, rest) = xml.split_once(from)?;
            Some(rest.split_once(to)?.0.to_owned())
        };
        let method = between("<methodName>supervisor.", "<").unwrap();
        let name = between("<string>", "<").unwrap_or_default();
        Ok(self.answer(&method, &name))
    }
    fn remaining_ms(&mut self) -> u64 {
        self.left_ms
    }
    fn sleep_ms(&mut self, ms: u64) -> bool {
        self.left_ms = self.left_ms.saturating_sub(ms);
        true
    }
}

fn run(fake: &mut Fake, action: &str, target: &str, params: &Json) -> Result<Outcome, Error> {
    let request = Request {
        execution_id: "e".into(),
        attempt: 1,
        action: action.into(),
        target: Target { kind: "host".into(), name: target.into(), namespace: None, labels: vec![] },
        params: params.clone(),
        trigger: Trigger::Alert,
        deadline: 0,
        traceparent: None,
        attributes: vec![],
    };
    let params = Params::of(&request).map_err(Error::Invalid)?;
    actions::run(fake, &request, &params)
}

fn failure(result: Result<Outcome, Error>) -> (bool, String, String, usize) {
    match result {
        Err(Error::Permanent(f)) => (false, f.code, f.message, f.changes.len()),
        Err(Error::Retryable { failure: f, .. }) => (true, f.code, f.message, f.changes.len()),
        other => panic!("{other:?}"),
    }
}

const WEB: [(&str, i64); 4] = [("web:web_00", 20), ("web:web_01", 20), ("web:web_02", 0), ("web:web_03", 0)];

#[test]
fn a_restart_waits_and_tells_both_pids() {
    let mut fake = fake(&WEB);
    let outcome =
        run(&mut fake, "restart", "web:web_00", &json!({ "graceful": true, "timeout": 30 })).unwrap();
    assert_eq!(outcome.summary, "web:web_00 restarted, pid 100 → 4711");
    assert_eq!(fake.mutations, ["stopProcess web:web_00", "startProcess web:web_00"]);
    let change = &outcome.changes[0];
    assert_eq!((change.subject.as_str(), change.status), ("process/web:web_00", ChangeStatus::Applied));
    assert_eq!(change.after, Some(json!({ "state": "RUNNING", "pid": 4711 })));
}

#[test]
fn a_group_restarts_one_by_one_unless_told_otherwise() {
    let states = [("web:web_01", 20), ("web:web_00", 20)];
    let mut rolling = fake(&states);
    run(&mut rolling, "restart", "web", &json!({})).unwrap();
    let order = [
        "stopProcess web:web_00",
        "startProcess web:web_00",
        "stopProcess web:web_01",
        "startProcess web:web_01",
    ];
    assert_eq!(rolling.mutations, order);
    let mut at_once = fake(&states);
    run(&mut at_once, "restart", "x", &json!({ "process": "web:*", "graceful": false })).unwrap();
    assert_eq!(at_once.mutations, [order[0], order[2], order[1], order[3]]);
}

#[test]
fn restarting_a_group_starts_nothing_that_was_stopped() {
    let mut part = fake(&WEB);
    run(&mut part, "restart", "web", &json!({})).unwrap();
    assert!(
        part.mutations.iter().all(|m| !m.contains("web_02") && !m.contains("web_03")),
        "{:?}",
        part.mutations
    );
    let mut none = fake(&WEB[2..]);
    assert_eq!(run(&mut none, "restart", "web", &json!({})).unwrap().changes.len(), 2);
}

#[test]
fn asking_for_what_is_changes_nothing() {
    let mut fake = fake(&WEB);
    let started = run(&mut fake, "start", "web_00", &json!({})).unwrap();
    assert_eq!(
        (started.summary.as_str(), started.changes[0].status),
        ("web:web_00 was RUNNING already", ChangeStatus::NoChange)
    );
    let stopped = run(&mut fake, "stop", "web_02", &json!({})).unwrap();
    assert_eq!(stopped.changes[0].status, ChangeStatus::NoChange);
}

#[test]
fn an_unknown_name_lists_what_there_is() {
    let many: Vec<String> = (0..12).map(|n| format!("web:web_{n:02}")).collect();
    let states: Vec<_> = many.iter().map(|n| (n.as_str(), 20)).collect();
    let (retry, code, message, _) = failure(run(&mut fake(&states), "restart", "web-01", &json!({})));
    assert_eq!((retry, code.as_str()), (false, "target-not-found"));
    assert!(message.contains("web:web_09 and 2 more") && !message.contains("web_10"), "{message}");
    let twice = [("a:x", 20), ("b:x", 20)];
    assert_eq!(failure(run(&mut fake(&twice), "stop", "x", &json!({}))).1, "target-ambiguous");
}

#[test]
fn scaling_is_clamped_and_says_so() {
    let mut up = fake(&WEB);
    let outcome = run(&mut up, "scale", "web", &json!({ "replicas": 9 })).unwrap();
    assert_eq!(outcome.summary, "web scaled from 2 to 4 of 4 processes; 9 were asked for, but numprocs is 4");
    assert_eq!(up.mutations, ["startProcess web:web_02", "startProcess web:web_03"]);
    let mut down = fake(&WEB);
    let outcome = run(&mut down, "scale-down", "web_00", &json!({})).unwrap();
    assert_eq!(outcome.summary, "web scaled from 2 to 1 of 4 processes");
    assert_eq!(down.mutations, ["stopProcess web:web_01"]);
}

#[test]
fn scale_up_never_stops_and_replicas_beats_increment() {
    for (action, params, goal) in [
        ("scale-up", json!({ "replicas": 1 }), 2),
        ("scale-up", json!({ "replicas": 3, "increment": 2 }), 3),
        ("scale-up", json!({}), 3),
        ("scale-down", json!({ "replicas": 4 }), 2),
        ("scale", json!({ "increment": -2 }), 0),
    ] {
        let outcome = run(&mut fake(&WEB), action, "web", &params).unwrap();
        assert_eq!(outcome.output.unwrap()["after"], goal, "{action} {params}");
    }
    assert!(matches!(run(&mut fake(&WEB), "scale", "web", &json!({})), Err(Error::Invalid(_))));
}

#[test]
fn faults_say_whether_to_try_again() {
    for (code, retry, name) in
        [(50, true, "spawn-error"), (40, true, "abnormal-termination"), (21, false, "not-executable")]
    {
        let mut fake = fake(&WEB);
        fake.fault_on_start = Some(code);
        assert_eq!(failure(run(&mut fake, "start", "web_02", &json!({}))).0, retry);
        assert_eq!(failure(run(&mut fake, "start", "web_02", &json!({}))).1, name);
    }
    let mut fatal = fake(&WEB);
    fatal.comes_up = 200;
    assert_eq!(failure(run(&mut fatal, "start", "web_02", &json!({}))).1, "start-failed");
}

#[test]
fn a_step_half_done_is_not_tried_again() {
    let mut half = fake(&WEB);
    half.left_ms = 1000;
    half.delay = 6;
    let (retry, code, _, changes) = failure(run(&mut half, "scale-up", "web", &json!({ "increment": 2 })));
    assert_eq!((retry, code.as_str(), changes), (false, "not-settled", 1));
}

#[test]
fn waiting_ends_before_the_deadline() {
    let mut slow = fake(&WEB);
    slow.delay = u32::MAX;
    let (retry, code, ..) = failure(run(&mut slow, "restart", "web_00", &json!({})));
    assert_eq!((retry, code.as_str()), (true, "not-settled"));
    let mut impatient = fake(&WEB);
    impatient.delay = u32::MAX;
    let message = failure(run(&mut impatient, "stop", "web_00", &json!({ "timeout": 0.5 }))).2;
    assert_eq!(message, "web:web_00 is STOPPING after 500 ms");
}

#[test]
fn what_is_only_accepted_is_not_waited_for() {
    let mut plan = fake(&WEB);
    plan.planning = true;
    let outcome = run(&mut plan, "restart", "web_00", &json!({})).unwrap();
    assert_eq!(plan.mutations, ["stopProcess web:web_00", "startProcess web:web_00"]);
    assert_eq!((plan.polls, outcome.changes[0].status), (0, ChangeStatus::Requested));
    assert_eq!(outcome.summary, "web:web_00 to be restarted");
}

#[test]
fn a_signal_reloads_in_place() {
    let mut fake = fake(&WEB);
    let outcome = run(&mut fake, "restart", "web_01", &json!({ "signal": "HUP" })).unwrap();
    assert_eq!((outcome.summary.as_str(), fake.mutations.len()), ("web:web_01 got HUP", 1));
    assert_eq!(failure(run(&mut fake, "restart", "web_02", &json!({ "signal": "HUP" }))).1, "not-running");
}

#[test]
fn every_action_takes_the_parameters_of_its_schema_and_no_others() {
    for action in crate::Supervisor::describe().actions {
        assert_eq!(action.params_schema["additionalProperties"], false);
        for name in action.params_schema["properties"].as_object().unwrap().keys() {
            let known = serde_json::from_value::<Params>(json!({ name.clone(): null }));
            assert!(known.is_ok(), "{}: {name}", action.name);
        }
    }
    assert!(State::Unknown.as_str() == "UNKNOWN");
}
