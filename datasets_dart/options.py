"""Options of builders that commands give as text: whole numbers, and lists of them."""

from typing import Any

from datasets_dart.errors import InputError


def whole_number(name: str, value: Any, least: int) -> int:
    """A whole number.

    Raises:
        InputError: naming the option, where it is none or below `least`.
    """
    text = str(value).replace(",", "")
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{name}={value!r} must be a whole number of at least {least}")
    return int(text)


def numbers(name: str, value: Any, least: int) -> list[int]:
    """Whole numbers with commas between them, or a list of them.

    Raises:
        InputError: naming the option, where one is none, is below `least`, or comes twice.
    """
    words = value.split(",") if isinstance(value, str) else [*value]
    found = [whole_number(name, word.strip() if isinstance(word, str) else word, least) for word in words]
    if len(set(found)) < len(found):
        raise InputError(f"{name}={value!r}: a number is repeated")
    return found
