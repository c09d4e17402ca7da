"""Writes tiny ONNX models, so that the tests need neither the onnx package nor a download.

Protocol buffers by hand: field numbers from onnx.proto (https://github.com/onnx/onnx), opset 13.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

FLOAT, UINT8, INT64, BOOL, FLOAT16 = 1, 2, 7, 9, 10


def pixelwise(weights: Sequence[float], bias: float, shape: Sequence[int | str] = (1, 3, "h", "w"), *,
              maps: int = 1, dtype: int = FLOAT) -> bytes:
    """A model whose first output, [1, maps, h, w], is `bias + sum(weights * channels)` at each pixel.

    A second output, the input itself, must not matter to anybody. Sizes in `shape` that are names are left open.
    """
    channels = len(weights)
    nodes = _node("Cast", ["picture"], ["x"], _attribute("to", FLOAT)) + _node("Conv", ["x", "w", "b"], ["map"])
    tensors = (_tensor("w", [maps, channels, 1, 1], list(weights) * maps) + _tensor("b", [maps], [bias] * maps))
    outputs = _value(12, "map", (1, maps, *shape[2:]), FLOAT) + _value(12, "x", shape, FLOAT)
    graph = nodes + _text(2, "g") + tensors + _value(11, "picture", shape, dtype) + outputs
    return _number(1, 8) + _field(8, _text(1, "") + _number(2, 13)) + _field(7, graph)


def endless() -> bytes:
    """A model whose output is its input after 2^62 turns of a loop."""
    body = (_node("Identity", ["going"], ["go"]) + _node("Identity", ["held"], ["kept"]) + _text(2, "body")
            + _value(11, "turn", (), INT64) + _value(11, "going", (), BOOL) + _value(11, "held", (1, 3, 16, 16), FLOAT)
            + _value(12, "go", (), BOOL) + _value(12, "kept", (1, 3, 16, 16), FLOAT))
    loop = _field(5, _text(1, "body") + _field(6, body) + _number(20, 5))
    count = _field(5, _number(2, INT64) + _text(8, "count") + _field(9, struct.pack("<q", 2**62)))
    go = _field(5, _number(2, BOOL) + _text(8, "yes") + _field(9, b"\1"))
    shape = (1, 3, 16, 16)
    graph = (_node("Loop", ["count", "yes", "picture"], ["map"], loop) + _text(2, "g") + count + go
             + _value(11, "picture", shape, FLOAT) + _value(12, "map", shape, FLOAT))
    return _number(1, 8) + _field(8, _text(1, "") + _number(2, 13)) + _field(7, graph)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _attribute(name: str, value: int) -> bytes:
    return _field(5, _text(1, name) + _number(3, value) + _number(20, 2))


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], attributes: bytes = b"") -> bytes:
    names = b"".join(_text(1, name) for name in inputs) + b"".join(_text(2, name) for name in outputs)
    return _field(1, names + _text(4, operator) + attributes)


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    dims = b"".join(_number(1, side) for side in shape)
    return _field(5, dims + _number(2, FLOAT) + _text(8, name) + _field(9, struct.pack(f"<{len(values)}f", *values)))


def _value(field: int, name: str, shape: Sequence[int | str], dtype: int) -> bytes:
    sides = b"".join(_field(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in shape)
    return _field(field, _text(1, name) + _field(2, _field(1, _number(1, dtype) + _field(2, sides))))
