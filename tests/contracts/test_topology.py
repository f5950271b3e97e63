"""`topics.py` against what the services really do: who hears what, who says what."""

import importlib
import re
from pathlib import Path

import pytest

from shared.contracts.topics import TOPICS, Topic, topic_of
from shared.handlers import Handlers

ROOT = Path(__file__).parents[2]
SERVICES = ("orders", "payments", "shipping", "notifications")


def handlers_of(service: str) -> Handlers:
    found: Handlers = importlib.import_module(f"{service}.handlers").handlers
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_hears_exactly_the_topics_that_name_it(service: str) -> None:
    hearing = handlers_of(service)
    assert hearing.consumer == service
    heard = {topic_of(fact).name for fact in hearing.by_fact}
    assert heard == {topic.name for topic in TOPICS if service in topic.consumers}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda t: t.name)
def test_a_producer_makes_every_fact_of_its_topic_and_nobody_else_does(topic: Topic) -> None:
    makers = {
        fact.__name__: {service for service in SERVICES if makes(service, fact.__name__)}
        for fact in topic.facts
    }
    assert makers == {fact.__name__: {*topic.producers} - {"shop"} for fact in topic.facts}


def makes(service: str, fact: str) -> bool:
    sources = (ROOT / "services" / service / "src").rglob("*.py")
    return any(re.search(rf"(?<!class )\b{fact}\(", path.read_text()) for path in sources)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda t: t.name)
def test_every_fact_is_heard_by_somebody(topic: Topic) -> None:
    heard = {fact for service in topic.consumers for fact in handlers_of(service).by_fact}
    assert set(topic.facts) - heard == set()
