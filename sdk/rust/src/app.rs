//! Which app is asking, and what it asks for.

use crate::error::Error;
use rhizome_schema::{Code, CollectionPath};

/// Most bytes of an app's name: the names of apps are domain names.
const NAME_BYTES_MAX: usize = 255;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verb {
    Read,
    Write,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Scope {
    collection: String,
    write: bool,
}

/// An app and the collections it asks for. One that names no collection asks for all of its own.
///
/// The scope is kept by this library: what lies outside is `permission-denied` here. Grants that
/// other devices enforce come with the pod's tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct App {
    name: String,
    scopes: Vec<Scope>,
}

impl App {
    /// The app of this name, such as `org.example.todo`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), scopes: Vec::new() }
    }

    /// Asks to read and write a collection and what lies below its documents.
    #[must_use]
    pub fn read_write(self, collection: &str) -> Self {
        self.scope(collection, true)
    }

    /// Asks to read a collection and what lies below its documents.
    #[must_use]
    pub fn read(self, collection: &str) -> Self {
        self.scope(collection, false)
    }

    fn scope(mut self, collection: &str, write: bool) -> Self {
        self.scopes.push(Scope { collection: collection.to_owned(), write });
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let name = &self.name;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let message =
                format!("name of an app has 1 to {NAME_BYTES_MAX} bytes, no control ones");
            return Err(Error::new(Code::InvalidArgument, message));
        }
        for scope in &self.scopes {
            CollectionPath::parse(&scope.collection)?;
        }
        Ok(())
    }

    /// Whether every collection of a name may be read, wherever it lies.
    pub(crate) fn check_group(&self, name: &str) -> Result<(), Error> {
        if self.scopes.is_empty() {
            return Ok(());
        }
        let message = format!(
            "app {} did not ask to read every collection named `{name}`: it names collections",
            self.name
        );
        Err(Error::new(Code::PermissionDenied, message))
    }

    /// Whether `collection` may be used in this way.
    pub(crate) fn check(&self, collection: &CollectionPath, verb: Verb) -> Result<(), Error> {
        let path = collection.as_str();
        let covers = |scope: &Scope| {
            let below = path.strip_prefix(scope.collection.as_str());
            let inside = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            inside && (scope.write || verb == Verb::Read)
        };
        if self.scopes.is_empty() || self.scopes.iter().any(covers) {
            return Ok(());
        }
        let word = if verb == Verb::Read { "read" } else { "write" };
        let message = format!("app {} did not ask to {word} `{path}`", self.name);
        Err(Error::new(Code::PermissionDenied, message))
    }
}
