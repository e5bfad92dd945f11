//! `vigil policy fmt` and `schema`.

use std::fs;

use serde_json::{Value, json};

use super::{policy, temp_dir, vigil_policy};

#[test]
fn files_get_one_form_and_keep_their_meaning() {
    let dir = temp_dir();
    let path = dir.path().to_str().unwrap();
    let (yaml, json) = (dir.path().join("a.yaml"), dir.path().join("b.json"));
    let text = "policies: [{action: restart, guardrails: {window: 5m, cooldown: '60'}, name: one, zeta: 1,
  condition: {threshold: 90.5, metric: \"cpu: load\", type: metric_exceeds}, params: {b: 'yes', a: null, c: '007'}}]\n";
    fs::write(&yaml, text).unwrap();
    fs::write(&json, json!({"policies": [policy("two", json!({}))]}).to_string()).unwrap();
    let commented = dir.path().join("c.yml");
    fs::write(&commented, "# by hand\npolicies: []\n").unwrap();
    let said = vigil_policy(None, &["fmt", "--check", path]).expect(1);
    assert!(
        said.out.contains("a.yaml") && said.out.contains("b.json") && !said.out.contains("c.yml"),
        "{}",
        said.out
    );
    assert!(said.err.contains("c.yml: left as it is: it has comments"), "{}", said.err);
    assert_eq!(fs::read_to_string(&yaml).unwrap(), text, "it only looks");
    let before = vigil_policy(None, &["check", path, "-o", "json"]).expect(0).json();
    vigil_policy(None, &["fmt", path]).expect(0);
    let formed = fs::read_to_string(&yaml).unwrap();
    assert!(formed.starts_with("policies:\n") && formed.contains("name: one"), "{formed}");
    let at = |word: &str| formed.find(word).unwrap_or_else(|| panic!("{word} in {formed}"));
    assert!(
        at("name:") < at("condition:")
            && at("condition:") < at("action:")
            && at("action:") < at("guardrails:")
    );
    assert_eq!(read(&formed), read(text), "{formed}");
    assert_eq!(fs::read_to_string(&commented).unwrap(), "# by hand\npolicies: []\n");
    // Once more changes nothing.
    assert_eq!(vigil_policy(None, &["fmt", "--check", path]).expect(0).out, "");
    let after = vigil_policy(None, &["check", path, "-o", "json"]).expect(0).json();
    assert_eq!(before["policies"], after["policies"]);
    fs::write(&yaml, "policies: [").unwrap();
    assert!(vigil_policy(None, &["fmt", path]).expect(1).err.contains("a.yaml"));
}

/// What a file says.
fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn the_schema_and_the_reader_agree() {
    let schema = vigil_policy(None, &["schema"]).expect(0).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let dir = temp_dir();
    let file = dir.path().join("p.json");
    let with = |more: Value| policy("p", more);
    let without = |member: &str| {
        let mut policy = with(json!({}));
        policy.as_object_mut().unwrap().remove(member);
        policy
    };
    let condition = |condition: Value| with(json!({"condition": condition}));
    let rails = |rails: Value| with(json!({"guardrails": rails}));
    let steps = |steps: Value| with(json!({"steps": steps}));
    let one = json!({"type": "metric_below", "metric": "m", "threshold": "5"});
    let cases = [
        (with(json!({})), true),
        (with(json!({"unknown": 1, "enabled": false, "severity": "critical", "mode": "auto"})), true),
        (with(json!({"enabled": null, "target": null, "params": null, "guardrails": null})), true),
        (without("name"), false),
        (without("action"), false),
        (without("condition"), false),
        (json!({"name": "p", "action": "a", "match_metric": "m", "threshold": 1}), true),
        (json!({"name": "p", "action": "a", "match_metric": "m"}), false),
        (with(json!({"name": ""})), false),
        (with(json!({"name": "a/b"})), false),
        (with(json!({"name": 7})), false),
        (with(json!({"severity": "dire"})), false),
        (with(json!({"target": 1})), false),
        (with(json!({"params": [1]})), false),
        (condition(one.clone()), true),
        (
            condition(
                json!({"type": "all", "conditions": [one.clone(), {"type": "any", "conditions": [one.clone()]}]}),
            ),
            true,
        ),
        (condition(json!({"type": "all", "conditions": [one.clone(), {"type": "any"}]})), false),
        (condition(json!({"type": "cel", "expression": "last(\"m\") > 1.0"})), true),
        (condition(json!({"type": "cel"})), false),
        (condition(json!({"type": "sometimes"})), false),
        (condition(json!({"type": "metric_below", "metric": "m", "threshold": 1, "extra": 1})), false),
        (condition(json!({"type": "metric_below", "metric": "m"})), false),
        (condition(json!([])), false),
        (rails(json!({"for": "1m", "cooldown": 5, "max_actions": 0, "breaker": 3, "tries": 2})), true),
        (rails(json!({"blast_radius": {"max": 3}, "mass_failure": {"targets": 9, "quiet": "1m"}})), true),
        (rails(json!({"blast_radius": {}})), false),
        (rails(json!({"blast_radius": {"percent": 101}})), false),
        (rails(json!({"mass_failure": {"targets": 0}})), false),
        (rails(json!({"speed": 1})), false),
        (rails(json!({"max_actions": -1})), false),
        (rails(json!({"breaker": 0})), false),
        (rails(json!({"cooldown": true})), false),
        (rails(json!({"cooldown": 9_000_000})), false),
        (rails(json!([])), false),
        (steps(json!([{"action": "scale-up", "tries": 2, "settle": "1m"}, {"action": "notify"}])), true),
        (steps(json!([{"action": "notify", "tries": 1}])), false),
        (steps(json!([{"action": "a", "tries": 11}])), false),
        (steps(json!([{"tries": 1}])), false),
        (steps(json!([{"action": "a", "verify": 1}])), false),
        (steps(json!({"action": "a"})), false),
        (json!("policy"), false),
    ];
    for (policy, good) in cases {
        let document = json!({"policies": [policy]});
        fs::write(&file, document.to_string()).unwrap();
        let said = vigil_policy(None, &["check", file.to_str().unwrap()]);
        assert_eq!((said.code == 0, validator.is_valid(&document)), (good, good), "{policy}\n{}", said.out);
    }
    for document in [json!({"policies": 7}), json!(7), json!({"policies": null}), json!([]), json!({})] {
        fs::write(&file, document.to_string()).unwrap();
        let said = vigil_policy(None, &["check", file.to_str().unwrap()]);
        assert_eq!(said.code == 0, validator.is_valid(&document), "{document}: {}", said.out);
    }
}
