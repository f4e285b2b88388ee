//! The OpenAPI document is a file in review: a change of the API shows as a change of `docs/openapi.json`.

use std::path::Path;

#[test]
fn the_document_is_the_one_in_review() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = serde_json::to_string_pretty(&fuda::http::openapi::document()).unwrap() + "\n";
    if std::env::var("FUDA_ACCEPT").is_ok() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(now == kept, "the API changed: FUDA_ACCEPT=1 cargo test --test openapi writes docs/openapi.json anew");
}

#[test]
fn every_reference_is_there() {
    let document = fuda::http::openapi::document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}
