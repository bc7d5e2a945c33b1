//! The shape of errors and the numbers scripts rely on.

use super::*;
use expect_test::expect;

#[derive(Debug, thiserror::Error)]
#[error("segment cannot be written")]
struct Outer(#[source] std::io::Error);

#[test]
fn an_error_travels_with_everything_a_person_needs() {
    let disk = Outer(std::io::Error::other("no space left"));
    let error = ApiError::from_error(Problem::DISK, &disk).saved().hint("rhizome doctor");
    expect![[r#"
        {
          "code": "resource-exhausted",
          "id": "RZ-0302",
          "message": "segment cannot be written",
          "causes": [
            "no space left"
          ],
          "saved": true,
          "try": "rhizome doctor",
          "exit": 10
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&error).unwrap());
    let text = serde_json::to_string(&error).unwrap();
    assert_eq!(serde_json::from_str::<ApiError>(&text).unwrap(), error);
}

#[test]
fn an_error_of_a_later_version_still_gets_through() {
    let text = r#"{"code":"teapot","id":"RZ-9999","message":"m","exit":42,"new":[1]}"#;
    let error: ApiError = serde_json::from_str(text).unwrap();
    assert_eq!((error.code, error.exit, error.saved), (ErrorCode::Unknown, 42, false));
}

#[test]
fn every_code_is_read_back_as_itself() {
    for code in CODES {
        let mut error = ApiError::new(Problem::INTERNAL, "m");
        error.code = code;
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<ApiError>(&text).unwrap().code, code);
    }
}

#[test]
fn the_exit_numbers_are_a_promise() {
    let lines: Vec<String> =
        Exit::ALL.iter().map(|exit| format!("{} {}", exit.number(), exit.meaning())).collect();
    expect![[r#"
        0 ok
        1 error
        2 usage
        3 pod not reachable
        4 not permitted or locked
        5 not found
        6 conflict or precondition
        7 saved on this device, not confirmed in time
        8 integrity check failed
        9 partly done, see the report
        10 quota or disk
        11 incompatible version
        130 interrupted"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn every_code_has_an_exit() {
    let lines: Vec<String> =
        CODES.iter().map(|code| format!("{code} {}", Exit::of(*code).number())).collect();
    expect![[r#"
        cancelled 130
        unknown 1
        invalid-argument 2
        deadline-exceeded 1
        not-found 5
        already-exists 6
        permission-denied 4
        resource-exhausted 10
        failed-precondition 6
        aborted 6
        out-of-range 2
        unimplemented 11
        internal 1
        unavailable 1
        data-loss 8
        unauthenticated 4"#]]
    .assert_eq(&lines.join("\n"));
}
