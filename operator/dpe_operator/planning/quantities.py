# SPDX-License-Identifier: Apache-2.0
"""Amounts as Kubernetes writes them, compared by value and not by spelling."""

from decimal import Decimal, InvalidOperation
from typing import Final

_SUFFIX: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("0.001"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20),
    "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def quantity(text: str) -> Decimal:
    """Read a Kubernetes quantity: `500m`, `0.5`, `1Gi`, `1e3`.

    Raises:
        ValueError: it is none.
    """
    number = text.rstrip("numkKMGTPEi")
    suffix = text[len(number) :]
    try:
        return Decimal(number) * _SUFFIX[suffix]
    except (InvalidOperation, KeyError):
        raise ValueError(f"{text!r} is not a quantity such as 500m or 1Gi") from None


def is_whole(amount: Decimal) -> bool:
    """Whether an amount is a whole number, of however many digits."""
    return amount == amount.to_integral_value()
