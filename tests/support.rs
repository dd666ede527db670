//! A folder of generated photographs, and the real binary to run over it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder with `photos/` and a place for an index.
pub struct Desk {
    dir: TempDir,
}

impl Desk {
    /// With no photograph yet.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join("photos")).expect("a photos folder");
        Self { dir }
    }

    /// With `count` photographs, no two alike: JPEG and PNG, wide, tall and square.
    pub fn with_photos(count: u32) -> Self {
        let desk = Self::empty();
        for i in 0..count {
            let extension = if i % 3 == 0 { "png" } else { "jpg" };
            desk.photo(&format!("photo-{i:02}.{extension}"), i);
        }
        desk
    }

    /// Writes one generated photograph.
    pub fn photo(&self, name: &str, seed: u32) -> PathBuf {
        let (width, height) = [(64, 40), (33, 70), (50, 50)][seed as usize % 3];
        let picture = image::RgbImage::from_fn(width, height, |x, y| {
            let wave = |period: u32, shift: u32| (((x * period + y * shift + seed * 37) * 11) % 256) as u8;
            image::Rgb([wave(1 + seed % 5, 2), wave(3, 1 + seed % 7), (seed * 53 % 256) as u8])
        });
        let path = self.path("photos").join(name);
        picture.save(&path).expect("a writable temporary folder");
        path
    }

    /// Writes any bytes as a file of the photos folder.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path("photos").join(name);
        std::fs::write(&path, bytes).expect("a writable temporary folder");
        path
    }

    /// A path in the desk's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `pictor` with these arguments, in the desk's folder, on tract: it is always there.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pictor"));
        command.current_dir(self.dir.path()).args(args).env("PICTOR_RUNTIME", "tract");
        for inherited in ["PICTOR_INDEX", "PICTOR_MODEL", "PICTOR_MODELS", "PICTOR_FAILPOINT"] {
            command.env_remove(inherited);
        }
        command
    }

    /// Runs it and returns what it printed and how it ended.
    pub fn run(&self, line: &str) -> Run {
        Run(self.command(line.split_whitespace()).output().expect("pictor starts"))
    }

    /// Runs it with `--json` and returns the document, after checking that it succeeded.
    pub fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).succeeded().json()
    }
}

/// One finished run of the binary.
pub struct Run(pub Output);

impl Run {
    /// Standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// Standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|e| panic!("{e} in {}", self.stdout()))
    }

    /// Panics with all output unless the exit code is 0.
    pub fn succeeded(self) -> Self {
        self.exited(0)
    }

    /// Panics with all output unless the exit code is `code`.
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "stdout: {}\nstderr: {}", self.stdout(), self.stderr());
        self
    }

    /// Panics unless standard error holds every one of `words`, and no panic.
    pub fn complains(self, words: &[&str]) -> Self {
        let stderr = self.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "no '{word}' in: {stderr}");
        }
        self
    }
}

/// The file names of a search answer, best first.
pub fn names(answer: &Value) -> Vec<String> {
    let hits = answer["hits"].as_array().expect("hits");
    let name = |hit: &Value| Path::new(hit["uri"].as_str().expect("uri")).file_name().map(OsStr::to_owned);
    hits.iter().filter_map(name).map(|n| n.to_string_lossy().into_owned()).collect()
}

/// A folder of research data beside the checkout; a run without it says so.
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PICTOR_SHARED").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let path = folder.join("data").join(name);
    if !path.exists() {
        eprintln!("NOT RUN: {} is absent (set PICTOR_SHARED)", path.display());
        return None;
    }
    Some(path)
}
