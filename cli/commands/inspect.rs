//! `pictor inspect`.

use pictor_core::ContentHash;
use pictor_storage::{AttributeDescription, Description, Skipped, Snapshot, Store};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::exit::Outcome;
use crate::output::{Output, count};

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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    verified: bool,
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
    if args.verify {
        snapshot.verify()?;
    }
    let inspection = Inspection {
        description: snapshot.describe()?,
        skipped_files: if args.skipped { Some(snapshot.skipped()?) } else { None },
        attributes: if args.attributes { Some(snapshot.attributes()?) } else { None },
        duplicates: if args.duplicates { Some(duplicates(&snapshot)?) } else { None },
        verified: args.verify,
    };
    output.result(&inspection, |i| {
        let mut text = i.description.to_string();
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
        if i.verified {
            text += "every checksum holds\n";
        }
        text
    })?;
    Ok(Outcome::Done)
}
