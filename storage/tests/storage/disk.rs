//! A disk that is full, a disk that cannot be written, a second process that wants to write.
//!
//! The disks are real file systems of a few megabytes in memory, which an ordinary user can mount inside a user namespace of
//! their own (`unshare -Urm`). Where the machine does not allow that, the test says so and shows nothing; what a failed write
//! does to the writer is then shown by the injected failures in `src/tests.rs` alone.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use pictor_core::{Encoder, testing::HashEncoder};
use pictor_storage::{KindChoice, StorageError, Store, Writer};

use crate::{check_consistent, child, put, record, store_of, vector};

const DISK: &str = "PICTOR_TEST_DISK";
const DIR: &str = "PICTOR_TEST_DISK_INDEX";
/// A few kilobytes a row, so that vectors fill the disk soon.
const DIM: usize = 1024;

fn put_large(writer: &mut Writer, name: &str) -> Result<(), StorageError> {
    writer.put(record(name, name), &HashEncoder::new(DIM).vector(name.as_bytes())).map(|_| ())
}

fn mount(disk: &Path, options: &str) -> bool {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(disk).status();
    mounted.is_ok_and(|status| status.success())
}

/// Fills the disk with one file but for `spare` bytes.
fn fill(disk: &Path, spare: u64) {
    let mut file = fs_err::File::create(disk.join("ballast")).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(spare)).unwrap();
}

fn expect_full(error: &StorageError, dir: &Path) {
    assert!(matches!(error, StorageError::Full { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(dir.to_str().unwrap()), "{text}");
    assert!(text.ends_with("free space on that disk and run the command again"), "{text}");
}

fn names(store: &Store) -> Vec<String> {
    store.snapshot().unwrap().records().map(|entry| entry.unwrap().1.uri).collect()
}

/// Not a test: runs in a mount namespace of its own.
#[test]
fn script_on_a_small_disk() {
    let Ok(disk) = std::env::var(DISK) else { return };
    let disk = Path::new(&disk);
    if !mount(disk, "size=64m") {
        println!("no mount");
        return;
    }
    let dir = disk.join("index");
    let encoder = HashEncoder::new(DIM);
    let store = Store::create(&dir, encoder.spec(), "hnsw".parse::<KindChoice>().unwrap()).unwrap();
    let mut expected: Vec<String> = vec![];
    let mut failures = 0;

    // Full at any moment: the less is spare, the earlier a commit fails, in files of ours, of RocksDB or of tantivy.
    for spare in (0..60).map(|step| (step * 12) << 10) {
        let mut writer = store.writer().unwrap();
        let batch: Vec<String> = (0..30).map(|n| format!("image {spare} {n}")).collect();
        for name in &batch {
            put_large(&mut writer, name).unwrap();
        }
        fill(disk, spare);
        let outcome = writer.finish();
        drop(writer);
        match outcome {
            Ok(_) => expected.extend(batch),
            Err(error) => {
                failures += 1;
                expect_full(&error, &dir);
                // Reading goes on while the disk is full. A merge that failed after the commit took nothing from it.
                let shown = names(&Store::open(&dir).unwrap());
                if shown != expected {
                    expected.extend(batch);
                    assert_eq!(shown, expected, "with {spare} bytes to spare");
                }
                // A new writer, which recovers, may need space too.
                if let Err(error) = store.writer() {
                    expect_full(&error, &dir);
                }
                assert_eq!(names(&store), expected);
            }
        }
        fs_err::remove_file(disk.join("ballast")).unwrap();
        // Space is back.
        let mut writer = store.writer().unwrap();
        let name = format!("after {spare}");
        put_large(&mut writer, &name).unwrap();
        writer.finish().unwrap();
        expected.push(name);
        assert_eq!(names(&store), expected);
        store.snapshot().unwrap().verify().unwrap();
    }
    assert!(failures > 10, "the disk was full only {failures} times");

    // A new index on a full disk.
    fill(disk, 0);
    let other = disk.join("other");
    expect_full(&Store::create(&other, encoder.spec(), KindChoice::Auto).unwrap_err(), &other);
    fs_err::remove_file(disk.join("ballast")).unwrap();
    Store::create(&other, encoder.spec(), KindChoice::Auto).unwrap();

    // Mounted again for reading only: searching by vector and reading records need nothing else.
    drop(store);
    assert!(mount(disk, "remount,ro"));
    let store = Store::open(&dir).unwrap();
    assert_eq!(names(&store), expected);
    let best =
        store.snapshot().unwrap().search_vectors(&encoder.vector(b"after 0"), 1, None, None).unwrap()[0];
    assert_eq!(store.snapshot().unwrap().record(best.id).unwrap().unwrap().uri, "after 0");
    for error in [
        store.writer().map(|_| ()).unwrap_err(),
        Store::create(&disk.join("third"), encoder.spec(), KindChoice::Auto).map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
    assert!(mount(disk, "remount,rw"));
    let mut writer = store.writer().unwrap();
    put_large(&mut writer, "at last").unwrap();
    assert!(writer.compact().unwrap());
    println!("all shown");
}

#[test]
fn full_and_read_only_disks() {
    let disk = tempfile::tempdir().unwrap();
    let script = child("disk::script_on_a_small_disk");
    let mut command = Command::new("unshare");
    command.arg("-Urm").arg(script.get_program()).args(script.get_args()).env(DISK, disk.path());
    let Ok(output) = command.output() else {
        eprintln!("full disks are not tested: this machine has no `unshare`");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if said.contains("no mount") || !said.contains("running 1 test") {
        eprintln!("full disks are not tested: this machine mounts none for its users ({})", errors.trim());
        return;
    }
    assert!(said.contains("all shown"), "{said}{errors}");
}

/// Not a test: a second writer in another process.
#[test]
fn script_of_the_second_writer() {
    let Ok(dir) = std::env::var(DIR) else { return };
    match Store::open(Path::new(&dir)).unwrap().writer() {
        Ok(_) => println!("no refusal"),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn a_second_process_is_refused_and_told_why() {
    let (_dir, store) = store_of("auto", &["a", "b"]);
    let second = || {
        let output = child("disk::script_of_the_second_writer").env(DIR, store.dir()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut writer = store.writer().unwrap();
    let said = second();
    let expected = format!("being written by process {}", std::process::id());
    assert!(said.contains("refused: ") && said.contains(&expected), "{said}");
    put(&mut writer, "c");
    writer.commit().unwrap();
    drop(writer);
    assert!(second().contains("no refusal"));
    assert_eq!(store.snapshot().unwrap().search_vectors(&vector("c"), 1, None, None).unwrap()[0].id.0, 2);
    check_consistent(store.dir());
}
