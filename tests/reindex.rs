//! From one model to another, as a user does it: the old vectors serve until the new ones are all there.

use std::path::Path;
use std::time::Duration;

use crate::support::{Desk, names};

/// Another model than the bundled one: small and of random weights, with vectors of another length.
fn other_model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("encoders/tests/models/clip").display().to_string()
}

#[test]
fn an_index_moves_to_another_model_and_back() {
    let desk = Desk::with_photos(7);
    std::fs::write(desk.path("captions.txt"), "photo-02.jpg#0\tTwo children fly a kite .\n").unwrap();
    std::fs::write(desk.path("known.csv"), "file,camera\nphoto-03.png,Canon\n").unwrap();
    desk.json("index photos --index idx --captions captions.txt --attributes known.csv");
    let model = other_model();

    let done = desk.json(&format!("reindex --index idx --model {model}"));
    assert_eq!(
        (&done["switched"], &done["index"]["indexed"], &done["carried"]),
        (&true.into(), &7.into(), &2.into())
    );
    let held = desk.json("inspect --index idx");
    assert_eq!(held["spec"]["dim"], 8);
    // What people said of the images came along; searches are by the new model, and by that only.
    assert_eq!(
        names(&desk.json(&format!("search --index idx --model {model} --mode text kite"))),
        ["photo-02.jpg"]
    );
    let near = desk
        .json(&format!("search --index idx --model {model} --image photos/photo-04.jpg --filter width:>0"));
    assert_eq!(names(&near)[0], "photo-04.jpg");
    assert_eq!(
        desk.json(&format!("search --index idx --model {model} --filter camera:canon x"))["matches"],
        1
    );
    desk.run("search --index idx --model pictor-mini dogs").exited(2).complains(&["was made with"]);
    desk.run(&format!("reindex --index idx --model {model}"))
        .exited(2)
        .complains(&["of the model", "already"]);

    desk.json("reindex --index idx --rollback");
    assert_eq!(desk.json("inspect --index idx")["spec"]["dim"], 256);
    assert_eq!(names(&desk.json("search --index idx --image photos/photo-05.jpg"))[0], "photo-05.jpg");
    desk.json("reindex --index idx --forget-previous");
    desk.run("reindex --index idx --rollback").exited(2).complains(&["nothing to go back to"]);
    assert_eq!(desk.json("verify --index idx")["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn images_that_cannot_be_encoded_again_keep_the_switch_from_happening() {
    let desk = Desk::with_photos(4);
    desk.json("index photos --index idx");
    let lost = desk.path("photos/photo-01.jpg");
    std::fs::remove_file(&lost).unwrap();
    let model = other_model();
    let waits = desk.run(&format!("reindex --index idx --model {model} --json")).exited(2).json();
    assert_eq!((&waits["switched"], waits["missing"].as_array().unwrap().len()), (&false.into(), 1));
    assert_eq!(desk.json("inspect --index idx")["images"], 4, "the old vectors serve");
    assert_eq!(names(&desk.json("search --index idx --image photos/photo-02.jpg"))[0], "photo-02.jpg");
    let done = desk.json(&format!("reindex --index idx --model {model} --drop-missing"));
    assert_eq!(
        (&done["switched"], &done["index"]["unchanged"]),
        (&true.into(), &3.into()),
        "nothing is encoded twice"
    );
    assert_eq!(desk.json("inspect --index idx")["images"], 3);
}

#[test]
fn a_reindex_that_is_killed_is_gone_on_with() {
    let desk = Desk::with_photos(12);
    desk.json("index photos --index idx");
    let model = other_model();
    let line = format!("reindex --index idx --model {model} --batch 1");
    for delay in [40, 120, 250] {
        let mut child = desk
            .command(line.split_whitespace())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(desk.json("inspect --index idx")["images"], 12);
        assert_eq!(desk.json("verify --index idx")["findings"].as_array().unwrap().len(), 0);
    }
    if desk.json("inspect --index idx")["spec"]["dim"] == 256 {
        desk.json(&line);
    }
    let held = desk.json("inspect --index idx");
    assert_eq!((&held["spec"]["dim"], &held["images"]), (&8.into(), &12.into()));
    let near = desk.json(&format!("search --index idx --model {model} --image photos/photo-04.jpg"));
    assert_eq!(names(&near)[0], "photo-04.jpg");
}

#[test]
fn what_is_asked_wrongly_is_said() {
    let desk = Desk::with_photos(2);
    desk.run("reindex --index idx --model pictor-mini").exited(2).complains(&["no index at idx"]);
    desk.json("index photos --index idx");
    desk.run("reindex --index idx").exited(2).complains(&["--model"]);
    desk.run("reindex --index idx --model no-such-model").exited(2).complains(&["no-such-model"]);
    desk.run("reindex --index idx --rollback --discard").exited(2).complains(&["cannot be used with"]);
    assert_eq!(desk.json("reindex --index idx --discard")["switched"], false);
}
