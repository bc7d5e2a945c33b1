//! Devices of the identity: seeing, naming and losing them. Linking is `link`'s.

use crate::clock;
use crate::handle::AskError;
use crate::identity::Identity;
use crate::methods::facts::Facts;
use crate::methods::identity::checked_name;
use crate::methods::walk;
use crate::peers::plan_voters;
use crate::pod::Pod;
use crate::recovery;
use rhizome_api::device::{
    AwayAnswer, AwayRequest, Device, ListAnswer, LostAnswer, LostRequest, RenameAnswer,
    RenameRequest,
};
use rhizome_api::{ApiError, Problem};
use rhizome_identity::{ControlError, DeviceId, EpochId, RecoveryKit};
use rhizome_replica::{Command, CommandError, RevokeReason};
use std::time::Duration;
use tokio::task::block_in_place;

/// How long removing a device waits for its place in the order before it answers without.
const PLACE_WAIT: Duration = Duration::from_secs(2);

/// The devices of the identity.
pub async fn list(pod: &Pod) -> Result<ListAnswer, ApiError> {
    Ok(ListAnswer { devices: Facts::of(&*pod.current()?).await?.devices() })
}

/// Gives a device another name, which every device of the identity shows.
pub async fn rename(pod: &Pod, request: RenameRequest) -> Result<RenameAnswer, ApiError> {
    let identity = pod.current()?;
    let name = checked_name(&request.name)?;
    let facts = Facts::of(&identity).await?;
    let id = facts.find(&request.device)?.id;
    if facts.members.values().any(|one| one.live && one.id != id && one.name == name) {
        let message = format!("a device is called `{name}` already");
        return Err(ApiError::new(Problem::EXISTS, message).hint("rhizome device list"));
    }
    let renamed = identity.handle.command(Command::Rename { device: id, name }).await;
    if let Err(AskError::Refused(CommandError::NoAdmin)) = &renamed {
        return Err(elsewhere(&identity, &facts).await?);
    }
    renamed?;
    Ok(RenameAnswer { device: shown(&Facts::of(&identity).await?, &id) })
}

/// Counts a device as away for long, or as back.
pub async fn away(pod: &Pod, request: AwayRequest) -> Result<AwayAnswer, ApiError> {
    let identity = pod.current()?;
    let facts = Facts::of(&identity).await?;
    let member = facts.find(&request.device)?;
    let (id, name) = (member.id, &member.name);
    if id == facts.me && !request.back {
        let message = "a device that is asked is not away; say it on another one";
        return Err(ApiError::new(Problem::PRECONDITION, message).hint("rhizome device list"));
    }
    if facts.voters.contains(&id) && !request.back {
        let message = format!("{name} takes part in ordering; without it nothing is confirmed");
        let hint = "if it is lost: rhizome cluster reform";
        return Err(ApiError::new(Problem::PRECONDITION, message).hint(hint));
    }
    if member.dormant != request.back {
        return Ok(AwayAnswer { device: facts.device(member) });
    }
    let changed = Command::Dormant { device: id, dormant: !request.back };
    let changed = identity.handle.command(changed).await;
    if let Err(AskError::Refused(CommandError::NoAdmin)) = &changed {
        return Err(elsewhere(&identity, &facts).await?);
    }
    changed?;
    Ok(AwayAnswer { device: shown(&Facts::of(&identity).await?, &id) })
}

/// A device that others counted as away says that it is back.
pub async fn come_back(identity: &Identity) {
    let device = identity.handle.device;
    let away = identity.handle.look(move |replica, _| {
        replica.control().state().device(&device).is_some_and(|one| one.is_live() && one.dormant)
    });
    if away.await.unwrap_or(false) {
        let back = Command::Dormant { device, dormant: false };
        if let Err(error) = identity.handle.command(back).await {
            tracing::warn!(%error, "cannot say that this device is back");
        }
    }
}

/// This device may not change what devices are; others may.
async fn elsewhere(identity: &Identity, facts: &Facts) -> Result<ApiError, ApiError> {
    let admins = identity
        .handle
        .look(|replica, _| replica.control().state().admins().collect::<Vec<_>>())
        .await?;
    let names: Vec<String> = admins.iter().map(|id| facts.name(id)).collect();
    let error =
        ApiError::new(Problem::NOT_PERMITTED, "this device does not administer the identity");
    Ok(error.hint(format!("do it on {}", names.join(" or "))))
}

fn shown(facts: &Facts, id: &DeviceId) -> Device {
    facts.members.get(id).map(|member| facts.device(member)).unwrap_or_default()
}

