//! Frames of a stream, the messages in them, and what a replica does when a peer says them.
//!
//! Mended (`mend`): control records, entries, runs, manifests and blocks are signed and named by
//! the devices of a small identity, and go on where the replica stands.

mod mend;
mod node;

use bytes::Bytes;
use node::Node;
use rhizome_log::{Session, SessionEffect, SessionInput};
use rhizome_net::cut;
use rhizome_replica::{Effect, Input, Message};

pub(crate) use node::said;

/// Messages that one input may hold.
const MESSAGES_MAX: usize = 8;

/// Runs that one session may ask for in a row.
const SHIPPED_MAX: usize = 64;

/// How many doors the bytes pass: each message, and each that moves the replica.
pub fn run(bytes: &[u8]) -> u32 {
    let messages = messages(bytes);
    if messages.is_empty() {
        return 0;
    }
    let read = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    messages.iter().for_each(ship);
    stranger(&messages);
    // Opening from the blocks checks every signature anew: for one input in four.
    let again = bytes.len().is_multiple_of(4);
    read + hear(&messages, false, again) + hear(&messages, true, again)
}

/// The bytes as one message, or as frames with one each. How they were torn apart on the way makes
/// no difference.
fn messages(bytes: &[u8]) -> Vec<Message> {
    if let Ok(message) = Message::from_bytes(bytes) {
        assert_eq!(message.to_bytes().expect("it was read"), bytes, "a message has one form");
        return vec![message];
    }
    let whole = Bytes::copy_from_slice(bytes);
    let torn = torn(&whole);
    let (frames, end) = cut([whole]);
    let (again, end_again) = cut(torn);
    assert_eq!(frames, again, "frames do not depend on how they arrive");
    assert_eq!(end.is_ok(), end_again.is_ok(), "nor does their end");
    let read = |frame: &Bytes| Message::from_bytes(frame).ok();
    frames.iter().filter_map(read).take(MESSAGES_MAX).collect()
}

/// The same bytes in pieces whose sizes follow from them.
fn torn(whole: &Bytes) -> Vec<Bytes> {
    let (mut rest, mut pieces) = (whole.clone(), Vec::new());
    while !rest.is_empty() {
        let size = usize::from(rest[0] % 7) + usize::from(rest[rest.len() - 1]) % 61 + 1;
        pieces.push(rest.split_to(size.min(rest.len())));
    }
    pieces
}

/// A session that the peer's heads are told, with something of ours.
fn ship(message: &Message) {
    let (Message::Heads { heads } | Message::Hello { heads, .. }) = message else { return };
    let mut session = Session::default();
    let ours = heads.iter().map(|(log, seq)| (*log, seq.saturating_add(2))).collect();
    let mut todo = session.step(SessionInput::OursMoved(ours));
    todo.extend(session.step(SessionInput::TheirsMoved(heads.clone())));
    for _ in 0..SHIPPED_MAX {
        let Some(effect) = todo.pop() else { return };
        if let SessionEffect::Ship { log, after } = effect {
            let to = after.saturating_add(1);
            todo.extend(session.step(SessionInput::Shipped { log, to }));
        }
    }
}

/// The peer is an admin of the same identity.
fn hear(messages: &[Message], mended: bool, again: bool) -> u32 {
    let mut node = Node::open();
    let peer = crate::family::id(1);
    let mut said = node.step(Input::PeerUp(peer));
    let mut moved = 0;
    for message in messages {
        let message = if mended { mend::mend(&node, message) } else { message.clone() };
        let effects = node.step(Input::PeerSaid(peer, message));
        moved += u32::from(effects.iter().any(|one| matches!(one, Effect::Append(_))));
        said.extend(effects);
    }
    for effect in &said {
        if let Effect::Send(_, message) = effect {
            let bytes = message.to_bytes().expect("what a replica says fits a frame");
            assert_eq!(Message::from_bytes(&bytes).ok().as_ref(), Some(message));
        }
    }
    if moved > 0 && again {
        node.holds_after_a_restart();
    }
    moved
}

/// Somebody nobody knows moves nothing but what control records move.
fn stranger(messages: &[Message]) {
    let mut node = Node::open();
    let peer = crate::family::id(6);
    node.step(Input::PeerUp(peer));
    for message in messages {
        let is_control = matches!(message, Message::Control { .. });
        let effects = node.step(Input::PeerSaid(peer, message.clone()));
        let appended = effects.iter().any(|one| matches!(one, Effect::Append(_)));
        assert!(!appended || is_control, "a stranger moves nothing");
    }
}
