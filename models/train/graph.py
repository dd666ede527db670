"""Hand-written ONNX graphs of the two towers.

Written by hand, not traced, so that the graph holds only old plain operators and one single Shape: both ONNX
Runtime and tract run it with a dynamic batch axis. Weights are stored as int8 with one scale per output
channel, followed by Cast and Mul; both runtimes fold these at load, and all arithmetic is float32.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
INT8_FROM = 2048  # smaller tensors (biases, norms, scales) stay float32


def quantize(array, axis):
    """Symmetric int8 with one float32 scale per index of `axis`: (values, scale), scale broadcastable."""
    others = tuple(i for i in range(array.ndim) if i != axis)
    scale = np.maximum(np.abs(array).max(axis=others, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.clip(np.round(array / scale), -127, 127).astype(np.int8), scale


class Graph:
    """Nodes and initializers under construction; every method returns the name of its output."""

    def __init__(self, int8):
        self.int8, self.nodes, self.tensors = int8, [], []

    def op(self, kind, *inputs, name=None, **attributes):
        output = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, array):
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def floats(self, *values):
        return self.constant(np.array(values if len(values) > 1 else values[0], dtype=np.float32))

    def ints(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def weight(self, tensor, axis=0):
        array = tensor.detach().numpy().astype(np.float32)
        if not self.int8 or array.size < INT8_FROM:
            return self.constant(array)
        values, scale = quantize(array, axis)
        return self.op("Mul", self.op("Cast", self.constant(values), to=TensorProto.FLOAT), self.constant(scale))

    def linear(self, x, module):
        """Linear layer; the weight is stored [in, out], so the output channel is axis 1."""
        product = self.op("MatMul", x, self.weight(module.weight.T, axis=1))
        return self.op("Add", product, self.weight(module.bias))

    def norm(self, x, module):
        gain, bias = self.weight(module.weight), self.weight(module.bias)
        return self.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=module.eps)

    def gelu(self, x):
        erf = self.op("Erf", self.op("Mul", x, self.floats(2**-0.5)))
        return self.op("Mul", self.op("Mul", x, self.floats(0.5)), self.op("Add", erf, self.floats(1.0)))

    def split(self, x, sizes, axis, names):
        self.nodes.append(helper.make_node("Split", [x, self.ints(*sizes)], list(names), axis=axis, name=names[0]))
        return names

    def unit(self, x, name=None):
        """L2 normalisation over the last axis."""
        square = self.op("ReduceSum", self.op("Mul", x, x), self.ints(-1), keepdims=1)
        length = self.op("Sqrt", self.op("Max", square, self.floats(1e-24)))
        return self.op("Div", x, length, name=name)

    def conv(self, x, module, relu6=True):
        side = module.kernel_size[0]
        pads = [0, 0, 1, 1] if module.stride == (2, 2) else [side // 2] * 4
        out = self.op(
            "Conv", x, self.weight(module.weight), self.weight(module.bias),
            kernel_shape=[side, side], strides=list(module.stride), pads=pads, group=module.groups,
        )
        return self.op("Clip", out, self.floats(0.0), self.floats(6.0)) if relu6 else out

    def model(self, name, inputs, outputs):
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, name, [value(n, kind, shape) for n, kind, shape in inputs],
            [value(n, TensorProto.FLOAT, shape) for n, shape in outputs], self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="pictor")
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


def image_graph(tower, int8=True, add_features=None):
    """`pixel_values` float32 [batch, 3, 224, 224] in [-1, 1] -> `image_embeds` float32 [batch, 256], unit rows.

    `add_features(graph, cells, mean)` may add an output, of which it returns name and shape.
    """
    g = Graph(int8)
    x = g.conv("pixel_values", tower.trunk.stem)
    for block in tower.trunk.blocks:
        y = x if block.expand is None else g.conv(x, block.expand)
        y = g.conv(g.conv(y, block.depthwise), block.project, relu6=False)
        x = g.op("Add", x, y) if block.residual else y
    x = g.conv(x, tower.trunk.last)
    channels = tower.trunk.last.out_channels
    cells = g.op("Transpose", g.op("Reshape", x, g.ints(0, channels, -1)), perm=[0, 2, 1])
    attention = g.op("Softmax", g.linear(cells, tower.score), axis=1)  # [B, 49, heads]
    attention = g.op("Unsqueeze", g.op("Transpose", attention, perm=[0, 2, 1]), g.ints(2))  # [B, heads, 1, 49]
    by_head = g.op("Reshape", cells, g.ints(0, -1, tower.HEADS, channels // tower.HEADS))
    by_head = g.op("Transpose", by_head, perm=[0, 2, 1, 3])  # [B, heads, 49, 160]
    pooled = g.op("Reshape", g.op("MatMul", attention, by_head), g.ints(0, channels))
    mean = g.op("ReduceMean", cells, axes=[1], keepdims=0)
    features = g.norm(g.op("Concat", pooled, mean, axis=1), tower.norm)
    g.unit(g.linear(g.gelu(g.linear(features, tower.hidden)), tower.out), "image_embeds")
    outputs = [("image_embeds", ["batch", 256])]
    if add_features:
        outputs.append(add_features(g, cells, mean))
    return g.model("image", [("pixel_values", TensorProto.FLOAT, ["batch", 3, 224, 224])], outputs)


def text_graph(tower, int8=True, add_features=None):
    """`input_ids`, `attention_mask` int64 [batch, sequence] -> `text_embeds` float32 [batch, 256], unit rows.

    `sequence` is at most the rows of the position table (48). `add_features(graph, states, mean, length)` may add an output,
    of which it returns name and shape; `states` are those after every layer.
    """
    g = Graph(int8)
    tokens = g.op("Gather", g.weight(tower.tokens.weight), "input_ids", axis=0)
    length = g.op("Slice", g.op("Shape", "input_ids"), g.ints(1), g.ints(2))
    positions = g.op("Slice", g.weight(tower.positions.weight), g.ints(0), length, g.ints(0))
    x = g.norm(g.op("Add", tokens, positions), tower.norm)
    mask = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = g.op("Mul", g.op("Sub", g.floats(1.0), mask), g.floats(-1e4))
    bias = g.op("Unsqueeze", hidden, g.ints(1, 2))  # [B, 1, 1, S]
    states = []
    for layer in tower.layers:
        x = encoder_layer(g, x, bias, layer)
        states.append(x)
    real = g.op("Unsqueeze", mask, g.ints(2))
    total = g.op("ReduceSum", g.op("Mul", x, real), g.ints(1), keepdims=0)
    count = g.op("ReduceSum", real, g.ints(1), keepdims=0)
    mean = g.op("Div", total, count)
    pooled = g.unit(mean, "pooled")
    hidden = g.gelu(g.linear(g.op("Mul", pooled, g.floats(tower.GAIN)), tower.widen))
    g.unit(g.op("Add", g.linear(pooled, tower.out), g.linear(hidden, tower.narrow)), "text_embeds")
    shape = ["batch", "sequence"]
    inputs = [("input_ids", TensorProto.INT64, shape), ("attention_mask", TensorProto.INT64, shape)]
    outputs = [("text_embeds", ["batch", 256])]
    if add_features:
        outputs.append(add_features(g, states, mean, length))
    return g.model("text", inputs, outputs)


def encoder_layer(g, x, bias, layer):
    heads, width = layer.HEADS, layer.attended.in_features
    depth = width // heads
    names = [f"{part}_{len(g.nodes)}" for part in ("query", "key", "value")]
    g.split(g.linear(x, layer.qkv), (width, width, width), 2, names)
    query, key, value = (
        g.op("Transpose", g.op("Reshape", part, g.ints(0, -1, heads, depth)), perm=perm)
        for part, perm in zip(names, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    )
    scores = g.op("Mul", g.op("MatMul", query, key), g.floats(depth**-0.5))
    weights = g.op("Softmax", g.op("Add", scores, bias), axis=-1)
    mixed = g.op("Transpose", g.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    mixed = g.op("Reshape", mixed, g.ints(0, -1, width))
    x = g.norm(g.op("Add", x, g.linear(mixed, layer.attended)), layer.norm1)
    return g.norm(g.op("Add", x, g.linear(g.gelu(g.linear(x, layer.up)), layer.down)), layer.norm2)
