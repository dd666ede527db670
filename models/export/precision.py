"""The same graph in float16 and in 8-bit integers."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import Image

# Sums of squares and of exponentials over hundreds of values: where float16's range and its ten bits show first.
FLOAT32 = ["LayerNormalization", "Softmax"]
PRODUCTS = ["MatMul", "Gemm"]
CALIBRATION = 64  # inputs; scales are those of the largest activations, which stop growing long before
BATCH = 8


def fp16(model: onnx.ModelProto, sensitive: bool) -> onnx.ModelProto:
    """Weights and arithmetic in float16, inputs and outputs as they were; norms and softmax stay float32 if `sensitive`.

    Changes `model`.
    """
    kept = [node for node in model.graph.node if node.op_type in FLOAT32] if sensitive else []
    # The converter casts to and from these nodes where it knows a tensor to be float; inferring that fails above 2 GB.
    names = dict.fromkeys(name for node in kept for name in (node.input[0], node.output[0]))
    model.graph.value_info.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    half = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, op_block_list=FLOAT32 if sensitive else [],
    )
    del half.graph.value_info[:]
    return half


def int8(source: Path, target: Path, batches: list[dict] | None) -> None:
    """Weights of matrix products in int8, one scale a column; activations in uint8.

    Without `batches` of inputs the activations are scaled anew in every run, by the largest of the whole batch, so a vector
    depends a little on its neighbours. With them the scales are fixed, in quantise-dequantise form; a convolutional network's
    convolutions join in, where a transformer's single one, over the pixels, stays float32.
    """
    external = source.with_name(source.name + ".data").exists()
    common = dict(per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=external)
    if batches is None:
        quantize_dynamic(source, target, op_types_to_quantize=PRODUCTS, extra_options={"MatMulConstBOnly": True}, **common)
    else:
        convolutions = sum(node.op_type == "Conv" for node in onnx.load(source, load_external_data=False).graph.node)
        quantize_static(
            source, target, Reader(batches), quant_format=QuantFormat.QDQ,
            op_types_to_quantize=PRODUCTS + (["Conv"] if convolutions > 1 else []),
            activation_type=QuantType.QUInt8, calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True}, **common,
        )
    # The quantiser leaves the shapes it inferred; with the batch as a symbol in them, tract refuses the graph.
    model = onnx.load(target, load_external_data=False)
    del model.graph.value_info[:]
    onnx.save(model, target)


class Reader(CalibrationDataReader):
    def __init__(self, batches: list[dict]):
        self.batches = iter(batches)

    def get_next(self):
        return next(self.batches, None)


@dataclass
class Calibration:
    """Real inputs, whose activations fix the scales of static quantisation."""

    photos: list[Path]
    texts: list[str]

    @classmethod
    def read(cls, photos: Path | None, texts: Path | None) -> "Calibration | None":
        if photos is None and texts is None:
            return None
        found = [] if photos is None else sorted(p for p in photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if photos is not None and not found:
            raise SystemExit(f"no JPEG or PNG files in {photos}")
        lines = [] if texts is None else [line for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
        choose = random.Random(0)
        return cls(*(choose.sample(all_, min(CALIBRATION, len(all_))) for all_ in (found, lines)))

    def batches(self, bundle, part: str) -> list[dict] | None:
        """Inputs of one part of the model, or None where there is nothing to calibrate it with."""
        if part == "image" and self.photos:
            pixels = [bundle.pixels(Image.open(path)) for path in self.photos]
            return [{"pixel_values": np.stack(pixels[i : i + BATCH])} for i in range(0, len(pixels), BATCH)]
        if part == "text" and self.texts:
            batches = []
            for text in self.texts:
                ids, mask = bundle.tokens(text)
                batches.append({"input_ids": ids} | ({"attention_mask": mask} if bundle.text_mask else {}))
            return batches
        return None
