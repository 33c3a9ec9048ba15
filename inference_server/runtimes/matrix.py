"""What the runtimes for tabular models share: one input, a matrix of rows by features."""

from __future__ import annotations

from inference_server.protocol.signature import TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError

INPUT_NAME = "x"


def matrix_input(config: ModelConfig, datatypes: tuple[str, ...], columns: int) -> TensorSpec:
    """The one input: called `x`, of the first of `datatypes`, unless model.json states another name or datatype."""
    if not config.inputs:
        return TensorSpec(INPUT_NAME, datatypes[0], (-1, columns))
    if len(config.inputs) != 1:
        raise ModelError(f"model.json states {len(config.inputs)} inputs; this runtime takes one, a matrix of features")
    (stated,) = config.inputs
    if stated.datatype not in datatypes:
        raise ModelError(f"input '{stated.name}' is stated as {stated.datatype}; it may be {' or '.join(datatypes)}")
    return TensorSpec(stated.name, stated.datatype, (-1, columns))
