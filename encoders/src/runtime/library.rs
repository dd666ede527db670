//! Finding and loading the ONNX Runtime shared library.
//!
//! It is not linked: the binary starts, and works with tract, on a machine that has none. The loaded library is kept for the
//! life of the process, because ONNX Runtime allows one environment in a process and does not like to be unloaded.
//!
//! What must stay true: whatever file the search meets, the outcome is a library that works or an error that names the file;
//! never a panic, never a signal.

use std::ffi::OsString;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::elf;
use crate::error::ModelError;

/// The ONNX Runtime of this process.
pub(super) struct Library {
    pub environment: Environment,
    pub path: PathBuf,
    /// `1.MINOR`.
    pub version: String,
}

/// What a search came to.
#[derive(Default)]
pub(super) struct Found {
    pub library: Option<&'static Library>,
    /// Libraries that were met and are not usable, each with the reason.
    pub passed_over: Vec<(PathBuf, String)>,
}

/// The library, if there is a usable one. What `ORT_DYLIB_PATH` names has to be.
pub(super) fn find() -> Result<Found, ModelError> {
    let mut passed_over = Vec::new();
    for place in places(|name| std::env::var_os(name)) {
        let libraries = libraries_in(&place.path);
        if place.explicit && libraries.is_empty() {
            let reason = "no library is there".into();
            return Err(ModelError::BadOnnxRuntime { path: place.path, reason });
        }
        for path in libraries {
            match load(&path) {
                Ok(library) => return Ok(Found { library: Some(library), passed_over }),
                Err(reason) if place.explicit => return Err(ModelError::BadOnnxRuntime { path, reason }),
                Err(reason) => passed_over.push((path, reason)),
            }
        }
    }
    Ok(Found { library: None, passed_over })
}

/// The library, which has to be there.
pub(super) fn require() -> Result<Found, ModelError> {
    let found = find()?;
    if found.library.is_some() {
        return Ok(found);
    }
    Err(match found.passed_over.into_iter().next() {
        Some((path, reason)) => ModelError::BadOnnxRuntime { path, reason },
        None => {
            let tried = places(|name| std::env::var_os(name)).into_iter().map(|place| place.path).collect();
            ModelError::NoOnnxRuntime { tried }
        }
    })
}

/// A file or directory to look at.
struct Place {
    path: PathBuf,
    /// Whether the user named it, so that nothing else will do.
    explicit: bool,
}

/// Where Pictor keeps what can be made again: `$XDG_CACHE_HOME/pictor`, which is `~/.cache/pictor` unless set; none without a
/// home. `variable` reads the environment.
pub(super) fn cache_dir(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")));
    cache.map(|cache| cache.join("pictor"))
}

/// Where to look, in order; `variable` reads the environment.
fn places(variable: impl Fn(&str) -> Option<OsString>) -> Vec<Place> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(path) = set("ORT_DYLIB_PATH") {
        // `ort` would look for a relative path beside the executable first.
        let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
        return vec![Place { path, explicit: true }];
    }
    let mut paths = Vec::new();
    paths.extend(cache_dir(&variable).map(|cache| cache.join("onnxruntime")));
    paths.extend(
        set("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths).filter(|dir| dir.is_absolute()),
    );
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    paths.extend(
        ["/usr/local/lib", "/usr/lib", "/usr/lib64", &multiarch, "/opt/onnxruntime/lib"].map(PathBuf::from),
    );
    paths.into_iter().map(|path| Place { path, explicit: false }).collect()
}

