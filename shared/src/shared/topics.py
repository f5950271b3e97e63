"""Creates the declared topics: `python -m shared.topics HOST:PORT [REPLICAS]`. Safe to repeat; fails loudly if the broker refuses.

A program of its own, since no service may create topics in production, and since the broker's client would stay in the
launcher's memory for as long as the stack runs.
"""

import argparse
import asyncio

from shared.bus import create_topics


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shared.topics", description="create the declared topics")
    parser.add_argument("kafka_url", help="host:port[,host:port]")
    parser.add_argument(
        "replicas", type=int, nargs="?", default=1, help="how many brokers keep each topic (%(default)s)"
    )
    arguments = parser.parse_args()
    asyncio.run(create_topics(arguments.kafka_url, replication_factor=arguments.replicas))


if __name__ == "__main__":
    main()
