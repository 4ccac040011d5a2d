"""What a GGUF file says of itself: metadata and tensors, without their values and without a package.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import struct
from dataclasses import dataclass
from functools import reduce
from operator import mul
from pathlib import Path
from typing import Any, Final

from clario.errors import ModelError

# Value types: their format; 8 is a string, 9 an array.
_SCALARS: Final = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING: Final = 8
_ARRAY: Final = 9
_BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2),
}  # fmt: skip
"""Tensor types: values and bytes of a block."""
_MOST: Final = 1_000_000  # tensors or keys; more are a broken file


@dataclass(frozen=True, slots=True)
class Header:
    """Metadata (lists left out), and the tensors' shapes, innermost dimension first."""

    metadata: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]


def read_header(path: Path) -> Header:
    """The header of a GGUF file, which is checked to have all the bytes that it promises.

    Raises:
        ModelError: no such file, not GGUF, or cut.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Walk(data).header()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}; name a GGUF file") from None
    except (ValueError, IndexError, KeyError, struct.error, UnicodeDecodeError, MemoryError):
        raise ModelError(f"{path} is no whole GGUF file; fetch or make it again") from None


class _Walk:
    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def header(self) -> Header:
        if self._data[:4] != b"GGUF" or self._scalar("<4xI") not in (2, 3):
            raise ValueError
        tensors, keys = self._scalar("<Q"), self._scalar("<Q")
        if max(tensors, keys) > _MOST:
            raise ValueError
        metadata = {self._string(): self._value(self._scalar("<I")) for _ in range(keys)}
        shapes, ends = dict[str, tuple[int, ...]](), [0]
        for _ in range(tensors):
            name, shape, end = self._tensor()
            shapes[name] = shape
            ends.append(end)
        step = metadata.get("general.alignment", 32)
        if -(-self._at // step) * step + max(ends) > len(self._data):
            raise ValueError
        return Header({key: value for key, value in metadata.items() if value is not None}, shapes)

    def _tensor(self) -> tuple[str, tuple[int, ...], int]:
        name = self._string()
        shape = tuple(self._scalar("<Q") for _ in range(self._scalar("<I")))
        kind, offset = self._scalar("<I"), self._scalar("<Q")
        values, size = _BLOCKS.get(kind, (1, 0))
        return name, shape, offset + reduce(mul, shape, 1) // values * size

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind])
        inner, count = self._scalar("<I"), self._scalar("<Q")
        if inner == _STRING:
            for _ in range(count):
                self._skip(self._scalar("<Q"))
        else:
            self._skip(count * struct.calcsize(_SCALARS[inner]))
        return None

    def _scalar(self, format: str) -> Any:
        (value,) = struct.unpack_from(format, self._data, self._at)
        self._at += struct.calcsize(format)
        return value

    def _string(self) -> str:
        start, length = self._at, self._scalar("<Q")
        self._skip(length)
        return self._data[start + 8 : self._at].decode()

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise ValueError
