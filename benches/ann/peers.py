"""One peer over the same vectors, queries and exact answer as `pictor bench ann`, in the same JSON.

    peers.py --peer hnswlib:16:200 --base base.npy --queries queries.npy --truth truth.npy --dir SCRATCH --out part.json

Peers: `hnswlib:M:EF_CONSTRUCTION`, `faiss:FACTORY` or `faiss:FACTORY@EF_CONSTRUCTION`, `usearch:DTYPE:CONNECTIVITY`. All get f32
vectors, the inner product as metric, and all cores to build with; USearch stores them as DTYPE.

Measured as `pictor bench ann` does it: building in one process; opening and memory in processes of their own, with the file
dropped from the page cache and with it there; then recall and speed for every k and effort. The rate of one thread is the better
of a loop of single queries and of one call with all queries, so that a call's cost in Python falls on no peer. Recall counts what
scores no less than the k-th exact score, less 1e-6.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np

TIE = 1e-6
SELECTIVITIES = [0.5, 0.1, 0.01, 0.001, 0.0001]


class Hnswlib:
    def __init__(self, dim, m, ef_construction):
        import hnswlib

        self.library, self.dim = "hnswlib " + version("hnswlib"), dim
        self.new = lambda: hnswlib.Index(space="ip", dim=dim)
        self.m, self.ef_construction = int(m), int(ef_construction)

    def build(self, base, threads):
        self.index = self.new()
        self.index.init_index(len(base), M=self.m, ef_construction=self.ef_construction)
        self.index.add_items(base, num_threads=threads)

    def save(self, path):
        self.index.save_index(path)

    def load(self, path):
        self.index = self.new()
        self.index.load_index(path)

    def efforts(self, args, k):
        return [{"effort": ef} for ef in sorted({max(ef, k) for ef in args.efforts})]

    def set(self, effort):
        self.index.set_ef(effort)

    def search(self, queries, k, threads):
        return self.index.knn_query(queries, k, num_threads=threads)[0]


class Usearch:
    def __init__(self, dim, dtype, connectivity):
        from usearch.index import Index

        self.library = "usearch " + version("usearch")
        self.new = lambda: Index(ndim=dim, metric="ip", dtype=dtype, connectivity=int(connectivity))

    def build(self, base, threads):
        self.index = self.new()
        self.index.add(np.arange(len(base)), base, threads=threads)

    def save(self, path):
        self.index.save(path)

    def load(self, path):
        self.index = self.new()
        self.index.load(path)

    def map(self, path):
        self.index = self.new()
        self.index.view(path)

    efforts = Hnswlib.efforts

    def set(self, effort):
        self.index.expansion_search = effort

    def search(self, queries, k, threads):
        return np.atleast_2d(self.index.search(queries, k, threads=threads).keys)


class Faiss:
    def __init__(self, dim, factory):
        import faiss

        self.faiss, self.dim = faiss, dim
        self.library = f"faiss-cpu {faiss.__version__} ({faiss.get_compile_options().strip()})"
        self.factory, _, ef_construction = factory.partition("@")
        self.ef_construction = int(ef_construction or 40)

    def build(self, base, threads):
        self.faiss.omp_set_num_threads(threads)
        self.index = self.faiss.index_factory(self.dim, self.factory, self.faiss.METRIC_INNER_PRODUCT)
        if hasattr(self.index, "hnsw"):
            self.index.hnsw.efConstruction = self.ef_construction
        self.index.train(base)
        self.index.add(base)

    def save(self, path):
        self.faiss.write_index(self.index, path)

    def load(self, path):
        self.index = self.faiss.read_index(path)

    def efforts(self, args, k):
        if hasattr(self.index, "hnsw"):
            return Hnswlib.efforts(self, args, k)
        probes = [n for n in args.nprobes if n <= self.faiss.extract_index_ivf(self.index).nlist]
        if not hasattr(self.index, "k_factor"):
            return [{"effort": n} for n in probes]
        return [{"effort": n, "k_factor": factor} for factor in args.k_factors for n in probes]

    def set(self, effort, k_factor=None):
        if hasattr(self.index, "hnsw"):
            self.index.hnsw.efSearch = effort
        else:
            self.faiss.extract_index_ivf(self.index).nprobe = effort
        if k_factor is not None:
            self.index.k_factor = float(k_factor)

    def search(self, queries, k, threads):
        self.faiss.omp_set_num_threads(threads)
        return self.index.search(queries, k)[1]

    def among(self, query, k, allowed, effort):
        """Only a graph: FAISS's own way to filter on the walk."""
        selector = self.faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        how = self.faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
        return self.index.search(query[None], k, params=how)[1][0]


