"""Creates the declared topics: `python -m ordermesh.topics HOST:PORT`. Safe to repeat; fails loudly if the broker refuses.

A program of its own, because the broker's client would stay in the launcher's memory for as long as the stack runs.
"""

import asyncio
import sys

from shared.bus import create_topics
from shared.contracts.topics import TOPICS

if __name__ == "__main__":
    (kafka_url,) = sys.argv[1:]
    asyncio.run(create_topics(kafka_url, TOPICS))
