//! What a report looks like: JSON that keeps its names, text, Markdown and HTML from hard reports, published figures, the gate.

#[path = "shown/baseline.rs"]
mod baseline;
#[path = "shown/made_up.rs"]
mod made_up;
#[path = "shown/pages.rs"]
mod pages;
#[path = "shown/published.rs"]
mod published;

use made_up::report;
use pictor_eval::RetrievalReport;

#[test]
fn json_reads_back_as_it_was_written() {
    for report in [report(&[60, 5]), report(&[0]), report(&[])] {
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<RetrievalReport>(&json).unwrap(), report);
    }
}

#[test]
fn json_has_the_names_that_others_read() {
    let json = serde_json::to_value(report(&[20, 20])).unwrap();
    assert_eq!(json["format"], 1);
    let names =
        |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&json), "comparisons dataset format protocol provenance runs");
    assert_eq!(names(&json["provenance"]), "command date machine pictor seconds");
    assert_eq!(
        names(&json["dataset"]),
        "captions hash images images_without_captions name relevance sources"
    );
    let run = &json["runs"][1];
    assert_eq!(names(run), "failures image_to_text label model ranking stages text_to_image");
    assert_eq!(names(&run["model"]), "dim fingerprint name precision runtime");
    assert_eq!(run["ranking"]["by"], "rerank");
    assert_eq!(names(&run["ranking"]), "by first_stage k_test matcher");
    assert_eq!(names(&run["text_to_image"]), "intervals metrics ranks");
    assert_eq!(
        names(&run["text_to_image"]["metrics"]),
        "R-precision R@1 R@10 R@5 mAP@R mean_rank median_rank"
    );
    assert_eq!(names(&json["comparisons"][0]), "base difference direction interval metric p run");
}

#[test]
fn the_terminal_has_one_table_for_all_runs() {
    let text = report(&[60, 60, 0]).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("made <up> & \"true\": 1,000 images, 5,000 captions"), "{text}");
    let heading = lines.iter().position(|line| line.starts_with("run ")).unwrap();
    assert!(lines[heading - 1].contains("text → image") && lines[heading - 1].contains("image → text"));
    for (line, label) in lines[heading + 1..].iter().zip(["model 0", "model 1, rerank 128", "model 2"]) {
        assert!(line.starts_with(label) && line.matches('±').count() == 6, "{text}");
    }
    assert!(text.contains("ms each") && text.contains("95 % interval"), "{text}");
    // The first line names the data.
    assert!(lines[1..].iter().all(|line| line.chars().count() < 120), "{text}");
}

#[test]
fn markdown_has_everything_that_repeats_the_figures() {
    let report = report(&[60, 60]);
    let text = report.to_markdown();
    let expected = [
        "made \\<up\\> \\& ",
        "| run | text → image R@1 | R@5 | R@10 |",
        "fingerprint-0",
        &report.dataset.hash,
        "'my photos'",
    ];
    for expected in expected {
        assert!(text.contains(expected), "{expected}\nis not in\n{text}");
    }
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let cells: Vec<usize> =
            table.lines().map(|line| line.replace("\\|", "").matches('|').count()).collect();
        assert!(cells.iter().all(|count| *count == cells[0]), "{table}");
    }
}

/// A page to look at: written into the folder that `PICTOR_SAMPLE` names, with the photographs there as thumbnails.
#[test]
fn a_sample() {
    let Some(folder) = std::env::var_os("PICTOR_SAMPLE").map(std::path::PathBuf::from) else { return };
    let mut photos: Vec<_> = fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    photos.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    let report = report(&[5000, 5000, 5000, 5000]);
    let page = report.to_html(&|name| {
        let place = name.bytes().map(usize::from).sum::<usize>();
        fs_err::read(photos.get(place % (photos.len() + 1))?).ok()
    });
    fs_err::write(folder.join("report.html"), page).unwrap();
    fs_err::write(folder.join("report.md"), report.to_markdown()).unwrap();
}
