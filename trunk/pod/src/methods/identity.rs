//! Identities of this installation.

use crate::home::IdentityHome;
use crate::identity::Identity;
use crate::methods::facts::Facts;
use crate::pod::Pod;
use crate::{kind, platform};
use rhizome_api::identity::{
    CreateAnswer, CreateRequest, Identity as ApiIdentity, ListAnswer, UseAnswer, UseRequest,
};
use rhizome_api::{ApiError, DeviceKind, Problem};
use tokio::task::block_in_place;

/// Longest name of an identity or a device: what fits a line, and a sealed name.
const NAME_BYTES_MAX: usize = 128;

/// Creates an identity with this device as its first.
pub async fn create(pod: &Pod, request: CreateRequest) -> Result<CreateAnswer, ApiError> {
    let name = checked_name(&request.name)?;
    if own(pod)?.iter().any(|home| home.meta().is_ok_and(|meta| meta.name == name)) {
        let message = format!("an identity called `{name}` is here already");
        return Err(ApiError::new(Problem::EXISTS, message).hint("rhizome identity list"));
    }
    let device_name = request.device_name.unwrap_or_else(platform::computer_name);
    let device_name = checked_name(&device_name)?;
    let device_kind = request.kind.unwrap_or_else(guessed_kind);
    let identity =
        block_in_place(|| pod.create_identity(&name, &device_name, kind::from_api(device_kind)))?;
    let facts = Facts::of(&identity).await?;
    let device = facts.devices().into_iter().next().unwrap_or_default();
    Ok(CreateAnswer { identity: describe(pod, &identity.home).await?, device })
}

/// A name as people may give it.
pub fn checked_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let message = format!("a name has 1 to {NAME_BYTES_MAX} bytes on one line");
        return Err(ApiError::new(Problem::INVALID, message));
    }
    Ok(name.to_owned())
}

fn guessed_kind() -> DeviceKind {
    if platform::has_battery() { DeviceKind::Laptop } else { DeviceKind::Desktop }
}

/// Lists the identities of this installation.
pub async fn list(pod: &Pod) -> Result<ListAnswer, ApiError> {
    let mut identities = Vec::new();
    for home in own(pod)? {
        identities.push(describe(pod, &home).await?);
    }
    Ok(ListAnswer { identities })
}

/// Chooses the identity that every other method speaks about.
pub async fn choose(pod: &Pod, request: UseRequest) -> Result<UseAnswer, ApiError> {
    let text = request.id.trim();
    let mut by_name = Vec::new();
    let mut by_id = Vec::new();
    for home in own(pod)? {
        if home.meta()?.name == text {
            by_name.push(home);
        } else if !text.is_empty() && home.genesis()?.identity_id().to_string().starts_with(text) {
            by_id.push(home);
        }
    }
    let found = if by_name.is_empty() { by_id } else { by_name };
    let [home] = found.as_slice() else {
        let message = match found.len() {
            0 => format!("no identity is called `{text}`"),
            several => format!("{several} identities are meant by `{text}`; use the id"),
        };
        return Err(ApiError::new(Problem::UNKNOWN_NAME, message).hint("rhizome identity list"));
    };
    pod.choose(&home.genesis()?.identity_id())?;
    Ok(UseAnswer { identity: describe(pod, home).await? })
}

/// Own identities in order of creation; those hosted for others and those adopted are left out.
fn own(pod: &Pod) -> Result<Vec<IdentityHome>, ApiError> {
    let mut own = Vec::new();
    for home in pod.inner.home.identities()? {
        let meta = home.meta()?;
        if !meta.hosted && meta.adopted_by.is_none() {
            own.push((home.genesis()?.device().body().made_ms, home));
        }
    }
    own.sort_by_key(|(made_ms, _)| *made_ms);
    Ok(own.into_iter().map(|(_, home)| home).collect())
}

/// An identity as the local API shows it.
pub async fn describe(pod: &Pod, home: &IdentityHome) -> Result<ApiIdentity, ApiError> {
    let id = home.genesis()?.identity_id();
    let meta = home.meta()?;
    let open = pod.identities().into_iter().find(|one| one.id() == id);
    let locked = match &open {
        Some(open) => is_locked(open).await,
        None => false,
    };
    Ok(ApiIdentity {
        id: id.to_string(),
        name: meta.name,
        current: pod.current().is_ok_and(|current| current.id() == id),
        kit_key_id: meta.kit_key_id,
        kit_confirmed: meta.kit_confirmed_ms.is_some(),
        locked,
    })
}

async fn is_locked(identity: &Identity) -> bool {
    let look = identity.handle.look(|replica, _| replica.keys().newest_secret().is_none());
    look.await.unwrap_or(false)
}
