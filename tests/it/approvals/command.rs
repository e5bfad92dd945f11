//! `vigil action`, `vigil approve` and `vigil reject`: what people and scripts see of them.

use std::process::{Command, Output};

use super::*;

impl Scene {
    fn shell(&self, token: &str, args: &[&str]) -> Output {
        let mut command = Command::new(Vigil::binary());
        let command = command.args(args).env_clear().env("HOME", self.vigil.home());
        let command = command.env("VIGIL_URL", self.vigil.url()).env("VIGIL_TOKEN", token);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// Its stdout; the exit code must be this one.
    #[track_caller]
    fn types(&self, token: &str, code: i32, args: &[&str]) -> String {
        let output = self.shell(token, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(code == 0 || output.stdout.is_empty() && said.len() > 20, "{args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[test]
fn actions_are_listed_shown_approved_and_rejected_by_hand() {
    let scene = Scene::new(Setting::Small, "");
    scene.policy("asks", "web-*", &json!({"approval": {"people": 2}}));
    let (first, second) = (scene.asked("web-1"), scene.asked("web-2"));
    let hash = first["approval"]["plan_hash"].as_str().unwrap();
    let list = scene.types(&scene.viewer, 0, &["action", "list", "--state", "approval"]);
    assert!(list.starts_with("ID") && list.lines().count() == 3, "{list}");
    assert!(list.contains("web-1") && list.contains("0 of 2") && list.contains(&hash[..12]), "{list}");
    let one = scene.types(&scene.viewer, 0, &["action", "list", "--target", "web-2", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["total"], 1);
    let id = first["id"].to_string();
    let shown = scene.types(&scene.viewer, 0, &["action", "show", &id]);
    for word in ["action", "web-1", "waiting, 0 of 2 said yes", hash, "of policy asks", "plugin"] {
        assert!(shown.contains(word), "{word} is not shown: {shown}");
    }
    let shown = scene.types(&scene.viewer, 0, &["action", "show", &id, "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["approval"]["plan_hash"], hash);
    // Nobody is asked where nobody can answer.
    scene.types(&scene.ann, 1, &["approve", &id]);
    assert_eq!(scene.action(&first["id"])["approval"]["approvals"], json!([]), "nothing was said");
    scene.types(&scene.viewer, 5, &["approve", &id, "--yes"]);
    scene.types(&scene.ann, 6, &["approve", &id, "--yes", "--hash", &"0".repeat(64)]);
    scene.types(&scene.ann, 4, &["approve", "999", "--yes"]);
    scene.types(&scene.ann, 2, &["approve", "x", "--yes"]);
    let told = scene.types(&scene.ann, 0, &["approve", &id, "--yes", "--hash", hash, "-m", "looks right"]);
    assert_eq!(told.trim(), "Approved: 1 of 2; it waits for more");
    assert!(scene.types(&scene.ann, 0, &["approve", &id, "--yes"]).contains("counts once"));
    let told = scene.types(&scene.bob, 0, &["approve", &id, "--yes", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap()["approval"]["state"], "approved");
    scene.until(&first["id"], "its run", |action| action["status"] == "completed");
    let shown = scene.types(&scene.viewer, 0, &["action", "show", &id]);
    assert!(shown.contains("token:2:ann looks right"), "{shown}");
    let other = second["id"].to_string();
    assert_eq!(
        scene.types(&scene.bob, 0, &["reject", &other, "--note", "no"]).trim(),
        "Rejected; nothing is done"
    );
    scene.types(&scene.bob, 6, &["reject", &other]);
    scene.types(&scene.bob, 6, &["approve", &other, "--yes"]);
    scene.types(&scene.viewer, 1, &["action", "list", "--state", "nonsense"]);
}
