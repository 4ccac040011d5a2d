"""A trained encoder as ONNX, written node by node: no exporter, and nothing in it that we did not choose.

A graph reads one text: `words` [pieces, width] (rows of the embedding, which both encoders share and which is
looked up outside, or the states of the lower layers) to `states` [pieces, width].

int8: the weights of the linear maps have a scale a column and 7 bits, since the kernels of processors without
VNNI add pairs of products in 16 bits and would saturate with 8. Activations have a scale a word piece.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from clario.training.model import EPSILON, HEADS

OPSET, IR = 20, 10
_STEPS = 63  # of a 7-bit weight, to either side


class _Graph:
    """Nodes and constants, in the order of their making."""

    def __init__(self, arrays: Mapping[str, Any], quantised: bool) -> None:
        self._arrays, self._quantised = arrays, quantised
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def constant(self, array: Any) -> str:
        from onnx import numpy_helper

        name = self._name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The name of the output of a new node, or the names where there are several."""
        from onnx import helper

        names = [self._name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def weight(self, name: str) -> Any:
        return np.asarray(self._arrays[name], np.float32)

    def linear(self, states: str, name: str, scale: Any = None) -> str:
        """states @ weight.T + bias; `scale` [outputs] multiplies both."""
        weight, bias = self.weight(f"{name}.weight").T, self.weight(f"{name}.bias")
        if scale is not None:
            weight, bias = weight * scale, bias * scale
        product = self._product_of_integers(states, weight) if self._quantised else None
        product = product or self.node("MatMul", states, self.constant(weight))
        return str(self.node("Add", product, self.constant(bias)))

    def _product_of_integers(self, states: str, weight: Any) -> str:
        """Each row of the states is scaled by its own largest value: a row never depends on another."""
        steps = np.maximum(np.abs(weight).max(0), 1e-8) / _STEPS
        whole = self.constant(np.round(weight / steps).astype(np.int8))
        most = self.node(
            "ReduceMax", self.node("Abs", states), self.constant(np.array([-1], np.int64)), keepdims=1
        )
        least, share = self.constant(np.float32(1e-8)), self.constant(np.float32(1 / 127))
        scale = self.node("Mul", self.node("Max", most, least), share)
        shifted = self.node(
            "Add", self.node("Round", self.node("Div", states, scale)), self.constant(np.float32(128))
        )
        values = self.node("Cast", shifted, to=2)
        zeros = self.constant(np.uint8(128)), self.constant(np.int8(0))
        product = self.node("Cast", self.node("MatMulInteger", values, whole, *zeros), to=1)
        return str(self.node("Mul", self.node("Mul", product, scale), self.constant(steps.astype(np.float32))))

    def norm(self, states: str, name: str) -> str:
        weight, bias = (self.constant(self.weight(f"{name}.{kind}")) for kind in ("weight", "bias"))
        return str(self.node("LayerNormalization", states, weight, bias, axis=-1, epsilon=EPSILON))

    def layer(self, states: str, name: str, width: int) -> str:
        mixed = self._attention(states, name, width)
        states = self.norm(self.node("Add", states, self.linear(mixed, f"{name}.mix")), f"{name}.norm1")
        wide = self.node("Gelu", self.linear(states, f"{name}.wide"))
        return self.norm(self.node("Add", states, self.linear(wide, f"{name}.narrow")), f"{name}.norm2")

    def _attention(self, states: str, name: str, width: int) -> str:
        size = width // HEADS
        scale = np.ones(3 * width, np.float32)
        scale[:width] = size**-0.5  # the scale of the scores, taken into the queries
        shape = self.constant(np.array([0, 3, HEADS, size], np.int64))
        heads = self.node("Reshape", self.linear(states, f"{name}.attend", scale), shape)
        parts = self.node("Split", heads, outputs=3, axis=1, num_outputs=3)
        axis = self.constant(np.array([1], np.int64))
        query, key, value = (self.node("Squeeze", part, axis) for part in parts)
        query, value = (self.node("Transpose", part, perm=[1, 0, 2]) for part in (query, value))
        scores = self.node("MatMul", query, self.node("Transpose", key, perm=[1, 2, 0]))
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        shape = self.constant(np.array([0, width], np.int64))
        return str(self.node("Reshape", self.node("Transpose", mixed, perm=[1, 0, 2]), shape))

    def positions(self, words: str) -> str:
        """The words with the embeddings of their positions."""
        count = self.node("Shape", words, start=0, end=1)
        begin, table = self.constant(np.array([0], np.int64)), self.constant(self.weight("positions"))
        return str(self.node("Add", words, self.node("Slice", table, begin, count)))


def onnx_of(arrays: Mapping[str, Any], quantised: bool = True, layers: range | None = None) -> bytes:
    """An encoder, or some of its layers, as a serialised ONNX model.

    Args:
        arrays: see `model.to_arrays`; "words" is not needed.
        layers: those of the graph, by default all; with the first goes the embedding of positions.
    """
    from onnx import TensorProto, checker, helper

    width = arrays["positions"].shape[1]
    layers = range(layers_of(arrays)) if layers is None else layers
    graph, states = _Graph(arrays, quantised), "words"
    if layers.start == 0:
        states = graph.norm(graph.positions(states), "norm")
    for number in layers:
        states = graph.layer(states, f"layers.{number}", width)
    graph.nodes.append(helper.make_node("Identity", [states], ["states"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["pieces", width]) for name in ("words", "states")
    ]
    made = helper.make_graph(graph.nodes, "encoder", ends[:1], ends[1:], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def layers_of(arrays: Mapping[str, Any]) -> int:
    """How many layers there are."""
    return 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith("layers."))


def words_of(embedding: Any) -> dict[str, Any]:
    """The embedding [words, width] as int8 with a scale a row."""
    scales = np.maximum(np.abs(embedding).max(1), 1e-8).astype(np.float32) / 127
    return {"words": np.round(embedding / scales[:, None]).astype(np.int8), "scales": scales.astype(np.float32)}
