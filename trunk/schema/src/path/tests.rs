//! Paths keep their rules, their order and themselves.

use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;

#[track_caller]
fn refused(paths: &[&str], expected: &Expect) {
    let line = |path: &&str| match DocPath::parse(path) {
        Ok(path) => format!("{path} is fine\n"),
        Err(error) => format!("{error}\n"),
    };
    expected.assert_eq(&paths.iter().map(line).collect::<String>());
}

#[test]
fn wrong_document_paths_are_refused_with_what_to_change() {
    refused(
        &[
            "notes/a",
            "notes",
            "notes//a",
            "",
            "notes/..",
            "notes/__x__",
            "notes/__id7__",
            "notes/__id07__",
        ],
        &expect![[r#"
            notes/a is fine
            `notes` names a collection; a document path has an even number of segments
            path `notes//a` has an empty segment; remove the extra separator
            path `` has an empty segment; remove the extra separator
            `..` cannot be an id; ids are names, not directions
            name `__x__` is reserved; names that begin and end with `__` are not for apps
            notes/__id7__ is fine
            name `__id07__` is reserved; names that begin and end with `__` are not for apps
        "#]],
    );
    CollectionPath::parse("notes").unwrap().doc("a/b").unwrap_err();
    DocPath::parse(&format!("a/{}", "b".repeat(1_501))).unwrap_err();
}

#[test]
fn field_paths_are_read_with_backticks() {
    for (text, names) in [
        ("a", vec!["a"]),
        ("a.b_1", vec!["a", "b_1"]),
        ("`a.b`.c", vec!["a.b", "c"]),
        ("`\\`\\\\`", vec!["`\\"]),
        ("größe.x-y", vec!["größe", "x-y"]),
    ] {
        let path = FieldPath::parse(text).unwrap();
        assert_eq!(path.names(), names, "{text}");
        assert_eq!(FieldPath::parse(&path.to_string()).unwrap(), path);
    }
    for text in ["", ".", "a.", ".a", "a..b", "`a", "a`b`", "`a`b", "``", "a[0]", "__a__", "a*"] {
        assert!(FieldPath::parse(text).is_err(), "{text}");
    }
    FieldPath::new(vec!["a".to_owned(); 21]).unwrap_err();
}

#[test]
fn automatic_ids_have_twenty_characters() {
    assert_eq!(auto_id([0; 16]), "A".repeat(20));
    assert_eq!(auto_id([0xff; 16]).len(), 20);
    assert_ne!(auto_id([1; 16]), auto_id([2; 16]));
}

#[test]
fn the_key_of_a_collection_begins_the_keys_of_its_own_documents_only() {
    let key = |path: &str| DocPath::parse(path).unwrap().key();
    let notes = CollectionPath::parse("notes").unwrap().key();
    assert!(key("notes/a").starts_with(&notes));
    assert!(!key("notes/a/comments/b").starts_with(&notes));
    assert!(!key("notes2/a").starts_with(&notes));
}

fn paths() -> impl Strategy<Value = DocPath> {
    let id = prop_oneof!["[ab\u{0}]{1,2}", "__id-?[1-9][0-9]{0,2}__", "[^/_.]{1,3}"];
    prop::collection::vec(id, 1..3).prop_map(|ids| {
        let path: Vec<String> = ids.iter().flat_map(|id| [id.clone(), id.clone()]).collect();
        DocPath::parse(&path.join("/")).unwrap()
    })
}

proptest! {
    #[test]
    fn keys_are_read_back(path in paths()) {
        prop_assert_eq!(DocPath::from_key(&path.key()), Some(path.clone()));
        let collection = path.collection();
        prop_assert_eq!(DocPath::from_id_key(&collection, &path.id_key()), Some(path));
    }

    #[test]
    fn keys_of_one_collection_compare_as_paths_do(a in paths(), b in paths()) {
        let b = a.collection().doc(b.id()).unwrap();
        prop_assert_eq!(a.key().cmp(&b.key()), a.cmp(&b));
    }

    #[test]
    fn any_key_is_read_without_a_panic(key in prop::collection::vec(0_u8..4, 0..12)) {
        drop(DocPath::from_key(&key));
    }

    #[test]
    fn any_field_path_survives_as_text(names in prop::collection::vec("[^_]{1,3}", 1..4)) {
        let path = FieldPath::new(names).unwrap();
        prop_assert_eq!(FieldPath::parse(&path.to_string()).unwrap(), path);
    }
}
