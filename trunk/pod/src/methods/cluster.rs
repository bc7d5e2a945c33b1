//! Who orders: a reform, when the devices that ordered are lost for good.

use crate::clock;
use crate::handle::AskError;
use crate::identity::Identity;
use crate::methods::device::kit_needed;
use crate::methods::facts::{Facts, Member};
use crate::pod::Pod;
use crate::recovery;
use rhizome_api::cluster::{ReformAnswer, ReformRequest};
use rhizome_api::{ApiError, Problem};
use rhizome_replica::{Command, ReformPlan, RevokeReason};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a reform waits for its place in the order before it answers without.
const PLACE_WAIT: Duration = Duration::from_secs(5);

/// Begins the next generation without the devices that order now, or says what that would do.
pub async fn reform(pod: &Pod, request: ReformRequest) -> Result<ReformAnswer, ApiError> {
    let identity = pod.current()?;
    let facts = Facts::of(&identity).await?;
    let plan = plan(&facts, &request)?;
    let alone = may_reform_alone(&identity, &plan).await?;
    let mut answer = planned(&facts, &plan);
    answer.needs_kit = alone.as_ref().err().map(|why| why.message.clone());
    if request.dry_run {
        return Ok(answer);
    }
    if !facts.lacks_quorum() && !request.anyway {
        let message = "the devices that order can be reached; nothing needs to begin anew";
        return Err(ApiError::new(Problem::PRECONDITION, message).hint("rhizome status"));
    }
    let name = facts.name(&plan.voter);
    if request.confirm.as_deref().map(str::trim) != Some(name.as_str()) {
        let message = format!("the name typed is not `{name}`, which orders from now on");
        let hint = format!("rhizome cluster reform --confirm \"{name}\"");
        return Err(ApiError::new(Problem::NAME_DIFFERS, message).hint(hint));
    }
    let command = match (&request.words, alone) {
        (Some(words), _) => {
            let kit = recovery::parse_kit(words)?;
            let signed = identity.handle.look(move |replica, access| {
                replica.reform_by_kit(clock::tick(), access, &plan, &kit)
            });
            Command::Take(Box::new(signed.await?.map_err(AskError::Refused)?))
        }
        (None, Ok(())) => Command::Reform(plan),
        (None, Err(why)) => return Err(why.hint("rhizome cluster reform --words-file FILE")),
    };
    identity.handle.command(command).await?;
    identity.wake.notify_one();
    let generation = answer.generation;
    let placed = identity
        .handle
        .until(move |replica| replica.control().committed_state().generation() >= generation);
    answer.committed = matches!(tokio::time::timeout(PLACE_WAIT, placed).await, Ok(Ok(())));
    answer.done = true;
    Ok(answer)
}

fn plan(facts: &Facts, request: &ReformRequest) -> Result<ReformPlan, ApiError> {
    let refused = |message: String| {
        Err(ApiError::new(Problem::PRECONDITION, message).hint("rhizome device list"))
    };
    let voter = match &request.voter {
        Some(text) => facts.find(text)?.id,
        None => facts.me,
    };
    let revoked = request.revoke.iter().map(|text| facts.find(text).cloned());
    let revoked: Vec<Member> = revoked.collect::<Result<_, _>>()?;
    if let Some(member) = revoked.iter().find(|member| member.id == facts.me) {
        return refused(format!("{} cannot remove itself", member.name));
    }
    if let Some(member) = revoked.iter().find(|member| member.id == voter) {
        return refused(format!("{} cannot order and be removed", member.name));
    }
    let revoked: BTreeSet<_> = revoked.into_iter().map(|member| member.id).collect();
    Ok(ReformPlan { voter, revoked, reason: RevokeReason::Lost })
}

fn planned(facts: &Facts, plan: &ReformPlan) -> ReformAnswer {
    let name = facts.name(&plan.voter);
    let unreachable: Vec<String> = facts.voters_away().map(|id| facts.name(id)).collect();
    let mut steps = vec![
        format!("{name} orders from now on; what waits is confirmed by it"),
        "what was confirmed up to here stays; what others confirmed behind it is ordered anew, \
         and no change is lost"
            .to_owned(),
        "a device that comes back follows, and brings what it wrote".to_owned(),
    ];
    for device in &plan.revoked {
        steps.push(format!("{} is removed, and the keys change", facts.name(device)));
    }
    if plan.revoked.is_empty() {
        steps.push("the keys change".to_owned());
    }
    steps.push("the recovery kit stays valid".to_owned());
    ReformAnswer {
        voter: facts.members.get(&plan.voter).map(|one| facts.device(one)).unwrap_or_default(),
        generation: facts.generation + 1,
        base: facts.status.applied.i,
        voters_before: facts.voters.iter().map(|id| facts.name(id)).collect(),
        unreachable,
        revoked: plan.revoked.iter().map(|id| facts.name(id)).collect(),
        steps,
        ..ReformAnswer::default()
    }
}

/// Whether this device may reform by its own signature; if not, why it takes the kit.
async fn may_reform_alone(
    identity: &Identity,
    plan: &ReformPlan,
) -> Result<Result<(), ApiError>, ApiError> {
    let plan = plan.clone();
    let may = identity
        .handle
        .look(move |replica, access| replica.may_reform(clock::tick(), access, &plan));
    kit_needed(may.await?, "this device does not administer the identity")
}
