"""What a sentence may ask of the files: everything that a step can name comes from the sentence or is there already.

The model chooses among it, under a JSON Schema of these choices; so even a very small one can neither make up a file
nor a content, and no file is deleted where nobody spoke of deleting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from aios_agents import search

MAX_CHOICES: Final = 12  # files that a step may be about: those whose names have most of the sentence's words

# The words that name an act. A sentence with none of them asks for one of those that change nothing.
VERBS: Final[dict[str, str]] = {
    "list": r"list|ls|files are|files do|files there|everything",
    "search": r"search|find|mention\w*|which files?|look for|contain\w*",
    "read": r"read|show|print|open|display|cat|say|says",
    "history": r"history|versions",
    "write": r"write|save|store|put|note down|create|overwrite|replace",
    "append": r"append|add|put",
    "mkdir": r"(?:make|create|new)\b.*\b(?:folder|directory)|mkdir",
    "move": r"move|rename|mv|call it",
    "delete": r"delete|remove|erase|trash|throw away|get rid",
    "rollback": r"undo|revert|roll\s?back|go back|previous",
    "restore": r"restore|undelete|recover|bring back|get back",
    "share": r"share",
}
CHANGES: Final = frozenset({"write", "append", "mkdir", "move", "delete", "rollback", "restore", "share"})

_QUOTED: Final = re.compile(r'"([^"]+)"|“([^”]+)”|\'([^\']+)\'(?!\w)')
_NAME: Final = re.compile(r"[\w~.-]*(?:[/.][\w.-]+)+/?|[\w-]+/")
_THEN: Final = re.compile(
    r"\s*[;\n]\s*|\s*[,.]?\s+(?:and\s+)?then\s+|\s*,?\s+and\s+(?=(?:" + "|".join(VERBS.values()) + r")\b)",
    re.IGNORECASE,
)
_FILLERS: Final = """a about all and any are can contain contains do document documents does file files find folder for
have i in is it list look me mention mentioning mentions my of on please search show something that the there to what
where which with word words"""

_LINES: Final = {  # of the plan, for the person
    "list": "list {path}",
    "search": "search for {words}",
    "read": "read {path}",
    "history": "list the versions of {path}",
    "write": "write {content!r} to {path}",
    "append": "add {content!r} to {path}",
    "mkdir": "make the folder {path}",
    "move": "move {path} to {to}",
    "delete": "move {path} to the bin",
    "rollback": "roll {path} back",
    "restore": "bring {path} back from the bin",
    "share": "share {path} with {to} for a day",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One act. Which of the fields mean something depends on `do`."""

    do: str
    path: str = ""
    to: str = ""
    content: str = ""
    words: str = ""
    version: int = -1

    @property
    def line(self) -> str:
        """For the person."""
        line = _LINES[self.do].format(**asdict(self))
        return line + (f" to version {self.version}" if self.version > 0 else "")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The files that there are, and will be once the steps before are done."""

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    bin: tuple[str, ...] = ()
    last: str = ""  # what the step before was about: "it"

    def after(self, step: Step) -> Shelf:
        last = step.to if step.do == "move" else step.path
        match step.do:
            case "write" | "append":
                return replace(self, files=_with(self.files, step.path), last=last)
            case "mkdir":
                return replace(self, folders=_with(self.folders, step.path), last=last)
            case "move":
                return replace(self, files=_with(_without(self.files, step.path), step.to), last=last)
            case "delete":
                files, folders = _without(self.files, step.path), _without(self.folders, step.path)
                return replace(self, files=files, folders=folders, bin=_with(self.bin, step.path), last=last)
            case "restore":
                return replace(self, files=_with(self.files, step.path), bin=_without(self.bin, step.path), last=last)
            case _:
                return replace(self, last=last or self.last)


def clauses(request: str) -> list[str]:
    """The sentence's parts that ask for one thing each. What is in quotes is never cut."""
    quotes: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quotes.append(match.group())
        return f"\0{len(quotes) - 1}\0"

    parts = _THEN.split(_QUOTED.sub(hide, request.strip()))
    shown = (re.sub("\0(\\d+)\0", lambda match: quotes[int(match[1])], part) for part in parts)
    return [part for part in shown if part.strip(" .,")]


def choices(clause: str, shelf: Shelf) -> list[dict[str, Any]]:
    """JSON Schemas of the steps that the clause may mean."""
    named = [do for do, words in VERBS.items() if re.search(rf"\b(?:{words})\b", clause, re.IGNORECASE)]
    wanted = named or [do for do in VERBS if do not in CHANGES]
    said = _Said.of(clause, shelf)
    found = [{"do": {"const": do}} | fields for do in wanted if (fields := said.fields(do)) is not None]
    return [
        {"type": "object", "properties": each, "required": list(each), "additionalProperties": False} for each in found
    ]


