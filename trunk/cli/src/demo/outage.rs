//! The cloud peer is killed, writing goes on, and nothing is lost once it is back.
//!
//! Each write adds one to a counter, so that the sum of all counters is the number of acknowledged
//! writes, on every device, or something was lost or done twice.

use super::Stage;
use super::figures::{Outage, Rate, ms};
use super::floor;
use super::places::{LOOK_EVERY, Place, agree, because};
use crate::client::Client;
use crate::format;
use rhizome_api::data::{LsRequest, SetRequest, UpdateRequest};
use rhizome_api::{ApiError, DataLs, DataSet, DataUpdate, Empty, Problem, Status};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How many writers at once: what the floor cannot show, because writes share one `fdatasync`.
const WRITERS: u64 = 64;

/// How many writes each of them makes.
const WRITES_EACH: u64 = 16;

/// How many writes a writer makes that is alone.
const WRITES_ALONE: u64 = 200;

/// How long a writer goes on that is alone, so that a slow disk does not make a long demo.
const ALONE_LIMIT: Duration = Duration::from_secs(3);

/// How long laptop and phone may need to have each other's writes.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);

/// Where the counters are.
const COLLECTION: &str = "counters";

/// Kills the cloud peer, writes without it, starts it again.
pub(super) async fn show(stage: &mut Stage<'_>) -> Result<(), ApiError> {
    stage.story.chapter("No cloud");
    let before = floor::measure(&stage.root).await?;
    stage.cloud.kill();
    stage.story.fact("cloud peer killed, as kill -9 does");
    let order = stage.laptop.call::<Status>(&Empty {}).await?.order;
    stage.story.note(&match order.voters.as_slice() {
        [] => "nobody votes".to_owned(),
        [only] => format!("{only} gives changes their order; writes do not wait for it"),
        more => format!("{} give changes their order; writes do not wait", more.join(", ")),
    });
    let alone = write_alone(&stage.laptop).await?;
    let many = write_together(&stage.laptop).await?;
    let phone = write_alone(&stage.phone).await?;
    let written = alone.count + many.count + phone.count;
    let since = Instant::now();
    exchanged(stage, written).await?;
    let exchanged = since.elapsed();
    stage.figures.floor = before.or_faster(floor::measure(&stage.root).await?);
    tell(stage, "laptop, one writer", &alone);
    tell(stage, &format!("laptop, {WRITERS} writers"), &many);
    tell(stage, "phone, one writer", &phone);
    let count = format::count(written);
    stage.story.found(&format!("both have all {count} writes, from each other alone"), exchanged);
    let since = Instant::now();
    stage.cloud.start().await?;
    agree(&stage.laptop, &stage.phone).await?;
    let settled = since.elapsed();
    stage.story.found("cloud started again; all confirmed, same hash everywhere", settled);
    for place in [&stage.laptop, &stage.phone] {
        counted(place, written).await?;
    }
    stage
        .story
        .fact(&format!("{count} writes acknowledged, {count} counted: none lost or doubled"));
    let floor = &stage.figures.floor;
    stage.figures.outage = Outage {
        one_writer: alone.beside(floor),
        many_writers: many.beside(floor),
        writers: WRITERS,
        phone_writer: phone.beside(floor),
        exchanged_ms: ms(exchanged),
        settled_ms: ms(settled),
    };
    Ok(())
}

fn tell(stage: &Stage<'_>, who: &str, rate: &Rate) {
    let rate = rate.clone().beside(&stage.figures.floor);
    let (count, speed) = (format::count(rate.count), format::count(rate.per_second));
    let ratio = rate.ratio_to_floor.map(|ratio| format!(", {ratio:.2} × the floor"));
    let text = format!("{who}: {count} writes, {speed}/s{}", ratio.unwrap_or_default());
    stage.story.found(&text, Duration::from_secs_f64(rate.took_ms / 1e3));
}

/// The path of a counter.
fn counter(place: &str, writer: u64) -> String {
    format!("{COLLECTION}/{place}-{writer:02}")
}

