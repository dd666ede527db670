//! A real `pictor index` killed in the middle of its work: the index opens, shows one whole generation, and goes on.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Desk, Run, names};

/// The commit steps of `storage/FORMAT.md`, in order; the last lies behind the commit point.
const FAILPOINTS: [(&str, bool); 5] = [
    ("after-vectors", false),
    ("after-ann", false),
    ("after-text", false),
    ("after-catalog", false),
    ("after-manifest", true),
];

#[test]
fn an_abort_between_any_two_commit_steps_loses_no_committed_image() {
    for (failpoint, committed) in FAILPOINTS {
        let desk = Desk::with_photos(5);
        desk.json("index photos --index idx --index-kind hnsw");
        desk.photo("photo-01.jpg", 60); // replaced in the commit that dies
        desk.photo("late.png", 61);
        let died =
            desk.command(["index", "photos", "--index", "idx"]).env("PICTOR_FAILPOINT", failpoint).output();
        assert!(died.unwrap().status.code().is_none(), "{failpoint}: killed by a signal");

        let answer = desk.json("search --index idx --image photos/late.png -k 100");
        let (generation, images) = if committed { (2, 6) } else { (1, 5) };
        assert_eq!(
            (&answer["generation"], names(&answer).len()),
            (&generation.into(), images),
            "{failpoint}"
        );
        assert_eq!(names(&answer).contains(&"late.png".into()), committed, "{failpoint}");
        assert!(names(&answer).contains(&"photo-01.jpg".into()), "{failpoint}: old or new, it is there");

        let again = desk.json("index photos --index idx");
        assert_eq!(again["indexed"], if committed { 0 } else { 2 }, "{failpoint}");
        let answer = desk.json("search --index idx --image photos/late.png -k 100");
        assert_eq!((names(&answer).len(), names(&answer)[0].as_str()), (6, "late.png"), "{failpoint}");
        assert_eq!(names(&desk.json("search --index idx --mode text late")), ["late.png"], "{failpoint}");
        desk.run("verify --index idx").succeeded();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_an_index_that_goes_on() {
    let desk = Desk::with_photos(40);
    for milliseconds in [30, 90, 180, 300, 450, 700] {
        let mut child = desk
            .command(["index", "photos", "--index", "idx", "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        if desk.path("idx/manifest.json").exists() {
            // What a commit left half done is put right, and nothing else is wrong.
            desk.run("repair --index idx").succeeded();
            desk.run("verify --index idx").succeeded();
        }
    }
    desk.json("index photos --index idx");
    let answer = desk.json("search --index idx --image photos/photo-33.png -k 100");
    assert_eq!((names(&answer).len(), names(&answer)[0].as_str()), (40, "photo-33.png"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_commits_what_is_done() {
    let desk = Desk::with_photos(1);
    // Enough work that the signal arrives in the middle of it.
    for i in 0..400 {
        desk.photo(&format!("more-{i:03}.png"), i + 100);
    }
    let child = desk
        .command(["index", "photos", "--index", "idx", "--json", "--batch", "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    holds_the_index(&desk, child.id());
    std::thread::sleep(Duration::from_millis(1000));
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let run = Run(child.wait_with_output().unwrap()).succeeded();
    let report = run.json();
    let (done, cancelled) = (report["indexed"].as_u64().unwrap(), report["cancelled"] == true);
    assert!(cancelled || done == 401, "{report}");
    assert!(done > 0, "{report}");

    let description = desk.json("inspect --index idx");
    assert_eq!(description["images"].as_u64(), Some(done));
    let rest = desk.json("index photos --index idx");
    assert_eq!((rest["unchanged"].as_u64(), rest["indexed"].as_u64()), (Some(done), Some(401 - done)));
}

#[test]
fn a_second_writer_is_told_who_holds_the_index() {
    let desk = Desk::with_photos(1);
    for i in 0..300 {
        desk.photo(&format!("more-{i:03}.png"), i + 100);
    }
    desk.json("index photos/photo-00.png --index idx");
    let mut first = desk
        .command(["index", "photos", "--index", "idx", "--quiet", "--batch", "2"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    holds_the_index(&desk, first.id());
    if first.try_wait().unwrap().is_none() {
        desk.run("index photos --index idx").exited(2).complains(&["being written by process"]);
        desk.json("search --index idx dogs"); // readers are never in the way
    }
    assert!(first.wait().unwrap().success());
}

/// Waits until process `id` is the index's writer; after a minute the test goes on, and fails where it needs it to be.
fn holds_the_index(desk: &Desk, id: u32) {
    for _ in 0..1200 {
        let holder = std::fs::read_to_string(desk.path("idx/LOCK")).unwrap_or_default();
        if holder.trim() == id.to_string() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
