//! A child process that works at random on one index and is killed at random, over and over: by SIGKILL at any moment, the
//! recovery after the last kill included, or by a failpoint at its n-th hit. Whatever it was told is committed is there, exactly.
//!
//! The child says on its standard output what it is about to do and what was acknowledged; the parent plays that on a map. What
//! the index then shows must be the last acknowledged state or, when a commit was under way, what that one would have made.
//!
//! `PICTOR_CRASH_KILLS` is the number of kills of each of the two tests, `PICTOR_CRASH_SEED` the work to be done.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use pictor_core::{ImageId, ImageRecord};
use pictor_storage::Store;

use crate::{check_consistent, child, new_store, record, vector};

const DIR: &str = "PICTOR_TEST_KILLS_DIR";
const SEED: &str = "PICTOR_TEST_KILLS_SEED";
/// After so many commits a child that nobody has killed ends.
const COMMITS: usize = 60;
const URIS: u64 = 24;
const FAILPOINTS: [&str; 14] = [
    "after-deleted",
    "after-vectors",
    "after-ann",
    "after-text",
    "after-catalog",
    "after-manifest",
    "after-garbage",
    "after-merge-rows",
    "after-merge-ann",
    "after-merge-deleted",
    "after-merge-manifest",
    "after-merge-garbage",
    "after-compact-catalog",
    "after-compact-text",
];

/// SplitMix64: a few lines, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % n
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// An image of content `content`: the number is its length too, so that a record tells which content it is of.
fn image(uri: &str, content: u64, caption: &str) -> ImageRecord {
    ImageRecord { bytes: content, ..record(uri, caption) }
}

/// Says a line. The mark parts it from what the test harness says on the same line.
fn say(line: &str) {
    println!("> {line}");
}

/// Not a test: what the child does.
#[test]
fn work_of_the_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let mut random = Random(number(SEED, 0));
    let mut writer = Store::open(Path::new(&dir)).unwrap().writer().unwrap();
    say("ready");
    for _ in 0..COMMITS {
        for _ in 0..=random.below(6) {
            let uri = format!("uri{}", random.below(URIS));
            let (content, known) = (random.below(1000), writer.find(&uri).unwrap());
            match (random.below(10), known) {
                (0..=1, Some((id, _))) => {
                    say(&format!("delete {uri}"));
                    writer.delete(id).unwrap();
                }
                (2..=3, Some((id, known))) => {
                    say(&format!("update {uri} {content}"));
                    writer.update_record(id, image(&uri, known.bytes, &format!("word{content}"))).unwrap();
                }
                _ => {
                    let words = format!("word{content}");
                    let id = writer.put(image(&uri, content, &words), &vector(&content.to_string())).unwrap();
                    say(&format!("put {uri} {content} {id}"));
                }
            }
        }
        say("commit");
        match random.below(8) {
            0 => drop(writer.finish().unwrap()),
            1 => drop(writer.compact().unwrap()),
            _ => drop(writer.commit().unwrap()),
        }
        say("acknowledged");
    }
}

/// One image as the parent knows it.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    id: ImageId,
    content: u64,
    caption: String,
}

/// The images by uri.
type Model = BTreeMap<String, Known>;

/// What the child has told.
struct Told {
    /// As of the last acknowledged commit.
    acknowledged: Model,
    /// What the commit under way would make of it, if one was.
    under_way: Option<Model>,
}

fn play(before: &Model, highest: &mut Option<ImageId>, lines: &[String]) -> Told {
    let mut told = Told { acknowledged: before.clone(), under_way: None };
    let mut next = before.clone();
    for line in lines {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["put", uri, content, id] => {
                let id = ImageId(id.parse().unwrap());
                assert!(*highest < Some(id), "I4: {id} is given again");
                let caption = format!("word{content}");
                next.insert(uri.into(), Known { id, content: content.parse().unwrap(), caption });
            }
            ["delete", uri] => drop(next.remove(uri).unwrap()),
            ["update", uri, content] => next.get_mut(uri).unwrap().caption = format!("word{content}"),
            ["commit"] => told.under_way = Some(next.clone()),
            ["acknowledged"] => {
                told = Told { acknowledged: next.clone(), under_way: None };
                *highest = next.values().map(|known| known.id).max().max(*highest);
            }
            ["ready"] => {}
            _ => panic!("the child said '{line}'"),
        }
    }
    told
}

