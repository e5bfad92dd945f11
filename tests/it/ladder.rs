//! The ladder: each step is judged by what is observed after it has ended and settled; what does not help is followed by the
//! next step, and the last one is a human.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Backend, Setting};
use crate::support::{CountingTarget, Program, Supervisord, Vigil, wait_for, wait_until};

const LONG: Duration = Duration::from_secs(40);
const SETTLE: f64 = 1.0;
/// Processes that the group may have.
const PROCS: usize = 3;

/// A real supervisord with one busy process of a group, a human's letter box, and a server.
struct Scene {
    supervisord: Supervisord,
    human: CountingTarget,
    vigil: Vigil,
}

impl Scene {
    fn new(setting: Setting, more: &str) -> Self {
        let busy = Program {
            command: "/bin/sh -c 'while :; do :; done'".into(),
            autostart: false,
            ..Program::group("web", PROCS)
        };
        let (supervisord, human) = (Supervisord::start(&[busy]), CountingTarget::start());
        supervisord.start_process("web:web_00");
        let config = format!(
            "[policies]\ntick = \"500ms\"\n{more}\n[connections.supervisor]\nurl = \"unix://{}\"\nallow = [\"POST /RPC2\"]\n\
             [connections.pager]\nurl = \"{}\"\nallow = [\"POST /**\", \"POST /\"]\n\
             [[routes]]\naction = \"notify\"\nplugin = \"webhook\"\nplugin_action = \"custom\"\nconnections = {{ webhook = \"pager\" }}\n",
            supervisord.socket().display(),
            human.url(),
        );
        let vigil = Vigil::start(Backend::new(setting).options(&config));
        Self { supervisord, human, vigil }
    }

    /// Restart, then one process more, then a human.
    fn policy(&self, more: Value) {
        let mut policy = json!({
            "name": "spins", "target": "web", "action": "restart", "auto_remediate": true,
            "condition": {"type": "metric_exceeds", "metric": "cpu_percent", "threshold": 50},
            "steps": [{"action": "scale-up"}, {"action": "notify", "params": {"room": "on-call"}}],
            "guardrails": {"cooldown": "0s", "settle": "1s", "blast_radius": {"max": 10}},
        });
        for (member, value) in more.as_object().unwrap() {
            policy[member] = value.clone();
        }
        self.vigil.post("/api/v1/policies", &policy).expect(201);
    }

    /// One reading; what was decided about it.
    fn reading(&self, value: f64) -> Option<String> {
        let metric = json!({"name": "cpu_percent", "value": value, "tags": {"service": "web"}});
        let answer = self.vigil.post_json("/api/v1/ingest", &metric);
        answer["violations"][0]["decision"].as_str().map(str::to_owned)
    }

    /// Readings until one comes to that.
    fn until(&self, value: f64, what: Option<&str>) -> Vec<String> {
        let mut words = Vec::new();
        wait_until(LONG, &format!("{what:?}"), || {
            std::thread::sleep(Duration::from_millis(100));
            let word = self.reading(value);
            words.extend(word.clone());
            word.as_deref() == what
        });
        words
    }

    fn incident(&self, query: &str) -> Value {
        let list = self.vigil.get_json(&format!("/api/v1/incidents?{query}"));
        assert_eq!(list["count"], 1, "{list}");
        list["incidents"][0].clone()
    }

    fn why(&self, incident: &Value) -> Value {
        self.vigil.get_json(&format!("/api/v1/incidents/{}/why", incident["id"]))
    }
}

