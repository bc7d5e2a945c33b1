//! Tables of any shape become documents or a reason.

use std::ops::ControlFlow;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::fold::fold;
use crate::{Action, Import, Importer, MemorySource, Options, Source};

/// Imports `source` and lists its rows.
fn outcome(source: &dyn Source, options: Options) -> String {
    let mut import = Import::open(source, Importer::Csv, options).unwrap();
    let plan = import.plan(&|_| None, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut lines = String::new();
    for item in &plan.items {
        match &item.action {
            Action::Skip(reason) => lines.push_str(&format!("{}: skip, {reason}\n", item.path)),
            Action::Fail(reason) => lines.push_str(&format!("{}: fail, {reason}\n", item.path)),
            _ => {
                let read = import.read_item(item).unwrap();
                let json = Field::Map(read.fields).to_json();
                lines
                    .push_str(&format!("{} {}\n  {json}\n", read.collection, item.key.original_id));
            }
        }
    }
    for loss in &plan.losses {
        lines.push_str(&format!("! {}\n", loss.what));
    }
    lines
}

#[track_caller]
fn check(text: impl Into<Vec<u8>>, expected: &Expect) {
    let source = MemorySource::new().with("people.csv", text);
    expected.assert_eq(&fold(&outcome(&source, Options::default())));
}

#[test]
fn numbers_stay_text_where_writing_them_back_would_change_them() {
    check(
        "id,whole,price,zip,phone,yes,mixed,big\n\
         1,5,1.5,01234,+49,true,1,9007199254740993\n\
         2,-7,2,99999,1e5,false,x,0.5\n\
         3,,,,,,,\n",
        &expect![[r#"
            people people.csv#id=1
              {"big":"9007199254740993","id":1,"mixed":"1","phone":"+49","price":1.5,"wh
            » ole":5,"yes":true,"zip":"01234"}
            people people.csv#id=2
              {"big":0.5,"id":2,"mixed":"x","phone":"1e5","price":2.0,"whole":-7,"yes":f
            » alse,"zip":"99999"}
            people people.csv#id=3
              {"big":null,"id":3,"mixed":null,"phone":null,"price":null,"whole":null,"ye
            » s":null,"zip":null}
        "#]],
    );
}

#[test]
fn delimiters_and_encodings_are_found_out() {
    for (text, delimiter) in [
        ("a;b\n1,5;2\n3;4,5\n", b';'),
        ("a\tb\n1,5\t2,6\n", b'\t'),
        ("a|b|c\n1|2|3\n", b'|'),
        ("sep=;\na;b\n1;2\n", b';'),
        ("a,b\n\"x;y\",2\n", b','),
        ("only\none\n", b','),
        ("", b','),
    ] {
        assert_eq!(dialect(text, "csv").0, delimiter, "{text:?}");
    }
    let utf_16: Vec<u8> =
        "\u{feff}név;ár\nő;1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(
        utf_16,
        &expect![[r#"
            people people.csv#row=3n25hb6cgtyeeucz2dxv.1
              {"név":"ő","ár":1}
        "#]],
    );
}

#[test]
fn ragged_rows_and_odd_headers_are_taken_and_reported() {
    check(
        "id,name,name,,__x__\n1,a,b\n1,a,b,c,d,e,f\n\n2,\"two\nlines\",,,\n",
        &expect![[r#"
            people people.csv#id=1
              {"id":1,"name":"a","name 2":"b"}
            people people.csv#row=ybflkyypp2ttzfx4eicn.1
              {"_x__":"d","column 4":"c","column 6":"e","column 7":"f","id":1,"name":"a"
            » ,"name 2":"b"}
            people people.csv#id=2
              {"_x__":null,"column 4":null,"id":2,"name":"two\nlines","name 2":null}
            ! "name" is called "name 2" here
            ! "" is called "column 4" here
            ! "__x__" is called "_x__" here
            ! row on line 2 has 3 cells instead of 5
            ! row on line 3 has 7 cells instead of 5
            ! row on line 3 repeats an id and is named after its content
        "#]],
    );
}

#[test]
fn rows_without_an_id_are_named_after_their_content() {
    check(
        "a,b\n1,2\n1,2\n3,4\n",
        &expect![[r#"
            people people.csv#row=yublc54e4eydj3znkxic.1
              {"a":1,"b":2}
            people people.csv#row=yublc54e4eydj3znkxic.2
              {"a":1,"b":2}
            people people.csv#row=36ugy5rz7v6cnirq3b3s.1
              {"a":3,"b":4}
        "#]],
    );
}

#[test]
fn tables_that_cannot_be_read_fail_with_a_reason() {
    let wide = vec!["c"; COLUMNS_MAX + 1].join(",");
    let unclosed = format!("a,b\n1,\"2\n{}", "3,4\n".repeat(300_000));
    let source = MemorySource::new()
        .with("empty.csv", "")
        .with("junk.csv", &b"\0\x01\0\x02\x03\x04"[..])
        .with("wide.csv", wide)
        .with("unclosed.csv", unclosed)
        .with("note.txt", "x");
    expect![[r#"
        empty.csv: fail, table is empty
        junk.csv: fail, not text: looks like a binary file
        note.txt: skip, not a file that this importer reads
        unclosed.csv: fail, cell on line 2 is larger than 1048576 bytes: is a quote missing?
        wide.csv: fail, table has more than 2000 columns
    "#]]
    .assert_eq(&outcome(&source, Options::default()));
}

#[test]
fn a_stated_column_names_the_rows() {
    let source = MemorySource::new().with("a.csv", "id,code\n1,x\n2,y\n");
    let options = Options { id_column: Some("Code".to_owned()), ..Options::default() };
    assert!(outcome(&source, options).contains("a.csv#id=x"));
}

proptest! {
    #[test]
    fn any_bytes_are_rows_or_a_reason(bytes: Vec<u8>) {
        outcome(&MemorySource::new().with("a.csv", bytes), Options::default());
    }

    #[test]
    fn any_text_is_rows_or_a_reason(text in "[a,;\"\n\r\t1.\\-é]{0,60}") {
        outcome(&MemorySource::new().with("a.csv", text), Options::default());
    }

    #[test]
    fn typed_cells_are_written_back_as_they_were(
        cells in proptest::collection::vec(
            "-?0?[0-9]{0,18}(\\.[0-9]{0,3})?|true|false|NaN|inf",
            1..4,
        )
    ) {
        let mut kind = None;
        cells.iter().for_each(|cell| narrow(&mut kind, cell));
        for cell in &cells {
            let back = match value(kind.unwrap_or(Kind::Text), cell) {
                Field::Null => String::new(),
                Field::Bool(value) => value.to_string(),
                Field::Int(value) => value.to_string(),
                Field::Double(value) => value.to_string(),
                Field::Text(text) => text,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(&back, cell);
        }
    }
}