def step_of(found: dict[str, Any]) -> Step:
    """The step that the model chose."""
    return Step(**found)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a clause names."""

    names: tuple[str, ...]  # of files, there or not
    named: tuple[str, ...]  # files and folders that are there; by what they are called alike where no file is named
    alike: tuple[str, ...]  # the same, also where the name of another file stands there
    folders: tuple[str, ...]
    deleted: tuple[str, ...]
    contents: tuple[str, ...]
    words: str
    reader: str
    version: int

    @classmethod
    def of(cls, clause: str, shelf: Shelf) -> _Said:
        plain = _QUOTED.sub(" ", clause)
        quoted = tuple(next(filter(None, groups)).strip() for groups in _QUOTED.findall(clause))
        names = tuple(
            dict.fromkeys(name.strip(".,;:!?/") for name in [*_NAME.findall(plain), *filter(_is_name, quoted)])
        )
        it = (shelf.last,) if shelf.last and re.search(r"\bit\b", plain, re.IGNORECASE) else ()
        # A folder is meant where one is spoken of: "trip notes" are more likely a file in `notes`.
        paths = shelf.files + (shelf.folders if re.search(r"\bfolder|\bdirectory|/", plain) else ())
        named = _named(plain, paths)
        reader = re.search(r"\bwith (?:the )?(?:agent )?([a-z][\w-]*)", plain)
        number = re.search(r"\bversion (\d+)", plain)
        return cls(
            names=names,
            named=it + named if named or names else it or _alike(plain, paths),
            alike=it + (named or _alike(plain, paths)),
            folders=_named(plain, shelf.folders) or _alike(plain, shelf.folders),
            deleted=_named(plain, shelf.bin) or _alike(plain, shelf.bin),
            contents=tuple(text for text in quoted if not _is_name(text)) or _content(plain),
            words=" ".join(quoted) or _subject(plain),
            reader=reader[1] if reader else "",
            version=int(number[1]) if number else -1,
        )

    def fields(self, do: str) -> dict[str, Any] | None:
        """The choices for the fields of an act; None: the clause does not name what it takes."""
        match do:
            case "list":
                return {"path": {"enum": ["", *self.folders]}}
            case "search":
                return {"words": {"const": self.words}} if self.words else None
            case "read" | "history" | "delete":
                return _one_of(path=self.named)
            case "write":
                return _one_of(path=_files(self.names) or self.named, content=self.contents or ("",))
            case "append":
                return _one_of(path=_files(self.names) or self.named, content=self.contents)
            case "mkdir":
                return _one_of(path=self.names or _last_word(self.words))
            case "move":
                return _one_of(path=self.alike, to=tuple(name for name in self.names if name not in self.named))
            case "rollback":
                fields = _one_of(path=self.named)
                return fields and fields | {"version": {"const": self.version}}
            case "restore":
                return _one_of(path=self.deleted)
            case _:
                return _one_of(path=self.named, to=(self.reader,) if self.reader else ())


def _one_of(**fields: Iterable[str]) -> dict[str, Any] | None:
    """A choice for each field; None where one has nothing to choose from."""
    found = {name: list(dict.fromkeys(values))[:MAX_CHOICES] for name, values in fields.items()}
    return {name: {"enum": values} for name, values in found.items()} if all(found.values()) else None


def _named(clause: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Paths that the clause names, whole or by the last part."""

    def stands(name: str) -> bool:
        return re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", clause, re.IGNORECASE) is not None

    return tuple(path for path in paths if stands(path) or stands(path.rpartition("/")[2]))


def _alike(clause: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Paths that share most words with the clause: "the old draft"."""
    ranked = search.rank(clause, paths, lambda path: re.sub(r"[/._-]", " ", path))
    return tuple(path for score, path in ranked if score == ranked[0][0] and score > 0)


def _content(clause: str) -> tuple[str, ...]:
    """What is to be written, where it stands between the verb and the file: "add milk to shopping.txt"."""
    verbs = "|".join(VERBS[do] for do in ("write", "append"))
    found = re.search(rf"\b(?:{verbs})\b\s+(.+?)\s+(?:in|to|into|as|at the end of)\s+\S*[./]\S*", clause, re.IGNORECASE)
    text = found[1].strip(" ,:") if found else ""
    return (text,) if text and not _NAME.fullmatch(text) and text.lower() not in ("a file", "the file") else ()


def _subject(clause: str) -> str:
    """The words of a clause that a search can be about."""
    return " ".join(word for word in re.findall(r"[\w'-]+", clause) if word.lower() not in _FILLERS.split())


def _last_word(words: str) -> tuple[str, ...]:
    """The name in "make a folder called recipes"."""
    found = re.findall(r"[\w-]+", words)
    return (found[-1],) if found else ()


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def _files(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if "." in name.rpartition("/")[2])


def _with(paths: tuple[str, ...], path: str) -> tuple[str, ...]:
    return paths if path in paths else (*paths, path)


def _without(paths: tuple[str, ...], path: str) -> tuple[str, ...]:
    return tuple(other for other in paths if other != path and not other.startswith(path + "/"))
