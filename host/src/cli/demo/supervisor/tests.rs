use std::time::Instant;

use tokio::sync::mpsc::unbounded_channel;

use super::*;

fn supervisor() -> Supervisor {
    let process = Process::new("checkout", "/bin/sleep".into(), vec!["3600".into()]);
    Supervisor::new(process, unbounded_channel().0)
}

async fn ask(supervisor: &Supervisor, method: &str, params: &[Value]) -> Answer {
    supervisor.call(&Call { method: method.into(), params: params.to_vec() }).await
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn code(answer: Answer) -> i64 {
    answer.unwrap_err().code
}

#[tokio::test]
async fn it_starts_and_stops_with_supervisord_s_faults() {
    let it = supervisor();
    assert_eq!(code(ask(&it, "supervisor.stopProcess", &[text("checkout")]).await), 70);
    let begun = Instant::now();
    assert_eq!(ask(&it, "supervisor.startProcess", &[text("checkout")]).await, Ok(Value::Bool(true)));
    assert!(begun.elapsed() >= Duration::from_millis(400), "it waits until the process counts as started");
    assert_eq!(it.process().state(), State::Running);
    let pid = it.process().pid();
    assert_eq!(code(ask(&it, "supervisor.startProcess", &[text("checkout:checkout")]).await), 60);
    let stop = [text("checkout"), Value::Bool(false)];
    assert_eq!(ask(&it, "supervisor.stopProcess", &stop).await, Ok(Value::Bool(true)));
    it.settle(true).await;
    let mut process = it.process();
    assert_eq!((process.state(), process.pid()), (State::Stopped, 0));
    assert_ne!(pid, 0);
}

#[tokio::test]
async fn what_it_does_not_know_is_a_fault() {
    let it = supervisor();
    assert_eq!(code(ask(&it, "supervisor.startProcess", &[text("nope")]).await), 10);
    assert_eq!(code(ask(&it, "supervisor.startProcess", &[]).await), 2);
    assert_eq!(code(ask(&it, "supervisor.shutdown", &[]).await), 1);
    assert_eq!(code(ask(&it, "supervisor.stopProcessGroup", &[text("checkout:checkout")]).await), 10);
}

#[tokio::test]
async fn groups_and_multicalls_answer_lists() {
    let it = supervisor();
    let started = ask(&it, "supervisor.startProcessGroup", &[text("checkout")]).await;
    assert!(matches!(started, Ok(Value::Array(all)) if all.len() == 1));
    assert_eq!(
        ask(&it, "supervisor.startProcess", &[text("checkout:*")]).await,
        Ok(Value::Array(Vec::new()))
    );
    let call = |method: &str| {
        Value::Members(vec![
            ("methodName".into(), text(method)),
            ("params".into(), Value::Array(vec![text("checkout")])),
        ])
    };
    let both =
        Value::Array(vec![call("supervisor.stopProcess"), call("supervisor.startProcess"), call("nope")]);
    let Ok(Value::Array(answers)) = ask(&it, "system.multicall", &[both]).await else { panic!("no list") };
    assert_eq!(answers[..2], [Value::Bool(true), Value::Bool(true)]);
    assert_eq!(answers[2], Fault::new(1, "UNKNOWN_METHOD").value());
}
