//! Intents: large batches, written down whole before they are applied key by key.
//!
//! While sled applies a batch it stops the readers of all databases of the process, at about 10 µs
//! a key: a batch of thousands would be felt as a pause. Single keys stop nobody, but a crash
//! between two of them would leave half a batch. So the batch is first stored in a tree of its own,
//! as a few chunks that become durable together; then its keys are set one by one; then the chunks
//! are removed. Who opens the database and finds chunks sets their keys again. sled recovers what
//! was written up to some moment and nothing behind it, so chunks that are gone have been applied.

use super::sled::index_error;
use rhizome_block::{decode_own, encode};
use rhizome_log::{Batch, IndexError};
use serde_bytes::{ByteBuf, Bytes};

/// Name of the tree that holds the chunks; it is of the version of the rows.
pub(super) const INTENTS: &[u8] = b"intent-2";

/// Bytes of a chunk. sled keeps some sixteen in a page, and gives pages beyond 128 KiB files of
/// their own; many small chunks would stop readers for as long as the keys do.
const CHUNK_BYTES: usize = 4 << 10;

/// Fewest keys for which an intent is cheaper for readers than a batch of sled.
pub(super) const INTENT_KEYS_MIN: usize = 64;

/// Where intents lie in a database.
pub(super) struct Intents {
    tree: sled::Tree,
}

type Change = (ByteBuf, Option<ByteBuf>);

impl Intents {
    /// The intents of `database`. One that was not finished is applied to `keys` now.
    pub(super) fn open(database: &sled::Db, keys: &sled::Tree) -> Result<Self, IndexError> {
        let tree = database.open_tree(INTENTS).map_err(|error| index_error(&error))?;
        let intents = Self { tree };
        if !intents.tree.is_empty() {
            intents.finish(keys)?;
        }
        Ok(intents)
    }

    fn finish(&self, keys: &sled::Tree) -> Result<(), IndexError> {
        let mut bytes = Vec::new();
        for chunk in &self.tree {
            let (_, chunk) = chunk.map_err(|error| index_error(&error))?;
            bytes.extend_from_slice(&chunk);
        }
        let changes: Vec<Change> =
            decode_own(&bytes).map_err(|error| IndexError { what: error.to_string() })?;
        tracing::info!(keys = changes.len(), "applying a batch that was not finished");
        let changes = changes.into_iter();
        let changes =
            changes.map(|(key, value)| (key.into_vec(), value.map(ByteBuf::into_vec))).collect();
        apply(keys, Batch { changes }).map_err(|error| index_error(&error))?;
        self.forget().map_err(|error| index_error(&error))
    }

    /// Applies `batch` to `keys`: whole or not at all, after a crash too, though readers see it
    /// half done meanwhile.
    pub(super) fn carry_out(&self, keys: &sled::Tree, batch: Batch) -> Result<(), IndexError> {
        self.remember(&batch)?;
        let applied = apply(keys, batch).and_then(|()| self.forget());
        applied.map_err(|error| index_error(&error))
    }

    fn remember(&self, batch: &Batch) -> Result<(), IndexError> {
        let changes = batch.changes.iter();
        let changes: Vec<(&Bytes, Option<&Bytes>)> = changes
            .map(|(key, value)| (Bytes::new(key), value.as_deref().map(Bytes::new)))
            .collect();
        let bytes = encode(&changes).map_err(|error| IndexError { what: error.to_string() })?;
        let mut chunks = sled::Batch::default();
        for (n, chunk) in (0_u32..).zip(bytes.chunks(CHUNK_BYTES)) {
            chunks.insert(&n.to_be_bytes(), chunk);
        }
        self.tree.apply_batch(chunks).map_err(|error| index_error(&error))
    }

    fn forget(&self) -> sled::Result<()> {
        let mut chunks = sled::Batch::default();
        for chunk in &self.tree {
            chunks.remove(chunk?.0);
        }
        self.tree.apply_batch(chunks)
    }
}

fn apply(keys: &sled::Tree, batch: Batch) -> sled::Result<()> {
    for (key, value) in batch.changes {
        match value {
            Some(value) => drop(keys.insert(key, value)?),
            // What came and went while it waited was never here, and looking is cheaper.
            None if keys.contains_key(&key)? => drop(keys.remove(key)?),
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Intents;
    use rhizome_log::Batch;

    fn batch(from: u32, count: u32) -> Batch {
        let mut batch = Batch::default();
        for n in from..from + count {
            batch.put(n.to_be_bytes(), vec![n as u8; 100]);
        }
        batch
    }

    fn held(database: &sled::Db) -> Vec<u32> {
        let key = |found: sled::Result<(sled::IVec, sled::IVec)>| {
            u32::from_be_bytes(found.unwrap().0.as_ref().try_into().unwrap())
        };
        database.iter().map(key).collect()
    }

    #[test]
    fn a_batch_that_was_cut_short_is_whole_after_opening_anew() {
        let folder = tempfile::tempdir().unwrap();
        let database = sled::open(folder.path()).unwrap();
        let intents = Intents::open(&database, &database).unwrap();
        intents.carry_out(&database, batch(0, 2_000)).unwrap();
        let mut cut = batch(1_000, 2_000);
        cut.remove(7_u32.to_be_bytes());
        intents.remember(&cut).unwrap();
        // A crash comes after the first keys.
        cut.changes.truncate(30);
        super::apply(&database, cut).unwrap();
        assert_eq!(held(&database).len(), 2_000);
        drop(intents);

        let intents = Intents::open(&database, &database).unwrap();
        assert_eq!(held(&database), (0..7).chain(8..3_000).collect::<Vec<_>>());
        assert!(intents.tree.is_empty());
        // What was finished is not done again.
        database.remove(5_u32.to_be_bytes()).unwrap();
        drop(intents);
        drop(Intents::open(&database, &database).unwrap());
        assert!(!held(&database).contains(&5));
    }

    #[test]
    fn an_intent_of_garbage_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let database = sled::open(folder.path()).unwrap();
        let intents = Intents::open(&database, &database).unwrap();
        intents.tree.insert(0_u32.to_be_bytes(), b"garbage").unwrap();
        assert!(Intents::open(&database, &database).is_err());
    }
}
