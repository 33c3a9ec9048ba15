"""The models that the operator's clients are made of, held against botocore's own."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.model import OperationModel, ServiceModel, Shape

from inference_operator.aws import clients
from inference_operator.aws.models import CLIENTS, operations

FULL = botocore.session.get_session().get_component("data_loader")
OURS = clients._models.__wrapped__(None)
"""Not the one that clients share: a client for S3 changes the paths in its model."""


def model(loader: Any, service: str) -> ServiceModel:
    return ServiceModel(loader.load_service_model(service, "service-2"), service)


def told(operation: OperationModel) -> dict[str, Any]:
    """All that a client knows of an operation, but for the prose."""
    return {
        "name": operation.name,
        "http": operation.http,
        "idempotent": operation.idempotent_members,
        "input": unrolled(operation.input_shape, ()),
        "output": unrolled(operation.output_shape, ()),
        "errors": [unrolled(shape, ()) for shape in operation.error_shapes],
    }


def unrolled(shape: Shape | None, above: tuple[str, ...]) -> object:
    if shape is None or shape.name in above:  # a shape may hold itself
        return None
    inner = (*above, shape.name)
    of: Any = shape
    kind = shape.type_name
    return (
        shape.name,
        kind,
        shape.serialization,
        {name: value for name, value in shape.metadata.items() if name != "documentation"},
        {name: unrolled(s, inner) for name, s in of.members.items()} if kind == "structure" else None,
        unrolled(of.member, inner) if kind == "list" else None,
        (unrolled(of.key, inner), unrolled(of.value, inner)) if kind == "map" else None,
    )


@pytest.mark.parametrize("service", CLIENTS)
def test_a_client_knows_what_its_port_asks_for_as_botocore_tells_it_and_nothing_else(service: str) -> None:
    full, ours = model(FULL, service), model(OURS, service)
    asked = operations(CLIENTS[service])
    assert set(ours.operation_names) == asked
    assert ours.metadata == full.metadata
    for name in asked:
        assert told(ours.operation_model(name)) == told(full.operation_model(name))


def test_what_credentials_are_fetched_with_is_known_whole() -> None:
    assert model(OURS, "sts").operation_names == model(FULL, "sts").operation_names


def test_sessions_share_their_models() -> None:
    first, second = (clients._session().get_component("data_loader") for _ in range(2))
    assert first is second


@pytest.mark.parametrize("service", CLIENTS)
def test_a_client_s_settings_are_read_as_botocore_reads_them(service: str) -> None:
    full, ours = model(FULL, service), model(OURS, service)
    assert [(p.name, p.type) for p in ours.client_context_parameters] == [
        (p.name, p.type) for p in full.client_context_parameters
    ]
