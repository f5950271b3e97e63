"""Small HTTP requests to processes of this machine: no proxy, no redirect, no connection kept."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit


async def request(method: str, url: str, body: Any = None, *, seconds: float = 5) -> tuple[int, bytes]:
    """Status and body. A body is sent as JSON. Raises OSError or TimeoutError (seconds) when there is no answer."""
    parts = urlsplit(url)
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        # HTTP/1.0: the answer is neither chunked nor followed by another, so it ends where the connection ends.
        f"{method} {parts.path or '/'} HTTP/1.0\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(head.encode() + content)
            answer = await reader.read()
        finally:
            writer.close()
    status, _, rest = answer.partition(b"\r\n")
    try:
        return int(status.split()[1]), rest.partition(b"\r\n\r\n")[2]
    except (IndexError, ValueError):
        raise ConnectionError(f"{url} did not answer in HTTP") from None
