//! Importing notes: a folder of Markdown, by the method that the command line asks for.

use crate::measure::{count, size, time};
use crate::socket::Served;
use crate::table::Table;
use crate::{Outcome, Run, documents, floor};
use rhizome_api::import::{ApplyRequest, ImportKind, PlanRequest};
use rhizome_api::{ImportApply, ImportPlan};
use std::path::Path;
use std::time::Instant;

fn text(n: u64) -> String {
    let note = documents::note(n);
    let text = note.text();
    format!("---\ntags: [a, b]\nrank: {n}\n---\n# Note {n}\n\n{text}\n\n- [ ] {text}\n")
}

fn notes(dir: &Path, many: u64) -> Outcome<usize> {
    let mut bytes = 0;
    for n in 0..many {
        let text = text(n);
        bytes += text.len();
        std::fs::write(dir.join(format!("{n}.md")), text)?;
    }
    Ok(bytes)
}

/// Plans, imports, and imports the same again, which must find nothing to do.
pub async fn run(run: &Run) -> Outcome<()> {
    let many = run.size(20_000, 500);
    let source = run.folder()?;
    let bytes = notes(source.path(), many)?;
    let dir = run.folder()?;
    let pod = Served::start(dir.path()).await?;
    let mut client = pod.client().await?;
    let columns = ["what", "took", "notes per second", "bytes per second"];
    let each = size(bytes as f64 / many as f64);
    let title = format!("Importing {} Markdown notes of {each}", count(many as f64));
    let mut table = Table::new(&title, &columns);
    let mut add = |what: &str, since: Instant| {
        let took = since.elapsed();
        let rate = |number: f64| number / took.as_secs_f64();
        let cells = [time(took), count(rate(many as f64)), size(rate(bytes as f64))];
        table.row([vec![what.to_owned()], cells.to_vec()].concat());
    };
    let floor = floor::appends(&run.dir)?;
    let path = source.path().display().to_string();
    let plan = PlanRequest { kind: ImportKind::Markdown, path: path.clone(), ..Default::default() };
    let started = Instant::now();
    let planned = client.call::<ImportPlan>(&plan).await?;
    add("plan", started);
    let apply = ApplyRequest { kind: ImportKind::Markdown, path, ..Default::default() };
    let started = Instant::now();
    let first = client.finish::<ImportApply>(&apply).await?;
    add("import, durable", started);
    let started = Instant::now();
    let again = client.finish::<ImportApply>(&apply).await?;
    add("import again, nothing to do", started);
    if (planned.new, first.imported, again.imported, again.unchanged) != (many, many, 0, many) {
        return Err(format!("not all was imported once: {first:?}, then {again:?}").into());
    }
    table.print();
    println!("\nAppends with fdatasync in this run: {} per second.", count(floor.rate()));
    Ok(())
}
