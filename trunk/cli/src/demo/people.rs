//! What a person does first: an identity, a cloud peer, a second device.
//!
//! The linking is the real one. What the person would read on one screen and type on the other,
//! code and digits, the demo carries over.

use super::Stage;
use super::figures::ms;
use super::places::Place;
use crate::client::{Events, Next};
use rhizome_api::device::{JoinEvent, JoinRequest, LinkConfirmRequest, LinkEvent, LinkRequest};
use rhizome_api::identity::CreateRequest;
use rhizome_api::peer::AddRequest;
use rhizome_api::{
    ApiError, DeviceJoin, DeviceKind, DeviceLink, DeviceLinkConfirm, Empty, IdentityCreate,
    PeerAdd, PodInvite, Problem, RecoveryKit, Secret,
};
use std::time::Instant;

/// Creates the identity, adds the cloud peer, links the phone.
pub(super) async fn show(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    stage.story.chapter("One person, three places");
    create(stage).await?;
    add_cloud(stage).await?;
    link_phone(stage).await
}

async fn create(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    let since = Instant::now();
    let request = CreateRequest {
        name: "Ana".to_owned(),
        device_name: Some("laptop".to_owned()),
        kind: Some(DeviceKind::Laptop),
    };
    stage.laptop.call::<IdentityCreate>(&request).await?;
    stage.figures.identity_ms = ms(since.elapsed());
    stage.story.found("identity Ana created on the laptop; no account, no server", since.elapsed());
    stage.kit = stage.laptop.call::<RecoveryKit>(&Empty {}).await?;
    let words = stage.kit.words.expose().split_whitespace().count();
    stage.story.fact(&format!("recovery kit {}: {words} words noted down", stage.kit.key_id));
    Ok(())
}

async fn add_cloud(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    let invite = stage.cloud.call::<PodInvite>(&Empty {}).await?.url;
    stage.cloud_invite = through_cable(&invite, &stage.cloud)?;
    let since = Instant::now();
    let request = AddRequest { address: stage.cloud_invite.clone() };
    let answer = stage.laptop.call::<PeerAdd>(&request).await?;
    stage.figures.peer_ms = ms(since.elapsed());
    stage.story.found("cloud peer added: it stores, relays, and cannot read", since.elapsed());
    if !answer.cannot_see.is_empty() {
        stage.story.note(&format!("it sees {}", answer.sees.join(", ")));
        stage.story.note(&format!("it cannot see {}", answer.cannot_see.join(", ")));
    }
    Ok(())
}

/// The invitation with the cable's near end in place of the address it names.
fn through_cable(invite: &str, cloud: &Place) -> Result<String, ApiError> {
    let key = invite.rsplit_once('#').map(|(_, key)| key).ok_or_else(|| {
        ApiError::new(Problem::POD_NOT_UNDERSTOOD, "the invitation of the cloud names no key")
    })?;
    Ok(format!("rhizome-peer://{}#{key}", cloud.address()))
}

async fn link_phone(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    let (laptop, phone) = (&stage.laptop, &stage.phone);
    let since = Instant::now();
    let mut link = laptop.stream::<DeviceLink>(&LinkRequest {}).await?;
    let code = shown_code(laptop, &mut link).await?;
    let request = JoinRequest {
        code: code.clone(),
        name: Some("phone".to_owned()),
        kind: Some(DeviceKind::Phone),
        at: vec![laptop.address().to_string()],
    };
    let mut join = phone.stream::<DeviceJoin>(&request).await?;
    let asked = asking(laptop, &mut link);
    let (session, digits) = tokio::try_join!(asked, shown_digits(phone, &mut join))?;
    let request = LinkConfirmRequest { session, digits: digits.clone() };
    laptop.call::<DeviceLinkConfirm>(&request).await?;
    tokio::try_join!(laptop.done(&mut link), phone.done(&mut join))?;
    let took = since.elapsed();
    stage.figures.link_ms = ms(took);
    stage.story.found("phone linked; nothing to trust but what the person carried over", took);
    let code = code.expose();
    stage.story.note(&format!("code {code} to the phone, digits {digits} to the laptop"));
    Ok(())
}

async fn shown_code(laptop: &Place, link: &mut Events<DeviceLink>) -> Result<Secret, ApiError> {
    match laptop.next(link).await? {
        Next::Event(LinkEvent::Code { words, .. }) => Ok(words),
        _ => Err(out_of_turn("linking began without a code")),
    }
}

async fn asking(laptop: &Place, link: &mut Events<DeviceLink>) -> Result<String, ApiError> {
    match laptop.next(link).await? {
        Next::Event(LinkEvent::Asking { session, .. }) => Ok(session),
        _ => Err(out_of_turn("the laptop did not ask for digits")),
    }
}

async fn shown_digits(phone: &Place, join: &mut Events<DeviceJoin>) -> Result<String, ApiError> {
    match phone.next(join).await? {
        Next::Event(JoinEvent::Digits { digits }) => Ok(digits),
        _ => Err(out_of_turn("the phone showed no digits")),
    }
}

fn out_of_turn(message: &str) -> ApiError {
    ApiError::new(Problem::POD_NOT_UNDERSTOOD, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[tokio::test]
    async fn an_invitation_leads_through_the_cable() {
        let [_, _, cloud] = Place::lay_all(Path::new("/demo")).await.unwrap();
        let near = cloud.address();
        let told = through_cable("rhizome-peer://127.0.0.1:9#KEY", &cloud).unwrap();
        assert_eq!(told, format!("rhizome-peer://{near}#KEY"));
        assert!(through_cable("127.0.0.1:9", &cloud).is_err());
    }
}