fn seconds(time: &Value) -> f64 {
    let text = time.as_str().unwrap();
    let (clock, _) = text.split_once('T').unwrap().1.split_once('Z').unwrap();
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

fn a_sick_process_is_climbed_after(setting: Setting) {
    let scene = Scene::new(setting, "");
    scene.policy(json!({}));
    let before = scene.supervisord.pid_of("web:web_00");
    let words = scene.until(95.0, Some("handed_over"));
    let after = scene.supervisord.pid_of("web:web_00");
    assert_eq!(words.iter().filter(|word| *word == "act").count(), 2, "one action per step: {words:?}");
    assert!(after != before && after > 0, "restarted: pid {before} -> {after}");
    assert_eq!(scene.supervisord.running("web", PROCS), 2, "scaled from one to two");
    wait_until(LONG, "a human to be told", || scene.human.count() == 1);
    let told: Value = serde_json::from_slice(&scene.human.calls()[0].body).unwrap();
    let incident = scene.incident("state=handed_over");
    let text = told.to_string();
    for word in ["spins", "web", "on-call", &format!("\"incident_id\":{}", incident["id"])] {
        assert!(text.contains(word), "the human is not told {word}: {text}");
    }
    let why = scene.why(&incident);
    let ladder: Vec<&Value> =
        why["actions"].as_array().unwrap().iter().filter(|a| !a["step"].is_null()).collect();
    let steps: Vec<_> = ladder.iter().map(|a| (&a["action"], &a["step"], &a["verdict"])).collect();
    assert_eq!(
        steps,
        [
            (&json!("restart"), &json!(0), &json!("not_healed")),
            (&json!("scale-up"), &json!(1), &json!("not_healed"))
        ],
        "{why}"
    );
    // What judged a step was observed after it had ended and settled.
    let judged = why["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["reason"] == "actions_used_up" || d["decision"] == "act");
    for (step, decision) in ladder.iter().zip(judged.skip(1)) {
        let (ended, seen) = (seconds(&step["completed_at"]), seconds(&decision["saw"]["observed_at"]));
        assert!(seen > ended + SETTLE, "step {} ended at {ended} and was judged by {seen}", step["step"]);
    }
    let story = why["story"].to_string();
    for word in
        ["restart, step 1) did not help", "scale-up, step 2) did not help", "actions_used_up", "settling"]
    {
        assert!(story.contains(word), "the story does not tell of {word}: {story}");
    }
    println!("{setting:?}: pid {before} -> {after}, 1 -> 2 processes, told: {text}");
    // Nothing more happens, and nobody is told twice.
    assert_eq!(scene.reading(95.0).as_deref(), Some("handed_over"));
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(scene.human.count(), 1);
    assert_eq!(scene.vigil.get_json("/api/v1/actions")["total"], 3);
}

#[test]
fn a_sick_process_is_climbed_after_on_sqlite() {
    a_sick_process_is_climbed_after(Setting::Small);
}

#[test]
fn a_sick_process_is_climbed_after_on_postgresql() {
    a_sick_process_is_climbed_after(Setting::PostgresRedis);
}

#[test]
fn the_first_step_heals_and_a_relapse_begins_on_the_second() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy(json!({}));
    let before = scene.supervisord.pid_of("web:web_00");
    scene.until(95.0, Some("act"));
    wait_until(LONG, "the restart", || scene.supervisord.pid_of("web:web_00") != before);
    let healed = wait_for(LONG, "healed", || {
        assert_eq!(scene.reading(5.0), None);
        std::thread::sleep(Duration::from_millis(100));
        let list = scene.vigil.get_json("/api/v1/incidents?state=healed");
        (list["count"] == 1).then(|| list["incidents"][0].clone())
    });
    let why = scene.why(&healed);
    assert_eq!((&why["actions"][0]["verdict"], &healed["actions"]), (&json!("healed"), &json!(1)), "{why}");
    assert!(why["story"].to_string().contains("restart, step 1) helped"), "{why}");
    let metrics = scene.vigil.get("/metrics").text();
    assert!(metrics.contains("vigil_time_to_repair_seconds_count 1"), "the repair is measured");
    let took =
        metrics.lines().find_map(|line| line.strip_prefix("vigil_time_to_repair_seconds_sum ")).unwrap();
    println!("healed at the first step, time to repair {took} s");
    assert!(took.parse::<f64>().unwrap() >= SETTLE, "no sooner than it can be seen: {took}");
    // It comes back: what helped for so short a time is not done again.
    assert_eq!(scene.reading(95.0).as_deref(), Some("act"));
    let relapse = scene.incident("state=open");
    let second = wait_for(LONG, "the second step", || {
        let why = scene.why(&relapse);
        (why["actions"][0]["status"] == "completed").then_some(why)
    });
    assert_eq!(
        (&second["actions"][0]["action"], &second["actions"][0]["step"]),
        (&json!("scale-up"), &json!(1))
    );
    let effect = scene.vigil.get_json("/api/v1/policies/spins/effectiveness");
    let of = |at: usize| {
        (&effect["steps"][at]["action"], &effect["steps"][at]["made"], &effect["steps"][at]["effectiveness"])
    };
    assert_eq!(of(0), (&json!("restart"), &json!(1), &json!(1.0)), "{effect}");
    assert_eq!(of(1), (&json!("scale-up"), &json!(1), &Value::Null), "{effect}");
}

#[test]
fn what_nobody_can_judge_goes_to_a_human() {
    let scene = Scene::new(Setting::Small, "lookback = \"2s\"");
    scene.policy(json!({}));
    assert_eq!(scene.reading(95.0).as_deref(), Some("act"));
    wait_until(LONG, "a human to be told", || scene.human.count() == 1);
    let incident = scene.incident("state=handed_over");
    assert_eq!(incident["latest_decision"], "verdict_unknown", "{incident}");
    let why = scene.why(&incident);
    let verdict = &why["actions"].as_array().unwrap().iter().find(|a| a["step"] == 0).unwrap()["verdict"];
    assert_eq!(verdict, "unknown", "{why}");
}

#[test]
fn steps_that_cannot_be_are_refused() {
    let scene = Scene::new(Setting::Small, "");
    for (steps, loc, kind) in [
        (json!({}), json!(["body", "steps"]), "list_type"),
        (json!([1]), json!(["body", "steps", 0]), "model_attributes_type"),
        (json!([{}]), json!(["body", "steps", 0, "action"]), "missing"),
        (
            json!([{"action": "notify"}, {"action": "restart"}]),
            json!(["body", "steps", 0, "action"]),
            "value_error",
        ),
        (
            json!([{"action": "restart", "tries": 0}]),
            json!(["body", "steps", 0, "tries"]),
            "greater_than_equal",
        ),
        (
            json!([{"action": "restart", "tries": 11}]),
            json!(["body", "steps", 0, "tries"]),
            "less_than_equal",
        ),
        (
            json!([{"action": "restart", "settle": "soon"}]),
            json!(["body", "steps", 0, "settle"]),
            "value_error",
        ),
        (json!([{"action": "notify", "tries": 2}]), json!(["body", "steps", 0, "tries"]), "value_error"),
        (
            json!([{"action": "restart", "verify": {}}]),
            json!(["body", "steps", 0, "verify"]),
            "extra_forbidden",
        ),
        (
            json!([{"action": "scale", "params": {"replicas": "many"}}]),
            json!(["body", "steps", 0, "params", "replicas"]),
            "value_error",
        ),
        (json!(vec![json!({"action": "restart"}); 9]), json!(["body", "steps"]), "too_long"),
    ] {
        let policy = json!({"name": "p", "target": "web", "action": "restart", "steps": steps,
            "condition": {"type": "metric_exceeds", "metric": "m", "threshold": 1}});
        let refused = scene.vigil.post("/api/v1/policies", &policy).expect(422).json();
        assert_eq!(
            (&refused["detail"][0]["loc"], &refused["detail"][0]["type"]),
            (&loc, &json!(kind)),
            "{steps}: {refused}"
        );
    }
}
