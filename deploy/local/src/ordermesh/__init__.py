"""The launcher and the `ordermesh` command: everything Ordermesh needs, on one machine, without Docker.

`infrastructure` gives PostgreSQL and a Kafka broker (taken from the environment or embedded), `programs` says what runs with
which environment, `stack` runs it, `cli` is what people type. Whatever is started here ends with the launcher, unless
`ordermesh infra up` was asked to leave it running.
"""
