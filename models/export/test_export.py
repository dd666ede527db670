"""Tiny models of random weights, exported and held against the library that they come from. Half a minute on one core.

What `export.export` itself checks (cosines to the reference by precision) is not repeated: it raises when it misses.
"""

import json
import warnings

import numpy as np
import onnx
import open_clip
import pytest
import torch
import transformers
from PIL import Image

import check
import export
import fixtures
import from_open_clip
import from_transformers
import golden
import graph
import manifest
import precision

torch.set_num_threads(1)
warnings.filterwarnings("ignore")


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("vocabularies")


MODELS = {
    "open_clip-clip": fixtures.clip_of_open_clip,
    "open_clip-siglip": fixtures.siglip_of_open_clip,
    "open_clip-resnet": lambda scratch: resnet(scratch),
    "transformers-clip": fixtures.clip,
    "transformers-siglip": fixtures.siglip,
    "transformers-blip": lambda scratch: fixtures.blip(),
    "transformers-blip-large": lambda scratch: fixtures.blip(vision=12),
    "transformers-blip2": lambda scratch: fixtures.blip2(),
}


def resnet(scratch):
    """OpenAI's modified ResNet with attention pooling, at a thousandth of its size."""
    config = json.loads(json.dumps(fixtures.OPEN_CLIP))
    config["vision_cfg"] = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    simple = open_clip.tokenizer.SimpleTokenizer(bpe_path=str(fixtures.merges_file(scratch)), context_length=fixtures.CONTEXT)
    return from_open_clip.load("RN-tiny", fixtures.SEED, config=config, tokenizer_=simple)


@pytest.mark.parametrize("name", MODELS)
def test_every_precision_agrees_with_the_reference(name, scratch, tmp_path):
    bundle = MODELS[name](scratch)
    lines = []
    about = export.export(bundle, tmp_path, export.PRECISIONS, pictures=fixtures.PICTURES.__contains__, log=lines.append)
    assert len(lines) >= 3, lines

    values = json.loads((tmp_path / golden.FILE).read_text(encoding="utf-8"))
    assert about == json.loads((tmp_path / manifest.FILE).read_text(encoding="utf-8"))
    assert {len(entry["embedding"]) for entry in values["images"] + values["texts"]} == {about["dim"]}
    embeddings = np.array([entry["embedding"] for entry in values["images"]])
    assert (embeddings @ embeddings.T).min() < 0.999, "the images' embeddings are all alike, so cosines prove nothing"
    assert max(len(text["ids"]) for text in values["texts"]) == about["text"]["context_length"]
    for part, module in (("image", "image"), ("text", "text"), ("matcher", "itm")):
        if part in about:
            model = onnx.load(tmp_path / f"{module}.onnx")
            assert [entry.version for entry in model.opset_import if entry.domain == ""] == [graph.OPSET]
            assert {entry.domain for entry in model.opset_import} <= {""}, "operators that only ONNX Runtime has"


@pytest.mark.parametrize("name", MODELS)
def test_a_row_does_not_depend_on_its_batch(name, scratch, tmp_path):
    bundle = MODELS[name](scratch)
    export.export(bundle, tmp_path, pictures=("alpha.png", "sliver.png").__contains__, log=lambda line: None)
    image, text = check.session(tmp_path / "image.onnx"), check.session(tmp_path / "text.onnx")
    height, width = bundle.preprocess["height"], bundle.preprocess["width"]
    pixels = np.random.default_rng(0).normal(size=(3, 3, height, width)).astype(np.float32)
    together = image.run(["image_embeds"], {"pixel_values": pixels})[0]
    for i in range(3):
        alone = image.run(["image_embeds"], {"pixel_values": pixels[i : i + 1]})[0]
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-3, atol=1e-4)

    texts = ["a dog runs", "two children on a swing in the park"]
    longest = max(len(bundle.ids(line)) for line in texts)
    padded = [bundle.tokens(line, None if not bundle.any_length else longest) for line in texts]
    ids, mask = (np.concatenate(rows) for rows in zip(*padded))
    together = text.run(["text_embeds"], check.feed(text, ids, mask))[0]
    for i, line in enumerate(texts):
        alone = text.run(["text_embeds"], check.feed(text, *bundle.tokens(line)))[0]
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-3, atol=1e-4)


