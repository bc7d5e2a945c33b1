//! `rhizome peer`: cloud peers, which hold an encrypted copy.

use crate::context::Context;
use crate::render;
use clap::{Args, Subcommand};
use rhizome_api::peer::{AddRequest, TestRequest};
use rhizome_api::{ApiError, Empty, Exit, Method, PeerAdd, PeerList, PeerTest, PodInvite};

/// Shown before the verbs.
pub(crate) const EXAMPLES: &str = "Examples:
  rhizome peer add 'rhizome-peer://pods.example.org:7733#KEY'
  rhizome peer list
  rhizome peer test cloud
";

/// The verbs of `peer`.
#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Add a cloud peer; it will hold an encrypted copy.
    Add(AddArgs),
    /// List the cloud peers.
    List,
    /// Try to reach a peer, step by step.
    Test(TestArgs),
    /// Print an invitation to this pod, when it hosts.
    Invite,
}

/// Flags of `peer add`.
#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// The invitation, or HOST:PORT.
    address: String,
}

/// Flags of `peer test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Its name, its id, the start of its id, or an address.
    peer: String,
}

impl PeerCommand {
    /// The method it asks for.
    pub(crate) const fn method(&self) -> &'static str {
        match self {
            Self::Add(_) => PeerAdd::NAME,
            Self::List => PeerList::NAME,
            Self::Test(_) => PeerTest::NAME,
            Self::Invite => PodInvite::NAME,
        }
    }
}

/// Does what was asked for.
pub(super) async fn perform(command: PeerCommand, context: &Context) -> Result<Exit, ApiError> {
    match command {
        PeerCommand::Add(args) => {
            let request = AddRequest { address: args.address };
            context.answer::<PeerAdd>(&request, render::peer::added).await?;
            context.next_steps(&[
                ("rhizome status", "see the encrypted copy grow"),
                ("rhizome recovery kit", "write down what brings it back"),
            ]);
        }
        PeerCommand::List => {
            context.answer::<PeerList>(&Empty {}, render::peer::list).await?;
        }
        PeerCommand::Test(args) => {
            let request = TestRequest { peer: args.peer };
            let answer = context.answer::<PeerTest>(&request, render::peer::test).await?;
            if !answer.reachable {
                return Ok(Exit::Error);
            }
        }
        PeerCommand::Invite => {
            context.answer::<PodInvite>(&Empty {}, render::peer::invite).await?;
            context.say("Hand it to whoever shall keep an encrypted copy here: rhizome peer add …");
        }
    }
    Ok(Exit::Ok)
}
