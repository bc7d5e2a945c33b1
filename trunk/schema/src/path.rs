//! Paths of collections, documents and fields: their rules, their order, their bytes.
//!
//! The rules are Firestore's. Ids compare by UTF-8 bytes, except `__id123__`, which come first and
//! compare as numbers; the key form keeps that order, so that a scan of the index meets documents
//! in the order of their names.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most bytes of one collection or document id, and of one field name (Firestore: 1,500).
pub const ID_BYTES_MAX: usize = 1_500;

/// Most bytes of a whole path (Firestore: 6 KiB).
pub const PATH_BYTES_MAX: usize = 6 << 10;

/// Most names in a field path: what nests deeper could not be stored.
pub const FIELD_DEPTH_MAX: usize = 20;

/// Why some text is not a path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A name of length zero.
    #[error("path `{path}` has an empty segment; remove the extra separator")]
    Empty {
        /// The whole path.
        path: String,
    },
    /// `.` or `..`.
    #[error("`{name}` cannot be an id; ids are names, not directions")]
    Dots {
        /// The id.
        name: String,
    },
    /// `__…__`.
    #[error("name `{name}` is reserved; names that begin and end with `__` are not for apps")]
    Reserved {
        /// The name.
        name: String,
    },
    /// An id with a slash.
    #[error("id `{name}` contains `/`")]
    Slash {
        /// The id.
        name: String,
    },
    /// Too long.
    #[error("name or path of {bytes} bytes is longer than {bytes_max}")]
    Long {
        /// Its bytes.
        bytes: usize,
        /// How many it may have.
        bytes_max: usize,
    },
    /// An even number of segments names a document, an odd one a collection.
    #[error("`{path}` names a collection; a document path has an even number of segments")]
    NotADocument {
        /// The path.
        path: String,
    },
    /// See above.
    #[error("`{path}` names a document; a collection path has an odd number of segments")]
    NotACollection {
        /// The path.
        path: String,
    },
    /// A field path that cannot be read.
    #[error("field path `{path}` cannot be read; put names with special characters in backticks")]
    FieldSyntax {
        /// The path.
        path: String,
    },
    /// A field path that is too deep.
    #[error("field path has {names} names, more than {FIELD_DEPTH_MAX}")]
    Deep {
        /// How many names it has.
        names: usize,
    },
}

fn reserved(name: &str) -> bool {
    name.len() >= 4 && name.starts_with("__") && name.ends_with("__")
}

