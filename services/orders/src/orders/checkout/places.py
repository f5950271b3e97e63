"""Countries and their states as ISO 3166 has them, however people write them. Pure."""

import unicodedata

import pycountry

_MORE_COUNTRIES = frozenset({"XK"})
"""Kosovo: carriers and payment providers know it by this code, ISO 3166 has none."""
_MORE_STATES = {("US", "aa"): "AA", ("US", "ae"): "AE", ("US", "ap"): "AP"}
"""Mail for the armed forces goes to these, which ISO 3166 does not have either."""


def is_country(code: str) -> bool:
    """`code` is ISO 3166-1 alpha-2, in upper case."""
    return code in _MORE_COUNTRIES or pycountry.countries.get(alpha_2=code) is not None


def state_of(country: str, written: str) -> str:
    """What ISO 3166-2 calls it within the country (CA for ca, C.A., US-CA or California); blank if there is no such state."""
    return _STATES.get((country, _letters(written)), "")


def _states() -> dict[tuple[str, str], str]:
    """By country, and by name, code, or code with the country. A code comes before a name that reads the same."""
    found = dict(_MORE_STATES)
    for state in pycountry.subdivisions:
        country, _, code = state.code.partition("-")
        found.setdefault((country, _letters(state.name)), code)
        found[country, _letters(state.code)] = found[country, _letters(code)] = code
    return found


def _letters(written: str) -> str:
    """Without case, accents, width, spaces and points."""
    plain = unicodedata.normalize("NFKD", written).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


_STATES = _states()
"""Made as the process starts: it takes longer (60 ms) than a request should."""
