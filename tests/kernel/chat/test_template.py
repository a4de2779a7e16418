from __future__ import annotations

import pytest

from aios_kernel.chat.template import ChatTemplate
from aios_kernel.errors import BadRequest
from aios_kernel.testing import FakeClock

HI = [{"role": "user", "content": "hi"}]


def template(source: str | None) -> ChatTemplate:
    return ChatTemplate(source, bos="<s>", eos="</s>", clock=FakeClock(0.0))


def test_a_model_without_a_template_gets_chatml() -> None:
    assert template(None).render(HI) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_templates_have_what_hugging_face_gives_them() -> None:
    source = (
        "{{ bos_token }}{{ messages | tojson }}{{ strftime_now('%Y') }}{% for m in messages %}{% break %}{% endfor %}"
    )
    assert (
        template(source).render([{"role": "user", "content": "<é>"}]) == '<s>[{"role": "user", "content": "<é>"}]1970'
    )


def test_a_template_that_objects_makes_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="roles must alternate"):
        template("{{ raise_exception('roles must alternate') }}").render(HI)


@pytest.mark.parametrize("source", ["{{ messages.__class__.__mro__ }}", "{% set _ = messages.append(1) %}"])
def test_a_hostile_template_is_kept_in_its_sandbox(source: str) -> None:
    with pytest.raises(BadRequest):
        template(source).render(HI)


def test_a_broken_template_is_named_as_such() -> None:
    with pytest.raises(BadRequest, match="broken"):
        template("{% for %}")


def test_tools_are_native_only_where_their_format_is_known() -> None:
    assert template("{{ tools }} <tool_call>").has_tools
    assert not template("{{ tools }} [TOOL_CALLS]").has_tools
    assert not template(None).has_tools
