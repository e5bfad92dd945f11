use super::*;

#[test]
fn the_contract_s_series_are_there() {
    let metrics = Metrics::new().unwrap();
    let cpu = metrics.policy("cpu");
    metrics.request("BREW", "unmatched", 404, Duration::from_millis(3));
    metrics.ingest("cpu_percent", 2);
    cpu.violation();
    cpu.evaluated([1, 0, 0, 0]);
    metrics.action("web-01", "restart", "pending");
    metrics.worker_task("completed");
    metrics.queue_operation("enqueue");
    metrics.queue_length(7);
    metrics.worker_active(true);
    metrics.drift("Deployment", "drifted", 2.0);
    let text = metrics.encode();
    for line in [
        r#"requests_total{endpoint="unmatched",method="other",status="404"} 1"#,
        r#"request_latency_seconds_bucket{endpoint="unmatched",le="0.005"} 1"#,
        r#"request_latency_seconds_bucket{endpoint="unmatched",le="10"} 1"#,
        r#"ingest_total{metric_name="cpu_percent"} 2"#,
        r#"vigil_policy_violations_total{policy_name="cpu"} 1"#,
        r#"policy_evaluation_total{policy_name="cpu",result="violation"} 1"#,
        r#"policy_evaluation_total{policy_name="cpu",result="no_data"} 0"#,
        r#"actions_total{action="restart",status="pending",target="web-01"} 1"#,
        r#"actions_total{action="restart",status="completed",target="web-01"} 0"#,
        r#"worker_tasks_total{status="completed"} 1"#,
        r#"queue_operations_total{operation="enqueue"} 1"#,
        "queue_length 7",
        "vigil_queue_length 7",
        "worker_active 1",
        r#"drift_detection_latency_seconds_bucket{manifest_type="Deployment",status="drifted",le="60"} 1"#,
        "vigil_stale_commits_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("_created"));
}

#[test]
fn labels_from_outside_are_bounded() {
    let metrics = Metrics::new().unwrap();
    for n in 0..2_000 {
        metrics.ingest(&format!("name{n}"), 1);
        metrics.action(&format!("target{n}"), "restart", "pending");
    }
    metrics.ingest("name0", 1);
    let text = metrics.encode();
    assert_eq!(text.lines().filter(|line| line.starts_with("ingest_total{")).count(), 1_001);
    assert_eq!(text.lines().filter(|line| line.starts_with("actions_total{")).count(), 201 * 5);
    assert!(text.contains(r#"ingest_total{metric_name="other"} 1000"#));
    assert!(text.contains(r#"ingest_total{metric_name="name0"} 2"#));
}