def test_golden_matches_are_the_librarys_own_and_depend_on_all_they_should(tmp_path):
    bundle = fixtures.blip(vision=12)
    golden_values = golden.write(bundle, tmp_path, fixtures.PICTURES.__contains__, golden.TEXTS)
    matches = golden_values["matches"]
    assert len(matches) == 3 * golden.MATCHED[1]
    model, matcher = bundle.image_tower.model, bundle.matcher
    logits = np.array([pair["itm_logit"] for pair in matches]).reshape(3, -1)
    assert logits.std(0).min() > 0.01 and logits.std(1).min() > 0.01, "of images or of texts alone"
    changed = []
    for pair in matches:
        pixels = torch.from_numpy(bundle.pixels(Image.open(tmp_path / pair["image"])))[None]
        ids, mask = map(torch.from_numpy, bundle.tokens(pair["text"], bundle.context_length))
        encoded = ids.clone()
        encoded[:, 0] = matcher.first_id
        score, without = (
            model(input_ids=these, pixel_values=pixels, attention_mask=mask, use_itm_head=True).itm_score[0, 1].item() for these in (encoded, ids)
        )
        np.testing.assert_allclose(pair["itm_logit"], score, atol=1e-5)
        cosine = model(input_ids=ids, pixel_values=pixels, attention_mask=mask, use_itm_head=False).itm_score.item()
        np.testing.assert_allclose(pair["itc_cosine"], cosine, atol=1e-5)
        changed.append(abs(score - without))
    assert np.mean(changed) > 0.01, "[ENC] makes no difference"


def test_blip2_scores_by_the_best_query_and_not_by_their_mean(tmp_path):
    bundle = fixtures.blip2()
    values = golden.write(bundle, tmp_path, fixtures.PICTURES.__contains__, golden.TEXTS)
    images = {image["file"]: np.array(image["embedding"]) for image in values["images"]}
    texts = {text["text"]: np.array(text["embedding"]) for text in values["texts"]}
    matches = values["matches"]
    assert max(abs(pair["itc_cosine"] - images[pair["image"]] @ texts[pair["text"]]) for pair in matches) > 0.05
    logits = np.array([pair["itm_logit"] for pair in matches]).reshape(3, -1)
    assert logits.std(0).min() > 0.01 and logits.std(1).min() > 0.01, "of images or of texts alone"


def test_calibrated_int8_agrees_with_the_reference(scratch, tmp_path):
    calibration = precision.Calibration([], fixtures.CORPUS[:16])
    lines = []
    export.export(fixtures.clip_of_open_clip(scratch), tmp_path, ("fp32", "int8"), calibration=calibration, log=lines.append)
    kinds = {node.op_type for node in onnx.load(tmp_path / "text.int8.onnx").graph.node}
    assert "QuantizeLinear" in kinds and "DynamicQuantizeLinear" not in kinds
    assert lines[-1].startswith("int8")


def test_fp16_with_norms_in_float32_agrees_with_the_reference(scratch, tmp_path):
    bundle = fixtures.clip_of_open_clip(scratch)
    export.export(bundle, tmp_path, pictures=fixtures.PICTURES.__contains__, log=lambda line: None)
    values = json.loads((tmp_path / golden.FILE).read_text(encoding="utf-8"))
    for part in ("image", "text"):
        half = precision.fp16(onnx.load(tmp_path / f"{part}.onnx"), sensitive=True)
        gains = {node.input[1] for node in half.graph.node if node.op_type == "LayerNormalization"}
        assert {tensor.data_type for tensor in half.graph.initializer if tensor.name in gains} == {onnx.TensorProto.FLOAT}
        graph.save(half, tmp_path / f"{part}.fp16.onnx")
    assert check.worst(bundle, tmp_path, {"image": "image.fp16.onnx", "text": "text.fp16.onnx"}, values).holds("fp16")


