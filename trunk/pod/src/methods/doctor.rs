//! A check-up: what is wrong, what to do about it, and making the index anew from the segments.

use crate::home::IdentityHome;
use crate::identity::Identity;
use crate::methods::facts::Facts;
use crate::methods::{failure, log};
use crate::platform;
use crate::pod::Pod;
use rhizome_api::status::{DoctorAnswer, DoctorRequest, Finding, FindingLevel};
use rhizome_api::{ApiError, Problem};
use rhizome_store::{STORE_VERSION, StoreFolder};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// How long whoever still uses an identity is waited for before its index is made anew.
const RELEASE_WAIT: Duration = Duration::from_secs(30);

/// How often it is looked whether everybody let go.
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// Holders of an identity while nobody uses it and the pod has forgotten it: whoever rebuilds.
const HOLDERS: usize = 1;

/// Below this a disk is called nearly full.
const FREE_BYTES_LOW: u64 = 256 << 20;

/// Checks everything; makes the index anew first if asked.
pub async fn doctor(pod: &Pod, request: DoctorRequest) -> Result<DoctorAnswer, ApiError> {
    let since = Instant::now();
    if request.rebuild {
        rebuild(pod).await?;
    }
    let identity = pod.current()?;
    let mut findings = vec![
        ok("format", format!("folder has format {STORE_VERSION}, which this pod writes")),
        segments(&identity),
        indexes(&identity).await?,
    ];
    findings.extend(permissions(pod, &identity.home));
    findings.push(disk(pod));
    let took_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(DoctorAnswer { findings, rebuilt: request.rebuild, took_ms })
}

fn ok(what: &str, detail: impl Into<String>) -> Finding {
    let (what, detail) = (what.to_owned(), detail.into());
    Finding { level: FindingLevel::Ok, what, detail, action: None }
}

fn bad(level: FindingLevel, what: &str, detail: impl Into<String>, action: &str) -> Finding {
    let (what, detail) = (what.to_owned(), detail.into());
    Finding { level, what, detail, action: Some(action.to_owned()) }
}

fn segments(identity: &Identity) -> Finding {
    const WHAT: &str = "segments";
    const ACTION: &str = "connect another device, which has good copies: rhizome device list";
    match log::check(identity) {
        Err(error) => bad(FindingLevel::Problem, WHAT, error.to_string(), "check the disk"),
        Ok(answer) => match answer.damage.iter().filter(|one| !one.repaired).count() {
            0 => {
                let (blocks, files) = (answer.blocks, answer.segments);
                ok(WHAT, format!("{blocks} blocks in {files} files are what was written"))
            }
            count => {
                bad(FindingLevel::Problem, WHAT, format!("{count} places are damaged"), ACTION)
            }
        },
    }
}

async fn indexes(identity: &Identity) -> Result<Finding, ApiError> {
    const WHAT: &str = "index";
    let facts = Facts::of(identity).await?;
    let (mut right, mut wrong) = (0, 0);
    for app in facts.apps() {
        let documents = identity.handle.documents(&app);
        let check = block_in_place(|| documents.check_indexes(identity.handle.index()));
        let check = check.map_err(|error| failure::documents(&error))?;
        right += check.right;
        wrong += check.missing + check.surplus;
    }
    Ok(match wrong {
        0 if right == 0 => ok(WHAT, "no query has needed one yet".to_owned()),
        0 => ok(WHAT, format!("{right} entries agree with the documents")),
        _ => bad(
            FindingLevel::Problem,
            WHAT,
            format!("{wrong} entries do not agree with the documents"),
            "rhizome doctor --rebuild",
        ),
    })
}