def version(package):
    from importlib.metadata import version

    return version(package)


def peer_of(name, dim):
    library, _, rest = name.partition(":")
    # A factory string may hold colons of its own; the others' numbers are divided by them.
    return {"hnswlib": Hnswlib, "usearch": Usearch, "faiss": Faiss}[library](
        dim, *([rest] if library == "faiss" else rest.split(":"))
    )


def memory():
    status = pathlib.Path("/proc/self/status").read_text()
    anonymous, files = (int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) << 10 for name in ("RssAnon", "RssFile"))
    return np.array([anonymous, files])


def memory_since(before):
    anonymous, files = (int(max(0, n)) for n in memory() - before)
    return {"anonymous_bytes": anonymous, "file_bytes": files}


def build(args):
    base = np.load(args.base).astype(np.float32)
    peer = peer_of(args.peer, base.shape[1])
    start = time.perf_counter()
    peer.build(base, os.cpu_count())
    built = time.perf_counter()
    peer.save(str(args.dir / "index"))
    with open(args.dir / "index", "rb") as file:
        os.fsync(file.fileno())
    # Apart, because theirs writes the vectors too and ours does not.
    save_seconds = time.perf_counter() - built
    return {"library": peer.library, "build_seconds": built - start, "save_seconds": save_seconds}


def open_index(args):
    """Opens the index here and searches every query once."""
    queries = np.load(args.queries)[: args.queries_limit].astype(np.float32)
    peer = peer_of(args.peer, queries.shape[1])
    before = memory()
    start = time.perf_counter()
    (peer.map if args.stage == "map" else peer.load)(str(args.dir / "index"))
    open_ms = (time.perf_counter() - start) * 1e3
    opened = memory_since(before)
    peer.set(**peer.efforts(args, 10)[0])
    peer.search(queries[:1], 10, 1)
    first_result_ms = (time.perf_counter() - start) * 1e3
    for query in queries:
        peer.search(query[None], 10, 1)
    figures = {"open_ms": open_ms, "first_result_ms": first_result_ms, "memory_opened": opened}
    return figures | {"memory_searched": memory_since(before)}


