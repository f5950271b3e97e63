"""The plumbing every service stands on: what facts look like, and how they are stored, sent, heard and acted on once.

`contracts` is what the services promise each other and imports nothing but pydantic. Everything else is plumbing that a
service uses through a handful of names: `Handlers` and `Tx` to hear and say facts, `Database` to read, `jobs` for provider
calls and deadlines, `service.serve` to run. No module here knows a service.
"""
