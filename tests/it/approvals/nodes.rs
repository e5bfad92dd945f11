//! Two nodes, many answers at once: of all that could end a request exactly one does.

use std::collections::BTreeSet;
use std::thread;

use super::*;

/// Rounds of a race.
const ROUNDS: usize = 12;

/// One answer as it went over the wire.
fn answer(vigil: &Vigil, token: &str, action: &Value, verb: &str) -> u16 {
    let path = format!("/api/v1/actions/{}/{verb}", action["id"]);
    let body = match verb {
        "approve" => json!({"plan_hash": action["approval"]["plan_hash"]}),
        "cancel" => json!({"reason": "race"}),
        _ => json!({}),
    };
    let method = if verb == "cancel" { "PUT" } else { "POST" };
    vigil.send(&signed(token, Request::new(method, &path).json(&body))).status
}

/// Approve, reject, cancel, clear and time, all at once on all nodes.
fn exactly_one_wins(setting: Setting, nodes: usize) {
    let scene = Scene::new(setting, "");
    let config = config(&scene.target.url());
    let more: Vec<Vigil> = (1..nodes)
        .map(|_| Vigil::start(scene.backend.options(&config).env("VIGIL_AUTH__MODE", "token")))
        .collect();
    let servers: Vec<&Vigil> = [&scene.vigil].into_iter().chain(&more).collect();
    scene.policy("race", "web-*", &json!({"approval": {"within": "2s"}}));
    let mut ends = BTreeSet::new();
    for round in 0..ROUNDS {
        let target = format!("web-{round}");
        // Every fourth request is answered when its time is just over.
        let asked = scene.asked(&target);
        let begun = std::time::Instant::now();
        if round % 4 == 3 {
            thread::sleep(Duration::from_millis(1_900).saturating_sub(begun.elapsed()));
        }
        let answers: Vec<(&str, u16)> = thread::scope(|scope| {
            let verbs = ["approve", "reject", "approve", "cancel", "approve", "reject"];
            let each: Vec<_> = verbs
                .into_iter()
                .enumerate()
                .map(|(at, verb)| {
                    let (vigil, asked) = (servers[(at + round) % servers.len()], &asked);
                    let token = if at % 2 == 0 { &scene.ann } else { &scene.bob };
                    scope.spawn(move || (verb, answer(vigil, token, asked, verb)))
                })
                .collect();
            if round % 4 == 2 {
                scene.reading(&target, 10.0);
            }
            each.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let action = scene.until(&asked["id"], "its end", |action| {
            ["completed", "cancelled", "failed"].iter().any(|status| action["status"] == *status)
        });
        let state = action["approval"]["state"].as_str().unwrap().to_owned();
        let won = |verb: &str| answers.iter().filter(|(of, status)| *of == verb && *status == 200).count();
        let (yes, no) = (won("approve"), won("reject") + won("cancel"));
        let deeds = scene.deeds(&asked["id"]);
        let ended = deeds.iter().filter(|verb| {
            ["approval.granted", "approval.rejected", "approval.expired", "approval.withdrawn"]
                .contains(&verb.as_str())
        });
        assert_eq!(ended.count(), 1, "{target}: ended once: {deeds:?}");
        let expected = match state.as_str() {
            // The same token may say its yes again; a cancel stops an approved one, too.
            "approved" => (yes >= 1, won("reject") == 0),
            "rejected" => (yes == 0, no == 1),
            _ => (yes == 0, no == 0),
        };
        assert_eq!(expected, (true, true), "{target} is {state}: {answers:?}");
        let ran = scene.get(&format!("/api/v1/actions/{}/attempts", asked["id"]))["attempts"]
            .as_array()
            .unwrap()
            .len();
        assert!(ran == 0 || state == "approved", "{target} ran and is {state}: {action}");
        ends.insert(state);
    }
    println!("{setting:?}: {ends:?}");
    assert!(ends.len() > 1, "always the same one won: {ends:?}");
    let runs = scene.get("/api/v1/actions?status=completed")["total"].as_u64().unwrap();
    assert!(scene.target.count() as u64 >= runs);
}

#[test]
fn exactly_one_answer_wins_on_sqlite() {
    exactly_one_wins(Setting::Small, 1);
}

#[test]
fn exactly_one_answer_wins_on_two_nodes() {
    exactly_one_wins(Setting::PostgresRedis, 2);
}

#[test]
fn two_people_on_two_nodes_are_counted_together() {
    let scene = Scene::new(Setting::Postgres, "");
    let config = config(&scene.target.url());
    let second = Vigil::start(scene.backend.options(&config).env("VIGIL_AUTH__MODE", "token"));
    scene.policy("pair", "web-*", &json!({"approval": {"people": 2}}));
    for round in 0..4 {
        let asked = scene.asked(&format!("web-{round}"));
        let statuses: Vec<u16> = thread::scope(|scope| {
            let one = scope.spawn(|| answer(&scene.vigil, &scene.ann, &asked, "approve"));
            let two = scope.spawn(|| answer(&second, &scene.bob, &asked, "approve"));
            let again = scope.spawn(|| answer(&second, &scene.ann, &asked, "approve"));
            [one, two, again].map(|thread| thread.join().unwrap()).to_vec()
        });
        assert_eq!(statuses, [200, 200, 200]);
        scene.until(&asked["id"], "its run", |action| action["status"] == "completed");
        let granted = scene.deeds(&asked["id"]).iter().filter(|verb| *verb == "approval.granted").count();
        assert_eq!(granted, 1);
    }
    assert_eq!(scene.target.count(), 4);
}
