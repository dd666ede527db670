//! `pictor inspect`.

use pictor_core::ContentHash;
use pictor_storage::{AttributeDescription, Description, Skipped, Snapshot, Store};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::exit::Outcome;
use crate::output::{Output, bytes, count};

/// What an index holds.
#[derive(Serialize)]
struct Inspection {
    #[serde(flatten)]
    description: Description,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped_files: Option<Vec<Skipped>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Vec<AttributeDescription>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicates: Option<Vec<Duplicates>>,
}

/// Images of equal bytes.
#[derive(Serialize)]
struct Duplicates {
    content_hash: ContentHash,
    uris: Vec<String>,
}

fn duplicates(snapshot: &Snapshot) -> anyhow::Result<Vec<Duplicates>> {
    let mut groups = Vec::new();
    for (content_hash, ids) in snapshot.duplicates()? {
        let mut uris = Vec::new();
        for id in ids {
            uris.extend(snapshot.record(id)?.map(|record| record.uri));
        }
        groups.push(Duplicates { content_hash, uris });
    }
    Ok(groups)
}

pub fn run(args: InspectArgs, output: &Output) -> anyhow::Result<Outcome> {
    let store = Store::open(&args.index.index)?;
    let snapshot = store.snapshot()?;
    let inspection = Inspection {
        description: snapshot.describe()?,
        skipped_files: if args.skipped { Some(snapshot.skipped()?) } else { None },
        attributes: if args.attributes { Some(snapshot.attributes()?) } else { None },
        duplicates: if args.duplicates { Some(duplicates(&snapshot)?) } else { None },
    };
    output.result(&inspection, |i| {
        let mut text = describe(&i.description);
        for skipped in i.skipped_files.iter().flatten() {
            text += &format!("skipped {}: {}\n", skipped.uri, skipped.reason);
        }
        for attribute in i.attributes.iter().flatten() {
            let AttributeDescription { name, holds, images } = attribute;
            text +=
                &format!("attribute  {name}: {}, {} images\n", holds.join(" and "), count(*images as u64));
        }
        for same in i.duplicates.iter().flatten() {
            text += &format!("same bytes {}\n", same.uris.join("\n           "));
        }
        if i.duplicates.as_ref().is_some_and(Vec::is_empty) {
            text += "no two images have the same bytes\n";
        }
        text
    })?;
    Ok(Outcome::Done)
}

fn describe(d: &Description) -> String {
    let images = count(d.images as u64);
    let mut text = format!("{images} images, generation {}, format {}\n", d.generation, d.format);
    text += &format!("encoder    {}\n", d.spec);
    text += &format!("kind       {}, vectors in {}\n", d.kind, d.dtype);
    if let Some(auto) = &d.auto {
        text += &format!("           {auto}\n");
    }
    text += &format!("catalog    {} records, {} skipped\n", count(d.records as u64), count(d.skipped as u64));
    text += &format!(
        "on disk    {}: segments {}, catalog {}, text {}\n",
        bytes(d.bytes.total),
        bytes(d.bytes.segments),
        bytes(d.bytes.catalog),
        bytes(d.bytes.text)
    );
    if let Some(memory) = &d.memory {
        text += &format!(
            "in memory  {}: {} of its own, {} of mapped files\n",
            bytes(memory.resident),
            bytes(memory.anonymous),
            bytes(memory.mapped_files)
        );
    }
    for segment in &d.segments {
        let b = &segment.bytes;
        text += &format!(
            "segment    {}: {} rows, {} deleted, {}; {}: vectors {}, ids {}, neighbours {}, deleted {}",
            segment.name,
            count(segment.rows as u64),
            count(segment.deleted as u64),
            segment.kind,
            bytes(b.total),
            bytes(b.vectors),
            bytes(b.ids),
            bytes(b.neighbors),
            bytes(b.deleted)
        );
        text += &segment.resident.map_or_else(String::new, |n| format!("; {} in memory", bytes(n)));
        text += "\n";
    }
    text
}
