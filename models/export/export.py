"""Exports a model to a Pictor model folder: towers in ONNX, tokenizer, pictor.json, golden pairs.

    python models/export/export.py --model open_clip:ViT-B-32/laion2b_s34b_b79k --out models/vit-b-32 --precision fp32,fp16,int8
"""

import argparse
from pathlib import Path

import onnx
import torch

import check
import golden
import graph
import manifest
import precision
import towers
from bundle import Bundle

PRECISIONS = ("fp32", "fp16", "int8")
PARTS = {"image": "image", "text": "text", "matcher": "itm"}  # part of pictor.json -> stem of its files


def load(spec: str, seed: int | None = None, tokenizer: str | None = None) -> Bundle:
    library, _, rest = spec.partition(":")
    if library == "open_clip":
        import from_open_clip

        return from_open_clip.load(rest, seed, tokenizer)
    if library == "transformers":
        import from_transformers

        return from_transformers.load(rest, seed, tokenizer)
    raise SystemExit(f"'{spec}' names no library; expected open_clip:MODEL or transformers:MODEL")


def export(
    bundle: Bundle, out: Path, precisions=("fp32",), opset: int = graph.OPSET, external: bool = False,
    calibration: "precision.Calibration | None" = None, pictures=lambda name: True, texts=golden.TEXTS, log=print,
) -> dict:
    """Writes the folder and returns what pictor.json holds; exits when a precision misses its floor (`check.FLOOR`)."""
    if bundle.license is None:
        raise SystemExit(f"the licence of {bundle.source} is not known here: pass --license")
    out.mkdir(parents=True, exist_ok=True)
    # The reference comes first: the towers share its weights and are rewritten below.
    values = golden.write(bundle, out, pictures, texts)
    (out / "tokenizer.json").write_text(bundle.tokenizer_json, encoding="utf-8")
    files = {}
    for part, module in modules(bundle).items():
        towers.plain(module)
        files[part] = {"fp32": f"{PARTS[part]}.onnx"}
        graph.save(trace(bundle, part, module, opset), out / files[part]["fp32"], external)
    examine(bundle, out, "fp32", files, values, log)
    if "fp16" in precisions:
        for sensitive in (False, True):
            for part in files:
                files[part]["fp16"] = f"{PARTS[part]}.fp16.onnx"
                half = precision.fp16(onnx.load(out / files[part]["fp32"]), sensitive)
                graph.save(half, out / files[part]["fp16"], external)
            if examine(bundle, out, "fp16", files, values, log, last=sensitive):
                break
            log("fp16: again, with norms and softmax in float32")
    if "int8" in precisions:
        for part in files:
            files[part]["int8"] = f"{PARTS[part]}.int8.onnx"
            batches = calibration.batches(bundle, part) if calibration else None
            precision.int8(out / files[part]["fp32"], out / files[part]["int8"], batches)
        examine(bundle, out, "int8", files, values, log)
    about = describe(bundle, files)
    about["fingerprint"] = manifest.fingerprint(out, about)
    manifest.write_json(out / manifest.FILE, about, indent=2)
    return about


def modules(bundle: Bundle) -> dict:
    found = {"image": bundle.image_tower, "text": bundle.text_tower}
    return found | ({"matcher": bundle.matcher.module} if bundle.matcher else {})


def trace(bundle: Bundle, part: str, module, opset: int) -> onnx.ModelProto:
    """One part as an ONNX model, traced at a batch of two."""
    shape = bundle.preprocess["height"], bundle.preprocess["width"]
    pixels = torch.zeros(2, 3, *shape)
    if part == "image":
        outputs = ["image_embeds"] + (["image_features"] if bundle.matcher else [])
        return graph.to_onnx(module, {"pixel_values": pixels}, outputs, {"pixel_values": {0: "batch"}}, opset)
    length = min(bundle.context_length, 9) if bundle.any_length else bundle.context_length
    axes = {0: "batch", 1: "sequence"} if bundle.any_length else {0: "batch"}
    inputs = {"input_ids": torch.ones(2, length, dtype=torch.int64)}
    if bundle.text_mask:
        inputs["attention_mask"] = torch.ones(2, length, dtype=torch.int64)
    dynamic = dict.fromkeys(inputs, axes)
    if part == "text":
        return graph.to_onnx(module, inputs, ["text_embeds"], dynamic, opset)
    with torch.no_grad():
        inputs["image_features"] = bundle.image_tower(pixels)[1]
    outputs = ["itm_logits"] + (["itc_cosine"] if bundle.matcher.itc else [])
    return graph.to_onnx(module, inputs, outputs, dynamic | {"image_features": {0: "batch"}}, opset)


