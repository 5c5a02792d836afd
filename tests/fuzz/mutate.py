"""Changed copies of bytes: DER taken apart and put together with right lengths, text by lines, bytes by bits.

    rng = random.Random(7)
    mutate_der(certificate, rng)
    tree = parse_tree(certificate); encode_tree(tree)

It reads leniently and imports nothing of the project, so that no rule of our decoder keeps a shape from being made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

__all__ = ["MUTATORS", "Node", "encode_tree", "mutate_bytes", "mutate_der", "mutate_text", "parse_tree", "walk"]

_MAX_DEPTH: Final = 24
_MAX_NODES: Final = 2000  # of one input; more would make each step slow and teach nothing
_TAGS: Final = bytes.fromhex(
    "01020304050609 0a0c1213 1416171 81c1e3031 80818283848586 87a0a1a2a3a4 1f".replace(" ", "")
)
_NUMBERS: Final = (b"", b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x00\x80", b"\x7f" * 4, b"\x80" * 5, b"\xff" * 9)
_PIECES: Final = (
    b"\x05\x00",
    b"\x30\x00",
    b"\x31\x00",
    b"\x01\x01\xff",
    b"\x01\x01\x01",
    b"\x02\x01\x00",
    b"\x02\x01\xff",
    b"\x04\x00",
    b"\x30\x80\x00\x00",
    b"\x06\x03\x2a\x03\x04",
    b"\x06\x08\x2b\x06\x01\x05\x05\x07\x15\x01",
    b"\x06\x08\x2b\x06\x01\x05\x05\x07\x01\x0e",
    b"\x17\x0d500101000000Z",
    b"\x18\x0f20500101000000Z",
    b"\x18\x0f99991231235959Z",
    b"\x03\x02\x07\x80",
    b"\x03\x02\x05\xa0",
    b"\x13\x05proxy",
    b"\x0c\x02\xc3\xa9",
    b"\x1e\x02\x00A",
)


@dataclass(slots=True)
class Node:
    """One value. With `children`, its content is `prefix` and them; without, `content`."""

    tag: int
    content: bytes = b""
    prefix: bytes = b""
    children: list[Node] | None = field(default=None)


def parse_tree(data: bytes) -> list[Node]:
    """Return the values in `data`; a last one of kind -1 holds what is no DER."""
    return _parse(data, 0, [0])


def _parse(data: bytes, depth: int, count: list[int]) -> list[Node]:
    found: list[Node] = []
    at = 0
    while at < len(data):
        head = _header(data, at)
        if head is None or count[0] > _MAX_NODES:
            return [*found, Node(-1, data[at:])]
        count[0] += 1
        start, end = head
        found.append(_node(data[at], data[start:end], depth, count))
        at = end
    return found


def _header(data: bytes, at: int) -> tuple[int, int] | None:
    """Return where the content of the value at this place begins and ends."""
    if at + 2 > len(data) or data[at] & 0x1F == 0x1F:
        return None
    size, start = data[at + 1], at + 2
    if size >= 0x80:
        start += size & 0x7F
        if size == 0x80 or size > 0x84 or start > len(data):
            return None
        size = int.from_bytes(data[at + 2 : start], "big")
    return (start, start + size) if start + size <= len(data) else None


def _node(tag: int, content: bytes, depth: int, count: list[int]) -> Node:
    if depth >= _MAX_DEPTH:
        return Node(tag, content)
    if tag & 0x20:
        return Node(tag, children=_parse(content, depth + 1, count))
    # An OCTET STRING or BIT STRING is often a wrapping: extension values, keys.
    prefix = content[:1] if tag == 0x03 else b""
    inner = content[len(prefix) :]
    if tag in {0x03, 0x04} and inner[:1] in {b"\x30", b"\x02", b"\x03"}:
        head = _header(inner, 0)
        if head is not None and head[1] == len(inner):
            return Node(tag, prefix=prefix, children=_parse(inner, depth + 1, count))
    return Node(tag, content)


def encode_tree(nodes: list[Node]) -> bytes:
    """Return the bytes of values, lengths in their shortest form."""
    return b"".join([_encode(node) for node in nodes])


def _encode(node: Node) -> bytes:
    content = node.content if node.children is None else node.prefix + encode_tree(node.children)
    size = len(content)
    if node.tag < 0:
        return content
    if size < 0x80:
        return bytes((node.tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((node.tag, 0x80 | len(octets))) + octets + content


def walk(nodes: list[Node]) -> list[tuple[list[Node], int]]:
    """Return every value as its list and its place there."""
    found: list[tuple[list[Node], int]] = []
    _walk(nodes, found)
    return found


def _walk(nodes: list[Node], found: list[tuple[list[Node], int]]) -> None:
    for index, node in enumerate(nodes):
        found.append((nodes, index))
        if node.children is not None:
            _walk(node.children, found)


def mutate_der(data: bytes, rng: Random) -> bytes:
    """Return a copy with one to four values changed, moved, doubled or taken away, all lengths right."""
    tree = parse_tree(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = walk(tree)
        if not places:
            break
        siblings, index = rng.choice(places)
        _change(siblings, index, places, rng)
    return encode_tree(tree)


def _change(siblings: list[Node], index: int, places: list[tuple[list[Node], int]], rng: Random) -> None:
    node = siblings[index]
    match rng.randrange(9):
        case 0:
            del siblings[index]
        case 1:
            siblings.insert(index, node)
        case 2:
            other, place = rng.choice(places)
            siblings[index], other[place] = _copy(other[place]), _copy(node)
        case 3:
            other, place = rng.choice(places)
            siblings.insert(index, _copy(other[place]))
        case 4:
            siblings.insert(index, parse_tree(rng.choice(_PIECES))[0])
        case 5:
            node.tag = rng.choice(_TAGS) if rng.random() < 0.7 else node.tag ^ (1 << rng.randrange(8)) & 0xFF
        case _:
            content = node.content if node.children is None else node.prefix + encode_tree(node.children)
            replacement = rng.choice(_NUMBERS) if rng.random() < 0.2 else mutate_bytes(content, rng)
            siblings[index] = Node(node.tag, replacement)


def _copy(node: Node) -> Node:
    children = None if node.children is None else [_copy(child) for child in node.children]
    return Node(node.tag, node.content, node.prefix, children)


def mutate_bytes(data: bytes, rng: Random) -> bytes:
    """Return a copy with a few bits, bytes or stretches changed."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((1, 1, 2, 4, 16)))
        match rng.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.randrange(256)
            case 2:
                del out[at:end]
            case 3:
                out[at:at] = out[at:end]
            case 4:
                out[at:at] = rng.randbytes(rng.choice((1, 2, 4)))
            case _:
                out[at:end] = bytes((rng.choice(b"\x00\x01\x7f\x80\xff"),)) * (end - at)
    return bytes(out)


def mutate_text(data: bytes, rng: Random) -> bytes:
    """Return a copy with a line moved, doubled, cut or joined, or a few characters changed."""
    lines = data.split(b"\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            lines.insert(at, lines[other])
        case 1:
            del lines[at]
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at : at + 2] = [b"".join(lines[at : at + 2])]
        case 4:
            cut = rng.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:cut] + rng.choice(
                (b"", b"\\", b'"', b"'", b"=", b"/", b"*", b"\r", b"(", b"\xc3\xa9")
            )
            lines[at] += data[cut : cut + 8] if rng.random() < 0.5 else b""
        case _:
            lines[at] = mutate_bytes(lines[at], rng)
    return b"\n".join(lines)


MUTATORS: Final[dict[str, Callable[[bytes, Random], bytes]]] = {"der": mutate_der, "text": mutate_text}
"""By the shape of a decoder's input (`SHAPE` of its harness)."""
