"""What a model takes and gives: named tensors with a datatype and a shape.

Plain values; how a model file tells them is the runtimes' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_server.protocol.datatypes import DATATYPES, Datatype

MAX_DIMENSION = 2**63


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. A dimension of -1 takes any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    """An input that a request may leave out, or an output that is given only when it is asked for."""

    type: Datatype = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", DATATYPES[self.datatype])

    def describe(self) -> dict[str, Any]:
        """The tensor's entry in model metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def admits(self, shape: Sequence[Any]) -> bool:
        """Whether a tensor of this shape fits: as many dimensions, all whole numbers, and each fixed one equal."""
        if len(shape) != len(self.shape):
            return False
        for place, want in enumerate(self.shape):
            have = shape[place]
            if type(have) is not int or (not 0 <= have < MAX_DIMENSION if want == -1 else have != want):
                return False
        return True


WantedOutputs = Mapping[str, bool]
"""The names of the outputs that a request wants, in the order of the answer: whether each goes as binary data."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model by name, in the model's own order."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    all_outputs: Mapping[bool, WantedOutputs] = field(init=False, compare=False, repr=False)
    """What a request gets that names no output, as binary data or not: every one that is not optional."""

    def __post_init__(self) -> None:
        given = [spec.name for spec in self.outputs.values() if not spec.optional]
        every = {binary: dict.fromkeys(given, binary) for binary in (False, True)}
        object.__setattr__(self, "all_outputs", every)

    @classmethod
    def of(cls, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Signature:
        return cls({spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs})
