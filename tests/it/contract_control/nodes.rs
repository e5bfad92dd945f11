//! Two servers on one PostgreSQL: what is said to one holds on the other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{call, heat, limitless, make, violated};
use crate::support::{Options, Postgres, Vigil, wait_until};

fn pair() -> [Vigil; 2] {
    let options: Options = limitless().database(Postgres::shared().database());
    [Vigil::start(options.clone()), Vigil::start(options)]
}

/// The seed's defect 10: policies per process, forgotten on restart.
#[test]
fn a_policy_is_on_both_servers_at_once_and_after_a_restart() {
    let mut servers = pair();
    for round in 0..40 {
        let (here, there) = (&servers[round % 2], &servers[(round + 1) % 2]);
        let name = format!("p{round}");
        make(here, &name, json!({"target": format!("h{round}")}));
        there.get(&format!("/api/v1/policies/{name}")).expect(200);
        // Not only shown: in force.
        assert_eq!(violated(&heat(there, &format!("h{round}"), 95.0)), [name.as_str()], "round {round}");
        call(there, "PUT", &format!("/api/v1/policies/{name}/disable"), &Value::Null).expect(200);
        assert!(violated(&heat(here, &format!("h{round}"), 95.0)).is_empty(), "switched off, round {round}");
    }
    let before = servers[0].get_json("/api/v1/policies");
    assert_eq!(before["total"], 40);
    assert_eq!(servers[1].get_json("/api/v1/policies"), before);
    servers[0].restart();
    assert_eq!(servers[0].get_json("/api/v1/policies"), before);
    // What nobody asks the other server about it takes up by itself: its metrics know the policy within a second.
    make(&servers[0], "quiet", json!({}));
    let series = "policy_evaluation_total{policy_name=\"quiet\",result=\"ok\"} 0";
    wait_until(Duration::from_millis(1500), "the policy's series on the other server", || {
        servers[1].get("/metrics").text().contains(series)
    });
}

#[test]
fn settings_reach_both_servers_within_a_second() {
    let servers = pair();
    for (round, attempts) in [4, 5, 6].into_iter().enumerate() {
        let (here, there) = (&servers[round % 2], &servers[(round + 1) % 2]);
        let body = json!({"settings": {"retry": {"max_attempts": attempts}}});
        let begun = Instant::now();
        let answer = call(here, "PUT", "/api/v1/settings", &body).expect(200).json();
        assert_eq!(answer["reload_applied"], true, "both work with it: {answer}");
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
        let made = there.post_json("/api/v1/actions", &json!({"target": "t", "action": "custom"}));
        let action = there.get_json(&format!("/api/v1/actions/{}", made["action_id"]));
        assert_eq!(action["max_attempts"], attempts, "it takes effect on the other server: {action}");
    }
    call(&servers[0], "DELETE", "/api/v1/settings", &Value::Null).expect(200);
    assert_eq!(servers[1].get_json("/api/v1/settings")["source"], "defaults");
}

#[test]
fn a_violation_that_both_servers_see_makes_one_action() {
    let options =
        limitless().database(Postgres::shared().database()).config("[policies]\ntick = \"200ms\"\n");
    let servers = [Vigil::start(options.clone()), Vigil::start(options)];
    for server in &servers {
        heat(server, "h", 95.0);
    }
    make(&servers[0], "p", json!({"auto_remediate": true}));
    wait_until(Duration::from_secs(5), "an action", || servers[1].get_json("/api/v1/actions")["total"] != 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(servers[0].get_json("/api/v1/actions")["total"], 1);
}
