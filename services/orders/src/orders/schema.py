"""The storefront subgraph of orders: the queries and mutations of its parts, put together."""

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from orders.checkout import catalogue, codes
from orders.checkout import schema as checkout
from orders.graph import OrderNode
from orders.life import schema as life
from orders.lists import schema as lists
from orders.scalars import SCALARS

Query = merge_types("Query", (lists.Query, checkout.Query, codes.Query, life.Query))
Mutation = merge_types("Mutation", (checkout.Mutation, codes.Mutation, catalogue.Mutation, life.Mutation))

schema = strawberry.federation.Schema(
    query=Query, mutation=Mutation, types=[OrderNode], config=StrawberryConfig(scalar_map=SCALARS)
)