/// Removes a device and changes the keys, or says what that would do.
pub async fn lost(pod: &Pod, request: LostRequest) -> Result<LostAnswer, ApiError> {
    let identity = pod.current()?;
    let facts = Facts::of(&identity).await?;
    let member = facts.find(&request.device)?.clone();
    if member.id == facts.me {
        let message = "a device cannot remove itself; do it on another one";
        return Err(ApiError::new(Problem::PRECONDITION, message).hint("rhizome device list"));
    }
    let alone = may_remove_alone(&identity, member.id).await?;
    let device = facts.device(&member);
    let may_hold_documents = if member.trusted { count_documents(&identity, &facts)? } else { 0 };
    let mut answer = LostAnswer {
        steps: steps(&device, &facts),
        device,
        done: false,
        needs_kit: alone.as_ref().err().map(|why| why.message.clone()),
        may_hold_documents,
        key_before: Some(key_name(&facts.epoch)),
        key_after: None,
        committed: false,
    };
    if request.dry_run {
        return Ok(answer);
    }
    if request.confirm.as_deref().map(str::trim) != Some(member.name.as_str()) {
        let message = format!("the name typed is not `{}`", member.name);
        let hint = format!("rhizome device lost \"{0}\" --confirm \"{0}\"", member.name);
        return Err(ApiError::new(Problem::NAME_DIFFERS, message).hint(hint));
    }
    match (&request.words, alone) {
        (Some(words), _) => {
            remove_by_kit(&identity, member.id, &recovery::parse_kit(words)?).await?;
        }
        (None, Ok(())) => {
            let command = Command::Revoke { device: member.id, reason: RevokeReason::Lost };
            identity.handle.command(command).await?;
        }
        (None, Err(why)) => {
            let again = format!("rhizome device lost \"{}\" --words-file FILE", member.name);
            return Err(why.hint(again));
        }
    }
    plan_voters(&identity).await;
    let gone = member.id;
    let placed =
        identity.handle.until(move |replica| !replica.control().committed_state().is_live(&gone));
    answer.committed = matches!(tokio::time::timeout(PLACE_WAIT, placed).await, Ok(Ok(())));
    answer.done = true;
    answer.key_after = Some(key_name(&Facts::of(&identity).await?.epoch));
    Ok(answer)
}

/// Whether this device may remove another by its own signature; if not, why it takes the kit.
async fn may_remove_alone(
    identity: &Identity,
    device: DeviceId,
) -> Result<Result<(), ApiError>, ApiError> {
    let may = identity.handle.look(move |replica, _| replica.may_remove(clock::tick(), device));
    kit_needed(may.await?, "this device may not remove others")
}

/// What a device may not do by its own signature takes the kit: why. `no_admin` says so of one that
/// does not administer the identity. Other refusals are errors.
pub fn kit_needed(
    may: Result<(), CommandError>,
    no_admin: &str,
) -> Result<Result<(), ApiError>, ApiError> {
    let Err(error) = may else { return Ok(Ok(())) };
    let why = match &error {
        CommandError::NoAdmin => no_admin,
        CommandError::Control { source } => match &**source {
            ControlError::SignaturesNeeded { .. } => {
                "removing one of three or more devices that administer takes two of them"
            }
            ControlError::Newcomer { .. } => "this device joined less than a day ago",
            ControlError::LastAdmin => "no device would be left to administer the identity",
            ControlError::NotAdmin { .. } => no_admin,
            _ => return Err(AskError::Refused(error).into()),
        },
        _ => return Err(AskError::Refused(error).into()),
    };
    let message = format!("{why}: use the words of the recovery kit");
    Ok(Err(ApiError::new(Problem::NEEDS_KIT, message)))
}

/// Removes a device with the recovery kit, which needs nobody else's signature.
pub async fn remove_by_kit(
    identity: &Identity,
    device: DeviceId,
    kit: &RecoveryKit,
) -> Result<(), ApiError> {
    let kit = kit.clone();
    let signed = identity.handle.look(move |replica, _| {
        replica.removal_by_kit(clock::tick(), device, RevokeReason::Lost, &kit)
    });
    let record = signed.await?.map_err(AskError::Refused)?;
    identity.handle.command(Command::Take(Box::new(record))).await?;
    Ok(())
}

fn steps(device: &Device, facts: &Facts) -> Vec<String> {
    let mut steps = vec![
        format!("{} receives nothing new", device.name),
        "the keys change; what is written from now on it cannot read".to_owned(),
        "what it writes from now on changes nothing".to_owned(),
    ];
    if facts.voters.iter().any(|voter| voter.to_string() == device.id) {
        steps.push("it no longer votes on the order".to_owned());
    }
    steps.push("the recovery kit stays valid".to_owned());
    steps
}

fn count_documents(identity: &Identity, facts: &Facts) -> Result<u64, ApiError> {
    let index = identity.handle.index();
    block_in_place(|| facts.apps().iter().map(|app| walk::count(index, app, None)).sum())
}

/// The short name of the keys of an epoch.
fn key_name(epoch: &EpochId) -> String {
    let [a, b, ..] = epoch.record.digest();
    format!("K-{a:02X}{b:02X}")
}
