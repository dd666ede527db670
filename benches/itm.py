"""Image-text matching on this machine's CPU: Pictor beside transformers on the same weights, photographs and texts, in one run. Weights are
random and of the true architecture (BLIP ITM base, 384 px); speed does not depend on them.

  python benches/itm.py --pictor BIN --photos DIR --models DIR --out FILE.json [--model PRESET] [--images K] [--batches 1,4,16] [--rounds N]

--models: a folder that holds (or will hold) the exported model; needs the packages of models/export/requirements.txt.
--images: the first K photographs by name, candidates of each of four texts of COCO's lengths.

Both make features of an image once and score a text with candidates from them, so many pairs at a time; transformers under
`torch.inference_mode()`, with the attention that it chooses for itself, its text encoder and ITM head called as
`BLIP/train_retrieval.py::evaluation` calls them. Its own `forward` runs the image tower again for every pair and is measured on one
text, for what a user gets who does not take it apart. The bundled matcher is measured alone, where the binary has one.
Rounds alternate between the programs; each figure is the median over rounds. Ranking scores of both must agree to 1e-3.
Beside FILE.json, FILE.md has the same as a table.
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

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "models/export"))

SEED = 1
LIMIT = 1e-3  # between ranking scores
TEXTS = [
    "a man riding a wave on top of a surfboard",
    "two dogs play with a stick in the snow near a wooden fence",
    "a kitchen with a stove",
    "a young girl in a yellow dress is sitting on a bench under a large tree and reading a book",
]


class Transformers:
    """The model that the exporter takes apart, with the library's own choice of attention."""

    def __init__(self, preset, files, texts, threads):
        import export
        import torch
        from PIL import Image

        torch.set_num_threads(threads)
        self.torch = torch
        bundle = export.load(f"transformers:{preset}", SEED)
        eager = bundle.image_tower.model
        config = type(eager.config)(**{key: value for key, value in eager.config.to_dict().items() if not key.startswith("_attn")})
        self.model = type(eager)._from_config(config, dtype=torch.float32).eval()
        self.model.load_state_dict(eager.state_dict())
        self.pixels = [torch.from_numpy(bundle.pixels(Image.open(file)))[None] for file in files]
        self.texts = [tuple(map(torch.from_numpy, bundle.tokens(text))) for text in texts]
        self.first_id = bundle.matcher.first_id

    def measure(self, batches):
        with self.torch.inference_mode():
            self.model.vision_model(pixel_values=self.pixels[0])
            start = time.perf_counter()
            features = self.torch.cat([self.model.vision_model(pixel_values=pixels).last_hidden_state for pixels in self.pixels])
            figures = {"image_features_per_second": len(self.pixels) / (time.perf_counter() - start), "batches": []}
            for batch in batches:
                self.score(features[:batch], batch)
                start = time.perf_counter()
                logits = self.score(features, batch)
                seconds = time.perf_counter() - start
                figures["batches"].append({"batch": batch, "pairs_per_second": logits.numel() / seconds, "ms_per_pair": 1e3 * seconds / logits.numel()})
            figures["forward_pairs_per_second"] = self.forward()
            return figures, (logits + self.cosines(features)).tolist()

    def score(self, features, batch):
        """[texts, images] logits of "match", without the text tower's part of the ranking score."""
        rows = []
        for ids, mask in self.texts:
            ids = ids.clone()
            ids[:, 0] = self.first_id
            row = []
            for some in features.split(batch):
                states = self.model.text_encoder(
                    input_ids=ids.expand(len(some), -1), attention_mask=mask.expand(len(some), -1), encoder_hidden_states=some,
                    encoder_attention_mask=self.torch.ones(some.shape[:2], dtype=self.torch.long),
                ).last_hidden_state
                row.append(self.model.itm_head(states[:, 0])[:, 1])
            rows.append(self.torch.cat(row))
        return self.torch.stack(rows)

    def forward(self):
        """Pairs a second of the model's own forward, one text with every image, one at a time."""
        (ids, mask), *_ = self.texts
        start = time.perf_counter()
        for pixels in self.pixels:
            self.model(input_ids=ids, attention_mask=mask, pixel_values=pixels, use_itm_head=True)
        return len(self.pixels) / (time.perf_counter() - start)

    def cosines(self, features):
        unit = self.torch.nn.functional.normalize
        images = unit(self.model.vision_proj(features[:, 0]), dim=-1)
        texts = [self.model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0] for ids, mask in self.texts]
        return unit(self.model.text_proj(self.torch.cat(texts)), dim=-1) @ images.T


def export_model(preset, folder):
    if (folder / "pictor.json").exists():
        return
    command = [sys.executable, ROOT / "models/export/export.py", "--model", f"transformers:{preset}", "--random-weights", SEED, "--out", folder]
    subprocess.run(list(map(str, command)), check=True)


