//! A stranger reads `/openapi.json` and tries whatever it allows: schemathesis, in a process of its own.

use crate::world::{Engine, World};
use std::process::Command;

/// Where it is; without it this story is ignored, and the runner says so.
pub fn schemathesis() -> Option<String> {
    std::env::var("FUDA_TEST_SCHEMATHESIS").ok().filter(|path| !path.is_empty())
}

/// No fault of ours, no status or shape that the document does not name; a bounded number of cases from a fixed seed.
pub async fn every_answer_is_as_documented(engine: Engine) {
    let world = World::new(engine).await;
    let output = Command::new(schemathesis().unwrap())
        .args(["run", &format!("{}/openapi.json", world.server.base), "--seed", "7", "--max-examples", "25"])
        .args(["--header", &format!("x-api-key: {}", world.keys.api_key)])
        .args(["--header", &format!("Authorization: Basic {}", world.keys.secret)])
        .args(["--phases", "examples,coverage,fuzzing", "--checks"])
        .arg("not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance")
        .current_dir(&world.folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Tested: 33"), "{text}");
    let log = std::fs::read_to_string(world.folder.with_extension("log")).unwrap();
    assert!(!log.contains("ERR0500"), "a fault of ours is in the log");
}
