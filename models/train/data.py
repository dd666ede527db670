"""Flickr8k on disk, image preprocessing, and the cache of frozen MobileNetV2 feature maps.

Caching is what makes training fit on two CPU cores: blocks 0-12 never change, so every image passes through
them once per augmented view, and training reads the maps back, all of them held in memory (1.7 GB).
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from PIL import Image, ImageEnhance

SIDE = 224
VIEWS = 4  # view 0 is the plain image, the others are augmented
CROP_AREA = (0.45, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
JITTER = 0.3  # brightness, contrast and saturation factors lie in 1 +- JITTER; hue stays: captions name colours


def load_split(data, split):
    """Image names of `split` ("train" or "dev") and their captions: [N] names, [N][5] strings."""
    root = Path(data) / "flickr8k"
    names = (root / f"{split}.txt").read_text().split()
    captions = {name: [] for name in names}
    for line in (root / "captions.token.txt").read_text().splitlines():
        key, text = line.split("\t")
        name = key.split("#")[0]
        if name in captions:
            captions[name].append(text)
    return names, [captions[name] for name in names]


def load_coco_sample(data):
    """Paths and captions of the COCO val2017 sample (official caption format)."""
    root = Path(data) / "coco-val2017-sample"
    doc = json.loads((root / "captions.json").read_text())
    captions = {image["id"]: [] for image in doc["images"]}
    for annotation in doc["annotations"]:
        captions[annotation["image_id"]].append(annotation["caption"])
    paths = [root / "images" / image["file_name"] for image in doc["images"]]
    return paths, [captions[image["id"]] for image in doc["images"]]


def to_raster(image):
    """RGB image -> 224 x 224; other sizes are squashed with PIL's bicubic filter."""
    return image if image.size == (SIDE, SIDE) else image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def to_tensor(image):
    """RGB image of any size -> float32 [3, 224, 224] in [-1, 1]."""
    pixels = np.asarray(to_raster(image), dtype=np.float32).transpose(2, 0, 1)
    return (pixels / 255.0 - 0.5) / 0.5


def augment(image, rng):
    """Random resized crop, horizontal flip and colour jitter."""
    width, height = image.size
    area = rng.uniform(*CROP_AREA)
    aspect = np.exp(rng.uniform(*np.log(CROP_ASPECT)))
    w = min(width, width * np.sqrt(area * aspect))
    h = min(height, height * np.sqrt(area / aspect))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + w, top + h))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - JITTER, 1 + JITTER))
    return image


def load_view(path, view, index, seed):
    """One view of one image; a view depends on (seed, view, index) alone, never on the order of work."""
    image = Image.open(path).convert("RGB")
    if view > 0:
        image = augment(image, np.random.default_rng([seed, view, index]))
    return to_tensor(image)


def mobilenet_session(path, threads):
    """ONNX Runtime session over the pretrained MobileNetV2 that also returns the maps after blocks 12 and 16."""
    model = onnx.load(path)
    names = [name for node in model.graph.node for name in node.output]
    wanted = {
        "block12": next(n for n in names if n.endswith("block_12_add/add")),
        "block16": next(n for n in names if "block_16_project_BN" in n),
    }
    for name in wanted.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda pixels: dict(zip(wanted, session.run(list(wanted.values()), {source: pixels})))


def cache_maps(mobilenet, paths, views, folder, seed, log, batch=50):
    """Memory maps {"block12": [views, N, 96, 14, 14], "block16": [views, N, 320, 7, 7]}, float16.

    Built once, view by view; a view that is complete is not built again.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"block12": (len(paths), 96, 14, 14), "block16": (len(paths), 320, 7, 7)}
    maps = {name: [] for name in shapes}
    with ThreadPoolExecutor(2) as pool:
        for view in range(views):
            if not (folder / f"{view}.done").exists():
                files = {k: np.memmap(folder / f"{view}.{k}", np.float16, "w+", shape=s) for k, s in shapes.items()}
                for start in range(0, len(paths), batch):
                    index = range(start, min(start + batch, len(paths)))
                    pixels = np.stack(list(pool.map(lambda i: load_view(paths[i], view, i, seed), index)))
                    for name, value in mobilenet(pixels.transpose(0, 2, 3, 1)).items():
                        files[name][index.start : index.stop] = value
                (folder / f"{view}.done").touch()
                log(f"cached view {view + 1} of {views}, {len(paths)} images, in {folder}")
            for name, shape in shapes.items():
                maps[name].append(np.memmap(folder / f"{view}.{name}", np.float16, "r", shape=shape))
    return maps


def in_memory(maps):
    """The cached maps as bfloat16 tensors, channels last: block12 [views, N, 14, 14, 96], block16 [views, N, 49, 320]."""
    loaded = {}
    for name, views in maps.items():
        views = [torch.from_numpy(np.array(view)).permute(0, 2, 3, 1).to(torch.bfloat16) for view in views]
        loaded[name] = torch.stack([view.contiguous() for view in views])
    loaded["block16"] = loaded["block16"].flatten(2, 3)
    return loaded


def cached_block12(folder, count):
    """View by view, the complete views of `cache_maps` in `folder` after block 12: [count, 14, 14, 96] bfloat16."""
    for view in range(VIEWS):
        if (folder / f"{view}.done").exists():
            maps = np.fromfile(folder / f"{view}.block12", np.float16).reshape(count, 96, 14, 14)
            yield torch.from_numpy(maps).permute(0, 2, 3, 1).to(torch.bfloat16)
