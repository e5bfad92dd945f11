//! `vigil policy check`: would a server take these files?

use std::fs;

use super::{entry, temp_dir, vigil_policy, write};

#[test]
fn good_files_are_good_without_a_server() {
    let dir = temp_dir();
    write(&dir.path().join("a.yaml"), &[entry("one", "cpu", 90, "")]);
    fs::write(
        dir.path().join("b.json"),
        r#"{"policies": [{"name": "two", "match_metric": "heat", "threshold": 5, "action": "custom", "nonsense": 1}]}"#,
    )
    .unwrap();
    let path = dir.path().to_str().unwrap();
    let said = vigil_policy(None, &["check", path]).expect(0);
    assert!(
        said.out.contains("nonsense") && said.out.contains("only observes"),
        "warnings are said: {}",
        said.out
    );
    assert!(said.err.contains("2 policies in 2 files"), "{}", said.err);
    let json = vigil_policy(None, &["check", path, "-o", "json"]).expect(0).json();
    assert_eq!(
        (&json["ok"], &json["policies"], json["faults"].as_array().unwrap().len()),
        (&true.into(), &2.into(), 0)
    );
}

#[test]
fn every_fault_has_its_place() {
    let dir = temp_dir();
    let file = dir.path().join("bad.yaml");
    let text = "policies:
  - name: rails
    action: restart
    guardrails:
      cooldown: soon
      speed: 3
    condition: {type: metric_exceeds, metric: cpu, threshold: 90}
  - name: typed
    action: restart
    condition:
      type: all
      conditions:
        - {type: metric_exceeds, metric: cpu, threshold: 1}
        - {type: metric_exceeds, metric: cpu, threshold: high}
  - name: expression
    action: restart
    condition:
      type: cel
      expression: last(\"cpu\") > 90.0 && last(\"cpu\") > \"much\"
  - name: rails
    action: restart
    condition: {type: metric_exceeds, metric: cpu, threshold: 90}
  - name: good
    action: restart
    mode: observe
    condition: {type: metric_exceeds, metric: cpu, threshold: 90}
";
    fs::write(&file, text).unwrap();
    let said = vigil_policy(None, &["check", file.to_str().unwrap()]).expect(1);
    for (place, words) in [
        ("bad.yaml:5:7: rails: guardrails.cooldown: ", "duration"),
        ("bad.yaml:6:7: rails: guardrails.speed: ", "unknown guardrail"),
        ("bad.yaml:14:", "typed: condition.conditions.1"),
        ("bad.yaml:20:", "stands before it, at"),
    ] {
        let found = said.out.lines().any(|line| line.contains(place) && line.contains(words));
        assert!(found, "{place} … {words} in:\n{}", said.out);
    }
    // The place inside the expression: the comparison with a text, in the file's own columns.
    let line = text.lines().nth(18).unwrap();
    let column = line.rfind("last").unwrap() + 1;
    let operator = line.rfind('>').unwrap() + 1;
    let said_at = said.out.lines().find(|line| line.contains("expression")).unwrap();
    let places = [format!("bad.yaml:19:{column}:"), format!("bad.yaml:19:{operator}:")];
    assert!(places.iter().any(|place| said_at.contains(place)), "{places:?} in {said_at}");
    assert!(!said.out.contains(" good:"), "{}", said.out);
    let json = vigil_policy(None, &["check", "-o", "json", file.to_str().unwrap()]).expect(1).json();
    let faults = json["faults"].as_array().unwrap();
    assert_eq!((json["ok"].as_bool(), faults.len()), (Some(false), 5), "{json}");
    assert_eq!(
        (&faults[0]["line"], &faults[0]["field"]),
        (&5.into(), &"guardrails.cooldown".into()),
        "{json}"
    );
}

#[test]
fn what_is_no_policy_file_is_said_and_what_is_no_path_is_wrong_usage() {
    let dir = temp_dir();
    let file = dir.path().join("broken.yaml");
    fs::write(&file, "policies:\n  - name: [\n").unwrap();
    let said = vigil_policy(None, &["check", file.to_str().unwrap()]).expect(1);
    assert!(said.out.contains("broken.yaml:"), "{}", said.out);
    fs::write(&file, "policies: 7\n").unwrap();
    assert!(vigil_policy(None, &["check", file.to_str().unwrap()]).expect(1).out.contains("must be a list"));
    assert!(vigil_policy(None, &["check", "/nowhere/at/all"]).expect(2).err.contains("/nowhere/at/all"));
    vigil_policy(None, &["check"]).expect(2);
}

#[test]
fn policies_that_work_against_each_other_are_named() {
    let dir = temp_dir();
    let up = "  - {name: up, action: scale-up, target: 'web-*', mode: observe, condition: {type: metric_exceeds, metric: cpu, threshold: 50}}\n";
    let down = "  - {name: down, action: scale-down, target: '*-1', mode: observe, condition: {type: metric_below, metric: cpu, threshold: 60}}\n";
    write(&dir.path().join("a.yaml"), &[up.to_owned(), down.to_owned()]);
    let json = vigil_policy(None, &["check", "-o", "json", dir.path().to_str().unwrap()]).expect(0).json();
    let said: Vec<String> =
        json["warnings"].as_array().unwrap().iter().map(|warning| warning["message"].to_string()).collect();
    assert!(said.iter().any(|text| text.contains("oscillate with policy `down`")), "{said:?}");
    assert!(said.iter().any(|text| text.contains("oscillate with policy `up`")), "{said:?}");
    let gap = down.replace("60", "40");
    write(&dir.path().join("a.yaml"), &[up.to_owned(), gap]);
    let json = vigil_policy(None, &["check", "-o", "json", dir.path().to_str().unwrap()]).expect(0).json();
    assert!(!json.to_string().contains("oscillate"), "{json}");
}