/// A counter at zero.
async fn begin(place: &Place, writer: u64) -> Result<String, ApiError> {
    let path = counter(place.name, writer);
    let fields = json!({"count": 0});
    let request = SetRequest { path: path.clone(), fields, ..SetRequest::default() };
    place.call::<DataSet>(&request).await?;
    Ok(path)
}

fn one_more(path: &str) -> UpdateRequest {
    let fields = [("count".to_owned(), json!({"$increment": 1}))].into_iter().collect();
    UpdateRequest { path: path.to_owned(), fields, ..UpdateRequest::default() }
}

/// Writes one after the other, each waiting until the one before is durable.
async fn write_alone(place: &Place) -> Result<Rate, ApiError> {
    let request = one_more(&begin(place, 0).await?);
    let client = place.client();
    let since = Instant::now();
    let mut each = Vec::new();
    while (each.len() as u64) < WRITES_ALONE && since.elapsed() < ALONE_LIMIT {
        each.push(timed(&client, &request).await?);
    }
    Ok(floor::rate(each, since.elapsed()))
}

/// Writes from many tasks at once, each waiting for its own.
async fn write_together(place: &Place) -> Result<Rate, ApiError> {
    let mut requests = Vec::new();
    for writer in 1..=WRITERS {
        requests.push(one_more(&begin(place, writer).await?));
    }
    let since = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for request in requests {
        let client = place.client();
        tasks.spawn(async move {
            let mut each = Vec::new();
            for _ in 0..WRITES_EACH {
                each.push(timed(&client, &request).await?);
            }
            Ok::<_, ApiError>(each)
        });
    }
    let mut each = Vec::new();
    while let Some(written) = tasks.join_next().await {
        each.extend(written.expect("writers do not panic")?);
    }
    Ok(floor::rate(each, since.elapsed()))
}

async fn timed(client: &Client, request: &UpdateRequest) -> Result<Duration, ApiError> {
    let since = Instant::now();
    let written = client.call::<DataUpdate>(request).await;
    written.map_err(|error| because("a write failed without the cloud".to_owned(), error))?;
    Ok(since.elapsed())
}

/// The sum of all counters.
async fn sum(place: &Place) -> Result<u64, ApiError> {
    let request = LsRequest { collection: Some(COLLECTION.to_owned()), ..LsRequest::default() };
    let documents = place.call::<DataLs>(&request).await?.documents;
    Ok(documents.iter().filter_map(|document| integer(&document.fields["count"])).sum())
}

/// A whole number in either of the forms that values have in JSON.
fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.get("$integer")?.as_str()?.parse().ok())
}

/// Waits until laptop and phone have all writes.
async fn exchanged(stage: &Stage<'_>, written: u64) -> Result<(), ApiError> {
    let deadline = Instant::now() + EXCHANGE_LIMIT;
    loop {
        let (ours, theirs) = tokio::try_join!(sum(&stage.laptop), sum(&stage.phone))?;
        if ours == written && theirs == written {
            return Ok(());
        }
        if Instant::now() > deadline {
            let seconds = EXCHANGE_LIMIT.as_secs();
            let message = format!(
                "of {written} writes the laptop has {ours} and the phone {theirs} after {seconds} s"
            );
            return Err(ApiError::new(Problem::NOT_CONFIRMED, message).saved());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Checks that every acknowledged write is there once.
async fn counted(place: &Place, written: u64) -> Result<(), ApiError> {
    let found = sum(place).await?;
    if found == written {
        return Ok(());
    }
    let message = format!("{written} writes were acknowledged, the {} counts {found}", place.name);
    Err(ApiError::new(Problem::DAMAGED, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_paths_that_sort_by_writer() {
        assert_eq!(counter("laptop", 7), "counters/laptop-07");
        let fields = one_more("counters/a").fields;
        assert_eq!(fields["count"], json!({"$increment": 1}));
    }

    #[test]
    fn counts_are_read_as_numbers() {
        assert_eq!(integer(&json!(1264)), Some(1264));
        assert_eq!(integer(&json!("many")), None);
    }
}