def pictor(arguments, model, texts, runtimes, images, batches):
    command = [arguments.pictor, "bench", "match", "--json", "--quiet", "--model", model, "--photos", arguments.photos, "--images", images]
    command += ["--texts", texts, "--batches", ",".join(map(str, batches)), "--threads", arguments.threads, "--rounds", 1]
    command += ["--runtime", ",".join(runtimes), "--precision", "fp32"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    return json.loads(done.stdout)["runtimes"] if done.returncode == 0 else done.stderr.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictor", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="blip-itm-base", help="blip-itm-base or blip-itm-large")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batches", default="1,4,16")
    parser.add_argument("--runtimes", default="onnxruntime,tract")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.threads = len(os.sched_getaffinity(0))
    batches = [int(batch) for batch in arguments.batches.split(",")]
    folder = arguments.models / arguments.model
    export_model(arguments.model, folder)

    files = sorted(path for path in arguments.photos.iterdir() if path.is_file())[: arguments.images]
    arguments.images = len(files)
    theirs = Transformers(arguments.model, files, TEXTS, arguments.threads)
    rounds, worst = [], 0.0
    with tempfile.TemporaryDirectory() as scratch:
        texts = Path(scratch) / "texts.txt"
        texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
        for _ in range(arguments.rounds):
            figures, expected = theirs.measure(batches)
            ours = pictor(arguments, folder, texts, arguments.runtimes.split(","), arguments.images, batches)
            if isinstance(ours, str):
                raise SystemExit(f"pictor bench match: {ours}")
            for runtime in ours:
                scores = runtime.pop("scores")
                worst = max(worst, *(abs(a - b) for row, other in zip(scores, expected) for a, b in zip(row, other)))
            if worst > LIMIT:
                raise SystemExit(f"ranking scores differ by {worst:.2e}, so the two did not compute the same")
            rounds.append({"transformers": figures, "pictor": ours})
            print(json.dumps(rounds[-1]), file=sys.stderr)
        bundled = pictor(arguments, "pictor-mini", texts, ["onnxruntime", "tract"], 256, [1, 16, 256])

    result = {
        "model": f"{arguments.model} (random weights)",
        "machine": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "images": arguments.images,
        "texts": TEXTS,
        "versions": versions(),
        "worst_score_difference": worst,
        "median": medians(rounds),
        "pictor_mini": bundled if isinstance(bundled, str) else [{k: v for k, v in runtime.items() if k != "scores"} for runtime in bundled],
        "rounds": rounds,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(table(result))


def table(result):
    """The medians as Markdown."""
    median = result["median"]
    rows = [("transformers " + result["versions"]["transformers"] + ", PyTorch " + result["versions"]["torch"], median["transformers"])]
    rows += [("Pictor, " + runtime["runtime"], runtime) for runtime in median["pictor"]]
    sizes = [pairs["batch"] for pairs in median["transformers"]["batches"]]
    lines = [
        f"{result['model']}, {result['threads']} threads, {len(result['texts'])} texts with {result['images']} candidates each, median of "
        f"{len(result['rounds'])} rounds; ranking scores agree to {result['worst_score_difference']:.1e}.", "",
        "| | image features/s | " + " | ".join(f"pairs/s, {size} at a time" for size in sizes) + " |",
        "|---|" + "---|" * (len(sizes) + 1),
    ]
    lines += [
        f"| {name} | {of['image_features_per_second']:.2f} | " + " | ".join(f"{pairs['pairs_per_second']:.2f}" for pairs in of["batches"]) + " |"
        for name, of in rows
    ]
    lines += ["", f"transformers' own forward, which encodes the image for every pair: {median['transformers']['forward_pairs_per_second']:.2f} pairs/s."]
    if isinstance(result["pictor_mini"], list):
        lines += ["", "The bundled matcher:", ""]
        lines += [
            f"- {of['runtime']}: {of['image_features_per_second']:.0f} image features/s; "
            + ", ".join(f"{pairs['pairs_per_second']:.0f} pairs/s {pairs['batch']} at a time" for pairs in of["batches"])
            for of in result["pictor_mini"]
        ]
    return "\n".join(lines) + "\n"


def medians(values):
    """The same structure with each number the median over `values`."""
    first = values[0]
    if isinstance(first, dict):
        return {key: medians([value[key] for value in values]) for key in first}
    if isinstance(first, list):
        return [medians(list(items)) for items in zip(*values)]
    return statistics.median(values) if isinstance(first, (int, float)) and not isinstance(first, bool) else first


def versions():
    from importlib.metadata import version

    return {name: version(name).split("+")[0] for name in ("torch", "transformers", "onnxruntime")}


if __name__ == "__main__":
    main()