/// Files with keys are for their owner alone.
fn permissions(pod: &Pod, home: &IdentityHome) -> Vec<Finding> {
    const WHAT: &str = "key files";
    let files: [PathBuf; 3] =
        [home.dir().join("keys"), pod.dir().join("transport.key"), home.dir().to_owned()];
    let mut findings = Vec::new();
    for file in &files {
        let shown = file.display();
        match platform::is_open_to_others(file) {
            Ok(Some(true)) => findings.push(bad(
                FindingLevel::Problem,
                WHAT,
                format!("others may read {shown}"),
                &format!("chmod go-rwx \"{shown}\""),
            )),
            Ok(_) => {}
            Err(error) => findings.push(bad(
                FindingLevel::Problem,
                WHAT,
                format!("{shown}: {error}"),
                "rhizome recovery restore",
            )),
        }
    }
    if findings.is_empty() {
        findings.push(ok(WHAT, "only their owner may read them"));
    }
    findings
}

fn disk(pod: &Pod) -> Finding {
    const WHAT: &str = "disk";
    match fs4::available_space(pod.dir()) {
        Ok(free) if free < FREE_BYTES_LOW => bad(
            FindingLevel::Warning,
            WHAT,
            format!("{} MiB are free", free >> 20),
            "make room on the disk",
        ),
        Ok(free) => ok(WHAT, format!("{} MiB are free", free >> 20)),
        Err(error) => bad(FindingLevel::Warning, WHAT, error.to_string(), "check the disk"),
    }
}

/// Makes the index of the identity in use anew. What cannot be opened is made anew as well.
async fn rebuild(pod: &Pod) -> Result<(), ApiError> {
    let failed = |error: std::io::Error| {
        ApiError::new(Problem::DISK, "index cannot be removed").caused_by(&error)
    };
    let mut whole = None;
    let home = match pod.current() {
        Ok(identity) => {
            whole = (identity.report.damages_count == 0).then(|| identity.handle.store.end());
            let home = identity.home.clone();
            pod.forget_chosen();
            release(pod, &identity).await?;
            block_in_place(|| identity.folder.wipe_index()).map_err(failed)?;
            home
        }
        Err(error) => {
            let home = unopened(pod).ok_or(error)?;
            let folder = StoreFolder::open(&home.store_dir());
            let folder = folder.map_err(crate::identity::OpenIdentityError::from)?;
            block_in_place(|| folder.wipe_index()).map_err(failed)?;
            home
        }
    };
    block_in_place(|| pod.open_again(&home, whole))?;
    Ok(())
}

/// The identity in use, when it does not open.
fn unopened(pod: &Pod) -> Option<IdentityHome> {
    let chosen = pod.inner.home.current();
    let mut own = pod.inner.home.identities().ok()?;
    own.retain(|home| home.meta().is_ok_and(|meta| !meta.hosted && meta.adopted_by.is_none()));
    let id = |home: &IdentityHome| home.genesis().ok().map(|one| one.identity_id().to_string());
    let at = own.iter().position(|home| id(home) == chosen).unwrap_or(0);
    (at < own.len()).then(|| own.swap_remove(at))
}

/// Ends everything that uses the identity and waits until nobody holds it.
async fn release(pod: &Pod, identity: &Arc<Identity>) -> Result<(), ApiError> {
    identity.order.stop().await;
    identity.handle.close().await;
    // Somebody who dials in finds it closed and takes it out of the table; then one holder more
    // would look like the table.
    pod.forget(&identity.id());
    let links: Vec<_> = std::mem::take(&mut *identity.links()).into_values().collect();
    for (_, link) in links {
        link.close(0, "index is made anew");
    }
    let since = Instant::now();
    while Arc::strong_count(identity) > HOLDERS || Arc::strong_count(&identity.handle.index) > 1 {
        if since.elapsed() > RELEASE_WAIT {
            let message = "somebody still uses the identity; its index stays as it is";
            return Err(ApiError::new(Problem::PRECONDITION, message)
                .hint("rhizome stop, then rhizome doctor --rebuild"));
        }
        identity.wake.notify_one();
        tokio::time::sleep(RELEASE_PAUSE).await;
    }
    Ok(())
}