/// The number in `__id123__`, if it is written in its one canonical way.
fn numeric(id: &str) -> Option<i64> {
    let digits = id.strip_prefix("__id")?.strip_suffix("__")?;
    let number: i64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

fn check_length(text: &str, bytes_max: usize) -> Result<(), PathError> {
    let bytes = text.len();
    if bytes > bytes_max { Err(PathError::Long { bytes, bytes_max }) } else { Ok(()) }
}

fn check_id(id: &str) -> Result<(), PathError> {
    check_length(id, ID_BYTES_MAX)?;
    match id {
        "." | ".." => Err(PathError::Dots { name: id.to_owned() }),
        id if id.contains('/') => Err(PathError::Slash { name: id.to_owned() }),
        id if reserved(id) && numeric(id).is_none() => {
            Err(PathError::Reserved { name: id.to_owned() })
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_field_name(name: &str) -> Result<(), PathError> {
    check_length(name, ID_BYTES_MAX)?;
    if name.is_empty() {
        return Err(PathError::Empty { path: String::new() });
    }
    if reserved(name) {
        return Err(PathError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

/// Checks all segments and returns how many there are.
fn check_path(path: &str) -> Result<usize, PathError> {
    check_length(path, PATH_BYTES_MAX)?;
    let mut count = 0;
    for segment in path.split('/') {
        if segment.is_empty() {
            return Err(PathError::Empty { path: path.to_owned() });
        }
        check_id(segment)?;
        count += 1;
    }
    Ok(count)
}

/// Compares two paths segment by segment.
pub(crate) fn compare_segments<'a>(
    a: impl Iterator<Item = &'a str>,
    b: impl Iterator<Item = &'a str>,
) -> Ordering {
    let key = |id: &'a str| (numeric(id).is_none(), numeric(id), id);
    a.map(key).cmp(b.map(key))
}

/// Appends one segment in order-preserving form: 1 and eight bytes for a numeric id, 2 and the
/// escaped text for others.
pub(crate) fn push_segment(out: &mut Vec<u8>, segment: &str) {
    match numeric(segment) {
        Some(number) => {
            out.push(1);
            out.extend_from_slice(&(number as u64 ^ 1 << 63).to_be_bytes());
        }
        None => {
            out.push(2);
            crate::order::push_escaped(out, segment.as_bytes());
        }
    }
}

/// Reads one segment written by [`push_segment`] off the front of `bytes`.
fn take_segment(bytes: &mut &[u8]) -> Option<String> {
    let (&tag, rest) = bytes.split_first()?;
    if tag == 1 {
        let (number, rest) = rest.split_first_chunk::<8>()?;
        *bytes = rest;
        return Some(format!("__id{}__", (u64::from_be_bytes(*number) ^ 1 << 63) as i64));
    }
    if tag != 2 {
        return None;
    }
    let mut text = Vec::new();
    let mut rest = rest;
    loop {
        let (byte, after) = match rest {
            [0, 0, after @ ..] => {
                *bytes = after;
                return String::from_utf8(text).ok();
            }
            [0, 0xff, after @ ..] => (0, after),
            [byte, after @ ..] if *byte != 0 => (*byte, after),
            _ => return None,
        };
        text.push(byte);
        rest = after;
    }
}

/// The path of a collection, such as `notes` or `notes/a/comments`.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct CollectionPath(Arc<str>);

/// The path of a document, such as `notes/a`.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct DocPath(Arc<str>);

impl CollectionPath {
    /// Reads and checks a path.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if check_path(path)? % 2 == 1 {
            Ok(Self(path.into()))
        } else {
            Err(PathError::NotACollection { path: path.to_owned() })
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.rsplit('/').next().expect("split yields at least one part")
    }

    /// The document it is under, if it is not at the top.
    #[must_use]
    pub fn parent(&self) -> Option<DocPath> {
        self.0.rsplit_once('/').map(|(parent, _)| DocPath(parent.into()))
    }

    /// The document of this name in it.
    pub fn doc(&self, id: &str) -> Result<DocPath, PathError> {
        if id.contains('/') {
            return Err(PathError::Slash { name: id.to_owned() });
        }
        DocPath::parse(&format!("{}/{id}", self.0))
    }

    /// The order-preserving bytes that begin the keys of exactly its own documents.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.0.len() + 16);
        push_collection(&mut key, &self.0);
        key
    }
}

fn push_collection(out: &mut Vec<u8>, path: &str) {
    path.split('/').for_each(|segment| push_segment(out, segment));
    out.push(0);
}

impl DocPath {
    /// Reads and checks a path.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if check_path(path)? % 2 == 0 {
            Ok(Self(path.into()))
        } else {
            Err(PathError::NotADocument { path: path.to_owned() })
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The document id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.split().1
    }

    /// The collection it is in.
    #[must_use]
    pub fn collection(&self) -> CollectionPath {
        CollectionPath(self.split().0.into())
    }

    /// A collection under it.
    pub fn collection_below(&self, id: &str) -> Result<CollectionPath, PathError> {
        CollectionPath::parse(&format!("{}/{id}", self.0))
    }

    /// The segments, collections and ids in turn.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').expect("a document path has two segments at least")
    }

    /// Order-preserving bytes: the key of its collection, then its id. No key begins another.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.0.len() + 16);
        self.push_key(&mut key);
        key
    }

    /// Appends [`DocPath::key`] to `out`.
    pub fn push_key(&self, out: &mut Vec<u8>) {
        let (collection, id) = self.split();
        push_collection(out, collection);
        push_segment(out, id);
    }

    /// The bytes of the id alone, as they end [`DocPath::key`].
    #[must_use]
    pub fn id_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.id().len() + 4);
        push_segment(&mut key, self.id());
        key
    }

    /// Reads [`DocPath::key`].
    #[must_use]
    pub fn from_key(mut key: &[u8]) -> Option<Self> {
        let mut path = String::new();
        while *key.first()? != 0 {
            path.push_str(&take_segment(&mut key)?);
            path.push('/');
        }
        key = &key[1..];
        path.push_str(&take_segment(&mut key)?);
        if key.is_empty() { Self::parse(&path).ok() } else { None }
    }

    /// The document of `collection` whose [`DocPath::id_key`] this is.
    #[must_use]
    pub fn from_id_key(collection: &CollectionPath, mut id_key: &[u8]) -> Option<Self> {
        let id = take_segment(&mut id_key)?;
        if id_key.is_empty() { collection.doc(&id).ok() } else { None }
    }
}

