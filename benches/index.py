"""Indexing and searching a folder with the real binary, beside the bare runtime.

Measures, in one run on one machine:
- bare: ONNX Runtime's Python session on the image tower, batch 32, all cores, prepared tensors in memory: the hardware's limit
- `pictor index` on tract and on ONNX Runtime: images/s end to end, the encode stage's own rate, busy seconds of each stage,
  peak resident memory
- search of that index: a cold process from start to answer, and a warm service from request to answer
Writes one JSON file. Timings are medians of several rounds; ratios are the point, not the absolute numbers.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import tempfile
import time
import urllib.request

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = ROOT / "models/pictor-mini/image.onnx"
QUERIES = ["dogs in snow", "a child on a swing", "a red car", "people climbing rocks", "a man riding a bicycle"]
BATCH = 32


def bare_rate() -> float:
    """Images per second of the session alone: the best of 5 rounds of 16 batches."""
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224), dtype=np.float32)
    rounds = []
    for _ in range(6):
        start = time.perf_counter()
        for _ in range(16):
            session.run(None, {"pixel_values": batch})
        rounds.append(16 * BATCH / (time.perf_counter() - start))
    return max(rounds[1:])


def run_json(*command: str) -> dict:
    done = subprocess.run([*command, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def index(pictor: str, photos: str, runtime: str, folder: str) -> dict:
    """One `pictor index` run with its peak resident memory in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    process = subprocess.Popen(
        [pictor, "index", photos, "--index", folder, "--runtime", runtime, "--json", "--quiet"], stdout=subprocess.PIPE
    )
    peak = 0
    while process.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            if match := re.search(r"VmHWM:\s+(\d+)", status):
                peak = max(peak, int(match[1]))
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.05)
    report = json.load(process.stdout)
    report["peak_rss_mib"] = round(max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before) / 1024)
    report["skipped"] = len(report["skipped"])
    return report


def cold_search_ms(pictor: str, folder: str, runtime: str) -> float:
    times = []
    for query in QUERIES * 3:
        start = time.perf_counter()
        run_json(pictor, "search", "--index", folder, "--runtime", runtime, query)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def warm_search_ms(pictor: str, folder: str, runtime: str) -> dict:
    command = [pictor, "serve", "--index", folder, "--runtime", runtime, "--addr", "127.0.0.1:0", "--json", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        url = json.loads(service.stdout.readline())["listening"] + "/api/search"
        times = []
        for i in range(200):
            body = json.dumps({"text": f"{QUERIES[i % len(QUERIES)]} {i}", "k": 10}).encode()
            request = urllib.request.Request(url, body, {"content-type": "application/json"})
            start = time.perf_counter()
            urllib.request.urlopen(request).read()
            times.append((time.perf_counter() - start) * 1000)
        service.terminate()
    times.sort()
    return {"p50": statistics.median(times), "p95": times[int(len(times) * 0.95)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictor", required=True, help="the release binary")
    parser.add_argument("--photos", required=True, help="folder of photographs")
    parser.add_argument("--out", required=True, help="JSON file to write")
    args = parser.parse_args()

    results = {
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "bare_onnxruntime_images_per_second": bare_rate(),
        "runtimes": {},
    }
    for runtime in ["tract", "onnxruntime"]:
        with tempfile.TemporaryDirectory() as folder:
            report = index(args.pictor, args.photos, runtime, f"{folder}/index")
            results["runtimes"][runtime] = {
                "index": report,
                "cold_search_ms": cold_search_ms(args.pictor, f"{folder}/index", runtime),
                "warm_search_ms": warm_search_ms(args.pictor, f"{folder}/index", runtime),
            }
    # Once more after the others, so that a machine that slowed down in between does not flatter us.
    results["bare_onnxruntime_images_per_second_after"] = bare_rate()
    bare = max(results["bare_onnxruntime_images_per_second"], results["bare_onnxruntime_images_per_second_after"])
    rate = results["runtimes"]["onnxruntime"]["index"]["encode_images_per_second"]
    results["encode_stage_to_bare"] = rate / bare
    pathlib.Path(args.out).write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
