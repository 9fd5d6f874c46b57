"""The OpenAPI document and its page tell all of it, and need nobody else."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from scentrt.entrypoints.http.app import create_app
from scentrt.entrypoints.http.health import Readiness
from scentrt.entrypoints.http.metrics import Metrics
from tests.browser import browse
from tests.conftest import House


@pytest.fixture
async def document(house: House) -> dict[str, Any]:
    async with browse(house.http_url) as client:
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
        assert "422" in operation["responses"], name
        for status, response in operation["responses"].items():
            assert "example" in response["content"]["application/json"], (name, status)
    for name in set(re.findall(r"#/components/schemas/(\w+)", str(document))):
        assert name in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/allocate", '{"orderid": "o", "sku": "s"}', "body.qty: Field required"),
        ("POST", "/allocate", "[]", "body: Input should be an object"),
        ("POST", "/allocate", "", "body: Invalid JSON: EOF while parsing a value"),
        (
            "POST",
            "/allocate",
            '{"orderid": " o", "sku": "s", "qty": 1, "color": "red"}',
            "body.orderid: Input should be one line of text, no space first; and 1 more",
        ),
        (
            "POST",
            "/customers",
            '{"name": "n", "address": "a", "email": "e"}',
            "body.email: Input should be an address of e-mail, like box-office@roxy.example",
        ),
        (
            "POST",
            "/orders",
            '{"orderid": "o", "lines": []}',
            "body.lines: List should have at least",
        ),
        (
            "POST",
            "/add_batch",
            '{"ref": "b", "sku": "s", "qty": 1, "eta": "2026-13-02"}',
            "body.eta: Input should be an ISO date, like 2026-03-02",
        ),
        ("GET", "/orders?limt=1", None, "query.limt: There is only: after, limit"),
        (
            "POST",
            "/batches?dryrun=true",
            '{"batches": [{"ref": "b", "sku": "s", "qty": 1}]}',
            "query.dryrun: There is only: dry_run",
        ),
        *(
            (method, path, "{}", "query.x: There is none here")
            for method, path in (
                ("POST", "/vials/unload?x=1"),
                ("POST", "/vials/load?x=1"),
                ("PATCH", "/seats/A-1-1?x=1"),
                ("PUT", "/seats/A-1-1?x=1"),
                ("POST", "/allocate?x=1"),
                ("POST", "/batches/b-1/receive?x=1"),
                ("POST", "/orders/o-1/cancel?x=1"),
                ("POST", "/forecast?x=1"),
                ("GET", "/seats/A-1-1?x=1"),
            )
        ),
        ("GET", "/orders?limit=0", None, "query.limit: Input should be greater than or equal to 1"),
        ("POST", "/batches?dry_run=perhaps", "{}", "query.dry_run: Input should be a valid bool"),
    ],
)
async def test_whatever_does_not_fit_is_told_in_the_shape_that_the_document_shows(
    house: House, document: dict[str, Any], method: str, path: str, body: str, message: str
) -> None:
    json = {"Content-Type": "application/json"}
    async with browse(house.http_url) as client:
        answer = await client.request(method, path, content=body, headers=json)
    told = answer.json()
    assert answer.status_code == 422
    assert told["message"].startswith(message)
    [response] = {
        str(operation["responses"]["422"]["content"]["application/json"]["schema"])
        for _, operation in operations(document)
        if "server" not in operation["tags"]
    }
    assert response == "{'$ref': '#/components/schemas/Misfits'}"
    shapes = document["components"]["schemas"]
    assert set(told) == set(shapes["Misfits"]["properties"])
    assert set(told["detail"][0]) == set(shapes["Misfit"]["properties"])


async def test_who_comes_to_a_path_that_is_none_is_told_where_they_are(house: House) -> None:
    async with browse(house.http_url) as client:
        answer = await client.get("/stock")
        assert answer.status_code == 404
        message = "There is nothing at /stock; see /docs for what there is"
        assert answer.json() == {"message": message}


@pytest.mark.parametrize(
    ("path", "takes"),
    [
        ("/allocate", "POST"),
        ("/orders", "GET, POST"),
        ("/products", "GET"),
        ("/openapi.json", "GET, HEAD"),
        ("/seats/A-1-1", "GET, PATCH, PUT"),
    ],
)
async def test_who_comes_with_another_method_is_told_which_there_are(
    house: House, path: str, takes: str
) -> None:
    async with browse(house.http_url) as client:
        answer = await client.delete(path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == takes
    assert answer.json() == {"message": f"{path} takes {takes} and no DELETE"}


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

    async with browse(house.http_url) as client:
        for path in "/add_batch", "/customers", "/orders", "/batches/batch-001/eta":
            template = path.replace("batch-001", "{ref}")
            operation = document["paths"][template]["post"]
            body = example(operation["requestBody"]["content"]["application/json"]["schema"])
            answer = await client.post(path, json=body)
            assert str(answer.status_code) in operation["responses"]
            assert answer.status_code < 300, (path, answer.text)


async def test_the_page_loads_nothing_from_elsewhere(house: House) -> None:
    async with browse(house.http_url) as client:
        page = (await client.get("/docs")).text
        loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
        assert len(loaded) >= 2
        for path in [*loaded, "/openapi.json"]:
            assert path.startswith("/")
            assert (await client.get(path)).status_code == 200


async def test_where_tokens_are_needed_the_document_says_so(house: House) -> None:
    stock = house.server.stock
    app = create_app(
        stock.bus,
        stock.views,
        Readiness,
        Metrics(),
        vials=house.server.vials,
        seats=house.server.seats,
        lets_in=lambda token: token == "sesame",
    )
    document = app.openapi()
    assert document["security"] == [{"operator": []}]
    assert document["components"]["securitySchemes"]["operator"]["scheme"] == "bearer"
