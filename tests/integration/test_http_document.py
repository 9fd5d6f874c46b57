"""The OpenAPI document and its page tell all of it, and need nobody else."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from scentrt.entrypoints.http.app import create_app
from scentrt.entrypoints.http.health import Readiness
from scentrt.entrypoints.http.metrics import Metrics
from tests.conftest import House


@pytest.fixture
async def document(house: House) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=house.http_url) as client:
        found: dict[str, Any] = (await client.get("/openapi.json")).json()
        return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


async def test_every_route_of_the_contract_is_in_it(document: dict[str, Any]) -> None:
    assert {name for name, _ in operations(document)} >= {
        "POST /add_batch",
        "POST /allocate",
        "GET /allocations/{orderid}",
        "POST /batches/{ref}/quantity",
        "GET /products",
        "GET /products/{sku}",
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }


async def test_every_answer_is_shown_by_an_example_and_every_reference_leads_somewhere(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document):
        if "server" in operation["tags"]:
            continue
        assert "503" in operation["responses"], name
        assert ("requestBody" in operation) <= ("422" in operation["responses"]), name
        for status, response in operation["responses"].items():
            if status != "422" or "requestBody" in operation:
                assert "example" in response["content"]["application/json"], (name, status)
    for name in set(re.findall(r"#/components/schemas/(\w+)", str(document))):
        assert name in document["components"]["schemas"]


async def test_what_the_document_shows_of_a_body_is_taken(
    house: House, document: dict[str, Any]
) -> None:
    schemas = document["components"]["schemas"]

    def example(schema: dict[str, Any]) -> Any:
        schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        if schema.get("type") == "array":
            return [example(schema["items"])]
        if "properties" in schema:
            return {name: example(schema["properties"][name]) for name in schema["required"]}
        return schema["examples"][0] if "examples" in schema else None

    async with httpx.AsyncClient(base_url=house.http_url) as client:
        for path in "/add_batch", "/customers", "/orders", "/batches/batch-001/eta":
            template = path.replace("batch-001", "{ref}")
            operation = document["paths"][template]["post"]
            body = example(operation["requestBody"]["content"]["application/json"]["schema"])
            answer = await client.post(path, json=body)
            assert str(answer.status_code) in operation["responses"]
            assert answer.status_code < 300, (path, answer.text)


async def test_the_page_loads_nothing_from_elsewhere(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.http_url) as client:
        page = (await client.get("/docs")).text
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
        assert len(loaded) >= 2
        for path in [*loaded, "/openapi.json"]:
            assert path.startswith("/")
            assert (await client.get(path)).status_code == 200


async def test_where_tokens_are_needed_the_document_says_so(house: House) -> None:
    stock = house.server.stock
    app = create_app(
        stock.bus, stock.views, Readiness, Metrics(), lets_in=lambda token: token == "sesame"
    )
    document = app.openapi()
    assert document["security"] == [{"operator": []}]
    assert document["components"]["securitySchemes"]["operator"]["scheme"] == "bearer"
