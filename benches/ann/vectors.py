"""Vectors to measure nearest-neighbour search on: a cross-modal set from a real model, or a synthetic one of any size.

    vectors.py photos --model models/pictor-mini --images DIR --captions FILE --pictor BINARY --crops 30 --out DIR
    vectors.py synthetic --rows 1000000 --dim 512 --queries 1000 --out DIR

Either way DIR receives `base.npy` (rows × dim, float16) and `queries.npy` (queries × dim, float32), rows of L2 norm 1.

photos: the base are images and random crops of them, through the model's own image tower; the queries are captions, through
`pictor embed texts`. Captions are out of distribution for an image base, which is what makes cross-modal search hard.

synthetic: Gaussian clusters around centres that share an offset; queries are drawn around the same centres with another
offset, so that, as with real towers, every query is closer to every other query than to any row (the "modality gap" of
Liang et al. 2022, arXiv:2203.02053).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def crops_of(path, crops, size, random):
    """The whole image, then random crops of 15 to 100 % of its area, each squashed to size × size, RGB, as NCHW float32."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    boxes = [(0, 0, image.width, image.height)]
    while len(boxes) < crops:
        area, aspect = random.uniform(0.15, 1.0), np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        width = min(image.width, int(np.sqrt(area * image.width * image.height * aspect)))
        height = min(image.height, int(np.sqrt(area * image.width * image.height / aspect)))
        left, top = random.integers(0, image.width - width + 1), random.integers(0, image.height - height + 1)
        boxes.append((left, top, left + width, top + height))
    rasters = [image.resize((size, size), Image.BICUBIC, box=box) for box in boxes]
    return np.stack([np.asarray(raster, np.float32).transpose(2, 0, 1) for raster in rasters])


def photos(args):
    import onnxruntime

    manifest = json.loads((args.model / "pictor.json").read_text())
    image = manifest["image"]
    size, mean, std = image["preprocess"]["width"], image["preprocess"]["mean"], image["preprocess"]["std"]
    mean, std = (np.array(x, np.float32).reshape(1, 3, 1, 1) for x in (mean, std))
    session = onnxruntime.InferenceSession(args.model / image["file"], providers=["CPUExecutionProvider"])
    files = sorted(args.images.glob("*.jpg"))
    base = np.empty((len(files) * args.crops, manifest["dim"]), np.float16)

    def rasters(i):
        return crops_of(files[i], args.crops, size, np.random.default_rng(i))

    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(rasters, 0)
        for i in range(len(files)):
            pixels = waiting.result()
            if i + 1 < len(files):
                waiting = ahead.submit(rasters, i + 1)
            rows = session.run([image["output"]], {image["input"]: (pixels / 255 - mean) / std})[0]
            base[i * args.crops : (i + 1) * args.crops] = unit(rows)
            if i % 100 == 0:
                print(f"\r{i}/{len(files)} images", end="", file=sys.stderr, flush=True)
    np.save(args.out / "base.npy", base)

    wanted = {file.name for file in files}
    lines = (line.split("\t", 1) for line in args.captions.read_text().splitlines())
    captions = [caption for name, caption in lines if name.split("#")[0] in wanted]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as texts:
        texts.write("\n".join(captions))
        texts.flush()
        out = ["--out", args.out / "queries.npy"]
        subprocess.run([args.pictor, "embed", "texts", texts.name, *out, "--model", args.model], check=True)
    # Captions come five an image; a fixed shuffle makes the first thousand a fair sample.
    queries = np.load(args.out / "queries.npy")
    np.save(args.out / "queries.npy", queries[np.random.default_rng(0).permutation(len(queries))])


def synthetic(args):
    random = np.random.default_rng(0)
    clusters = max(1, args.rows // 200)
    centres = unit(random.standard_normal((clusters, args.dim), np.float32))
    offsets = unit(random.standard_normal((2, args.dim), np.float32))

    def around(count, offset, spread):
        noise = unit(random.standard_normal((count, args.dim), np.float32))
        return unit(centres[random.integers(clusters, size=count)] + spread * noise + offset)

    base = np.lib.format.open_memmap(
        args.out / "base.npy", "w+", np.float16, (args.rows, args.dim)
    )
    for start in range(0, args.rows, 50_000):
        count = min(50_000, args.rows - start)
        base[start : start + count] = around(count, offsets[0], 1.0)
    base.flush()
    np.save(args.out / "queries.npy", around(args.queries, offsets[1], 1.0).astype(np.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("photos")
    command.add_argument("--model", type=pathlib.Path, required=True)
    command.add_argument("--images", type=pathlib.Path, required=True)
    command.add_argument("--captions", type=pathlib.Path, required=True)
    command.add_argument("--pictor", type=pathlib.Path, required=True)
    command.add_argument("--crops", type=int, default=30)
    command.set_defaults(run=photos)
    command = commands.add_parser("synthetic")
    command.add_argument("--rows", type=int, required=True)
    command.add_argument("--dim", type=int, required=True)
    command.add_argument("--queries", type=int, default=1000)
    command.set_defaults(run=synthetic)
    for command in commands.choices.values():
        command.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    args.run(args)


if __name__ == "__main__":
    main()
