"""A matcher of the true architecture against the reference implementation, pair by pair: prints the largest difference on each runtime.

    python models/export/check_matcher.py --pictor target/release/pictor [--model blip-itm-base] [--seed 1] [--runtimes onnxruntime,tract]

Needs no weights: they are random, of the seed, so drawn that a score depends on the image, on the text and on `[ENC]` (`weights.py`);
that it does is checked first, since agreement of near-constants proves nothing. Then

1. transformers' modules score 4 images with 8 texts as BLIP's evaluation does (`BLIP/train_retrieval.py::evaluation`): texts padded to 35
   tokens, image features once, `[ENC]` in place of the first id, logit of "match" plus cosine of the projected first states;
2. the model is exported, and its golden scores, which `from_transformers.py` makes in its own way, are held against these;
3. `pictor model verify` replays the golden pairs from JPEG or PNG and text to score, alone and batched.

Fails when a logit or a cosine is off by more than 1e-3, or when two pairs of one text or image that are further apart than that rank in
another order. Base takes 5 GB of memory and three minutes of two cores, large 8 GB and six.
"""

import argparse
import io
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

import export
import golden
from pictures import pictures

PICTURES = ("wide.jpg", "tall.png", "alpha.png", "palette.png")
TEXTS = golden.TEXTS[: golden.MATCHED[1]]
LIMIT = 1e-3
SPREAD = 0.02  # least standard deviation of logits over texts and over images, and least change by [ENC]: twenty times LIMIT


def evaluation(bundle) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ITM logits, the same without `[ENC]`, and ITC cosines, each [images, texts]."""
    model, context = bundle.image_tower.model, 35
    pixels = torch.stack([torch.from_numpy(bundle.pixels(Image.open(io.BytesIO(pictures()[name])))) for name in PICTURES])
    ids, mask = (torch.from_numpy(np.concatenate(rows)) for rows in zip(*(bundle.tokens(text, context) for text in TEXTS)))
    with torch.no_grad():
        images = model.vision_model(pixel_values=pixels).last_hidden_state
        texts = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        cosines = normalize(model.vision_proj(images[:, 0]), dim=-1) @ normalize(model.text_proj(texts[:, 0]), dim=-1).T

        def logits(ids):
            rows = []
            for image in images:
                states = model.text_encoder(
                    input_ids=ids, attention_mask=mask, encoder_hidden_states=image.expand(len(ids), -1, -1),
                    encoder_attention_mask=torch.ones(len(ids), len(image), dtype=torch.long),
                ).last_hidden_state
                rows.append(model.itm_head(states[:, 0])[:, 1])
            return torch.stack(rows).numpy()

        without, encoded = logits(ids), ids.clone()
        encoded[:, 0] = 30523
        return logits(encoded), without, cosines.numpy()


def verify(pictor: Path, folder: Path, runtime: str) -> dict:
    """What `pictor model verify` says of one runtime."""
    command = [pictor, "model", "verify", folder, "--runtime", runtime, "--json", "--quiet"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(f"{runtime}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictor", type=Path, required=True, metavar="BIN")
    parser.add_argument("--model", default="blip-itm-base", choices=["blip-itm-base", "blip-itm-large"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runtimes", default="onnxruntime,tract", help="with commas")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the model folder here; 1.3 GB, and 2.2 GB of large")
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as scratch:
        check(args, args.out or Path(scratch) / args.model)


def check(args, folder: Path) -> None:
    bundle = export.load(f"transformers:{args.model}", args.seed)
    assert bundle.image_tower.model.config.text_config.bos_token_id == 30522
    logits, without, cosines = evaluation(bundle)
    changed = float(np.abs(logits - without).mean())
    over_images, over_texts = float(logits.std(0).mean()), float(logits.std(1).mean())
    print(f"logits {logits.min():.3f} to {logits.max():.3f}; standard deviation {over_images:.3f} over images, {over_texts:.3f} over texts; "
          f"[ENC] changes them by {changed:.3f}; cosines {cosines.min():.3f} to {cosines.max():.3f}", flush=True)
    if min(changed, over_images, over_texts) < SPREAD:
        raise SystemExit(f"the logits differ by less than {SPREAD}, so that agreement would prove nothing; take another --seed")

    about = export.export(bundle, folder, pictures=PICTURES.__contains__, texts=TEXTS)
    preprocess, text = about["image"]["preprocess"], about["text"]
    published = (preprocess["resize"], preprocess["filter"], preprocess["height"], preprocess["width"], text["context_length"], text["clean"])
    assert published == ("squash", "bicubic", 384, 384, 35, "blip-caption"), published
    assert about["matcher"]["first_id"] == 30523
    matches = json.loads((folder / golden.FILE).read_text(encoding="utf-8"))["matches"]
    for name, ours in (("itm_logit", logits), ("itc_cosine", cosines)):
        written = np.array([pair[name] for pair in matches]).reshape(ours.shape)
        print(f"golden {name} against the evaluation: worst difference {np.abs(written - ours).max():.1e}", flush=True)
        assert np.abs(written - ours).max() < LIMIT / 10

    failed = []
    for runtime in args.runtimes.split(","):
        start = time.perf_counter()
        verification = verify(args.pictor, folder, runtime)
        for of in verification["runtimes"]:
            pairs = of["matches"] or {"pairs": 0, "worst_difference": float("nan"), "swapped": 0}
            print(
                f"{args.model} on {of['runtime']}: {pairs['pairs']} pairs, worst difference {pairs['worst_difference']:.1e}, "
                f"{pairs['swapped']} in another order; {time.perf_counter() - start:.0f} s {' '.join(of['failed'])}", flush=True,
            )
            if not verification["passed"] or pairs["pairs"] != logits.size:
                failed.append(of["runtime"])
    if failed:
        raise SystemExit(f"not the reference's scores on {', '.join(failed)}")


if __name__ == "__main__":
    main()
