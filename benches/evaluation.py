"""Retrieval figures from embeddings of COCO's size: `pictor eval retrieval` beside CLIP_benchmark's own `evaluate`, time and peak memory.

  python benches/evaluation.py --pictor BIN --out FILE.json [--images 5000] [--captions 25010] [--dim 512] [--rounds N]

Needs torch and `pip install --no-deps clip_benchmark==1.6.2 tqdm`. The embeddings are drawn (a caption is its image and noise), so that R@1
is near 40 %; the Karpathy test split of COCO has 5,000 images and 25,010 captions. CLIP_benchmark gets them through a model that hands back
what it is given and a loader in batches of 64, its default, and prints R@1/5/10 both ways; its time is that of `evaluate` alone, and of the
whole process beside it. Pictor's is the whole process: reading the files, the same figures, median and mean ranks, mAP@R, R-precision and
bootstrap intervals. Memory is the most that the process held. Figures must be equal to the query, or the run fails.
Programs take turns; the median over rounds counts. Beside FILE.json, FILE.md has the same as a table.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

KS = (1, 5, 10)


def draw(folder, images, captions, dim):
    """images.npy and texts.npy, f32 unit rows, and owners.txt, the image of each text."""
    rng = np.random.default_rng(0)
    base = unit(rng.normal(size=(images, dim)).astype(np.float32))
    # Five captions an image, and one more of the first few, as COCO has it.
    owners = np.sort(np.concatenate([np.tile(np.arange(images), captions // images), np.arange(captions % images)]))
    noise = rng.normal(size=(captions, dim)).astype(np.float32) * np.float32(0.28)
    np.save(folder / "images.npy", base)
    np.save(folder / "texts.npy", unit(base[owners] + noise))
    np.savetxt(folder / "owners.txt", owners, fmt="%d")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def peer(folder, threads):
    """In a process of its own: CLIP_benchmark's figures and the seconds of `evaluate`, as JSON."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import evaluate

    torch.set_num_threads(threads)
    images, texts = (torch.from_numpy(np.load(folder / name)) for name in ("images.npy", "texts.npy"))
    owners = np.loadtxt(folder / "owners.txt", dtype=np.int64)
    starts = np.searchsorted(owners, np.arange(len(images) + 1))

    class Given:
        encode_image = encode_text = staticmethod(lambda rows: rows)

    batches = [
        (images[start : start + 64], [list(range(starts[i], starts[i + 1])) for i in range(start, min(start + 64, len(images)))])
        for start in range(0, len(images), 64)
    ]
    start = time.perf_counter()
    figures = evaluate(Given(), batches, lambda rows: texts[rows], "cpu", amp=False, recall_k_list=list(KS))
    print(json.dumps({"evaluate_seconds": time.perf_counter() - start, "figures": figures}))


def run(command):
    """(standard output, seconds, peak MiB) of a process."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=errors)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if child.returncode != 0:
            errors.seek(0)
            raise SystemExit(f"{command[0]} failed: {errors.read().decode()[-2000:]}")
    return output, seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictor", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--captions", type=int, default=25010)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(folder, arguments.images, arguments.captions, arguments.dim)
        ours = [arguments.pictor, "eval", "retrieval", "--json", "--quiet", "--image-embeddings", folder / "images.npy"]
        ours += ["--text-embeddings", folder / "texts.npy", "--image-of-text", folder / "owners.txt"]
        theirs = [sys.executable, __file__, "--peer", folder, threads]
        for _ in range(arguments.rounds):
            output, seconds, mib = run(ours)
            mine = {"seconds": seconds, "peak_mib": mib}
            report = json.loads(output)
            output, seconds, mib = run(theirs)
            told = json.loads(output)
            equal(report, told["figures"], arguments)
            rounds.append({"pictor": mine, "clip_benchmark": {"seconds": seconds, "evaluate_seconds": told["evaluate_seconds"], "peak_mib": mib}})
            print(json.dumps(rounds[-1]), file=sys.stderr)
    median = {who: {what: statistics.median(r[who][what] for r in rounds) for what in rounds[0][who]} for who in rounds[0]}
    result = {
        "images": arguments.images, "captions": arguments.captions, "dim": arguments.dim, "threads": threads,
        "machine": platform.processor() or platform.machine(), "versions": versions(), "figures": told["figures"],
        "median": median, "rounds": rounds,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(table(result))


def equal(report, theirs, arguments):
    """Fails unless every R@K is the same count of queries."""
    for direction, name, queries in (("text_to_image", "image", arguments.captions), ("image_to_text", "text", arguments.images)):
        for k in KS:
            ours, peers = recall(report, direction, k) * queries / 100, theirs[f"{name}_retrieval_recall@{k}"] * queries
            # Theirs is a mean in f32, which is exact to a thousandth of a query here.
            if abs(ours - peers) > 0.01:
                raise SystemExit(f"{direction} R@{k}: pictor found {ours:.2f} of {queries} queries, CLIP_benchmark {peers:.2f}")


def recall(report, direction, k):
    """Percent of the one run in the report."""
    found = list(named(report, direction))
    if not found:
        raise SystemExit(f"no '{direction}' in what pictor eval printed: {json.dumps(report)[:500]}")
    return found[0].get("metrics", found[0])[f"R@{k}"]


def named(node, name):
    """Every object under the key `name`, outermost first."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if key == name and isinstance(child, dict):
            yield child
        yield from named(child, name)


def table(result):
    ours, theirs = result["median"]["pictor"], result["median"]["clip_benchmark"]
    versions = result["versions"]
    return "\n".join([
        f"{result['images']:,} images x {result['captions']:,} captions, {result['dim']} dimensions, {result['threads']} threads, median of "
        f"{len(result['rounds'])} rounds; every R@K equal.", "",
        "| | seconds | of which `evaluate` | peak memory, MiB |", "|---|---|---|---|",
        f"| `pictor eval retrieval` | {ours['seconds']:.2f} | | {ours['peak_mib']:.0f} |",
        f"| CLIP_benchmark {versions['clip_benchmark']}, PyTorch {versions['torch']} | {theirs['seconds']:.2f} | {theirs['evaluate_seconds']:.2f} | {theirs['peak_mib']:.0f} |",
    ]) + "\n"


def versions():
    from importlib.metadata import version

    return {name: version(name).split("+")[0] for name in ("torch", "clip_benchmark", "numpy")}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
