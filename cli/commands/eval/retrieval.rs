//! `pictor eval retrieval`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use pictor_core::{EmbeddingBatch, Encoder, Matcher};
use pictor_encoders::{DualEncoder, ImageTextMatcher};
use pictor_eval::{
    Comparison, DatasetSummary, ImageRef, ModelSummary, Ranking, Rankings, RetrievalReport, Run, Stage,
};

use super::data::{Data, Kind};
use super::models::{Opened, open_models};
use super::ranking::{self, Task};
use super::through_index::ThroughIndex;
use super::{encode, provenance, written};
use crate::args::EvalRetrievalArgs;
use crate::bar::bar;
use crate::exit::Outcome;
use crate::output::Output;
use crate::wiring;

/// How much of each ranking is kept without reranking: what the gallery shows, and R@10 of an index.
const KEEP: usize = 10;

pub fn run(args: EvalRetrievalArgs, output: &Output) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    // What cannot work is said before hours of encoding.
    let baseline = args.baseline.as_deref().map(pictor_eval::read_report).transpose()?;
    if let Some(folder) = &args.report {
        fs_err::create_dir_all(folder)?;
        written::spare(folder, args.baseline.as_deref())?;
    }
    ensure!(
        args.tolerance >= 0.0 && args.tolerance.is_finite(),
        "--tolerance is {}, expected points from 0 up",
        args.tolerance
    );
    ensure!(
        args.through_index.is_none() || args.model.len() == 1,
        "an index has the vectors of one model: give one --model with --through-index"
    );
    let mut data = Data::read(&args)?;
    // A filter leaves part of the data, which is another set.
    if let (Some(baseline), None) = (&baseline, &args.filter) {
        pictor_eval::check_baseline(baseline, &summary(&data), pictor_eval::PROTOCOL)?;
    }
    let models = match &data.kind {
        Kind::Embeddings { .. } => Vec::new(),
        Kind::Photographs(_) => open_models(&args, output)?,
    };
    let mut runs = Runs { args: &args, output, done: Vec::new(), comparisons: Vec::new() };
    if let Kind::Embeddings { images, texts } = &data.kind {
        runs.of_embeddings(images, texts, &data.task)?;
    } else {
        for Opened { encoder, matcher } in models {
            let through = match (&args.through_index, &data.kind) {
                (Some(index), Kind::Photographs(dataset)) => {
                    Some(ThroughIndex::open(index, dataset, encoder.spec(), args.filter.as_deref())?)
                }
                _ => None,
            };
            if let Some(through) = &through {
                data = data.keep_images(&through.kept())?;
            }
            let Kind::Photographs(dataset) = &data.kind else { continue };
            runs.of_model(&encoder, matcher.as_deref(), &dataset.images, &data.task, through.as_ref())?;
        }
    }
    runs.compare_models(&data.task)?;
    let Runs { done, comparisons, .. } = runs;
    let report = RetrievalReport {
        format: pictor_eval::REPORT_FORMAT,
        protocol: pictor_eval::PROTOCOL.into(),
        provenance: provenance::provenance(start),
        dataset: summary(&data),
        runs: done,
        comparisons,
    };
    if let Some(folder) = &args.report {
        written::write(folder, &report, &data.images_by_name())?;
        output.note(format_args!("report.json, report.md and report.html in {}", folder.display()));
    }
    let verdict = match &baseline {
        None => None,
        Some(baseline) => Some(pictor_eval::hold_against(
            baseline,
            &report,
            args.tolerance,
            [&data.task.text_clusters, &data.task.image_clusters],
        )?),
    };
    let said = written::Said { report: &report, baseline: verdict.as_ref() };
    output.result(&said, |said| said.text())?;
    Ok(match &verdict {
        Some(verdict) if !verdict.passed() => Outcome::BelowBaseline,
        _ => Outcome::Done,
    })
}

fn summary(data: &Data) -> DatasetSummary {
    let relevance = &data.task.relevance;
    DatasetSummary {
        name: data.name.clone(),
        sources: data.sources.clone(),
        hash: data.hash.clone(),
        images: relevance.images(),
        captions: relevance.texts(),
        images_without_captions: data.images_without_captions,
        relevance: data.relevance.clone(),
    }
}

/// The runs of a report, as they are made.
struct Runs<'a> {
    args: &'a EvalRetrievalArgs,
    output: &'a Output,
    done: Vec<Run>,
    comparisons: Vec<Comparison>,
}

