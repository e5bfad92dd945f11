//! Silences over HTTP and on the command line: what is refused, how they are listed, changed and ended.

use serde_json::{Value, json};

use super::{end, hot, silence};
use crate::stage::{Backend, Setting, config, open_policy};
use crate::support::{CountingTarget, Request, Vigil};

fn small() -> Vigil {
    Vigil::start(Backend::new(Setting::Small).options(&config("http://127.0.0.1:9")))
}

#[test]
fn what_is_no_silence_is_refused_by_name() {
    let vigil = small();
    let whole = json!({"matchers": ["target=web-1"], "duration": "1h", "comment": "why"});
    let calendar = |zone: &str, intervals: Value| json!({"zone": zone, "intervals": intervals});
    let long = format!("target={}", "x".repeat(506));
    let many: Vec<String> = (0..17).map(|n| format!("tags.t{n}=1")).collect();
    let table: Vec<(&str, Value, Value)> = vec![
        ("matchers", json!([]), json!(["matchers"])),
        ("matchers", json!(["target=~.*", "policy=~a?"]), json!(["matchers"])),
        ("matchers", json!(["target=web-1", "taget=x"]), json!(["matchers", 1])),
        ("matchers", json!(["target=~(("]), json!(["matchers", 0])),
        ("matchers", json!(["target=~(a{900}){900}"]), json!(["matchers", 0])),
        ("matchers", json!([long]), json!(["matchers"])),
        ("matchers", json!(many), json!(["matchers"])),
        ("matchers", json!("target=x"), json!(["matchers"])),
        ("matchers", json!([1]), json!(["matchers"])),
        ("matchers", Value::Null, json!(["matchers"])),
        ("comment", json!("  "), json!(["comment"])),
        ("comment", json!("x".repeat(501)), json!(["comment"])),
        ("comment", json!(1), json!(["comment"])),
        ("duration", json!("for ever"), json!(["duration"])),
        ("duration", json!(0), json!(["duration"])),
        ("duration", json!("400d"), json!(["duration"])),
        ("duration", Value::Null, json!(["ends_at"])),
        ("ends_at", json!("2030-01-01"), json!(["duration"])),
        ("starts_at", json!("tomorrow"), json!(["starts_at"])),
        ("starts_at", json!("2099-01-01"), json!(["starts_at"])),
        ("reason", json!("x"), json!(["reason"])),
        ("recurring", json!("weekly"), json!(["recurring"])),
        ("recurring", calendar("Mars/Olympus", json!([{"weekdays": ["sat"]}])), json!(["recurring", "zone"])),
        ("recurring", json!({"intervals": [{"weekdays": ["sat"]}]}), json!(["recurring", "zone"])),
        ("recurring", json!({"zone": "UTC"}), json!(["recurring", "intervals"])),
        ("recurring", calendar("UTC", json!([])), json!(["recurring", "intervals"])),
        ("recurring", calendar("UTC", json!([{}])), json!(["recurring", "intervals"])),
        (
            "recurring",
            calendar("UTC", json!([{"days_of_month": ["31"], "months": ["feb"]}])),
            json!(["recurring", "intervals"]),
        ),
        (
            "recurring",
            calendar("UTC", json!([{"weekday": ["sat"]}])),
            json!(["recurring", "intervals", 0, "weekday"]),
        ),
        (
            "recurring",
            calendar("UTC", json!([{"weekdays": "sat"}])),
            json!(["recurring", "intervals", 0, "weekdays"]),
        ),
        (
            "recurring",
            calendar("UTC", json!([{}, {"times": ["9-17"]}])),
            json!(["recurring", "intervals", 1, "times", 0]),
        ),
        ("recurring", calendar("UTC", json!(["sat"])), json!(["recurring", "intervals", 0])),
    ];
    for (member, value, loc) in table {
        let mut body = whole.clone();
        body[member] = value.clone();
        // A preview needs no reason.
        let blank = member == "comment" && value == "  ";
        let paths = ["/api/v1/silences", "/api/v1/silences/preview"];
        for path in &paths[..if blank { 1 } else { 2 }] {
            let refused = vigil.post(path, &body).expect(422).json();
            let mut place = vec![json!("body")];
            place.extend(loc.as_array().unwrap().iter().cloned());
            assert_eq!(refused["detail"][0]["loc"], json!(place), "{path} {member}={value}: {refused}");
        }
    }
    let empty = json!({"matchers": ["target!=x"], "duration": "1h", "comment": "why"});
    let refused = vigil.post("/api/v1/silences", &empty).expect(422).text();
    assert!(refused.contains("an empty selector selects nothing"), "{refused}");
    let mut past = json!({"matchers": ["target=x"], "comment": "why", "ends_at": "2020-01-01"});
    vigil.post("/api/v1/silences", &past).expect(422);
    past["ends_at"] = json!("2098-01-01");
    vigil.post("/api/v1/silences", &past).expect(422);
    for path in [
        "/api/v1/silences?state=over",
        "/api/v1/silences?limit=0",
        "/api/v1/silences?cursor=x",
        "/api/v1/silences/x",
    ] {
        vigil.get(path).expect(422);
    }
    vigil.get("/api/v1/silences/7").expect(404);
    vigil.send(&Request::new("DELETE", "/api/v1/silences/7")).expect(404);
    vigil.send(&Request::new("PUT", "/api/v1/silences/7").json(&whole)).expect(404);
    assert_eq!(vigil.get_json("/api/v1/silences")["total"], 0, "a refused silence is none");
}

