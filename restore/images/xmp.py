"""XMP packets (ISO 16684-1): edited where they must be, left byte for byte elsewhere. An XML parser says where.

In a JPEG a packet of more than 64 kB is written as two, the second in pieces (XMP specification, part 3, 1.1.3.1).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MEDIA = "http://ns.adobe.com/xap/1.0/mm/"
EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
NOTE = "http://ns.adobe.com/xmp/note/"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MOST = 65_502  # bytes of a packet in one segment of a JPEG
STANDARD = b"http://ns.adobe.com/xap/1.0/\0"  # begins a JPEG's segment with the packet
EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"  # begins a segment that holds a piece of the second packet

_PIECE = 65_400
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{RDF}">\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
).encode()
_TAG = re.compile(rb"<(?:\"[^\"]*\"|'[^']*'|[^>\"'])*>")
_ATTRIBUTE = re.compile(rb"\s+([^\s=]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_PREFIX = re.compile(rb"[<\s/]([A-Za-z_][\w.-]*):")
_PADDING = re.compile(rb"\s+(<\?xpacket end)")

Edit = tuple[int, int, bytes]  # bytes from, to; what comes there


@dataclass(frozen=True)
class Mark:
    """What a picture tells of an edit: source_type, a name of IPTC's vocabulary of digital source types, and what was
    done, in words for `stEvt:parameters`."""

    source_type: str
    done: str
    agent: str

    @property
    def sentence(self) -> str:
        """For people."""
        return f"{self.source_type}, by {self.agent}: {self.done}"

    def summary(self) -> dict[str, str]:
        """For JSON."""
        return {"digital_source_type": self.source_type, "agent": self.agent, "done": self.done}


@dataclass
class _Node:
    """An element: its name ("uri local"), attributes and prefixes in scope; bytes where it starts, where its content
    starts and ends, and where it ends."""

    name: str
    attributes: dict[str, str]
    prefixes: dict[str, str]
    parent: _Node | None
    start: int
    inner: int
    content: int = 0
    end: int = 0
    text: str = ""
    children: list[_Node] = field(default_factory=list)

    def find(self, name: str) -> _Node | None:
        return next((node for node in self.walk() if node.name == name), None)

    def walk(self) -> Iterator[_Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def parsed(packet: bytes) -> _Node:
    """The element rdf:RDF of a packet in UTF-8. Raises ValueError where there is none, or other than XMP's XML."""
    parser = expat.ParserCreate(namespace_separator=" ")
    roots: list[_Node] = []
    open_: list[_Node] = []
    scopes: list[tuple[str, str]] = []

    def declare(prefix: str | None, uri: str | None) -> None:
        scopes.append((prefix or "", uri or ""))

    def begin(name: str, attributes: dict[str, str]) -> None:
        at = parser.CurrentByteIndex
        tag = _TAG.match(packet, at)
        if tag is None or len(open_) > 100:
            raise ValueError("no XML that can be edited")
        prefixes = (open_[-1].prefixes if open_ else {}) | dict(scopes)
        scopes.clear()
        node = _Node(name, attributes, prefixes, open_[-1] if open_ else None, at, tag.end())
        if tag[0].endswith(b"/>"):
            node.content = node.end = -1
        (open_[-1].children if open_ else roots).append(node)
        open_.append(node)

    def end(_: str) -> None:
        node = open_.pop()
        if node.end:  # <empty/>
            node.content = node.end = node.inner
            return
        node.content = parser.CurrentByteIndex
        node.end = packet.index(b">", node.content) + 1

    def text(data: str) -> None:
        if open_:
            open_[-1].text += data

    def refuse(*_: object) -> None:
        raise ValueError("a document type")

    parser.StartNamespaceDeclHandler = declare
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(packet.rstrip(b"\0"), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
    found = roots[0].find(f"{RDF} RDF")
    if found is None or found.content == found.inner == found.end:
        raise ValueError("no rdf:RDF with content")
    return found


def utf8(packet: bytes) -> bytes:
    """A packet whose bytes are UTF-8, as files hold nearly all."""
    for bom, name in ((b"\xfe\xff", "utf-16"), (b"\xff\xfe", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if packet.startswith(bom):
            return packet.decode(name, "replace").encode()
    return packet


def marked(packet: bytes, mark: Mark) -> bytes:
    """The packet, b"" for none, that also tells of an edit: `Iptc4xmpExt:DigitalSourceType`, unless what stands there
    says more, and one more entry of `xmpMM:History`. Raises ValueError where the packet cannot be read."""
    packet = utf8(packet) or _EMPTY
    rdf = parsed(packet)
    edits: list[Edit] = []
    about = next((d.attributes.get(f"{RDF} about", "") for d in rdf.children), "")
    source_type = mark.source_type
    for start, end, value in _values(packet, rdf, IPTC, "DigitalSourceType"):
        source_type = _stronger(value, source_type)
        edits.append((start, end, b""))
    event = _event(mark)
    properties = f"\n<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPES}{source_type}</Iptc4xmpExt:DigitalSourceType>"
    history = next((c for d in rdf.children for c in d.children if c.name == f"{MEDIA} History"), None)
    items = next(iter(history.children), None) if history is not None else None
    if items is not None and items.content != items.end:
        edits.append((items.content, items.content, event.encode("ascii", "xmlcharrefreplace")))
    else:
        if history is not None:
            edits.append((history.start, history.end, b""))
        properties += f"\n<xmpMM:History><rdf:Seq>{event}</rdf:Seq></xmpMM:History>"
    described = (
        f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about)} xmlns:Iptc4xmpExt="{IPTC}" '
        f'xmlns:xmpMM="{MEDIA}">{properties}\n</rdf:Description>\n'
    )
    edits.append((rdf.content, rdf.content, described.encode("ascii", "xmlcharrefreplace")))
    return _edited(packet, edits)


def source_type_of(packet: bytes) -> str | None:
    """What a packet tells of where its picture comes from, a name of IPTC's vocabulary or another text."""
    packet = utf8(packet)
    found = [value for _, _, value in _values(packet, parsed(packet), IPTC, "DigitalSourceType")]
    return found[-1].removeprefix(SOURCE_TYPES) if found else None


def history_of(packet: bytes) -> list[dict[str, str]]:
    """The entries of `xmpMM:History`, oldest first: names ("action", "softwareAgent", …) and values."""
    rdf = parsed(utf8(packet))
    history = next((c for d in rdf.children for c in d.children if c.name == f"{MEDIA} History"), None)
    entries = []
    for item in history.walk() if history is not None else ():
        if item.name == f"{RDF} li":
            inner = [node for node in item.walk() if node is not item]
            told = {name: value for node in (item, *inner) for name, value in node.attributes.items()}
            told |= {node.name: node.text.strip() for node in inner}
            entries.append({n.removeprefix(f"{EVENT} "): v for n, v in told.items() if n.startswith(EVENT)})
    return entries


def described(packet: bytes, inner: str) -> bytes:
    """The packet, b"" for none, with a further `rdf:Description` that says `inner`: attributes, ">" and elements.
    Raises ValueError as `marked` does."""
    packet = utf8(packet) or _EMPTY
    rdf = parsed(packet)
    about = next((d.attributes.get(f"{RDF} about", "") for d in rdf.children), "")
    text = f'<rdf:Description xmlns:rdf="{RDF}" rdf:about={quoteattr(about)} {inner}</rdf:Description>\n'
    return _edited(packet, [(rdf.content, rdf.content, text.encode("ascii", "xmlcharrefreplace"))])


def split(packet: bytes) -> tuple[bytes, list[bytes]]:
    """A packet as a JPEG holds it: what fits into one segment, and the segments' contents of the rest, which is none
    where all of it fits. Raises ValueError where it cannot be taken apart."""
    if len(packet) <= MOST:
        return packet, []
    packet = _PADDING.sub(rb"\n\1", utf8(packet))
    rdf = parsed(packet)
    parts = sorted(_properties(packet, rdf), key=lambda part: part[0] - part[1])
    moved: list[Edit] = []
    pieces = []
    left = len(packet) + 300  # the note that tells of the rest
    for start, end, text in parts:
        if left <= MOST:
            break
        moved.append((start, end, b""))
        pieces.append(text)
        left -= end - start
    if left > MOST:
        raise ValueError("a packet of too many parts")
    head = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'.encode()
    rest = head + b"".join(pieces) + b"</rdf:RDF></x:xmpmeta>"
    digest = hashlib.md5(rest, usedforsecurity=False).hexdigest().upper()
    main = described(_edited(packet, moved), f'xmlns:xmpNote="{NOTE}" xmpNote:HasExtendedXMP="{digest}">')
    segments = [
        EXTENSION + digest.encode() + struct.pack(">II", len(rest), at) + rest[at : at + _PIECE]
        for at in range(0, len(rest), _PIECE)
    ]
    return main, segments


def joined(packet: bytes, segments: Sequence[bytes]) -> bytes:
    """The one packet of which a JPEG's first and the `segments` of the rest are parts. Raises ValueError where they
    do not belong together or are not whole."""
    packet = utf8(packet)
    rdf = parsed(packet)
    notes = _values(packet, rdf, NOTE, "HasExtendedXMP")
    digest = notes[0][2].encode() if notes else b""
    whole = b""
    for head, piece in sorted((s[len(EXTENSION) :][:40], s[len(EXTENSION) + 40 :]) for s in segments):
        length, at = struct.unpack(">II", head[32:]) if len(head) == 40 else (0, 0)
        if head[:32] == digest:
            if at != len(whole) or length < at + len(piece):
                raise ValueError("pieces that do not follow one another")
            whole += piece
            missing = length - len(whole)
    if not whole or missing:
        raise ValueError("no whole second packet")
    more = parsed(whole)
    pieces = [_bound(whole[d.start : d.end], d, whole) for d in more.children]
    edits: list[Edit] = [(start, end, b"") for start, end, _ in notes]
    return _edited(packet, [*edits, (rdf.content, rdf.content, b"".join(pieces))])


def _event(mark: Mark) -> str:
    told = {"action": "edited", "softwareAgent": mark.agent, "changed": "/", "parameters": mark.done}
    attributes = " ".join(f"stEvt:{name}={quoteattr(value)}" for name, value in told.items())
    return f'<rdf:li xmlns:rdf="{RDF}" xmlns:stEvt="{EVENT}" {attributes}/>'


def _stronger(before: str, now: str) -> str:
    """Of two source types the one that says more of what a machine made: an edit never takes that back."""
    before = before.strip().removeprefix(SOURCE_TYPES)
    if before == "trainedAlgorithmicMedia":
        return before
    made = ("compositeWithTrainedAlgorithmicMedia", "compositeSynthetic", "algorithmicMedia")
    return before if now == "algorithmicallyEnhanced" and before in made else now


def _values(packet: bytes, rdf: _Node, uri: str, local: str) -> list[tuple[int, int, str]]:
    """Where a property of the picture is said, as element or attribute, and its value."""
    name = f"{uri} {local}"
    found = []
    for description in rdf.children:
        for node in description.children:
            if node.name == name:
                value = node.text.strip() or node.attributes.get(f"{RDF} resource", "")
                found.append((node.start, node.end, value))
        if name in description.attributes:
            for start, end, key in _attributes(packet, description):
                prefix, _, rest = key.rpartition(":")
                if rest == local and description.prefixes.get(prefix) == uri:
                    found.append((start, end, description.attributes[name]))
    return found


def _attributes(packet: bytes, node: _Node) -> list[tuple[int, int, str]]:
    """Where a tag's attributes are, with the space before, and their names."""
    tag = packet[node.start : node.inner]
    return [(node.start + m.start(), node.start + m.end(), m[1].decode()) for m in _ATTRIBUTE.finditer(tag)]


def _properties(packet: bytes, rdf: _Node) -> Iterator[Edit]:
    """Where the picture's properties are, and each in a description of its own."""
    for node in rdf.children:
        about = quoteattr(node.attributes.get(f"{RDF} about", "")).encode()
        for child in node.children:
            if b":" not in packet[child.start : child.inner].split(None, 1)[0]:
                continue  # of a namespace without prefix
            text = b"<rdf:Description rdf:about=" + about + b">" + packet[child.start : child.end]
            yield child.start, child.end, _bound(text + b"</rdf:Description>", child, packet)
        for start, end, key in _attributes(packet, node):
            prefix, _, local = key.partition(":")
            if local and prefix != "xmlns" and node.prefixes.get(prefix) != RDF:
                text = b"<rdf:Description rdf:about=" + about + packet[start:end] + b"/>"
                yield start, end, _bound(text, node, packet)


def _bound(text: bytes, node: _Node, packet: bytes) -> bytes:
    """An element cut out of a packet, with the prefixes declared that it uses and that were declared outside."""
    used = {name.decode() for name in _PREFIX.findall(text)} & node.prefixes.keys()
    tag = _TAG.match(text)
    assert tag is not None
    own = {key.removeprefix("xmlns:") for key in (m[1].decode() for m in _ATTRIBUTE.finditer(tag[0]))}
    declared = "".join(f" xmlns:{p}={quoteattr(node.prefixes[p])}" for p in sorted(used - own - {"xml"}))
    name = re.match(rb"<[^\s/>]+", text)
    assert name is not None
    return name[0] + declared.encode() + text[name.end() :]


def _edited(packet: bytes, edits: Sequence[Edit]) -> bytes:
    out, at = [], 0
    for start, end, text in sorted(edits):
        out += [packet[at:start], text]
        at = end
    return b"".join([*out, packet[at:]])
