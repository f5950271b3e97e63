"""Which fetches a plan makes: as few as the keys allow, in parallel where nothing forbids it."""

import pytest

from gateway.federation import Engine, EngineOptions, RequestRefused, compose
from gateway.federation.ir import Plan
from gateway.testing import LINK


async def nobody(subgraph: str, body: bytes, *, repeatable: bool, context: object) -> bytes:
    raise AssertionError(subgraph)


def engine(**sdls: str) -> Engine:
    return Engine(compose({name: LINK + sdl for name, sdl in sdls.items()}), nobody)


def shape(plan: Plan) -> list[list[tuple[str, int]]]:
    """Return (subgraph, fetches to wait for) of every fetch, stage by stage."""
    return [[(fetch.subgraph, fetch.waits) for fetch in stage.fetches] for stage in plan.stages]


def queries(plan: Plan) -> dict[str, str]:
    return {fetch.subgraph: fetch.query for fetch in plan.fetches}


@pytest.fixture(scope="module")
def shop() -> Engine:
    return engine(
        books="""
            type Query { book(id: ID!): Book books: [Book!]! both: Total @shareable any: [Thing!]! }
            type Mutation { add(title: String!): Book! drop(id: ID!): Book! }
            type Book @key(fields: "id") { id: ID! title: String author: Author }
            type Author @key(fields: "id") { id: ID! name: String @shareable }
            type Total @shareable { pages: Int }
            union Thing = Book | Author
        """,
        people="""
            type Query { both: Total @shareable }
            type Mutation { greet: Int }
            type Author @key(fields: "id") @key(fields: "mail") { id: ID! mail: String! name: String @shareable born: Int }
            type Total @shareable { heads: Int }
        """,
        mail='type Author @key(fields: "mail") { mail: String! letters: [Letter!]! } type Letter { text: String }',
        stock="""
            type Book @key(fields: "id") { id: ID! count: Int shelf: Shelf }
            type Shelf @key(fields: "row box { number }") { row: Int! box: Box! }
            type Box @shareable { number: Int! }
        """,
        robots='type Shelf @key(fields: "row box { number }") { row: Int! box: Box! robot: String } type Box @shareable { number: Int! }',
    )


class TestRootFields:
    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ('{ a: book(id: "1") { id } b: book(id: "2") { id } books { id } __typename }', ["book", "book", "books"]),
            ("{ ...F books { id } } fragment F on Query { books { title } both { heads pages } }", ["books", "both"]),
            ("query($no: Boolean = false) { a: books { id } b: books @include(if: $no) { id } }", ["books"]),
            ('mutation { add(title: "x") { count } greet again: greet __typename }', ["add", "greet", "greet"]),
        ],
    )  # fmt: skip
    def test_there_is_one_for_each_that_is_asked(self, shop: Engine, query: str, names: list[str]) -> None:
        assert sorted(shop.plan(query).root_fields) == names


class TestQueries:
    def test_what_one_subgraph_answers_is_one_fetch_forwarded_verbatim(self, shop: Engine) -> None:
        plan = shop.plan(
            '{ one: book(id: "1") { t: title __typename author { id name } } any { ... on Book { id } } }'
        )
        assert shape(plan) == [[("books", 0)]]
        assert plan.is_verbatim
        assert queries(plan)["books"] == (
            'query{one:book(id:"1"){t:title __typename author{id name}} any{...on Book{id}}}'
        )

    @pytest.mark.parametrize(
        "query",
        [
            "{ books { id count } }",  # a second fetch
            "{ __typename books { id } }",  # a root type's name is ours: subgraphs may call it otherwise
            "{ any { ... on Author { born } } }",  # keys that the client did not ask for
        ],
    )
    def test_anything_more_is_not_verbatim(self, shop: Engine, query: str) -> None:
        assert not shop.plan(query).is_verbatim

    def test_entities_of_two_subgraphs_are_fetched_in_parallel(self, shop: Engine) -> None:
        plan = shop.plan("{ books { title count author { born } } }")
        assert shape(plan) == [[("books", 0), ("stock", 1), ("people", 1)]]
        assert plan.stages[0].fetches[0].followers == (1, 2)

    def test_the_clients_own_field_serves_as_key(self, shop: Engine) -> None:
        plan = shop.plan("{ books { count number: id } }")
        assert queries(plan)["books"] == "query{books{number:id}}"

    def test_a_key_never_takes_a_name_that_the_client_uses(self, shop: Engine) -> None:
        plan = shop.plan("{ books { count _1_id: title _1_representations: title } }")
        assert queries(plan)["books"] == "query{books{_1_id:title _1_representations:title _2_id:id}}"
        assert "$_2_representations:[_Any!]!" in queries(plan)["stock"]

    def test_a_third_subgraph_supplies_the_key_that_the_first_does_not_know(self, shop: Engine) -> None:
        plan = shop.plan("{ books { author { letters { text } } } }")
        assert shape(plan) == [[("books", 0), ("people", 1), ("mail", 1)]]
        assert queries(plan)["people"].endswith("{...on Author{_1_mail:mail}}}")

    def test_a_nested_compound_key_is_asked_in_full(self, shop: Engine) -> None:
        plan = shop.plan("{ books { shelf { robot } } }")
        assert shape(plan) == [[("books", 0), ("stock", 1), ("robots", 1)]]
        assert queries(plan)["stock"].endswith(
            "{...on Book{shelf{_1_row:row _1_box:box{_1_number:number}}}}}"
        )

    def test_a_key_whose_parts_two_subgraphs_know_waits_for_both(self) -> None:
        parts = engine(
            home='type Query { a: A } type A @key(fields: "id") { id: ID! }',
            left='type A @key(fields: "id") { id: ID! l: Int! @shareable }',
            right='type A @key(fields: "id") { id: ID! r: Int! @shareable }',
            both='type A @key(fields: "l r") { l: Int! r: Int! x: Int }',
        )
        assert shape(parts.plan("{ a { x } }")) == [[("home", 0), ("left", 1), ("right", 1), ("both", 2)]]

    def test_a_shared_field_is_asked_where_we_are(self, shop: Engine) -> None:
        assert shape(shop.plan("{ books { author { name } } }")) == [[("books", 0)]]

    def test_a_value_that_each_knows_a_part_of_is_asked_in_each(self, shop: Engine) -> None:
        plan = shop.plan("{ both { heads pages } }")
        assert shape(plan) == [[("books", 0), ("people", 0)]]
        assert queries(plan) == {"people": "query{both{heads}}", "books": "query{both{pages}}"}

    def test_the_subgraph_that_misses_least_is_chosen(self, shop: Engine) -> None:
        assert shape(shop.plan("{ both { heads } }")) == [[("people", 0)]]
        assert shape(shop.plan("{ both { pages } }")) == [[("books", 0)]]

    def test_variables_are_declared_only_where_they_are_used(self, shop: Engine) -> None:
        plan = shop.plan(
            "query($a: ID!, $b: Boolean = true) { book(id: $a) { title @include(if: $b) count } }", {"a": "1"}
        )
        assert queries(plan)["books"] == "query($a:ID!){book(id:$a){title _1_id:id}}"
        assert [fetch.variables for fetch in plan.fetches] == [("a",), ()]


