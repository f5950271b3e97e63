"""Runs a plan: fetches in parallel as their needs are met, merges their data in place, and builds the answer's bytes.

A fetch that fails costs exactly its own fields. Every error keeps its subgraph's message and extensions, and gets
the path that it has in the client's answer.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import orjson

from gateway.federation.errors import Code, SubgraphFailed, error
from gateway.federation.ir import Entry, Fetch, Path, Plan, Stage
from gateway.federation.projection import Completion, Flaw

Data = dict[str, Any]
VERBATIM_START = b'{"data":{'


class Send(Protocol):
    """How requests reach a subgraph; the gateway around this package decides about connections and retries."""

    async def __call__(self, subgraph: str, body: bytes, *, repeatable: bool, context: Any) -> bytes:
        """Post a GraphQL request and return the body of the answer, or raise ``SubgraphFailed``."""
        ...


class Execution:
    """One run of a plan for one request."""

    def __init__(self, plan: Plan, variables: Data, send: Send, context: Any) -> None:
        self._plan = plan
        self._variables = variables
        self._send = send
        self._context = context
        self._errors: list[dict[str, Any]] = []
        self._lost: set[str] = (
            set()
        )  # root fields whose subgraph gave up its whole answer for another's error
        self.data: Data = dict(plan.constants)

    async def run(self) -> bytes:
        """Return the whole answer as JSON. Subgraphs that fail become errors in it, never exceptions."""
        for number, stage in enumerate(self._plan.stages):
            if number and self._is_refused_until(number):
                break
            if self._plan.is_verbatim:
                return await self._run_verbatim(stage.fetches[0])
            await self._run_stage(stage)
        return self._answer()

    def _is_refused_until(self, number: int) -> bool:
        """Say whether a mutation that has run was a failure for the whole answer: those behind it must not run."""
        if not self._errors:
            return False
        done = [slot for stage in self._plan.stages[:number] for slot in stage.slots]
        return Completion(self._plan.type_key).complete(self.data, done) is None

    async def _run_verbatim(self, fetch: Fetch) -> bytes:
        body = await self._ask(fetch, self._request(fetch))
        if body is not None and body.startswith(VERBATIM_START) and not _has_more_than_data(body):
            return body
        if body is not None:
            self._take_root(fetch, body)
        return self._answer()

    async def _run_stage(self, stage: Stage) -> None:
        waits = [fetch.waits for fetch in stage.fetches]

        async def run(number: int) -> None:
            fetch = stage.fetches[number]
            await (self._run_entities(fetch, fetch.entry) if fetch.entry else self._run_root(fetch))
            for follower in fetch.followers:
                waits[follower] -= 1
            await run_all([follower for follower in fetch.followers if not waits[follower]])

        async def run_all(numbers: Sequence[int]) -> None:
            if len(numbers) == 1:
                await run(numbers[0])
            elif numbers:
                async with asyncio.TaskGroup() as group:
                    for number in numbers:
                        group.create_task(run(number))

        await run_all([number for number, count in enumerate(waits) if not count])

    async def _run_root(self, fetch: Fetch) -> None:
        body = await self._ask(fetch, self._request(fetch))
        if body is not None:
            self._take_root(fetch, body)

    async def _run_entities(self, fetch: Fetch, entry: Entry) -> None:
        groups: dict[bytes, list[Data]] = {}
        for entity in _entities(entry, self.data):
            representation = entry.represent(entity)
            if representation is not None:
                groups.setdefault(representation, []).append(entity)
        if not groups:
            return
        targets = list(groups.values())
        body = await self._ask(fetch, self._request(fetch, groups), targets)
        if body is not None:
            self._take_entities(fetch, entry, body, targets)

    def _request(self, fetch: Fetch, representations: Iterable[bytes] | None = None) -> bytes:
        known = self._variables
        variables = {name: known[name] for name in fetch.variables if name in known}
        if representations is None:
            return (
                fetch.body + b',"variables":' + orjson.dumps(variables) + b"}"
                if variables
                else fetch.body + b"}"
            )
        rest = b"," + orjson.dumps(variables)[1:] if variables else b"}"
        return fetch.body + b",".join(representations) + b"]" + rest + b"}"

    async def _ask(self, fetch: Fetch, body: bytes, targets: list[list[Data]] | None = None) -> bytes | None:
        try:
            # Entities are always read by a query, also those that follow a mutation.
            repeatable = self._plan.is_query or fetch.entry is not None
            return await self._send(fetch.subgraph, body, repeatable=repeatable, context=self._context)
        except SubgraphFailed as failed:
            self._fail(fetch, [error(failed.message, failed.code)], targets)
            return None

    def _take_root(self, fetch: Fetch, body: bytes) -> None:
        data, errors = self._read(fetch, body)
        if data is None:
            unplaced = [each for each in errors if not each.get("path")]
            if len(unplaced) < len(errors):
                self._lost.update(fetch.keys)
            self._report(fetch, [each for each in errors if each.get("path")])
            self._fail(fetch, unplaced or ([] if errors else [_no_answer(fetch)]))
            return
        _merge(self.data, data, deep=fetch.overlaps)
        self._report(fetch, errors)

    def _take_entities(self, fetch: Fetch, entry: Entry, body: bytes, targets: list[list[Data]]) -> None:
        data, errors = self._read(fetch, body)
        found = data.get("_entities") if data else None
        if not isinstance(found, list) or len(found) != len(targets):
            self._fail(fetch, errors or [_no_answer(fetch)], targets)
            return
        for entity, group in zip(found, targets, strict=True):
            if entity is not None:
                for target in group:
                    _merge(target, entity, deep=fetch.overlaps)
        if errors:
            self._report_entities(fetch, entry, errors, targets)

    def _read(self, fetch: Fetch, body: bytes) -> tuple[Data | None, list[dict[str, Any]]]:
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            return None, [_no_answer(fetch)]
        data, errors = answer.get("data"), answer.get("errors")
        known = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
        return (data if isinstance(data, dict) else None), known

    def _fail(
        self, fetch: Fetch, errors: list[dict[str, Any]], targets: list[list[Data]] | None = None
    ) -> None:
        """Report errors that cost the whole fetch, at every field that is lost by it."""
        places: list[Path] = [()]
        if fetch.entry and targets:
            places = [path for paths in self._paths(fetch.entry, targets) for path in paths]
        for each in errors:
            for place in places:
                for path in [(*place, key) for key in fetch.keys] if fetch.keys else [place]:
                    self._add(fetch, each, path)

    def _report(self, fetch: Fetch, errors: Iterable[dict[str, Any]]) -> None:
        for each in errors:
            self._add(fetch, each, self._renamed(each.get("path") or ()))

    def _report_entities(
        self, fetch: Fetch, entry: Entry, errors: list[dict[str, Any]], targets: list[list[Data]]
    ) -> None:
        paths = self._paths(entry, targets)
        for each in errors:
            match each.get("path"):
                case ["_entities", int(index), *rest] if index < len(paths):
                    ends: list[Path] = [self._renamed(rest)] if rest else [(key,) for key in fetch.keys]
                    for path in (place + end for place in paths[index] for end in ends or [()]):
                        self._add(fetch, each, path)
                case _:
                    self._add(fetch, each, ())

    def _paths(self, entry: Entry, targets: list[list[Data]]) -> list[list[Path]]:
        """Return, for each representation, where in the answer its objects are."""
        numbers = {id(target): number for number, group in enumerate(targets) for target in group}
        found: list[list[Path]] = [[] for _ in targets]
        for path, entity in _located(entry, self.data):
            if (number := numbers.get(id(entity))) is not None:
                found[number].append(path)
        return found

    def _renamed(self, path: Iterable[str | int]) -> Path:
        """Return a path in the client's names, cut where it enters what only the gateway asked for."""
        renamed: list[str | int] = []
        for part in path:
            name = self._plan.renamed.get(part, part) if isinstance(part, str) else part
            if name is None:
                break
            renamed.append(name)
        return tuple(renamed)

    def _add(self, fetch: Fetch, original: dict[str, Any], path: Path) -> None:
        extensions = original.get("extensions")
        known = extensions if isinstance(extensions, dict) else {}
        message = {"message": str(original.get("message", "Unknown error"))}
        located: dict[str, Any] = {"path": list(path)} if path else {}
        self._errors.append({**message, **located, "extensions": {**known, "serviceName": fetch.subgraph}})

    def _answer(self) -> bytes:
        plan = self._plan
        if not self._errors:
            try:
                return b'{"data":' + orjson.dumps(plan.project(self.data)) + b"}"
            except Flaw:
                pass  # a non-null field is missing: the exact way finds out what remains
        completion = Completion(plan.type_key)
        data = completion.complete(self.data, plan.root.slots)
        errors = self._errors + [
            error(f"Cannot return null for non-nullable field {where}.", Code.DATA_MISSING, path)
            for path, where in completion.gaps
            if path[0] not in self._lost
            and not any(_explains(each.get("path"), path) for each in self._errors)
        ]
        return orjson.dumps({"errors": errors, "data": data} if errors else {"data": data})


