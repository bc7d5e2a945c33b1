//! Importing notes: reading Markdown, and writing what was read.

use crate::documents::APP;
use crate::measure::{count, size, time};
use crate::table::Table;
use crate::world::Node;
use crate::{Outcome, Run, documents, floor};
use rhizome_doc::{Batch, Mutation};
use rhizome_identity::DeviceKind;
use rhizome_import::{Import, ImportedItem, Importer, MemorySource, Options};
use rhizome_schema::{DocPath, Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Writes under way at once.
const WRITERS: usize = 64;

fn note(n: u64) -> Vec<u8> {
    let fields = documents::fields(n);
    let text = match fields.get("text") {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    format!("---\ntags: [a, b]\nrank: {n}\n---\n# Note {n}\n\n{text}\n\n- [ ] {text}\n")
        .into_bytes()
}

fn body(item: &ImportedItem) -> Outcome<Vec<u8>> {
    let fields = item.fields.iter().map(|(name, field)| (name.clone(), field.to_json()));
    let fields = json::fields_from_tree(&serde_json::Value::Object(fields.collect()))?;
    let path = DocPath::parse(&format!("{}/{}", item.collection, item.id.as_str()))?;
    Ok(Batch::new(vec![Mutation::set(path, fields)]).to_body()?)
}

/// Plans, then reads and writes each note as an event of its own.
pub async fn run(run: &Run) -> Outcome<()> {
    let many = run.size(20_000, 500);
    let mut source = MemorySource::new();
    let mut bytes = 0;
    for n in 0..many {
        let note = note(n);
        bytes += note.len();
        source.insert(&format!("notes/{n}.md"), note, Some(1_700_000_000_000));
    }
    let columns = ["what", "took", "notes per second", "bytes per second"];
    let title =
        format!("Importing {} notes of {}", count(many as f64), size(bytes as f64 / many as f64));
    let mut table = Table::new(&title, &columns);
    let mut add = |what: &str, since: Instant| {
        let took = since.elapsed();
        let rate = |number: f64| number / took.as_secs_f64();
        let cells = [time(took), count(rate(many as f64)), size(rate(bytes as f64))];
        table.row([vec![what.to_owned()], cells.to_vec()].concat());
    };
    let started = Instant::now();
    let mut import = Import::open(&source, Importer::Markdown, Options::default())?;
    let plan = import.plan(&|_| None, &mut |_| ControlFlow::Continue(()))?;
    add("plan", started);
    let started = Instant::now();
    let mut bodies = Vec::new();
    for item in plan.items.iter().filter(|item| item.action.writes()) {
        let item = import.read_item(item).map_err(|failure| format!("{failure:?}"))?;
        bodies.push(body(&item)?);
    }
    add("read", started);
    let dir = run.folder()?;
    let node = Node::found(dir.path(), DeviceKind::Laptop).await?;
    let floor = floor::appends(&run.dir)?;
    let started = Instant::now();
    let room = Arc::new(Semaphore::new(WRITERS));
    let mut tasks = Vec::new();
    for body in bodies {
        let permit = Arc::clone(&room).acquire_owned().await?;
        let handle = node.handle.clone();
        tasks.push(tokio::spawn(async move {
            let written = handle.write(APP, None, body).await;
            drop(permit);
            written
        }));
    }
    for task in tasks {
        task.await??;
    }
    add("write, durable", started);
    table.print();
    println!("\nAppends with fdatasync in this run: {} per second.", count(floor.rate()));
    node.pod.stop().await;
    Ok(())
}