macro_rules! text_path {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = PathError;

            fn from_str(path: &str) -> Result<Self, PathError> {
                Self::parse(path)
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                compare_segments(self.0.split('/'), other.0.split('/'))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let path = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&path).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_path!(CollectionPath);
text_path!(DocPath);

/// What Firestore calls the name of a document in queries.
const DOCUMENT_ID: &str = "__name__";

/// The path of a field, such as `address.city`. In events it is the list of its names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// A path of these names, which may hold any characters.
    pub fn new(names: Vec<String>) -> Result<Self, PathError> {
        if names.is_empty() {
            return Err(PathError::Empty { path: String::new() });
        }
        if names.len() > FIELD_DEPTH_MAX {
            return Err(PathError::Deep { names: names.len() });
        }
        names.iter().try_for_each(|name| check_field_name(name))?;
        Ok(Self(names))
    }

    /// Stands for the name of the document itself, in queries: no document has such a field.
    #[must_use]
    pub fn document_id() -> Self {
        Self(vec![DOCUMENT_ID.to_owned()])
    }

    /// Whether it is [`FieldPath::document_id`].
    #[must_use]
    pub fn is_document_id(&self) -> bool {
        matches!(self.0.as_slice(), [name] if name == DOCUMENT_ID)
    }

    /// Reads dotted names. A name in backticks may hold anything; there a backslash quotes
    /// backtick and backslash. Outside, `~*/[]` and backticks are refused, as in Firestore.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        check_length(path, PATH_BYTES_MAX)?;
        let wrong = || PathError::FieldSyntax { path: path.to_owned() };
        let mut names = vec![String::new()];
        let mut quoted = false;
        let mut closed = false;
        let mut characters = path.chars();
        while let Some(character) = characters.next() {
            let name = names.last_mut().expect("starts with one and only grows");
            match character {
                '\\' if quoted => match characters.next() {
                    Some(next @ ('\\' | '`')) => name.push(next),
                    _ => return Err(wrong()),
                },
                '`' if quoted => (quoted, closed) = (false, true),
                _ if quoted => name.push(character),
                '.' => {
                    names.push(String::new());
                    closed = false;
                }
                '`' if name.is_empty() && !closed => quoted = true,
                '`' | '~' | '*' | '/' | '[' | ']' => return Err(wrong()),
                _ if closed => return Err(wrong()),
                _ => name.push(character),
            }
        }
        if quoted || names.iter().any(String::is_empty) {
            return Err(wrong());
        }
        Self::new(names)
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether one of the two holds the other, or they are the same.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            let mut characters = name.chars();
            let simple = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && characters.all(|c| c.is_ascii_alphanumeric() || c == '_');
            if simple {
                f.write_str(name)?;
            } else {
                write!(f, "`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))?;
            }
        }
        Ok(())
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::parse(path)
    }
}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A document id of twenty letters and digits, made of 128 random bits.
#[must_use]
pub fn auto_id(random: [u8; 16]) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rest = u128::from_be_bytes(random);
    let character = |_| {
        let letter = ALPHABET[usize::try_from(rest % 62).expect("below 62")];
        rest /= 62;
        char::from(letter)
    };
    (0..20).map(character).collect()
}

#[cfg(test)]
mod tests;
