"""What the shop sells: facts on `catalog-skus`, from a file or the demo's four SKUs."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ordermesh.errors import LauncherError
from ordermesh.kafka import running_url
from ordermesh.settings import Settings
from ordermesh.shop import Shop
from ordermesh.state import RunDirectory
from ordermesh.stories import LAMP, MUG, POSTER, SHIRT
from shared.bus import tell
from shared.contracts.catalog import SkuListed

CATALOGUE = (
    SkuListed(
        sku_id=MUG, product_id="MUG", name="Blue mug", price=1250, shipping_price=150, currency="USD", weight_grams=350
    ),
    SkuListed(
        sku_id=SHIRT, product_id="SHIRT", name="Shirt, M", price=2400, shipping_price=200, currency="USD", weight_grams=180
    ),
    SkuListed(
        sku_id=POSTER, product_id="POSTER", name="Poster, A2", price=990, shipping_price=300, currency="USD", weight_grams=120
    ),
    SkuListed(
        sku_id=LAMP, product_id="LAMP", name="New lamp", price=4900, shipping_price=500, currency="USD", weight_grams=900,
        available_from=datetime(2099, 1, 1, tzinfo=UTC),
    ),
)  # fmt: skip


async def list_skus(settings: Settings, file: Path | None) -> Sequence[SkuListed]:
    """Tell the running stack what the file lists: a JSON array of `sku.listed` bodies. Raises LauncherError."""
    skus = CATALOGUE if file is None else _read(file)
    await tell(_kafka_url(settings), "shop", skus)
    return skus


async def feed_catalogue(kafka_url: str, shop: Shop) -> None:
    """The demo's SKUs; returns when orders for them can be placed and their parcels quoted."""
    await tell(kafka_url, "shop", CATALOGUE)
    await shop.until_listed({sku.sku_id for sku in CATALOGUE})


def _read(file: Path) -> Sequence[SkuListed]:
    try:
        skus = TypeAdapter(tuple[SkuListed, ...]).validate_json(file.read_bytes(), extra="forbid")
    except OSError as unreadable:
        raise LauncherError(f"{file} cannot be read: {unreadable.strerror}.") from unreadable
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LauncherError(f"{file}: {where}: {first['msg']}") from invalid
    listed = Counter(sku.sku_id for sku in skus)
    if twice := [sku for sku, times in listed.items() if times > 1]:
        raise LauncherError(f"{file}: {twice[0]} is listed {listed[twice[0]]} times.")
    return skus


def _kafka_url(settings: Settings) -> str:
    if settings.kafka_url:
        return settings.kafka_url
    url = running_url(settings, RunDirectory(settings.ordermesh_home))
    if url is None:
        raise LauncherError("No broker runs here: start one with `ordermesh up`, or name one in KAFKA_URL.")
    return url
