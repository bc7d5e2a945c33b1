//! Everything a source lists, and which file a note means when it refers to one.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::field::{AttachmentId, Field, Fields};
use crate::import::Options;
use crate::item::{Attachment, ItemError, LossKind};
use crate::media::media_type;
use crate::path::{extension, file_name, folder, join};
use crate::source::{Entry, Listed, Refusal, Source, SourceError};

/// How many entries a source may list, so that the list itself cannot fill the memory.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;

/// The listing of a source, with an index by file name.
pub(crate) struct Library {
    /// All files, by path.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// What the source refuses.
    pub(crate) refused: Vec<(String, Refusal)>,
    /// Whether there were more than [`ENTRIES_MAX`].
    pub(crate) overfull: bool,
    by_name: BTreeMap<String, Vec<String>>,
    hashed: BTreeMap<String, Hashed>,
    referenced: BTreeSet<String>,
}

#[derive(Clone)]
struct Hashed {
    sha256: [u8; 32],
    bytes: u64,
}

/// How an item refers to a file.
pub(crate) struct Reference<'a> {
    /// The item's own path.
    pub(crate) from: &'a str,
    /// The reference as the item writes it, decoded.
    pub(crate) target: &'a str,
    /// Whether the file's path says something: folders do in a vault, not in an export.
    pub(crate) with_path: bool,
    /// The media type the item states.
    pub(crate) media_type: Option<String>,
}

impl Library {
    pub(crate) fn list(source: &dyn Source) -> Result<Library, SourceError> {
        let mut library = Library {
            entries: BTreeMap::new(),
            refused: Vec::new(),
            overfull: false,
            by_name: BTreeMap::new(),
            hashed: BTreeMap::new(),
            referenced: BTreeSet::new(),
        };
        source.entries(&mut |listed| {
            if library.entries.len() + library.refused.len() >= ENTRIES_MAX {
                library.overfull = true;
                return;
            }
            match listed {
                Listed::Refused { path, reason } => library.refused.push((path, reason)),
                Listed::Entry(entry) => {
                    let name = file_name(&entry.path).to_lowercase();
                    library.by_name.entry(name).or_default().push(entry.path.clone());
                    library.entries.insert(entry.path.clone(), entry);
                }
            }
        })?;
        for paths in library.by_name.values_mut() {
            paths.sort_by_key(|path| (path.matches('/').count(), path.clone()));
        }
        Ok(library)
    }

    /// The file that `target` means in the item at `from`: beside it, from the top, or, as note
    /// takers do, the file of this name that is nearest the top.
    pub(crate) fn find(&self, from: &str, target: &str) -> Option<String> {
        let beside = join(folder(from), target);
        let top = join("", target);
        let found = beside.into_iter().chain(top).find(|path| self.entries.contains_key(path));
        found.or_else(|| self.by_name.get(&file_name(target).to_lowercase())?.first().cloned())
    }

    /// Whether some item has taken the file at `path` along.
    pub(crate) fn is_referenced(&self, path: &str) -> bool {
        self.referenced.contains(path)
    }

    /// Reads the file that `reference` means and adds it to `taken`, or says what was lost. Returns
    /// the value that describes it in the item's fields.
    pub(crate) fn attach(
        &mut self,
        source: &dyn Source,
        options: &Options,
        reference: &Reference<'_>,
        taken: &mut Vec<Attachment>,
    ) -> Result<Option<Field>, LossKind> {
        let target = || reference.target.to_owned();
        let Some(path) = self.find(reference.from, reference.target) else {
            return Err(LossKind::AttachmentMissing { target: target() });
        };
        self.referenced.insert(path.clone());
        if !options.attachments {
            return Ok(None);
        }
        let hashed = self.hash(source, &path, options.attachment_bytes_max).map_err(|error| {
            LossKind::AttachmentLeftOut { target: target(), reason: ItemError::from(error).chain() }
        })?;
        let stated = reference.media_type.clone();
        let attachment = Attachment {
            id: AttachmentId::of(&hashed.sha256),
            name: file_name(&path).to_owned(),
            media_type: stated.unwrap_or_else(|| media_type(&path).to_owned()),
            bytes: hashed.bytes,
            sha256: hashed.sha256,
            path,
        };
        let field = describe(&attachment, reference);
        if taken.iter().all(|known| known.id != attachment.id) {
            taken.push(attachment);
        }
        Ok(Some(field))
    }

    fn hash(
        &mut self,
        source: &dyn Source,
        path: &str,
        bytes_max: u64,
    ) -> Result<Hashed, SourceError> {
        if let Some(hashed) = self.hashed.get(path) {
            return Ok(hashed.clone());
        }
        let mut hash = Sha256::new();
        let bytes = source.stream(path, bytes_max, &mut |piece| hash.update(piece))?;
        let hashed = Hashed { sha256: hash.finalize().into(), bytes };
        self.hashed.insert(path.to_owned(), hashed.clone());
        Ok(hashed)
    }

    /// Every path that has one of `extensions`, in order.
    pub(crate) fn with_extension(&self, extensions: &[&str]) -> Vec<String> {
        let wanted = |path: &&String| extensions.contains(&extension(path).as_str());
        self.entries.keys().filter(wanted).cloned().collect()
    }
}

fn describe(attachment: &Attachment, reference: &Reference<'_>) -> Field {
    let bytes = i64::try_from(attachment.bytes).unwrap_or(i64::MAX);
    let entries = [
        ("name", Field::text(&*attachment.name)),
        ("target", Field::text(reference.target)),
        ("mediaType", Field::text(&*attachment.media_type)),
        ("bytes", Field::Int(bytes)),
        ("content", Field::Attachment(attachment.id.clone())),
    ];
    let mut fields: Fields =
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if reference.with_path {
        fields.insert("path".to_owned(), Field::text(&*attachment.path));
    }
    Field::Map(fields)
}
