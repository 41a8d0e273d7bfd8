"""Signatures, and workflows made of them: chain, group, chord, chunks."""

from __future__ import annotations

from ._groups import chord, group
from ._maps import chunks, xmap, xstarmap
from ._sequence import chain
from ._signature import Signature, maybe_signature, signature, subtask

_chain = chain
_chord = chord

__all__ = [
    "Signature",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
