"""Joins the parts of one run into a document, a table and plots.

    report.py --set photos --parts DIR --out benches/runs/DATE-MACHINE

Writes `ann-SET.json` (all figures), `ann-SET.md` (operating points: the fastest point of each curve that finds enough),
`ann-SET-search.svg` and `ann-SET-filtered.svg`.
"""

import argparse
import json
import os
import pathlib
import platform
import re

import matplotlib

matplotlib.use("svg")
# Equal figures give equal files.
matplotlib.rcParams.update({"svg.hashsalt": "pictor", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
import matplotlib.pyplot as plt

TARGETS = [(10, 0.95), (10, 0.99), (100, 0.95)]


def join(parts):
    """One document of all parts, in the order they were measured."""
    common, engines, limits = {}, [], []
    for path in sorted(parts.glob("*.json")):
        part = json.loads(path.read_text())
        if "peer" in part:
            engines.append({"name": part.pop("peer"), "ours": False} | part)
            continue
        kinds, read = part.pop("kinds"), part.pop("read_bandwidth")
        limits.append(read)
        # Where the vectors lay is of no interest to who reads the results.
        del part["base"]
        common |= part
        for kind in kinds:
            engines.append({"name": "pictor " + kind.pop("kind"), "ours": True} | kind)
    # Read again in every part of ours: should these differ, so did the machine's speed.
    return common | {"read_bandwidth": limits, "engines": engines}


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    cpu = re.search(r"^model name\s*: (.*)$", info, re.M)
    kib = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    cpu = cpu[1] if cpu else platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(kib / 2**20, 1), "kernel": platform.release()}


def rate(search, threads):
    return next((r["queries_per_second"] for r in search["rates"] if r["threads"] == threads), None)


def best(engine, k, target, threads):
    """The largest rate among the points with enough recall, or None."""
    rates = [rate(s, threads) for s in engine["searches"] if s["k"] == k and s["recall"] >= target]
    return max((r for r in rates if r is not None), default=None)


def table(document):
    threads = max(r["threads"] for r in document["engines"][0]["searches"][0]["rates"])
    heads = ["", "build s", "disk MB", "own memory MB", "files mapped MB", "cold open, first result ms"]
    heads += [f"QPS at recall@{k} ≥ {target}, 1 / {threads} threads" for k, target in TARGETS]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for engine in document["engines"]:
        disk = engine["index_bytes"] + (document["vector_bytes"] if engine["ours"] else 0)
        memory, cold = engine["open_warm"]["memory_searched"], engine["open_cold"]
        cells = [engine["name"], f"{engine['build_seconds']:.1f}", f"{disk / 1e6:.0f}"]
        cells += [f"{memory[what] / 1e6:.0f}" for what in ("anonymous_bytes", "file_bytes")]
        cells.append(f"{cold['open_ms']:.0f}, {cold['first_result_ms']:.0f}")
        for k, target in TARGETS:
            points = [best(engine, k, target, n) for n in (1, threads)]
            cells.append(" / ".join("–" if p is None else f"{p:.0f}" for p in points))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def front(points):
    """Points that no other beats in both recall and rate, by recall."""
    kept, highest = [], 0
    for recall, speed in sorted(points, reverse=True):
        if speed > highest:
            kept.append((recall, speed))
            highest = speed
    return kept[::-1]


def styles(engines):
    """Ours in full lines, theirs dashed, each with colours of its own."""
    seen, all_styles = {True: 0, False: 0}, {}
    for engine in engines:
        ours = engine["ours"]
        colours = plt.get_cmap("tab10" if ours else "Dark2").colors
        all_styles[engine["name"]] = {
            "color": colours[seen[ours] % len(colours)],
            "linestyle": "-" if ours else ["--", ":"][seen[ours] // len(colours) % 2],
            "linewidth": 2 if ours else 1.2,
            "marker": "o" if ours else "x",
            "markersize": 4,
            "label": engine["name"],
        }
        seen[ours] += 1
    return all_styles


def plot_searches(document, path):
    engines = document["engines"]
    points = engines[0]["searches"]
    ks = sorted({s["k"] for s in points})
    threads = sorted({r["threads"] for r in points[0]["rates"]})
    figure, axes = plt.subplots(len(threads), len(ks), figsize=(6 * len(ks), 4 * len(threads)), squeeze=False)
    for row, n in zip(axes, threads):
        for axis, k in zip(row, ks):
            for engine in engines:
                curve = [(s["recall"], rate(s, n)) for s in engine["searches"] if s["k"] == k]
                if curve := front(curve):
                    axis.plot(*zip(*curve), **styles(engines)[engine["name"]])
            axis.set(xlabel=f"recall@{k}", ylabel="queries a second", yscale="log", xlim=(0.7, 1.002))
            axis.set_title(f"k = {k}, {n} thread{'s' if n > 1 else ''}")
    save(figure, axes[0][0], path)


def plot_filtered(document, path):
    engines = [e for e in document["engines"] if e["filtered"]]
    if not engines:
        return
    correlations = list(dict.fromkeys(f["correlation"] for f in engines[0]["filtered"]))
    figure, axes = plt.subplots(2, len(correlations), figsize=(5 * len(correlations), 7), squeeze=False, sharex=True)
    for (above, below), correlation in zip(axes.T, correlations):
        for engine in engines:
            cases = [f for f in engine["filtered"] if f["correlation"] == correlation]
            shares, style = [f["selectivity"] for f in cases], styles(document["engines"])[engine["name"]]
            above.plot(shares, [f["recall"] for f in cases], **style)
            below.plot(shares, [f["mean_ms"] for f in cases], **style)
        above.axhline(0.95, color="grey", linewidth=0.8)
        above.set(title=f"{correlation} with the query", ylabel=f"recall@{engines[0]['filtered'][0]['k']}", ylim=(-0.03, 1.03))
        below.set(xscale="log", yscale="log", xlabel="share of the rows let through", ylabel="mean ms, one thread")
        below.invert_xaxis()
    save(figure, axes[0][0], path)


def save(figure, axis, path):
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=4, frameon=False)
    lines = -(-len(labels) // 4)
    figure.tight_layout(rect=(0, 0.03 + 0.025 * lines, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True)
    parser.add_argument("--parts", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    document = {"set": args.set, "machine": machine()} | join(args.parts)
    stem = f"ann-{args.set}"
    (args.out / f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n")
    text = table(document)
    (args.out / f"{stem}.md").write_text(text)
    plot_searches(document, args.out / f"{stem}-search.svg")
    plot_filtered(document, args.out / f"{stem}-filtered.svg")
    print(text)


if __name__ == "__main__":
    main()