class TestConditions:
    QUERY = (
        "query($yes: Boolean!) { books { title count @include(if: $yes) author @skip(if: $yes) { born } } }"
    )

    def test_each_combination_of_conditions_has_a_plan_of_its_own(self, shop: Engine) -> None:
        yes, no = (shop.plan(self.QUERY, {"yes": value}) for value in (True, False))
        assert set(queries(yes)) == {"books", "stock"}
        assert set(queries(no)) == {"books", "people"}

    def test_plans_are_made_once(self, shop: Engine) -> None:
        assert shop.plan(self.QUERY, {"yes": True}) is shop.plan(self.QUERY, {"yes": True})

    def test_a_condition_that_is_null_is_refused(self, shop: Engine) -> None:
        with pytest.raises(RequestRefused, match="must not be null"):
            shop.plan("query($a: Boolean = true) { books { id @skip(if: $a) } }", {"a": None})


class TestMutations:
    def test_fields_of_different_subgraphs_run_one_after_the_other(self, shop: Engine) -> None:
        plan = shop.plan('mutation { a: add(title: "x") { id } greet b: drop(id: "1") { id } }')
        assert shape(plan) == [[("books", 0)], [("people", 0)], [("books", 0)]]

    def test_neighbours_in_one_subgraph_share_a_fetch(self, shop: Engine) -> None:
        assert shape(shop.plan('mutation { add(title: "x") { id } drop(id: "1") { id } }')) == [
            [("books", 0)]
        ]

    def test_what_follows_from_a_field_runs_before_the_next(self, shop: Engine) -> None:
        plan = shop.plan('mutation { add(title: "x") { count } drop(id: "1") { id } }')
        assert shape(plan) == [[("books", 0), ("stock", 1)], [("books", 0)]]


class TestAbstractTypes:
    def test_the_concrete_type_is_asked_only_where_it_decides(self, shop: Engine) -> None:
        plan = shop.plan("{ any { ... on Book { title } ... on Author { born } } }")
        assert (
            queries(plan)["books"]
            == "query{any{_1_type:__typename ...on Book{title} ...on Author{_1_id:id}}}"
        )
        assert shape(plan) == [[("books", 0), ("people", 1)]]

    def test_keys_that_only_the_api_lets_share_a_name_are_separated(self) -> None:
        union = "union U = A | B"
        mixed = engine(
            one=f'type Query {{ u: U }} {union} type A @key(fields: "id") {{ id: ID! x: Int! @shareable }} type B {{ x: Int }}',
            two='type A @key(fields: "id") { id: ID! x: Int @shareable }',
        )
        assert queries(mixed.plan("{ u { ... on A { x } ... on B { x } } }"))["one"] == (
            "query{u{_1_type:__typename ...on A{x} ...on B{_1_x:x}}}"
        )

    def test_a_selection_that_multiplies_is_refused_before_it_costs(self) -> None:
        types = [f"T{number}" for number in range(12)]
        sdl = "type Query { n: N } interface N { n: N } " + " ".join(
            f"type {name} implements N {{ n: N }}" for name in types
        )
        small = Engine(compose({"one": LINK + sdl}), nobody, EngineOptions(max_slots=1_000))
        assert small.plan("{ n { n { __typename } } }")
        with pytest.raises(RequestRefused, match="too many fields"):
            small.plan("{ n { n { n { n { n { __typename } } } } } }")
