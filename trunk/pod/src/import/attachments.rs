//! Attachments: files of a source, as sealed trees of blocks that every device wants.

use super::Job;
use rhizome_api::ApiError;
use rhizome_block::{Block, Cid, Link, tree};
use rhizome_import::{Attachment, AttachmentId, Source, SourceError};
use rhizome_replica::{PinPurpose, PinSet};
use rhizome_schema::BlobRef;
use rhizome_seal::{EpochSecret, seal_block};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of sealed blocks that are made durable at once, so that a video needs little memory.
const KEEP_BYTES: usize = 16 << 20;

/// Longest name and media type in a reference.
const TEXT_BYTES_MAX: usize = 255;

/// Why an attachment is not here.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The pod could not take it.
    #[error("attachment could not be stored: {}", .0.message)]
    Pod(ApiError),
    /// The source did not hand it out.
    #[error("attachment {name} cannot be read")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// The file is no longer what it was when it was planned.
    #[error("attachment {name} changed while it was imported")]
    Changed {
        /// Its name.
        name: String,
    },
}

/// Stores attachments, each once.
pub struct Attachments<'a> {
    job: &'a Job,
    source: &'a dyn Source,
    secret: EpochSecret,
    stored: BTreeMap<AttachmentId, BlobRef>,
}

impl<'a> Attachments<'a> {
    /// Seals under the newest keys.
    pub fn new(job: &'a Job, source: &'a dyn Source) -> Result<Self, ApiError> {
        let look = job.identity.handle.look(|replica, _| replica.keys().newest_secret().cloned());
        let secret = job.runtime.block_on(look)?;
        let secret = secret.ok_or_else(|| {
            let message = "this device holds no keys and stores no attachments";
            ApiError::new(rhizome_api::Problem::LOCKED, message)
        })?;
        Ok(Self { job, source, secret, stored: BTreeMap::new() })
    }

    /// References to what is stored.
    pub fn stored(&self) -> &BTreeMap<AttachmentId, BlobRef> {
        &self.stored
    }

    /// Stores a file of the source, if it is not yet.
    pub fn store(&mut self, attachment: &Attachment) -> Result<(), AttachError> {
        if self.stored.contains_key(&attachment.id) {
            return Ok(());
        }
        let mut sealing = Sealing::new(self.job, &self.secret);
        let mut hash = Sha256::new();
        let read = self.source.stream(&attachment.path, attachment.bytes, &mut |piece| {
            hash.update(piece);
            sealing.push(piece);
        });
        let name = attachment.name.clone();
        read.map_err(|source| AttachError::Source { name: name.clone(), source })?;
        if hash.finalize()[..] != attachment.sha256 {
            return Err(AttachError::Changed { name });
        }
        let name = (name.len() <= TEXT_BYTES_MAX).then_some(name);
        let blob = sealing.finish(&attachment.media_type, name).map_err(AttachError::Pod)?;
        self.stored.insert(attachment.id.clone(), blob);
        Ok(())
    }

    /// Stores a text that is too long for an event.
    pub fn store_text(&self, text: &str, media_type: &str) -> Result<BlobRef, AttachError> {
        let mut sealing = Sealing::new(self.job, &self.secret);
        sealing.push(text.as_bytes());
        sealing.finish(media_type, None).map_err(AttachError::Pod)
    }
}

/// One tree being built and kept.
struct Sealing<'a> {
    job: &'a Job,
    builder: tree::Builder,
    shelf: Shelf<'a>,
}

struct Shelf<'a> {
    secret: &'a EpochSecret,
    cids: Vec<Cid>,
    blocks: Vec<Block>,
    bytes: usize,
    failed: Option<ApiError>,
}

impl Shelf<'_> {
    fn seal(&mut self, plain: &[u8]) -> Link {
        let sealed = seal_block(self.secret, plain);
        let link = sealed.link();
        self.bytes += sealed.bytes.len();
        self.cids.push(sealed.cid);
        self.blocks.push(Block { cid: sealed.cid, bytes: sealed.bytes });
        link
    }
}

impl<'a> Sealing<'a> {
    fn new(job: &'a Job, secret: &'a EpochSecret) -> Self {
        let (cids, blocks) = (Vec::new(), Vec::new());
        let shelf = Shelf { secret, cids, blocks, bytes: 0, failed: None };
        Self { job, builder: tree::Builder::default(), shelf }
    }

    fn push(&mut self, piece: &[u8]) {
        let Self { builder, shelf, .. } = self;
        builder.push(piece, &mut |plain| shelf.seal(plain));
        if self.shelf.bytes >= KEEP_BYTES {
            self.keep();
        }
    }

    /// Makes what was sealed so far durable.
    fn keep(&mut self) {
        self.shelf.bytes = 0;
        let blocks = std::mem::take(&mut self.shelf.blocks);
        if self.shelf.failed.is_none()
            && let Err(error) = self.job.runtime.block_on(self.job.identity.handle.keep(blocks))
        {
            self.shelf.failed = Some(error.into());
        }
    }

    fn finish(mut self, media_type: &str, name: Option<String>) -> Result<BlobRef, ApiError> {
        let Self { builder, shelf, .. } = &mut self;
        let built = std::mem::take(builder).finish(&mut |plain| shelf.seal(plain));
        if let Some(failed) = self.shelf.failed {
            return Err(failed);
        }
        let mut cids = self.shelf.cids;
        cids.sort_unstable();
        cids.dedup();
        let set = PinSet {
            purpose: PinPurpose::Attachment,
            root: Vec::new(),
            cids,
            blocks: self.shelf.blocks,
        };
        self.job.runtime.block_on(self.job.identity.handle.pin(set))?;
        let media_type = match media_type.len() <= TEXT_BYTES_MAX {
            true => media_type.to_owned(),
            false => "application/octet-stream".to_owned(),
        };
        Ok(BlobRef {
            link: built.link.cid,
            key: built.link.key,
            bytes: built.bytes,
            depth: built.depth,
            media_type,
            name,
        })
    }
}