def _has_more_than_data(body: bytes) -> bool:
    """Whether the bytes may hold errors or extensions. A false alarm, such as a note about errors, only costs time."""
    return b'"errors"' in body or b'"extensions"' in body


def _no_answer(fetch: Fetch) -> dict[str, Any]:
    return error(f"{fetch.subgraph} gave no valid answer", Code.SERVICE_INVALID_ANSWER)


def _explains(known: Sequence[str | int] | None, gap: Path) -> bool:
    """Whether an error at one path is the reason for a null at another: one lies on the way to the other."""
    return known is not None and all(a == b for a, b in zip(known, gap, strict=False))


def _merge(target: Data, source: Data, *, deep: bool) -> None:
    if not deep:
        target.update(source)
        return
    for key, value in source.items():
        target[key] = _merged(target.get(key), value)


def _merged(known: Any, new: Any) -> Any:
    """Join two subgraphs' parts of one value, which they agree on except for the fields each was asked for."""
    if isinstance(known, dict) and isinstance(new, dict):
        _merge(known, new, deep=True)
        return known
    if isinstance(known, list) and isinstance(new, list) and len(known) == len(new):
        return [_merged(a, b) for a, b in zip(known, new, strict=True)]
    return known if new is None else new


def _entities(entry: Entry, data: Data) -> list[Data]:
    """Collect the objects that an entry leads to; a null on the way ends it."""
    found: list[Any] = [data]
    for step in entry.steps:
        source = step.source
        found = [value for each in found if (value := each.get(source)) is not None]
        for _ in range(step.depth):
            found = [item for items in found for item in items if item is not None]
        if step.type_key is not None:
            found = [each for each in found if each.get(step.type_key) == step.type_name]
    return found


def _located(entry: Entry, data: Data) -> Iterator[tuple[Path, Data]]:
    """Collect the same objects with their paths in the answer."""
    found: list[tuple[Path, Any]] = [((), data)]
    for step in entry.steps:
        name = () if step.key is None else (step.key,)
        found = [
            ((*path, *name), each[step.source]) for path, each in found if each.get(step.source) is not None
        ]
        for _ in range(step.depth):
            found = [
                ((*path, i), item)
                for path, items in found
                for i, item in enumerate(items)
                if item is not None
            ]
        if step.type_key is not None:
            found = [(path, each) for path, each in found if each.get(step.type_key) == step.type_name]
    return iter(found)
