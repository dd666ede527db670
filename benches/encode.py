"""Images per second of ViT-B/32 on this machine's CPU: Pictor beside open_clip with PyTorch and beside a bare ONNX Runtime session, on
the same photographs, batch and threads, in one run. Weights are random and of the true architecture; speed does not depend on them.

  python benches/encode.py --pictor BIN --photos DIR --models DIR --out FILE.json [--images N] [--batch N] [--rounds N]

--models: a folder that holds (or will hold) the exported model; needs the packages of models/export/requirements.txt.

Peers, each the best that a user gets without leaving the library:
- open_clip, end to end: its own transform and `encode_image` under `torch.inference_mode()`, in a plain loop, and behind a
  `DataLoader` with as many workers as cores. The better of the two counts.
- open_clip, model alone; ONNX Runtime in Python, model alone: tensors prepared beforehand.
Rounds alternate between the programs; each figure is the median over rounds.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODEL = "open_clip:ViT-B-32/laion2b_s34b_b79k"


def export(folder):
    if (folder / "pictor.json").exists():
        return
    script = Path(__file__).parent.parent / "models/export/export.py"
    command = [sys.executable, script, "--model", MODEL, "--random-weights", "0", "--precision", "fp32,int8", "--out", folder]
    subprocess.run(command, check=True)


def rate(images, work):
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


class OpenClip:
    """PyTorch, with the transform that open_clip gives for the model."""

    def __init__(self, files, batch, threads):
        import open_clip
        import torch

        torch.set_num_threads(threads)
        self.torch, self.files, self.batch, self.threads = torch, files, batch, threads
        self.model, _, self.transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
        self.model.eval()

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        from PIL import Image

        return self.transform(Image.open(self.files[i]))

    def batches(self):
        for start in range(0, len(self.files), self.batch):
            yield self.torch.stack([self[i] for i in range(start, min(start + self.batch, len(self.files)))])

    def run(self, batches):
        with self.torch.inference_mode():
            for batch in batches:
                self.model.encode_image(batch, normalize=True)

    def measure(self):
        tensors = list(self.batches())
        loader = self.torch.utils.data.DataLoader(self, batch_size=self.batch, num_workers=self.threads)
        self.run(tensors[:1])
        count = len(self.files)
        loop, loaded = rate(count, lambda: self.run(self.batches())), rate(count, lambda: self.run(loader))
        return {
            "open_clip_model_alone": rate(count, lambda: self.run(tensors)),
            "open_clip_loop": loop,
            "open_clip_dataloader": loaded,
            "open_clip_end_to_end": max(loop, loaded),
        }, tensors


def onnxruntime_alone(model, tensors, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    arrays = [tensor.numpy() for tensor in tensors]
    session.run(None, {name: arrays[0]})

    def work():
        for array in arrays:
            session.run(None, {name: array})

    return rate(sum(len(array) for array in arrays), work)


def pictor(arguments, precision, runtimes):
    command = [arguments.pictor, "bench", "encode", "--json", "--quiet", "--model", arguments.models / "vit-b-32"]
    command += ["--photos", arguments.photos, "--images", arguments.images, "--batch", arguments.batch]
    command += ["--threads", arguments.threads, "--precision", precision, "--rounds", 1]
    for runtime in runtimes:
        command += ["--runtime", runtime]
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictor", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.threads = len(os.sched_getaffinity(0))
    export(arguments.models / "vit-b-32")

    files = sorted(path for path in arguments.photos.iterdir() if path.suffix.lower() in {".jpg", ".jpeg"})
    files = files[: arguments.images]
    arguments.images = len(files)
    open_clip = OpenClip(files, arguments.batch, arguments.threads)
    manifest = json.loads((arguments.models / "vit-b-32/pictor.json").read_text())
    graphs = {"fp32": manifest["image"]["file"], **manifest["image"].get("variants", {})}
    rounds = []
    for _ in range(arguments.rounds):
        figures, tensors = open_clip.measure()
        for precision in ("fp32", "int8"):
            path = str(arguments.models / "vit-b-32" / graphs[precision])
            figures[f"onnxruntime_python_{precision}"] = onnxruntime_alone(path, tensors, arguments.threads)
        ours = {"fp32": ["onnxruntime", "tract"], "int8": ["onnxruntime"]}
        ours = {precision: pictor(arguments, precision, runtimes) for precision, runtimes in ours.items()}
        rounds.append({"peers": figures, "pictor": ours})
        print(json.dumps(rounds[-1]), file=sys.stderr)

    result = {
        "model": MODEL + " (random weights)",
        "machine": platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "batch": arguments.batch,
        "images": arguments.images,
        "versions": versions(),
        "median": medians(rounds),
        "ratios": ratios(medians(rounds)),
        "rounds": rounds,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def ratios(median):
    """What the figures are for, each as one number."""
    peers, fp32 = median["peers"], median["pictor"]["fp32"]["runtimes"]
    onnxruntime, tract = fp32
    (int8,) = median["pictor"]["int8"]["runtimes"]
    return {
        "files_to_vectors_to_bare_session_fp32": onnxruntime["embed_to_bare"],
        "files_to_vectors_to_bare_session_int8": int8["embed_to_bare"],
        "files_to_vectors_to_python_session_fp32": onnxruntime["embed"] / peers["onnxruntime_python_fp32"],
        "files_to_vectors_to_open_clip_fp32": onnxruntime["embed"] / peers["open_clip_end_to_end"],
        "files_to_vectors_to_open_clip_int8": int8["embed"] / peers["open_clip_end_to_end"],
        "int8_to_fp32_bare": int8["bare"] / onnxruntime["bare"],
        "int8_to_fp32_files_to_vectors": int8["embed"] / onnxruntime["embed"],
        "tract_to_onnxruntime_files_to_vectors": tract["embed"] / onnxruntime["embed"],
    }


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

    return {name: version(name) for name in ("torch", "open_clip_torch", "onnxruntime", "pillow")}


if __name__ == "__main__":
    main()