#[test]
fn they_are_listed_changed_and_ended() {
    let target = CountingTarget::start();
    let vigil = Vigil::start(Backend::new(Setting::Small).options(&config(&target.url())));
    vigil.post_json("/api/v1/policies", &open_policy("p", "web-*", "custom"));
    let all: Vec<Value> = (1..=5).map(|n| silence(&vigil, &[&format!("target=web-{n}")], "1h")).collect();
    end(&vigil, &all[1]);
    end(&vigil, &all[3]);
    for (state, ids) in
        [("", vec![5, 4, 3, 2, 1]), ("active", vec![5, 3, 1]), ("expired", vec![4, 2]), ("pending", vec![])]
    {
        let (mut cursor, mut seen) = (String::new(), Vec::new());
        loop {
            let page = vigil.get_json(&format!("/api/v1/silences?limit=2&state={state}&cursor={cursor}"));
            assert_eq!(page["total"], ids.len(), "{state}: {page}");
            seen.extend(page["silences"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen, ids, "{state}");
        let second = vigil.get_json(&format!("/api/v1/silences?limit=2&page=2&state={state}"));
        let page: Vec<i64> =
            second["silences"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect();
        assert_eq!(page, ids.iter().skip(2).take(2).copied().collect::<Vec<_>>(), "{state}");
    }
    // Changed, it is about something else from then on.
    let path = format!("/api/v1/silences/{}", all[0]["id"]);
    assert_eq!(hot(&vigil, "web-1")["decision"], "silenced");
    let tag = vigil.get(&path).header("etag").unwrap().to_owned();
    let other = json!({"matchers": ["target = \"web-7\""], "duration": "2h", "comment": "moved"});
    let put = |tag: &str| vigil.send(&Request::new("PUT", &path).header("if-match", tag).json(&other));
    put("\"1-9\"").expect(412);
    let changed = put(&tag).expect(200).json();
    assert_eq!(
        (&changed["matchers"], &changed["version"]),
        (&json!(["target=web-7"]), &json!(2)),
        "{changed}"
    );
    assert_eq!(changed["starts_at"], all[0]["starts_at"], "it began when it did: {changed}");
    put(&tag).expect(412);
    assert_eq!(hot(&vigil, "web-1")["decision"], "act");
    assert_eq!(hot(&vigil, "web-7")["decision"], "silenced");
    // Over, it stays as it was.
    vigil.send(&Request::new("DELETE", &path).header("if-match", &tag)).expect(412);
    end(&vigil, &all[0]);
    let again = end(&vigil, &all[0]);
    assert!(again["message"].as_str().unwrap().contains("over before"), "{again}");
    let refused = vigil.send(&Request::new("PUT", &path).json(&other)).expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("make a new one"), "{refused}");
    let verbs = vigil.get_json(&format!("/api/v1/audit?object=silence&object_id={}", all[0]["id"]));
    let verbs: Vec<&Value> = verbs["entries"].as_array().unwrap().iter().map(|one| &one["verb"]).collect();
    assert_eq!(verbs, ["silence.expired", "silence.changed", "silence.created"]);
}

#[test]
fn there_is_a_most_of_them() {
    let vigil = small();
    let first = silence(&vigil, &["target=web-0"], "1h");
    for n in 1..1_000 {
        silence(&vigil, &[&format!("target=~web-{n}|db-{n}")], "1h");
    }
    let body = json!({"matchers": ["target=x"], "duration": "1h", "comment": "one more"});
    let refused = vigil.post("/api/v1/silences", &body).expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("1000 silences"), "{refused}");
    vigil.post_json("/api/v1/policies", &open_policy("p", "*", "custom"));
    assert_eq!(hot(&vigil, "db-999")["decision"], "silenced");
    end(&vigil, &first);
    vigil.post("/api/v1/silences", &body).expect(201);
}

#[test]
fn the_command_line_makes_lists_shows_and_ends_them() {
    let vigil = small();
    vigil.post_json("/api/v1/policies", &open_policy("cpu", "web-*", "custom"));
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(Vigil::binary());
        command.args(args).env_clear().env("HOME", vigil.home()).env("VIGIL_URL", vigil.url());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said, _) =
        run(&["silence", "add", "target=~web-.*", "policy=cpu", "--for", "2h", "--comment", "new kernel"]);
    assert_eq!((code, said.starts_with("Silence 1 is active until ")), (Some(0), true), "{said}");
    assert_eq!(hot(&vigil, "web-1")["decision"], "silenced");
    let (code, said, _) = run(&[
        "silence",
        "add",
        "target=~web-.*",
        "--weekly",
        "sat,sun 00:00-06:00",
        "--weekly",
        "mon-fri 22:00-06:00",
        "--monthly",
        "-7:-1 10:00-11:00",
        "--months",
        "dec,jan",
        "--zone",
        "Europe/Berlin",
        "--comment",
        "nights",
        "-o",
        "json",
    ]);
    let made: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(0));
    let months = json!(["dec", "jan"]);
    assert_eq!(
        made["recurring"],
        json!({"zone": "Europe/Berlin", "intervals": [
            {"weekdays": ["sat", "sun"], "months": months, "times": ["00:00-06:00"]},
            {"weekdays": ["mon-fri"], "months": months, "times": ["22:00-06:00"]},
            {"days_of_month": ["-7:-1"], "months": months, "times": ["10:00-11:00"]},
        ]}),
        "{made}"
    );
    let (_, said, _) =
        run(&["silence", "add", "target=~web-.*", "--for", "1h", "--comment", "x", "--preview"]);
    assert!(said.contains("policy cpu on 1 targets") && said.contains("cpu on web-1"), "{said}");
    let (code, said, _) = run(&["silence", "list"]);
    assert_eq!((code, said.lines().count()), (Some(0), 3), "{said}");
    assert!(said.contains("target=~web-.* policy=cpu") && said.contains("new kernel"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
    let (_, said, _) = run(&["silence", "show", "2"]);
    assert!(said.contains("dec,jan -7:-1 10:00-11:00 in Europe/Berlin"), "{said}");
    let (code, said, _) = run(&["silence", "expire", "1"]);
    assert_eq!((code, said.as_str()), (Some(0), "Silence 1 is over\n"));
    let (_, said, _) = run(&["silence", "list", "--state", "expired", "-o", "json"]);
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(listed["silences"][0]["id"], 1, "{listed}");
    assert_eq!(run(&["silence", "show", "9"]).0, Some(4));
    assert_eq!(run(&["silence", "add", "target=x", "--for", "1h"]).0, Some(2), "why must be said");
    let (code, _, said) = run(&["silence", "add", "target=x", "--comment", "for ever"]);
    assert_eq!((code, said.contains("a silence has an end")), (Some(1), true), "{said}");
    let (code, _, said) = run(&["silence", "add", "target=~.*", "--for", "1h", "--comment", "all"]);
    assert_eq!((code, said.contains("an empty selector selects nothing")), (Some(1), true), "{said}");
    let (code, _, said) =
        run(&["silence", "add", "target=x", "--for", "1h", "--zone", "UTC", "--comment", "x"]);
    assert_eq!((code, said.contains("go with --weekly")), (Some(1), true), "{said}");
}
