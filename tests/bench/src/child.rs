//! The other process of a benchmark: this same program in another role.

use crate::Outcome;
use crate::documents;
use crate::measure::Process;
use crate::world::{Node, options};
use rhizome_pod::Pod;
use rhizome_schema::CollectionPath;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A child that runs until it is dropped.
pub struct Child {
    process: std::process::Child,
    said: String,
}

impl Child {
    /// Starts one and waits for its first line.
    pub fn start(role: &str, dir: &Path) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--child", role])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let output = process.stdout.take().ok_or("the child has an output")?;
        BufReader::new(output).read_line(&mut said)?;
        if said.is_empty() {
            return Err(format!("the child ended: {}", process.wait()?).into());
        }
        Ok(Self { process, said: said.trim().to_owned() })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its first line.
    pub fn said(&self) -> &str {
        &self.said
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its input ends, so it ends; waiting leaves no zombie.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Plays a role until the parent closes our input.
pub async fn play(role: &str, dir: &Path) -> Outcome<()> {
    match role {
        "host" => host(dir).await,
        "open" => open(dir).await,
        "serve" => serve(dir).await,
        role => Err(format!("no role `{role}`").into()),
    }
}

fn say(line: &str) -> Outcome<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

async fn parent_is_gone() -> Outcome<()> {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    read.await??;
    Ok(())
}

async fn host(dir: &Path) -> Outcome<()> {
    let pod = Pod::start(options(dir, true)).await?;
    say(&pod.listening().to_string())?;
    parent_is_gone().await?;
    pod.stop().await;
    Ok(())
}

/// A pod with its local API, as the command line starts it.
async fn serve(dir: &Path) -> Outcome<()> {
    say("serving")?;
    tokio::select! {
        served = rhizome_pod::run(options(dir, false)) => Ok(served?),
        gone = parent_is_gone() => gone,
    }
}

/// Opens a pod, reads one document, asks for twenty; says how long each took and the memory.
async fn open(dir: &Path) -> Outcome<()> {
    let begun = Instant::now();
    let node = Node::open(dir).await?;
    let opened = begun.elapsed();
    let documents = node.handle.documents(documents::APP);
    let got = documents.get(node.handle.index(), &documents::path(1))?;
    let read = begun.elapsed();
    let collection = CollectionPath::parse(documents::COLLECTION)?;
    let query = rhizome_doc::Query::of(collection).limit(20);
    let found = documents.query(node.handle.index(), &query)?;
    let queried = begun.elapsed();
    let memory = Process::own()?.rss;
    let there = got.is_some();
    let us = [opened, read, queried].map(|duration| duration.as_micros().to_string());
    say(&format!("{} {memory} {there} {}", us.join(" "), found.len()))?;
    parent_is_gone().await?;
    node.pod.stop().await;
    Ok(())
}