def examine(bundle: Bundle, out: Path, name: str, files: dict, values: dict, log, last: bool = True) -> bool:
    """Holds the files of one precision against the golden values and says what came of it."""
    chosen = {part: of[name] for part, of in files.items()}
    sizes = sum((out / file).stat().st_size for part in chosen.values() for file in [part, *graph.external_files(out / part)])
    result = check.worst(bundle, out, chosen, values)
    matches = "" if result.match is None else f", worst difference of an ITM logit {result.match:.5f}"
    log(f"{name}: {sizes / 1e6:.1f} MB, worst cosine {result.image:.6f} of images, {result.text:.6f} of texts{matches}")
    if last and not result.holds(name):
        raise SystemExit(f"{name} is further from the reference than {check.FLOOR[name]}; nothing was finished in {out}")
    return result.holds(name)


def describe(bundle: Bundle, files: dict) -> dict:
    """pictor.json without its fingerprint."""

    def variants(part):
        rest = {name: file for name, file in files[part].items() if name != "fp32"}
        return {"variants": rest} if rest else {}

    mask = {"attention_mask": "attention_mask"} if bundle.text_mask else {}
    about = {
        "format": 1, "name": bundle.name, "family": bundle.family, "dim": bundle.dim,
        "license": bundle.license, "source": bundle.source,
        **({"activation": bundle.activation} if bundle.activation else {}),
        "image": {
            "file": files["image"]["fp32"], **variants("image"), "input": "pixel_values", "output": "image_embeds",
            **({"features": "image_features"} if bundle.matcher else {}), "preprocess": bundle.preprocess,
        },
        "text": {
            "file": files["text"]["fp32"], **variants("text"), "input_ids": "input_ids", **mask, "output": "text_embeds",
            "tokenizer": "tokenizer.json", **({"clean": bundle.clean} if bundle.clean != "none" else {}),
            "context_length": bundle.context_length, "pad_id": bundle.pad_id,
            "pad": "longest" if bundle.any_length else "max-length",
        },
    }
    if bundle.matcher:
        first = {} if bundle.matcher.first_id is None else {"first_id": bundle.matcher.first_id}
        about["matcher"] = {
            "file": files["matcher"]["fp32"], **variants("matcher"), "input_ids": "input_ids", **mask,
            "image_features": "image_features", "output": "itm_logits", **({"itc": "itc_cosine"} if bundle.matcher.itc else {}), **first,
        }
    return about | {"golden": golden.FILE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="SPEC", help="open_clip:NAME/TAG or transformers:REPOSITORY, FOLDER or preset")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the model folder to write")
    parser.add_argument("--precision", default="fp32", help="any of fp32,fp16,int8; fp32 is always written")
    parser.add_argument("--random-weights", type=int, metavar="SEED", help="the architecture alone, for tests and measurements")
    parser.add_argument("--calibrate", type=Path, metavar="PHOTOS", help="folder of JPEG or PNG: int8 of the image tower with fixed scales")
    parser.add_argument("--calibrate-texts", type=Path, metavar="FILE", help="a text a line: the same for the text tower")
    parser.add_argument("--opset", type=int, default=graph.OPSET, help=f"ONNX operator set, default {graph.OPSET}")
    parser.add_argument("--external-data", action="store_true", help="weights in files of their own even if they are small")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="a transformers tokenizer, where the model names one that cannot be had")
    parser.add_argument("--license", help="licence of the weights: an SPDX identifier or a sentence")
    parser.add_argument("--name", help="the model's name in pictor.json")
    args = parser.parse_args()
    precisions = args.precision.split(",")
    if unknown := set(precisions) - set(PRECISIONS):
        parser.error(f"--precision: unknown {', '.join(sorted(unknown))}; known are {', '.join(PRECISIONS)}")
    bundle = load(args.model, args.random_weights, args.tokenizer)
    bundle.license = args.license or bundle.license
    bundle.name = args.name or bundle.name
    calibration = precision.Calibration.read(args.calibrate, args.calibrate_texts)
    about = export(bundle, args.out, precisions, args.opset, args.external_data, calibration)
    print(f"{args.out}: {about['name']}, {about['dim']} dimensions, opset {args.opset}, fingerprint {about['fingerprint']}")


if __name__ == "__main__":
    main()
