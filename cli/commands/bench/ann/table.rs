//! The figures as text for people.

use std::fmt::Write;

use super::opening::{Memory, Opened};
use super::{Benchmark, Figures};
use crate::output::{bytes, count};

/// The whole document.
pub fn benchmark(benchmark: &Benchmark) -> String {
    let b = benchmark;
    let (rows, queries, size) = (count(b.rows as u64), count(b.queries as u64), bytes(b.vector_bytes));
    let mut text = format!(
        "{rows} rows of {} {} ({size}) from {}, {queries} queries, {} cores, best of {} rounds\nmemory reads:",
        b.dim,
        b.dtype,
        b.base.display(),
        b.cpu_cores,
        b.rounds
    );
    for limit in &b.read_bandwidth {
        text += &format!(" {:.1} GB/s in {} thread(s)", limit.gigabytes_per_second, limit.threads);
    }
    text.push('\n');
    b.kinds.iter().for_each(|figures| kind(&mut text, figures));
    text
}

fn kind(text: &mut String, f: &Figures) {
    let mut line = |line: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format!("\n{}", f.kind));
    line(format!("  built in {:.1} s, {} beside the vectors", f.build_seconds, bytes(f.index_bytes)));
    line(format!("  cold: {}", opened(&f.open_cold).trim_end()));
    line(format!("  warm: {}", opened(&f.open_warm).trim_end()));
    let rates = f.searches.first().map_or(&[][..], |search| &search.rates[..]);
    let rates: String = rates.iter().map(|r| format!("{:>12}", format!("QPS × {}", r.threads))).collect();
    line(format!(
        "  {:>5}{:>9}{:>9}{:>10}{:>10}{:>10}{rates}",
        "k", "effort", "recall", "mean ms", "p50 ms", "p99 ms"
    ));
    for s in &f.searches {
        let effort = s.effort.map_or("default".into(), |effort| effort.to_string());
        let rates: String = s.rates.iter().map(|r| format!("{:12.1}", r.queries_per_second)).collect();
        let l = &s.latency;
        let times = format!("{:10.3}{:10.3}{:10.3}", l.mean_ms, l.p50_ms, l.p99_ms);
        line(format!("  {:5}{effort:>9}{:9.4}{times}{rates}", s.k, s.recall));
    }
    if let Some(first) = f.filtered.first() {
        line(format!("  filtered, k = {}", first.k));
        line(format!(
            "  {:>15}{:>13}{:>10}{:>9}{:>9}{:>7}{:>10}{:>10}",
            "filter", "let through", "rows", "recall", "worst", "short", "mean ms", "p99 ms"
        ));
    }
    for case in &f.filtered {
        let correlation = format!("{:?}", case.correlation).to_lowercase();
        let (share, l) = (format!("{} %", case.selectivity * 100.0), &case.latency);
        line(format!(
            "  {correlation:>15}{share:>13}{:10}{:9.4}{:9.2}{:7}{:10.3}{:10.3}",
            case.allowed, case.recall, case.worst_recall, case.incomplete, l.mean_ms, l.p99_ms
        ));
    }
    for scan in &f.scans {
        line(format!(
            "  one scan of {} in {} thread(s): {:.2} ms, {:.2} times the {:.2} ms that reading takes",
            bytes(scan.bytes),
            scan.threads,
            scan.mean_ms,
            scan.to_limit,
            scan.limit_ms
        ));
    }
}

/// One line: how an index opened.
pub fn opened(opened: &Opened) -> String {
    let memory = |m: &Memory| format!("{} + {} of files", bytes(m.anonymous_bytes), bytes(m.file_bytes));
    format!(
        "open {:.1} ms, first result {:.1} ms, in memory {}, after all queries {}\n",
        opened.open_ms,
        opened.first_result_ms,
        memory(&opened.memory_opened),
        memory(&opened.memory_searched)
    )
}
