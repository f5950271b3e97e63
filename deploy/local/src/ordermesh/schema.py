"""The API's schema, composed from the subgraphs' own schema modules; nothing needs to run for it."""

import importlib

from gateway.federation import CompositionFailed, compose, schema_sdl
from ordermesh.errors import LauncherError
from ordermesh.postgres import SERVICES


def storefront_sdl() -> str:
    """The storefront graph as clients see it, in GraphQL's schema language. Raises LauncherError if it does not compose."""
    try:
        return schema_sdl(compose(subgraphs()))
    except CompositionFailed as failed:
        raise LauncherError(f"The storefront schema does not compose: {failed}") from failed


def subgraphs() -> dict[str, str]:
    """Each service's federation SDL, as its `_service` field would answer it."""
    found = {}
    for service in SERVICES:
        schema = importlib.import_module(f"{service}.schema").schema
        result = schema.execute_sync("{ _service { sdl } }")
        if result.errors:
            raise LauncherError(f"{service} cannot print its schema: {result.errors[0].message}")
        found[service] = result.data["_service"]["sdl"]
    return found
