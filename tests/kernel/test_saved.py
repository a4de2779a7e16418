"""Named snapshots: what a file gives back, what is refused, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import resource
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import xxhash

from aios_kernel import saved as files
from aios_kernel.chat import Conversation
from aios_kernel.context.image import Image
from aios_kernel.core import EngineConfig, ModelSpec
from aios_kernel.errors import BadRequest, InvalidState, LimitHit, NoSuchSnapshot, PromptTooLong, SnapshotBroken
from aios_kernel.llm import Llm
from aios_kernel.process import Process, ProcessTable
from aios_kernel.protocol import ChatRequest, RunRequest, Tier
from aios_kernel.saved import Saved, history
from aios_kernel.snapshots import Snapshots
from aios_kernel.testing import FakeClock, ScriptedCore

pytestmark = pytest.mark.anyio

SPEC = ScriptedCore().spec

OPTIONS: dict[str, Any] = msgspec.to_builtins(ChatRequest([], max_tokens=64, temperature=0.8, stop=["END"]))
del OPTIONS["messages"], OPTIONS["continue_final_message"]


class LoadedLlm(Llm):
    """One whose model is the scripted one, and whose processes have all said the same."""

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        super().__init__(EngineConfig(), FakeClock())
        self._spec = spec
        self.says = said()

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    async def ready(self) -> ModelSpec:
        await asyncio.sleep(0)
        return self._spec

    async def capture(self, pid: int) -> tuple[Image, Conversation]:
        await asyncio.sleep(0)
        return self.says

    def pieces(self, tokens: Any) -> list[str]:
        return [chr(token) for token in tokens]


def said(reply: str = "once upon", **changes: Any) -> tuple[Image, Conversation]:
    """A context in the middle of a reply; its last token is not fed yet."""
    prompt = "user: a story\nassistant: "
    tokens = tuple((prompt + reply).encode())
    ends = (len(prompt), *range(len(prompt) + 1, len(tokens) + 1))
    image = Image(
        tokens=tokens,
        ends=ends,
        fed=len(ends) - 1,
        kv=np.array(tokens[:-1], dtype=np.int32).view(np.uint8),
        model_hash=SPEC.model_hash,
        build_key=SPEC.build_key,
        exact=True,
    )
    conversation = Conversation(
        messages=[{"role": "user", "content": "a story"}],
        options=OPTIONS,
        text=prompt + reply,
        tokens=list(tokens),
        prompt_tokens=len(prompt),
        finished=False,
        reply=reply,
    )
    return dataclasses.replace(image, **changes), conversation


def process(agent: str = "narrate") -> Process:
    return ProcessTable(11).add(RunRequest(agent, "a fox"), parent=None, model="scripted", at=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def snapshots(folder: Path) -> Snapshots:
    return Snapshots(folder, LoadedLlm(), FakeClock())


async def body(data: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def entries(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def same(a: Saved, b: Saved) -> bool:
    assert a.image.kv is not None
    assert b.image.kv is not None
    plain = [dataclasses.replace(saved, name="", image=dataclasses.replace(saved.image, kv=None)) for saved in (a, b)]
    fields = [{**msgspec.to_builtins(saved)} for saved in plain]
    return fields[0] == fields[1] and bool((a.image.kv == b.image.kv).all())


# --- names and files


async def test_what_is_saved_comes_back_whole(snapshots: Snapshots, folder: Path) -> None:
    info = await snapshots.save(process(), "story")
    assert (info.id, info.pid, info.agent, info.saved, info.tier) == ("story", 12, "narrate", True, Tier.DISK)
    assert (info.tokens, info.bytes) == (len(said()[0].tokens), (folder / "story.aios").stat().st_size)
    assert same(await snapshots.capture(process()), await snapshots.load("story"))
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "story.aios")] == [0o700, 0o600]


async def test_without_a_name_it_is_made_of_agent_and_pid(snapshots: Snapshots) -> None:
    ids = [(await snapshots.save(process())).id for _ in range(3)]
    assert ids == ["narrate-12", "narrate-12-2", "narrate-12-3"]
    assert (await snapshots.save(process("--odd name"))).id == "context"


@pytest.mark.parametrize("name", ["", "12", ".hidden", "../x", "a/b", "-x", "a b", "é", "x" * 65, "a\n"])
async def test_what_is_not_a_name(snapshots: Snapshots, folder: Path, name: str) -> None:
    with pytest.raises(BadRequest, match="is not a name"):
        await snapshots.save(process(), name)
    with pytest.raises(NoSuchSnapshot):
        await snapshots.load(name)
    with pytest.raises(NoSuchSnapshot):
        await snapshots.remove(name)
    assert entries(folder) == []


async def test_a_name_is_replaced_only_when_that_is_asked_for(snapshots: Snapshots) -> None:
    await snapshots.save(process(), "story")
    with pytest.raises(InvalidState, match="there is a snapshot story already"):
        await snapshots.save(process("chat"), "story")
    assert (await snapshots.load("story")).agent == "narrate"
    await snapshots.save(process("chat"), "story", force=True)
    assert (await snapshots.load("story")).agent == "chat"


async def test_of_two_saves_at_once_under_one_name_one_is_refused(snapshots: Snapshots) -> None:
    saves = (snapshots.save(process(), "story", force=force) for force in (False, True, False))
    results = await asyncio.gather(*saves, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["InvalidState", "InvalidState", "SnapshotInfo"]
    names = await asyncio.gather(*(snapshots.save(process()) for _ in range(4)))
    assert {info.id for info in names} == {"narrate-12", "narrate-12-2", "narrate-12-3", "narrate-12-4"}


async def test_the_list_tells_what_is_broken_and_why(snapshots: Snapshots, folder: Path) -> None:
    await snapshots.save(process(), "good")
    (folder / "cut.aios").write_bytes((folder / "good.aios").read_bytes()[:-1])
    (folder / "notes.txt").write_text("no snapshot, and not called like one")
    infos = {info.id: info.error for info in await snapshots.infos()}
    assert infos == {"good": "", "cut": "cut.aios: cut off, or something was added"}
    await snapshots.remove("cut")
    assert [info.id for info in await snapshots.infos()] == ["good"]


async def test_a_file_that_is_read_outlives_its_name(snapshots: Snapshots) -> None:
    await snapshots.save(process(), "story")
    with snapshots.open("story") as file:
        await snapshots.remove("story")
        assert file.read(8) == b"AIOSSNAP"


async def test_what_a_killed_kernel_left_half_written_is_removed(folder: Path) -> None:
    await Snapshots(folder, LoadedLlm(), FakeClock()).save(process(), "story")
    (folder / ".story.aios.x1").write_bytes(b"half")
    (folder / ".import-x2").mkdir()
    (folder / ".import-x2" / "file").write_bytes(b"half")
    Snapshots(folder, LoadedLlm(), FakeClock())
    assert entries(folder) == ["story.aios"]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes: write(2) fails as on a disk that is full.

    No fixture: pytest reports a test before its fixtures end, and its own output may go to a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_one_line_and_leaves_nothing(snapshots: Snapshots, folder: Path) -> None:
    with full_disk():
        with pytest.raises(LimitHit, match=r"story\.aios: File too large"):
            await snapshots.save(process(), "story")
        with pytest.raises(LimitHit):
            await snapshots.open_living(process())
        with pytest.raises(LimitHit, match="snapshots: File too large"):
            await snapshots.receive(body(b"AIOSSNAP" + bytes(1000)), "story")
    assert entries(folder) == []


# --- from elsewhere


@pytest.fixture
async def exported(snapshots: Snapshots) -> bytes:
    with await snapshots.open_living(process()) as file:
        return file.read()


async def test_an_exported_file_is_kept_under_the_name_it_had(snapshots: Snapshots, folder: Path) -> None:
    await snapshots.save(process(), "story")
    data = (folder / "story.aios").read_bytes()
    ids = [(await snapshots.receive(body(data, 7), name)).id for name in (None, "tale")]
    assert ids == ["story-2", "tale"]
    assert same(await snapshots.load("story"), await snapshots.load("tale"))
    with pytest.raises(InvalidState):
        await snapshots.receive(body(data), "tale")


async def test_every_flipped_byte_is_found(snapshots: Snapshots, folder: Path, exported: bytes) -> None:
    for index in range(len(exported)):
        altered = bytearray(exported)
        altered[index] ^= 0x21
        with pytest.raises(SnapshotBroken):
            await snapshots.receive(body(bytes(altered)), "story")
    assert entries(folder) == []


@pytest.mark.parametrize("keep", [0, 5, 12, 31, 200, -1])
async def test_a_file_that_is_cut_off_is_refused(snapshots: Snapshots, exported: bytes, keep: int) -> None:
    with pytest.raises(SnapshotBroken, match=r"cut off|not a snapshot"):
        await snapshots.receive(body(exported[:keep]), "story")


def forge(data: bytes, change: Any) -> bytes:
    """The file with its header changed, every checksum right."""
    magic, version, length, _ = struct.unpack_from("<8sII16s", data)
    header = msgspec.json.decode(data[32 : 32 + length])
    header = change(header) or header
    text = msgspec.json.encode(header)
    return struct.pack("<8sII16s", magic, version, len(text), xxhash.xxh3_128_digest(text)) + text + data[32 + length :]


def _conversation(**changes: Any) -> Any:
    return lambda header: header["meta"]["conversation"].update(changes)


@pytest.mark.parametrize(
    "change",
    [
        _conversation(prompt_tokens=-1),
        _conversation(prompt_tokens=10**6),
        _conversation(tokens=[-5]),
        _conversation(tokens=[SPEC.n_vocab]),
        _conversation(tokens=[2**70]),
        _conversation(messages=[{"content": "no role"}]),
        _conversation(messages="text"),
        _conversation(options={"max_tokens": "many"}),
        _conversation(messages=[]),
        _conversation(reply="something else"),
        _conversation(finished=3),
        lambda header: header["meta"].update(shared=-1),
        lambda header: header["meta"].update(shared=10**9),
        lambda header: header["meta"].pop("conversation"),
        lambda header: header.update(meta=[]),
        lambda header: header.update(num_tokens=10**12),
        lambda header: header.update(fed=10**6),
        lambda header: ["not an object"],
    ],
)
async def test_a_file_that_makes_no_sense_is_refused(snapshots: Snapshots, exported: bytes, change: Any) -> None:
    with pytest.raises(SnapshotBroken):
        await snapshots.receive(body(forge(exported, change)), "story")


async def test_options_of_another_version_are_made_those_of_this_one(snapshots: Snapshots, exported: bytes) -> None:
    await snapshots.receive(body(forge(exported, _conversation(options={"seed": 3, "fancy": True}))), "story")
    options = (await snapshots.load("story")).conversation.options
    assert options == {**OPTIONS, "max_tokens": 512, "temperature": 0.0, "stop": [], "seed": 3}


async def test_a_name_in_a_file_is_not_trusted(snapshots: Snapshots, folder: Path, exported: bytes) -> None:
    forged = forge(exported, lambda header: header["meta"].update(name="../../evil"))
    assert (await snapshots.receive(body(forged), None)).id == "context"


async def test_what_does_not_end_is_cut_short(snapshots: Snapshots, folder: Path) -> None:
    async def endless(data: bytes) -> AsyncIterator[bytes]:
        while True:
            yield data
            data = bytes(1 << 20)

    with pytest.raises(SnapshotBroken, match="not a snapshot"):
        await snapshots.receive(endless(b"\0"), "story")
    with pytest.raises(SnapshotBroken, match="longer than any"):
        await snapshots.receive(endless(b"AIOSSNAP"), "story")
    assert entries(folder) == []


async def test_another_builds_kv_is_left_behind(folder: Path, exported: bytes) -> None:
    here = Snapshots(folder, LoadedLlm(dataclasses.replace(SPEC, build_key="another")), FakeClock())
    await here.receive(body(exported), "story")
    image = (await here.load("story")).image
    assert (None, 0, said()[0].tokens, said()[0].ends) == (image.kv, image.fed, image.tokens, image.ends)
    assert not (await here.detail("story", None)).fits


async def test_another_models_is_refused(folder: Path, exported: bytes) -> None:
    here = Snapshots(folder, LoadedLlm(dataclasses.replace(SPEC, model_hash="another")), FakeClock())
    with pytest.raises(InvalidState, match="made with scripted"):
        await here.receive(body(exported), "story")


async def test_one_longer_than_the_window_is_refused(folder: Path, exported: bytes) -> None:
    here = Snapshots(folder, LoadedLlm(dataclasses.replace(SPEC, window=16)), FakeClock())
    with pytest.raises(PromptTooLong, match="the context window 16"):
        await here.receive(body(exported), "story")


# --- what others see of one


async def test_the_detail_of_a_living_one_and_of_a_saved_one(snapshots: Snapshots) -> None:
    await snapshots.save(process(), "story")
    saved, living = await snapshots.detail("story", None), await snapshots.detail("12", process())
    assert (saved.saved, living.saved, saved.fits, saved.unfinished) == (True, False, True, True)
    assert saved.messages[-1] == {"role": "assistant", "content": "once upon"}
    assert (saved.prompt_tokens + saved.reply_tokens, "".join(saved.pieces)) == (saved.tokens, said()[1].text)
    assert (saved.kv_bytes, saved.token_ids) == (living.bytes, living.token_ids)


def test_the_history_asks_for_what_is_left_of_the_reply() -> None:
    conversation = said()[1]
    told = history(conversation)
    assert told.messages == [{"role": "user", "content": "a story"}, {"role": "assistant", "content": "once upon"}]
    assert told.unfinished
    assert told.options == {**OPTIONS, "max_tokens": 64 - len("once upon")}


def test_the_history_of_a_reply_that_has_not_begun_ends_with_the_question() -> None:
    told = history(said("")[1])
    assert (
        told.messages,
        told.unfinished,
        told.options["max_tokens"],
    ) == ([{"role": "user", "content": "a story"}], True, 64)


def test_the_history_of_a_finished_reply_keeps_the_options_whole() -> None:
    told = history(dataclasses.replace(said()[1], finished=True))
    assert (told.unfinished, told.options["max_tokens"]) == (False, 64)


def test_a_conversation_may_say_more_than_the_context_holds(tmp_path: Path) -> None:
    image, conversation = said()
    longer = dataclasses.replace(conversation, tokens=[*conversation.tokens, 65, 66], finished=True)
    whole = Saved("x", image, longer, 12, "chat", "", "scripted", 1.0)
    files.write(tmp_path / "x.aios", whole)
    assert same(whole, files.read(tmp_path / "x.aios", SPEC))
    assert (tmp_path / "x.aios").stat().st_size < 2500  # the tokens are in it once
