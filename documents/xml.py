"""Reading an XML document as a tree of elements with their lines.

Documents come from outside. A document type is refused, before anything of it is read:
without one there are no entities, so nothing can be fetched and nothing grows. See
"XML vulnerabilities" in the Python documentation; all of them need a document type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from obligor.errors import SchemaError

# Bank statements and invoices have about fifteen levels.
MOST_LEVELS = 100
# Of a statement of a year of a large company: 120 MB.
MOST_BYTES = 500_000_000


@dataclass
class Element:
    """An element of a document; the namespace of its name is left out.

    Attributes
    ----------
    name : str
        The local name.
    line : int
        The line it starts on, counted from 1.
    attributes : dict of str to str
        By name.
    children : list of Element
        In the order of the document.
    text : str
        The characters that stand directly in it, without outer blanks.
    namespace : str
        The namespace of the name; empty if there is none.
    """

    name: str
    line: int
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""
    namespace: str = ""

    def each(self, path: str) -> Iterator[Element]:
        """Yield every element at a path of names, such as ``Refs/EndToEndId``."""
        name, _, deeper = path.partition("/")
        for child in self.children:
            if child.name == name:
                if deeper:
                    yield from child.each(deeper)
                else:
                    yield child

    def first(self, *paths: str) -> Element | None:
        """Return the first element at any of some paths, tried in their order."""
        for path in paths:
            for element in self.each(path):
                return element
        return None

    def text_at(self, *paths: str) -> str:
        """Return the first text at any of some paths; empty if there is none."""
        for path in paths:
            for element in self.each(path):
                if element.text:
                    return element.text
        return ""

    def texts_at(self, *paths: str) -> list[str]:
        """Return all texts at some paths."""
        elements = [element for path in paths for element in self.each(path)]
        return [element.text for element in elements if element.text]


class _TreeBuilder:
    """Builds the tree from what the parser reports."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.root: Element | None = None
        self.open_elements = list[Element]()
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.refuse_doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.add_text

    def refuse_doctype(self, *_: object) -> None:
        raise SchemaError(
            "the file has a document type (DOCTYPE), which is not read",
            where=f"{self.where} line {self.parser.CurrentLineNumber}",
            expected="a document without one: bank statements and invoices have none",
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        line = self.parser.CurrentLineNumber
        if len(self.open_elements) >= MOST_LEVELS:
            raise SchemaError(
                f"the elements are nested more than {MOST_LEVELS} deep",
                where=f"{self.where} line {line}",
                expected="a bank statement or an invoice",
            )
        namespace, _, local_name = name.rpartition(" ")
        element = Element(local_name, line, attributes, namespace=namespace)
        if self.open_elements:
            self.open_elements[-1].children.append(element)
        else:
            self.root = element
        self.open_elements.append(element)

    def end(self, _: str) -> None:
        element = self.open_elements.pop()
        element.text = element.text.strip()

    def add_text(self, text: str) -> None:
        self.open_elements[-1].text += text


def parse_xml(content: bytes, where: str) -> Element:
    """Return the root of a document.

    Raises
    ------
    SchemaError
        If it is not a complete XML document, or has a document type.

    Examples
    --------
    >>> parse_xml(b"<a xmlns='urn:x'><b>1</b></a>", "a.xml").text_at("b")
    '1'
    """
    if len(content) > MOST_BYTES:
        raise SchemaError(
            f"the file has {len(content):,} bytes",
            where=where,
            expected=f"at most {MOST_BYTES:,}",
            do="export a shorter period",
        )
    builder = _TreeBuilder(where)
    try:
        builder.parser.Parse(content, True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise SchemaError(
            f"the file is not an XML document: {reason}",
            where=f"{where} line {error.lineno}",
            expected="an XML document",
        ) from None
    except (ValueError, LookupError) as error:
        # Of an encoding that Python cannot read, such as one with several bytes.
        raise SchemaError(
            f"the file cannot be decoded: {error}", where=where, expected="UTF-8"
        ) from None
    if builder.root is None:
        raise SchemaError("the file is empty", where=where, expected="an XML document")
    return builder.root