def test_external_data_and_fingerprint(scratch, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    quiet = dict(pictures=("dot.png").__eq__, texts=["a"], log=lambda line: None)
    one = export.export(fixtures.clip_of_open_clip(scratch), inside, **quiet)
    two = export.export(fixtures.clip_of_open_clip(scratch), outside, external=True, **quiet)
    assert graph.external_files(outside / "image.onnx") == ["image.onnx.data"] and not graph.external_files(inside / "image.onnx")
    assert one["fingerprint"] != two["fingerprint"], "the fingerprint is over bytes"
    again = export.export(fixtures.clip_of_open_clip(scratch), tmp_path / "again", **quiet)
    assert again["fingerprint"] == one["fingerprint"], "the same model twice"
    data = outside / "image.onnx.data"
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    assert manifest.fingerprint(outside, two) != two["fingerprint"], "external data count"
    # Precision variants do not: they are the same model.
    with_variants = one | {"image": one["image"] | {"variants": {"fp16": "image.fp16.onnx"}}}
    assert manifest.fingerprint(inside, with_variants) == one["fingerprint"]


@pytest.mark.parametrize(
    "config, says",
    [
        (lambda: transformers.Siglip2Config(), "NaFlex"),
        (lambda: transformers.ViTConfig(), "known are clip, siglip, blip, blip-2"),
    ],
)
def test_refused_architectures_say_why(config, says):
    with pytest.raises(SystemExit, match=says):
        from_transformers.load("some/model", 1, config=config())


def test_settings_that_contradict_each_other_are_errors(monkeypatch):
    with monkeypatch.context() as patched:
        gelu = open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")
        patched.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: gelu)
        with pytest.raises(SystemExit, match="without -quickgelu"):
            from_open_clip.load("ViT-B-32-quickgelu/laion2b_s34b_b79k", 1)
    with pytest.raises(SystemExit, match="has no weights 'nonsense'"):
        from_open_clip.load("ViT-B-32/nonsense", 1)
    with pytest.raises(SystemExit, match="--random-weights"):
        from_open_clip.load("ViT-B-32")
    processor = transformers.CLIPImageProcessorPil()
    with pytest.raises(SystemExit, match="the model takes 336"):
        from_transformers.preprocess(processor, 336)
    with pytest.raises(SystemExit, match="bilinear"):
        from_transformers.preprocess(transformers.CLIPImageProcessorPil(resample=1), 224)


def test_preprocessing_is_read_and_not_inferred():
    sizes = {"size": {"shortest_edge": 248}, "crop_size": {"height": 224, "width": 224}}
    about = from_transformers.preprocess(transformers.CLIPImageProcessorPil(**sizes, resample=2), 224)
    assert about["shortest_edge"] == 248 and about["filter"] == "bilinear" and about["crop_offset"] == "floor"
    tags = {  # as open_clip's `pretrained.py` has them
        ("ViT-H-14-378-quickgelu", "dfn5b"): ("squash", "bicubic", 0.48145466),
        ("ViT-L-14", "laion2b_s32b_b82k"): ("shortest-edge-center-crop", "bicubic", 0.5),
        ("MobileCLIP2-S2", "dfndr2b"): ("shortest-edge-center-crop", "bilinear", 0.0),
        ("ViT-B-16-SigLIP", "webli"): ("squash", "bicubic", 0.5),
    }
    for (name, tag), (resize, kernel, mean) in tags.items():
        known = open_clip.transform.merge_preprocess_dict(open_clip.transform.PreprocessCfg(), open_clip.get_pretrained_cfg(name, tag))
        about = from_open_clip.preprocess(known)
        assert (about["resize"], about["filter"], about["mean"][0]) == (resize, kernel, mean), name