impl Runs<'_> {
    /// How much of each ranking later stages and figures ask for.
    fn keep(&self, task: &Task) -> usize {
        let k_test = self.args.rerank.map_or(0, |r| r as usize);
        KEEP.max(k_test).max(task.relevance.most_positives())
    }

    /// One run, of vectors that are there already.
    fn of_embeddings(
        &mut self,
        images: &EmbeddingBatch,
        texts: &EmbeddingBatch,
        task: &Task,
    ) -> anyhow::Result<()> {
        let model = ModelSummary {
            name: "embeddings".into(),
            fingerprint: String::new(),
            dim: images.dim(),
            precision: String::new(),
            runtime: String::new(),
        };
        self.exact("embeddings".into(), model, images, texts, task, Vec::new())?;
        Ok(())
    }

    /// Exact search over a model's fresh vectors, then through the index, then reranked, as was asked for.
    fn of_model(
        &mut self,
        encoder: &DualEncoder,
        matcher: Option<&ImageTextMatcher>,
        images: &[ImageRef],
        task: &Task,
        through: Option<&ThroughIndex>,
    ) -> anyhow::Result<()> {
        let summary = provenance::model(encoder);
        let batch = wiring::batch(self.args.batch, encoder);
        let mut stages = Vec::new();
        let texts: Vec<&str> = task.texts.iter().map(String::as_str).collect();
        let text_rows = timed(&mut stages, "encode texts", "captions", texts.len(), || {
            encode::texts(encoder, &texts, batch, self.output)
        })?;
        let image_rows = timed(&mut stages, "encode images", "images", images.len(), || {
            encode::images(encoder, images, batch, self.output)
        })?;
        let label = self.label(&summary);
        let exact = self.exact(label.clone(), summary.clone(), &image_rows, &text_rows, task, stages)?;
        if let Some(through) = through {
            self.through_index(&label, &summary, through, &text_rows, task)?;
        }
        if let (Some(r), Some(matcher)) = (self.args.rerank, matcher) {
            self.reranked(&label, summary, matcher, r as usize, &exact, images, task)?;
        }
        Ok(())
    }

    fn exact(
        &mut self,
        label: String,
        model: ModelSummary,
        images: &EmbeddingBatch,
        texts: &EmbeddingBatch,
        task: &Task,
        mut stages: Vec<Stage>,
    ) -> anyhow::Result<Rankings> {
        let queries = task.relevance.text_queries() + task.relevance.image_queries();
        let rankings = timed(&mut stages, "rank", "queries", queries, || {
            let progress = bar(None, "queries", self.output);
            Ok(ranking::exact(images, texts, &task.relevance, self.keep(task), &progress)?)
        })?;
        self.push(label, model, Ranking::Exact, &rankings, true, task, stages)?;
        Ok(rankings)
    }

    /// What the index's precision costs, and what its kind costs beyond that.
    fn through_index(
        &mut self,
        exact: &str,
        model: &ModelSummary,
        through: &ThroughIndex,
        texts: &EmbeddingBatch,
        task: &Task,
    ) -> anyhow::Result<()> {
        let path = self.args.through_index.as_deref().unwrap_or(Path::new("")).display().to_string();
        let index = |kind: String, images: usize| Ranking::Index {
            path: path.clone(),
            kind,
            images,
            filter: self.args.filter.clone(),
        };
        let further = through.images.saturating_sub(task.relevance.images());
        if further > 0 {
            self.output.note(format_args!(
                "{further} images of the index are not of the dataset and compete too: what the index costs below is theirs as well"
            ));
        }
        let stored = through.vectors(model.dim)?;
        let keep = self.keep(task);
        let stored =
            ranking::exact(&stored, texts, &task.relevance, keep, &bar(None, "queries", self.output))?;
        let stored_label = format!("{exact}, stored vectors");
        let kind = "exact search over the dataset's stored vectors".into();
        let ranking = index(kind, task.relevance.images());
        self.push(stored_label.clone(), model.clone(), ranking, &stored, true, task, Vec::new())?;

        let mut stages = Vec::new();
        let text_to_image =
            timed(&mut stages, "search the index, all cores", "queries", texts.len(), || {
                through.rank(texts, &task.relevance, keep, self.args.effort)
            })?;
        let label = format!("{exact}, index");
        let ranking = index(through.kind.clone(), through.images);
        let rankings = Rankings { text_to_image, image_to_text: Vec::new() };
        self.push(label.clone(), model.clone(), ranking, &rankings, false, task, stages)?;
        self.compare(exact, &stored_label, task)?;
        self.compare(&stored_label, &label, task)
    }

    #[allow(clippy::too_many_arguments)]
    fn reranked(
        &mut self,
        first_stage: &str,
        model: ModelSummary,
        matcher: &ImageTextMatcher,
        k_test: usize,
        first: &Rankings,
        images: &[ImageRef],
        task: &Task,
    ) -> anyhow::Result<()> {
        let pairs = ranking::pairs(first, k_test, images.len());
        let count: usize = pairs.iter().map(Vec::len).sum();
        let progress = bar(Some(count as u64), "pairs", self.output);
        let mut stages = Vec::new();
        let rankings = timed(&mut stages, "rerank", "pairs", count, || {
            ranking::rerank(first, k_test, task, images, matcher, &pairs, &progress)
        })?;
        progress.finish_and_clear();
        let label = match &self.args.matcher {
            None => format!("{first_stage}, rerank {k_test}"),
            Some(_) => format!("{first_stage}, rerank {k_test} by {}", matcher.spec().name),
        };
        let ranking = Ranking::Rerank {
            matcher: provenance::model(matcher.towers()),
            k_test,
            first_stage: first_stage.into(),
        };
        self.push(label.clone(), model, ranking, &rankings, true, task, stages)?;
        self.compare(first_stage, &label, task)
    }

    /// A label that no run has yet: the model's name, and the start of its fingerprint when two share it.
    fn label(&self, model: &ModelSummary) -> String {
        let taken = |label: &str| self.done.iter().any(|run| run.label == label);
        let plain = match model.precision.as_str() {
            "fp32" => model.name.clone(),
            precision => format!("{} {precision}", model.name),
        };
        match taken(&plain) {
            false => plain,
            true => format!("{plain} {}", model.fingerprint.chars().take(8).collect::<String>()),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        label: String,
        model: ModelSummary,
        ranking: Ranking,
        rankings: &Rankings,
        both: bool,
        task: &Task,
        stages: Vec<Stage>,
    ) -> anyhow::Result<()> {
        let text_to_image = task.text_to_image(&rankings.text_to_image)?;
        let image_to_text = both.then(|| task.image_to_text(&rankings.image_to_text)).transpose()?;
        let failures = task.failures(rankings);
        self.done.push(Run { label, model, ranking, text_to_image, image_to_text, stages, failures });
        Ok(())
    }

    /// Every other model's first run against the first model's.
    fn compare_models(&mut self, task: &Task) -> anyhow::Result<()> {
        let first_runs: Vec<String> = self
            .done
            .iter()
            .filter(|run| run.ranking == Ranking::Exact)
            .map(|run| run.label.clone())
            .collect();
        if let [first, others @ ..] = first_runs.as_slice() {
            for other in others {
                self.compare(first, other, task)?;
            }
        }
        Ok(())
    }

    /// `run` against `base`, in the directions that both have.
    fn compare(&mut self, base: &str, run: &str, task: &Task) -> anyhow::Result<()> {
        let of = |label: &str| {
            let found = self.done.iter().find(|run| run.label == label);
            found.context("a run is missing; this is a bug")
        };
        let (before, after) = (of(base)?, of(run)?);
        let mut found = pictor_eval::compare(
            (base, &before.text_to_image),
            (run, &after.text_to_image),
            "text_to_image",
            &task.text_clusters,
        )?;
        if let (Some(before), Some(after)) = (&before.image_to_text, &after.image_to_text) {
            let (base, run) = ((base, before), (run, after));
            found.extend(pictor_eval::compare(base, run, "image_to_text", &task.image_clusters)?);
        }
        self.comparisons.extend(found);
        Ok(())
    }
}

/// What `work` gives, and a stage that says how long it took.
fn timed<T>(
    stages: &mut Vec<Stage>,
    name: &str,
    unit: &str,
    items: usize,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    let done = work()?;
    stages.push(Stage {
        name: name.into(),
        unit: unit.into(),
        items,
        seconds: start.elapsed().as_secs_f64(),
    });
    Ok(done)
}