impl Told {
    /// Whether `shown` is a state that the index may be in.
    fn allows(&self, shown: &Model) -> bool {
        let Some(next) = &self.under_way else { return *shown == self.acknowledged };
        // A commit that died may leave a new record with an image that keeps its id and its bytes (FORMAT.md, I1).
        let is_old = |uri: &String| {
            let (now, old, new) = (shown.get(uri), self.acknowledged.get(uri), next.get(uri));
            now == old || (now == new && old.map(|known| known.id) == new.map(|known| known.id))
        };
        shown == next || shown.keys().chain(self.acknowledged.keys()).all(is_old)
    }
}

/// What the index shows, by way of manifest, segments and catalog: the text index, and with it recovery, is not touched.
fn shown(dir: &Path) -> Model {
    let snapshot = Store::open(dir).unwrap().snapshot().unwrap();
    let known = snapshot.records().map(|entry| {
        let (id, record) = entry.unwrap();
        let vector_now = snapshot.vector(id).unwrap().unwrap();
        let alike = pictor_core::dot(&vector_now, &vector(&record.bytes.to_string()));
        assert!(alike > 0.999, "image {id} has the vector of another");
        (record.uri, Known { id, content: record.bytes, caption: record.captions[0].clone() })
    });
    let known: Model = known.collect();
    assert_eq!(known.len(), snapshot.len());
    known
}

/// Lets a child work on the index in `dir` until it dies; returns what it said, and whether it did die.
fn work(dir: &Path, random: &mut Random) -> (Vec<String>, bool) {
    let mut command = child("kills::work_of_the_child");
    command.env(DIR, dir).env(SEED, random.below(u64::MAX).to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let way = random.below(10);
    if way < 3 {
        let point = FAILPOINTS[random.below(FAILPOINTS.len() as u64) as usize];
        let (nth, how) = (1 + random.below(3), ["", ":kill"][random.below(2) as usize]);
        command.env("PICTOR_FAILPOINT", format!("{point}:{nth}{how}"));
    }
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut lines = vec![];
    if way >= 3 {
        // From the start, so that it can die while it recovers, or from when it begins to work.
        if way > 3 {
            lines.extend(said.by_ref().take_while(|line| !line.ends_with("> ready")));
        }
        std::thread::sleep(Duration::from_micros(random.below(80_000)));
        child.kill().unwrap();
    }
    lines.extend(said);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    let marked = lines.iter().filter_map(|line| Some(line.split_once("> ")?.1.to_owned()));
    (marked.collect(), !output.status.success())
}

fn kill_often(kind: &str) {
    let (kills, seed) = (number("PICTOR_CRASH_KILLS", 110), number("PICTOR_CRASH_SEED", 7));
    let (_guard, store) = new_store(kind);
    let mut random = Random(seed);
    let (mut model, mut highest, mut died, mut under_way) = (Model::new(), None, 0, 0);
    while died < kills {
        let (lines, dead) = work(store.dir(), &mut random);
        died += u64::from(dead);
        let told = play(&model, &mut highest, &lines);
        under_way += u64::from(told.under_way.is_some());
        let now = shown(store.dir());
        assert!(
            told.allows(&now),
            "seed {seed}, kill {died}: the index shows {now:?}\nacknowledged: {:?}\nunder way: {:?}\nsaid: {lines:?}",
            told.acknowledged,
            told.under_way
        );
        // A reader that asks for text recovers the index where it can; otherwise the next child does.
        if random.below(2) == 0 {
            check_consistent(store.dir());
        }
        model = now;
    }
    check_consistent(store.dir());
    assert!(under_way > kills / 4, "only {under_way} of {kills} deaths fell into a commit");
}

#[test]
fn random_kills_of_exact_segments() {
    kill_often("auto");
}

#[test]
fn random_kills_of_graph_segments() {
    kill_often("hnsw");
}
