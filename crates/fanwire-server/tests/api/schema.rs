//! The document: what openapi.json says of each answer, and that it says all.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Server, http::Answer};

/// Holds an answer against the document.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let document = document();
    let path = target.split('?').next().unwrap();
    let operation = &document["paths"][path][method.to_ascii_lowercase()];
    if operation.is_null() {
        assert!(
            matches!(answer.status, 401 | 403 | 404 | 405),
            "{method} {path} is answered, and not in the document"
        );
        validate(&document, &json!({ "$ref": "#/components/schemas/Error" }), answer, target);
        return;
    }
    let mut response = &operation["responses"][answer.status.to_string()];
    assert!(
        !response.is_null(),
        "{method} {path}: {} is not in the document: {}",
        answer.status,
        answer.text
    );
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(reference.trim_start_matches('#')).unwrap();
    }
    for header in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
        assert!(answer.header(&header.to_ascii_lowercase()).is_some(), "{path}: {header} is missing");
    }
    let (media_type, content) = response["content"].as_object().unwrap().iter().next().unwrap();
    let given = answer.header("content-type").unwrap_or_default();
    assert!(given.starts_with(media_type), "{method} {path}: {given} in place of {media_type}");
    if media_type == "application/json" {
        validate(&document, &content["schema"], answer, target);
    }
}

fn validate(document: &Value, schema: &Value, answer: &Answer, target: &str) {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    let problems: Vec<_> = validator
        .iter_errors(&answer.json())
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{target}: {problems:?}: {}", answer.text);
}

fn document() -> Value {
    serde_json::from_str(include_str!("../../src/api/openapi.json")).unwrap()
}

#[test]
fn the_document_is_served_as_it_is() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/api/openapi.json"), document());
}

#[test]
fn what_is_routed_is_documented_and_the_other_way_round() {
    let routes = include_str!("../../src/api/routes.rs");
    let routed: BTreeSet<_> = routes
        .lines()
        .filter_map(|line| line.trim().strip_prefix(".route(\"")?.split_once("\", "))
        .map(|(path, rest)| (path.to_owned(), rest.split('(').next().unwrap().to_owned()))
        .collect();
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    let documented: BTreeSet<_> = paths
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(routed, documented);
}

/// The examples are what a reader tries first.
#[test]
fn the_examples_of_the_document_are_answered_with_200() {
    let server = Server::start(&[]);
    let document = document();
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(content) = methods["post"]["requestBody"]["content"].as_object() else { continue };
        let (media_type, content) = content.iter().next().unwrap();
        let example = &content["example"];
        let body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        let answer = server.api.request("POST", path, &[("Content-Type", media_type)], &body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        if media_type == "application/json" {
            let schema = document
                .pointer(content["schema"]["$ref"].as_str().unwrap().trim_start_matches('#'))
                .unwrap();
            assert!(jsonschema::is_valid(schema, example), "{path}: {example}");
        }
        tried += 1;
    }
    assert_eq!(tried, 5);
}

#[test]
fn the_document_is_of_the_form_that_it_names_in_all_its_references() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(members) => members.iter().for_each(|member| references(member, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name} is no JSON schema");
    }
}
