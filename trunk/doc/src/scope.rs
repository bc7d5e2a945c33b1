//! Where a query looks: in one collection, or in all of one name (a collection group).

use rhizome_schema::{CollectionPath, DocPath, Value, order_bytes};

/// Opens the key of a group; those of collections begin with 1 or 2.
const GROUP: u8 = 0x03;

/// Where a query looks.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// In one collection, without those below its documents.
    Collection(CollectionPath),
    /// In every collection of this name, wherever it lies.
    Group(String),
}

impl Scope {
    /// Both scopes that a document is in.
    pub(crate) fn both(path: &DocPath) -> [Self; 2] {
        let collection = path.collection();
        let group = Self::Group(collection.id().to_owned());
        [Self::Collection(collection), group]
    }

    /// Whether a document is in it.
    #[must_use]
    pub fn holds(&self, path: &DocPath) -> bool {
        match self {
            Self::Collection(collection) => path.collection() == *collection,
            Self::Group(name) => path.collection().id() == name,
        }
    }

    /// The collection, if it is one.
    #[must_use]
    pub fn collection(&self) -> Option<&CollectionPath> {
        match self {
            Self::Collection(collection) => Some(collection),
            Self::Group(_) => None,
        }
    }

    /// What stands for it in keys; no scope's key begins another's.
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Collection(collection) => collection.key(),
            Self::Group(name) => {
                let mut key = vec![GROUP];
                key.extend(order_bytes(&Value::Text(name.clone())));
                key
            }
        }
    }

    /// Whether a key is that of a group.
    pub(crate) fn is_group(key: &[u8]) -> bool {
        key.first() == Some(&GROUP)
    }

    /// What ends the key of an index entry: orders the documents of the scope by name.
    pub(crate) fn tail(&self, path: &DocPath) -> Vec<u8> {
        match self {
            Self::Collection(_) => path.id_key(),
            Self::Group(_) => order_bytes(&Value::Reference(path.clone())),
        }
    }

    /// What an index entry holds: enough to find the document.
    pub(crate) fn entry(&self, path: &DocPath) -> Vec<u8> {
        match self {
            Self::Collection(_) => path.id_key(),
            Self::Group(_) => path.as_str().as_bytes().to_vec(),
        }
    }

    /// The document of an entry.
    pub(crate) fn document(&self, entry: &[u8]) -> Option<DocPath> {
        match self {
            Self::Collection(collection) => DocPath::from_id_key(collection, entry),
            Self::Group(_) => DocPath::parse(std::str::from_utf8(entry).ok()?).ok(),
        }
    }
}

impl From<CollectionPath> for Scope {
    fn from(collection: CollectionPath) -> Self {
        Self::Collection(collection)
    }
}