/// `path` itself if it is a file; otherwise the libraries in it, where an unpacked wheel (`onnxruntime/capi/`) or release
/// archive (`lib/`) keeps them, and in the same places one directory further down. Those for GPUs first, then newest name first.
fn libraries_in(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = |dir: &Path| {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        entries.sort();
        entries.reverse();
        entries
    };
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Not libonnxruntime_providers_*, which lie beside it.
        (name.starts_with("libonnxruntime.") || name == "onnxruntime.dll") && path.is_file()
    };
    let mut roots = vec![path.to_owned()];
    // System directories have thousands of subdirectories and no such layout.
    if path.ends_with("pictor/onnxruntime") {
        roots.extend(entries(path).into_iter().filter(|entry| entry.is_dir()));
    }
    let inside =
        roots.iter().flat_map(|root| ["", "capi", "onnxruntime/capi", "lib"].map(|inner| root.join(inner)));
    let mut found: Vec<_> = inside.flat_map(|dir| entries(&dir)).filter(is_library).collect();
    // Who has fetched a library for GPUs wants it, whatever else is there. The sort is stable.
    found.sort_by_key(|library| !library.with_file_name("libonnxruntime_providers_cuda.so").is_file());
    found
}

/// Loads `path`, unless a library is loaded already: then that one is used, since a process has one.
fn load(path: &Path) -> Result<&'static Library, String> {
    static LOADED: Mutex<Option<&'static Library>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match *loaded {
        Some(library) => Ok(library),
        None => Ok(loaded.insert(Box::leak(Box::new(open(path)?)))),
    }
}

fn open(path: &Path) -> Result<Library, String> {
    if cfg!(target_os = "linux") {
        elf::check_length(path)?;
    }
    // `ort` asserts what it takes for granted of a library that exports the right symbol.
    let attempt = catch_unwind(|| -> Result<Library, String> {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        // Without a logger of its own ONNX Runtime prints errors alone; `ORT_LOG=info` asks it for more.
        let environment =
            builder.with_name("pictor").with_telemetry(false).build().map_err(|error| error.to_string())?;
        let minor = ort::util::probe(path).ok_or_else(|| "it is not of major version 1".to_owned())?;
        Ok(Library { environment, path: path.to_owned(), version: format!("1.{minor}") })
    });
    attempt.map_err(|_| "it does not offer the interface it should".to_owned())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_first_and_alone() {
        let env = |name: &str| (name == "ORT_DYLIB_PATH").then(|| "/x/libonnxruntime.so".into());
        let found = places(env);
        assert_eq!(found.len(), 1);
        assert!(found[0].explicit);

        let env = |name: &str| (name == "HOME").then(|| "/home/a".into());
        assert_eq!(places(env)[0].path, Path::new("/home/a/.cache/pictor/onnxruntime"));
        assert!(places(env).iter().all(|place| !place.explicit));
    }

    #[test]
    fn finds_libraries_in_unpacked_wheels() {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("pictor/onnxruntime");
        let capi = cache.join("1.32.0/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        for name in ["libonnxruntime.so.1.32.0", "libonnxruntime_providers_shared.so", "__init__.py"] {
            std::fs::write(capi.join(name), "").unwrap();
        }
        assert_eq!(libraries_in(&cache), [capi.join("libonnxruntime.so.1.32.0")]);
        let cuda = cache.join("1.31.1-cuda");
        std::fs::create_dir_all(&cuda).unwrap();
        for name in ["libonnxruntime.so", "libonnxruntime_providers_cuda.so"] {
            std::fs::write(cuda.join(name), "").unwrap();
        }
        let both = [cuda.join("libonnxruntime.so"), capi.join("libonnxruntime.so.1.32.0")];
        assert_eq!(libraries_in(&cache), both);
        assert_eq!(libraries_in(&capi), [capi.join("libonnxruntime.so.1.32.0")]);
        assert_eq!(libraries_in(Path::new("/nowhere")), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_bad_library_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("libonnxruntime.so");
        // Text, nothing, and the first half of a real library: ours is an ELF file too.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for content in [&b"not a library"[..], &[], &own[..own.len() / 2], &own[..60]] {
            std::fs::write(&path, content).unwrap();
            assert!(open(&path).is_err());
        }
    }
}
