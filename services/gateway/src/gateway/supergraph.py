"""Keeps the graph being served up to date with the subgraphs' SDL, without ever serving a worse one.

A change is adopted when a subgraph gives it twice in a row, since a rolling deploy flaps. Only sets that compose go
into service, in one assignment; they are kept on disk too, so that a subgraph may be down when the gateway starts.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.federation import (
    Code,
    CompositionError,
    CompositionFailed,
    Engine,
    Graph,
    SubgraphFailed,
    compose,
)
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

FIRST_ANSWER_SECONDS = 0.5
"""How often a subgraph is asked that has never answered: the start should not wait for a whole interval."""


class LastGood:
    """The last set of SDL that composed, in one file, replaced atomically."""

    def __init__(self, state_dir: Path | None) -> None:
        self._file = state_dir / "supergraph.json" if state_dir else None

    def load(self) -> dict[str, str]:
        """Return {name: SDL}; empty when there is nothing usable."""
        try:
            kept = orjson.loads(self._file.read_bytes()) if self._file else {}
            return {str(name): str(sdl) for name, sdl in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError, AttributeError):
            log.warning("the last good SDL cannot be read", exc_info=True)
            return {}

    def save(self, sources: dict[str, str]) -> None:
        """Keep a set. A disk that fails is logged: the graph is served all the same."""
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(orjson.dumps(sources))
            fresh.replace(self._file)
        except OSError:
            log.warning("the last good SDL cannot be kept", exc_info=True)


@dataclass(slots=True)
class _Source:
    """What is known of one subgraph's SDL. ``candidate`` is a change that was seen once."""

    sdl: str | None = None
    seen: str = "never"  # or "disk", "live"
    candidate: str | None = None
    problem: str | None = None

    def observe(self, sdl: str) -> bool:
        """Take an answer; True if it changes the adopted SDL."""
        adopted = self.seen != "live" or sdl == self.candidate
        changed = adopted and sdl != self.sdl
        self.candidate = None if adopted or sdl == self.sdl else sdl
        self.sdl = sdl if adopted else self.sdl
        self.seen = "live"
        self.problem = None
        return changed


class Supergraph:
    """The graph in service: ``engine`` is None until every subgraph was seen once and they compose."""

    def __init__(
        self,
        names: Iterable[str],
        fetch_sdl: Callable[[str], Awaitable[str]],
        make_engine: Callable[[Graph], Engine],
        kept: LastGood,
        metrics: Metrics,
        poll_interval: float,
    ) -> None:
        self.engine: Engine | None = None
        self._sources = {name: _Source() for name in sorted(names)}
        self._fetch_sdl = fetch_sdl
        self._make_engine = make_engine
        self._kept = kept
        self._metrics = metrics
        self._poll_interval = poll_interval
        self._refused: tuple[CompositionError, ...] = ()

    def restore(self) -> None:
        """Begin with the last good SDL from disk, if there is one for every subgraph or for some."""
        for name, sdl in self._kept.load().items():
            if source := self._sources.get(name):
                source.sdl, source.seen = sdl, "disk"
        self._compose()

    async def watch(self) -> None:
        """Poll every subgraph on its own, for ever: a slow one delays no other."""
        async with asyncio.TaskGroup() as group:
            for name in self._sources:
                group.create_task(self._watch(name))

    async def poll(self, name: str) -> None:
        """Ask one subgraph for its SDL once, and compose anew if that changed."""
        source = self._sources[name]
        try:
            changed = source.observe(await self._fetch_sdl(name))
        except SubgraphFailed as failed:
            source.problem = failed.message
            self._metrics.reachable.labels(name).set(0)
            return
        self._metrics.reachable.labels(name).set(1)
        if changed:
            self._compose()

    def report(self) -> dict[str, Any]:
        """Describe the state for operators: ready, what is served, and what keeps a newer graph from being served."""
        missing = [name for name, source in self._sources.items() if source.sdl is None]
        return {
            "ready": self.engine is not None,
            "degraded": bool(self._refused) or any(source.problem for source in self._sources.values()),
            "missing": missing,
            "composition": {"ok": not self._refused, "errors": [str(each) for each in self._refused]},
            "subgraphs": {
                name: {"seen": source.seen, "sdl": _digest(source.sdl), "problem": source.problem}
                for name, source in self._sources.items()
            },
        }

    async def _watch(self, name: str) -> None:
        while True:
            try:
                await self.poll(name)
            except Exception:  # a defect must not end the watching of one subgraph, unseen, until a restart
                log.exception("polling %s failed", name)
            fresh = self._sources[name].seen != "live"
            await asyncio.sleep(
                min(FIRST_ANSWER_SECONDS, self._poll_interval) if fresh else self._poll_interval
            )

    def _compose(self) -> None:
        sources = {name: source.sdl for name, source in self._sources.items() if source.sdl is not None}
        if len(sources) < len(self._sources):
            return
        try:
            engine = self._make_engine(compose(sources))
        except CompositionFailed as failed:
            self._refuse(failed.errors)
            return
        except Exception as defect:
            log.exception("the composer failed")
            self._refuse((CompositionError(Code.INTERNAL, "schema", repr(defect)),))
            return
        self._refused = ()
        self.engine = engine
        self._metrics.composed.set(1)
        self._metrics.swaps.inc()
        self._kept.save(sources)

    def _refuse(self, errors: tuple[CompositionError, ...]) -> None:
        self._refused = errors
        self._metrics.composed.set(0)
        log.warning(
            "the subgraphs do not compose, the last good graph stays: %s", "; ".join(map(str, errors))
        )


def _digest(sdl: str | None) -> str | None:
    return hashlib.sha256(sdl.encode()).hexdigest()[:12] if sdl is not None else None
