//! A disk of a few megabytes that can be filled and made read-only, without being root.
//!
//! It lies in memory, in a namespace of its own that one process keeps open; pods enter it, and
//! this process reaches it by the way `/proc` shows it. Where the system forbids that, there is
//! none, and the test says so.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Such a disk; dropping it forgets what was on it.
#[derive(Debug)]
pub struct SmallDisk {
    keeper: Child,
    /// The keeper ends when nobody holds this any more.
    _line: ChildStdin,
    place: PathBuf,
}

impl SmallDisk {
    /// Makes one at `place`, which must be an empty folder, or says why that is not possible here.
    pub fn new(place: &Path, mebibytes: u32) -> Result<Self, String> {
        let script = r#"mount -t tmpfs -o "size=$2m" small "$1" && echo ready && read _end"#;
        let mut keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(place)
            .arg(mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said.trim() != "ready" {
            let output = keeper.wait_with_output().unwrap();
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let line = keeper.stdin.take().unwrap();
        let disk = Self { keeper, _line: line, place: place.to_owned() };
        // Whoever may make one may not always look into it, or enter it.
        std::fs::read_dir(disk.outside()).map_err(|error| format!("/proc: {error}"))?;
        disk.run("true", &[]).map(|()| disk)
    }

    /// The way to it for whoever entered.
    pub fn inside(&self) -> &Path {
        &self.place
    }

    /// The way to it from here.
    pub fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.place.strip_prefix("/").unwrap())
    }

    /// A command that enters it first; the process is that of the program.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.keeper.id().to_string());
        command.args(["--user", "--mount", "--preserve-credentials", "--"]).arg(program);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let output = self.command(Path::new(program)).args(arguments).output();
        let output = output.map_err(|error| format!("nsenter: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    /// Takes all the room that is left, but for `bytes`.
    pub fn fill(&self, bytes: usize) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[7; 4096]).is_ok() {}
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(bytes as u64)).unwrap();
    }

    /// Gives it back.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.outside().join("ballast")
    }

    /// Forbids every change, or allows changes again. Nobody may have a file open for writing.
    pub fn protect(&self, is_protected: bool) {
        let option = if is_protected { "remount,ro" } else { "remount,rw" };
        self.run("mount", &["-o", option, self.place.to_str().unwrap()]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
