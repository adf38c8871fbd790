import msgspec
from hypothesis import given
from hypothesis import strategies as st

from reports.text import labels_of, plain, short
from simulator.result import Result


@given(st.text(st.characters()))
def test_plain_text_can_be_written_and_read_as_xml(text: str) -> None:
    from xml.etree import ElementTree

    element = ElementTree.Element("t")
    element.text = plain(text)
    written = ElementTree.tostring(element, encoding="utf-8")
    assert (ElementTree.fromstring(written).text or "") == plain(text)


def test_plain_keeps_scripts_and_emoji_but_not_overrides() -> None:
    assert plain("שלום 🚀 中文") == "שלום 🚀 中文"
    assert plain("a\u202eb\x00c\nd") == "a\ufffdb\ufffdc d"


@given(st.text(st.characters()), st.integers(min_value=4, max_value=50))
def test_short_is_short_and_keeps_what_is(text: str, most: int) -> None:
    assert len(short(text, most)) <= most
    assert len(text) > most or short(text, most) == plain(text)


def test_labels_are_all_different(one: Result, seven: list[Result]) -> None:
    assert labels_of([one]) == ["h100-sxm-80gb"]
    assert labels_of(seven)[5:] == ["8 × h100-sxm-80gb", "h100-sxm-80gb + 2 × alveo-v80"]
    other = msgspec.structs.replace(one, title="with fp8")
    assert labels_of([one, other]) == [one.title, "with fp8"]
    assert labels_of([one, one]) == [one.title, f"{one.title} (2)"]