def in_a_process_of_its_own(stage, args, cold=False):
    if cold:
        with open(args.dir / "index", "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, *sys.argv, "--stage", stage]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def recall(found, query, truth, base):
    """Of one query: found rows that score no less than the last of the `truth`, their share of it."""
    found = np.unique(found[(found >= 0) & (found < len(base))].astype(np.int64))
    good = np.count_nonzero(base[found] @ query >= truth[-1] - TIE)
    return min(good, len(truth)) / len(truth)


def percentiles(times):
    times = np.sort(times) * 1e3
    at = lambda share: float(times[int((len(times) - 1) * share)])
    return {"mean_ms": float(times.mean()), "p50_ms": at(0.5), "p99_ms": at(0.99)}


def fastest(rounds, work):
    """Seconds that the fastest of some rounds took."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def timed(search, count, rounds):
    """What `search(0..count)` finds, and the times of the fastest round."""
    best = None
    for _ in range(rounds):
        found, times = [], np.empty(count)
        for i in range(count):
            start = time.perf_counter()
            found.append(search(i))
            times[i] = time.perf_counter() - start
        if best is None or times.sum() < best.sum():
            best = times
    return found, best


def curve(peer, args, base, queries, truth):
    for k in args.k:
        exact = truth[:, : min(k, truth.shape[1])]
        for effort in peer.efforts(args, k):
            peer.set(**effort)
            found, times = timed(lambda i: peer.search(queries[i : i + 1], k, 1)[0], len(queries), args.rounds)
            recalls = [recall(found[i], queries[i], exact[i], base) for i in range(len(queries))]
            loop = len(queries) / times.sum()
            batch = {
                threads: len(queries) / fastest(args.rounds, lambda: peer.search(queries, k, threads))
                for threads in sorted({1, *args.threads})
            }
            rates = {threads: max(rate, loop) if threads == 1 else rate for threads, rate in batch.items()}
            yield {
                "k": k,
                **effort,
                "recall": float(np.mean(recalls)),
                **percentiles(times),
                "loop_queries_per_second": loop,
                "batch_queries_per_second": batch[1],
                "rates": [{"threads": n, "queries_per_second": rate} for n, rate in rates.items()],
            }


def filtered(peer, args, base, queries, k, effort):
    """As `pictor bench ann` does it, with FAISS's own filter on the walk."""
    queries = queries[: args.filter_queries]
    scores = queries @ base.T
    random = np.random.default_rng(0)
    normal = lambda: random.standard_normal(scores.shape, np.float32)
    spread = scores.std(axis=1, keepdims=True)
    keys = {"uncorrelated": normal(), "correlated": scores + spread * normal(), "anticorrelated": -scores}
    for correlation, key in keys.items():
        for selectivity in SELECTIVITIES:
            count = min(len(base), max(1, round(len(base) * selectivity)))
            allowed = np.zeros(scores.shape, bool)
            chosen = np.argpartition(-key, count - 1, axis=1)[:, :count]
            np.put_along_axis(allowed, chosen, True, axis=1)
            most = min(k, count)
            exact = [-np.sort(-np.partition(s[a], count - most)[count - most :]) for s, a in zip(scores, allowed)]
            found, times = timed(lambda i: peer.among(queries[i], k, allowed[i], effort), len(queries), args.rounds)
            recalls = [recall(found[i], queries[i], exact[i], base) for i in range(len(queries))]
            yield {
                "correlation": correlation,
                "selectivity": selectivity,
                "allowed": count,
                "k": k,
                "effort": effort,
                "recall": float(np.mean(recalls)),
                "worst_recall": float(np.min(recalls)),
                "incomplete": sum(int(np.count_nonzero(rows >= 0) < most) for rows in found),
                **percentiles(times),
            }


def measure(args):
    figures = {"peer": args.peer, **in_a_process_of_its_own("build", args)}
    figures["index_bytes"] = (args.dir / "index").stat().st_size
    print(f"  built in {figures['build_seconds']:.1f} s", file=sys.stderr)
    figures["open_cold"] = in_a_process_of_its_own("open", args, cold=True)
    figures["open_warm"] = in_a_process_of_its_own("open", args)
    base = np.load(args.base).astype(np.float32)
    queries = np.load(args.queries)[: args.queries_limit].astype(np.float32)
    truth = np.load(args.truth)[: len(queries)]
    if len(truth) < len(queries) or truth.shape[1] < min(max(args.k), len(base)):
        sys.exit(f"{args.truth} holds too little for these queries; delete it")
    peer = peer_of(args.peer, base.shape[1])
    if hasattr(peer, "map"):
        figures["open_mapped"] = in_a_process_of_its_own("map", args)
    peer.load(str(args.dir / "index"))
    figures["searches"] = list(curve(peer, args, base, queries, truth))
    figures["filtered"] = []
    if args.filter_queries and hasattr(peer.index, "hnsw"):
        # `pictor` searches a graph with a beam of 64 for the k of 10.
        figures["filtered"] = list(filtered(peer, args, base, queries, args.k[0], max(64, 2 * args.k[0])))
    (args.dir / "index").unlink()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(n) for n in text.split(",")]
    for name in ("base", "queries", "truth", "dir", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("-k", type=numbers, default=[10, 100])
    parser.add_argument("--efforts", type=numbers, default=[16, 32, 64, 128, 256, 512], help="of graphs")
    parser.add_argument("--nprobes", type=numbers, default=[2, 4, 8, 16, 32, 64, 128, 256], help="of inverted lists")
    parser.add_argument("--k-factors", type=numbers, default=[4, 16], help="candidates per hit that are scored again")
    parser.add_argument("--threads", type=numbers, default=[1, os.cpu_count()])
    parser.add_argument("--queries-limit", type=int, default=1000)
    parser.add_argument("--filter-queries", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stage", choices=["build", "open", "map"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    if args.stage:
        # The caller reads standard output, where libraries print too.
        out = os.dup(1)
        os.dup2(2, 1)
        figures = build(args) if args.stage == "build" else open_index(args)
        os.write(out, json.dumps(figures).encode())
        return
    args.out.write_text(json.dumps(measure(args), indent=1) + "\n")


if __name__ == "__main__":
    main()
