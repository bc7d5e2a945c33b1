//! A device that joins with data of its own: the earlier identity is grafted onto the new one.
//!
//! Its logs go along unchanged, bytes and signatures; their keys are sealed under the new
//! identity's epoch in an `Adopt` record. The earlier identity is kept, and marked as living on.

use crate::clock;
use crate::identity::Identity;
use crate::link::failed;
use crate::pod::Pod;
use rhizome_api::ApiError;
use rhizome_identity::{Adopt, LogHead};
use rhizome_log::{LogId, Run};
use rhizome_replica::Command;
use serde_bytes::ByteBuf;
use std::sync::Arc;

/// Grafts every earlier identity of this installation onto `identity`; returns how many documents
/// came along.
pub async fn adopt_earlier(pod: &Pod, identity: &Arc<Identity>) -> Result<u64, ApiError> {
    let mut documents = 0;
    for earlier in pod.identities() {
        let meta = earlier.home.meta().map_err(|error| failed(&error))?;
        if earlier.id() == identity.id() || earlier.hosted || meta.adopted_by.is_some() {
            continue;
        }
        let came = adopt(&earlier, identity).await?;
        documents += came;
        if came == 0 {
            continue;
        }
        let by = identity.id().to_string();
        earlier
            .home
            .change_meta(|meta| meta.adopted_by = Some(by))
            .map_err(|error| failed(&error))?;
    }
    pod.choose(&identity.id()).map_err(|error| failed(&error))?;
    Ok(documents)
}

async fn adopt(earlier: &Identity, identity: &Identity) -> Result<u64, ApiError> {
    let heads = heads(earlier).await?;
    if heads.is_empty() {
        return Ok(0);
    }
    let target = identity
        .handle
        .look(|replica, _| replica.keys().newest_secret().cloned())
        .await
        .map_err(|error| failed(&error))?;
    let Some(target) = target else { return Ok(0) };
    let tags = heads.iter().map(|head| rhizome_log::LogTag(head.tag)).collect();
    let nonce = clock::random();
    let sealed = earlier
        .handle
        .look(move |replica, _| replica.keys().seal_for_adoption(&target, tags, nonce))
        .await
        .map_err(|error| failed(&error))?;
    let Some((genesis, records)) = crate::link::control_log(earlier).await else { return Ok(0) };
    let Some(keys) = sealed.map(ByteBuf::from) else { return Ok(0) };
    let adopt = Adopt { genesis, records, heads: heads.clone(), keys };
    let command = Command::Adopt(Box::new(adopt));
    if let Err(error) = identity.handle.command(command).await {
        // A device that may not administer cannot graft; nothing is lost, the data stays where it
        // is until an admin device of the identity lets it.
        tracing::warn!(error = &error as &dyn std::error::Error, "earlier data was not adopted");
        return Ok(0);
    }
    graft(earlier, identity, &heads).await?;
    let documents = earlier.handle.documents(crate::DEFAULT_APP);
    let mut count = 0;
    let counted = documents.export_committed(earlier.handle.index(), &mut |_, _, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    });
    counted.map_err(|error| failed(&error))?;
    Ok(count)
}

/// The signed heads of all logs of an identity.
async fn heads(identity: &Identity) -> Result<Vec<LogHead>, ApiError> {
    let look = identity.handle.look(|replica, _| replica.signed_log_heads());
    look.await.map_err(|error| failed(&error))
}

/// Carries the logs over, run by run.
async fn graft(earlier: &Identity, to: &Identity, heads: &[LogHead]) -> Result<(), ApiError> {
    for head in heads {
        let log = LogId {
            author: head.author,
            tag: rhizome_log::LogTag(head.tag),
            incarnation: head.incarnation,
        };
        let mut after = 0;
        while after < head.seq {
            let packed = earlier
                .handle
                .look(move |replica, access| replica.pack_run(access, &log, after))
                .await
                .map_err(|error| failed(&error))?;
            let run: Option<Run> = packed.map_err(|error| failed(&error))?;
            let Some(run) = run else { break };
            after = run.signature.head.seq;
            to.handle.graft(run).await.map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}
