"""The rules of calling a subgraph: what is tried twice, what opens the breaker, what counts as an answer."""

import pytest

from gateway.client import Breaker, Client
from gateway.federation import Code, SubgraphFailed
from gateway.metrics import Metrics
from gateway.transport import Answer, Failure, Transport, TransportFailed

OK = Answer(200, b'{"data":{}}')


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Script(Transport):
    """A transport that gives the next of its answers, and the last one for ever."""

    def __init__(self, *answers: Answer | Failure) -> None:
        self.answers, self.calls = list(answers), 0

    async def post(self, *_: object) -> Answer:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Failure):
            raise TransportFailed(answer)
        return answer

    async def close(self) -> None: ...


def client(script: Script, clock: Clock | None = None) -> Client:
    return Client(["s"], script, Metrics(), breaker_threshold=3, breaker_open=5, now=clock or Clock())


async def send(to: Client, *, repeatable: bool = True) -> bytes:
    return await to.send("s", b"{}", repeatable=repeatable, context=())


class TestTryingAgain:
    @pytest.mark.parametrize("first", [Failure.UNREACHABLE, Failure.BROKEN, Answer(503, b"")])
    async def test_a_query_is_tried_twice(self, first: Answer | Failure) -> None:
        script = Script(first, OK)
        assert await send(client(script)) == OK.body
        assert script.calls == 2

    @pytest.mark.parametrize("first", [Failure.UNREACHABLE, Failure.BROKEN, Answer(503, b"")])
    async def test_a_mutation_is_not(self, first: Answer | Failure) -> None:
        script = Script(first, OK)
        with pytest.raises(SubgraphFailed):
            await send(client(script), repeatable=False)
        assert script.calls == 1

    @pytest.mark.parametrize("first", [Failure.TIMEOUT, Answer(500, b"")])
    async def test_what_was_slow_or_wrong_is_not(self, first: Answer | Failure) -> None:
        script = Script(first, OK)
        with pytest.raises(SubgraphFailed):
            await send(client(script))
        assert script.calls == 1

    async def test_a_second_failure_is_final(self) -> None:
        script = Script(Failure.UNREACHABLE)
        with pytest.raises(SubgraphFailed):
            await send(client(script))
        assert script.calls == 2


class TestAnswers:
    async def test_a_graphql_body_counts_whatever_the_status(self) -> None:
        body = b'{"errors":[{"message":"no"}]}'
        assert await send(client(Script(Answer(400, body)))) == body
        assert await send(client(Script(Answer(500, body)))) == body

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (Answer(502, b"<html>"), Code.SERVICE_UNAVAILABLE),
            (Answer(404, b'{"detail":"Not Found"}'), Code.SERVICE_INVALID_ANSWER),
        ],
    )
    async def test_any_other_error_is_a_failure(self, answer: Answer, code: Code) -> None:
        with pytest.raises(SubgraphFailed) as failed:
            await send(client(Script(answer)))
        assert failed.value.code is code

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"data":null}', b'{"data":{"_service":{"sdl":1}}}'])
    async def test_an_sdl_is_text_or_a_failure(self, body: bytes) -> None:
        with pytest.raises(SubgraphFailed, match="gave no SDL"):
            await client(Script(Answer(200, body))).fetch_sdl("s")


class TestBreaker:
    async def test_failures_in_a_row_stop_the_asking_until_a_trial_succeeds(self) -> None:
        clock, script = Clock(), Script(*[Failure.TIMEOUT] * 4, OK)
        asking = client(script, clock)
        for _ in range(3):
            with pytest.raises(SubgraphFailed, match="too long"):
                await send(asking)
        with pytest.raises(SubgraphFailed, match="unavailable"):
            await send(asking)
        assert script.calls == 3
        clock.now = 5.0
        with pytest.raises(SubgraphFailed, match="too long"):  # the trial
            await send(asking)
        with pytest.raises(SubgraphFailed, match="unavailable"):
            await send(asking)
        assert script.calls == 4
        clock.now = 10.0
        assert await send(asking) == OK.body
        assert await send(asking) == OK.body

    async def test_a_request_counts_once_however_often_it_was_tried(self) -> None:
        script = Script(*[Failure.UNREACHABLE] * 4, OK)
        asking = client(script)
        for _ in range(2):
            with pytest.raises(SubgraphFailed):
                await send(asking)
        assert await send(asking) == OK.body

    async def test_server_errors_open_it_too(self) -> None:
        asking = client(Script(Answer(500, b'{"errors":[]}')))
        for _ in range(3):
            assert await send(asking)
        with pytest.raises(SubgraphFailed, match="unavailable"):
            await send(asking)

    async def test_an_error_of_the_client_does_not_open_it(self) -> None:
        asking = client(Script(Answer(400, b'{"errors":[]}')))
        for _ in range(5):
            assert await send(asking)

    def test_only_one_trial_passes_per_period(self) -> None:
        clock = Clock()
        breaker = Breaker(1, 5, clock)
        breaker.note(succeeded=False)
        clock.now = 6.0
        assert [breaker.allows(), breaker.allows()] == [True, False]
        clock.now = 11.0  # the trial's outcome was lost, with its cancelled request
        assert breaker.allows()
