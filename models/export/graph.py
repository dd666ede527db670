"""From a torch module to an ONNX file with a dynamic batch axis."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

OPSET = 18  # LayerNormalization is one operator from 17 on; 20 has Gelu as one, which neither runtime runs faster
SPLIT_FROM = 1_900_000_000  # bytes from which weights go to a file of their own; protobuf ends at 2 GiB


def to_onnx(module, inputs: dict, outputs: list[str], dynamic: dict, opset: int) -> onnx.ModelProto:
    """Traces `module` at the example `inputs`, name to tensor.

    `dynamic` says which axes vary: input name to {axis: axis name}. Weights are inside the returned model, whatever its size.
    """
    axes = {axis: torch.export.Dim(axis) for named in dynamic.values() for axis in named.values()}
    shapes = tuple({i: axes[axis] for i, axis in dynamic.get(name, {}).items()} for name in inputs)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        program = torch.onnx.export(
            module.eval(), tuple(inputs.values()), dynamo=True, opset_version=opset, dynamic_shapes=shapes,
            input_names=list(inputs), output_names=outputs, verbose=False,
        )
        program.save(path, external_data=True)
        model = onnx.load(path)
    tidy(model)
    gemm_to_matmul(model.graph)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions.get("") != opset:
        raise SystemExit(f"the exporter gave opset {versions.get('')} where {opset} was asked for; take another --opset")
    return model


def tidy(model: onnx.ModelProto) -> None:
    """Drops what a runtime infers for itself and what names the machine that exported.

    Inferred shapes hold the batch as a symbol, and tract refuses to run a graph for one image when they do.
    """
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used or entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]


def gemm_to_matmul(graph: onnx.GraphProto) -> None:
    """Linear layers on two axes like those on three: a product with the weights and a sum.

    ONNX Runtime joins the two again, the quantiser and tract's float16 know the product alone.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} if node.op_type == "Gemm" else None
        if settings is None or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0 or settings.get("transA", 0):
            nodes.append(node)
            continue
        x, weight, *bias = node.input
        if settings.get("transB", 0):
            transposed = f"{weight}_transposed"
            if transposed not in weights:
                array = np.ascontiguousarray(onnx.numpy_helper.to_array(weights[weight]).T)
                weights[transposed] = onnx.numpy_helper.from_array(array, transposed)
                graph.initializer.append(weights[transposed])
            weight = transposed
        product = f"{node.output[0]}_product" if bias else node.output[0]
        nodes.append(onnx.helper.make_node("MatMul", [x, weight], [product], name=f"{node.name}_MatMul"))
        if bias:
            nodes.append(onnx.helper.make_node("Add", [product, bias[0]], [node.output[0]], name=f"{node.name}_Add"))
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def save(model: onnx.ModelProto, path: Path, external: bool = False) -> None:
    """Writes `path`, and `path`.data beside it for weights that do not fit (or when asked to)."""
    path = Path(path)
    data = path.with_name(path.name + ".data")
    data.unlink(missing_ok=True)
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if external or size > SPLIT_FROM:
        onnx.save_model(model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=data.name, size_threshold=1024)
    else:
        onnx.save_model(model, path)


def external_files(path: Path) -> list[str]:
    """The external-data files that a graph names, in order of first mention, relative to its folder."""
    model = onnx.load(path, load_external_data=False)
    names = []
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = next(entry.value for entry in tensor.external_data if entry.key == "location")
            if location not in names:
                names.append(location)
    return names
