import re

import pytest

from chaosmesh_ext.report import escaping, markdown, numbers
from chaosmesh_ext.report.waterfall import waterfall


def test_it_tells_the_whole_story(doc):
    """Headline, verdict, what was injected and how it was proven, evidence, what the user saw, advice, coverage."""
    text = markdown.render(doc)
    assert "**Verdict: weakness found**" in text
    assert "- **productpage gives up on details after 3.0 s, does not retry, and still answers 200" in text
    assert "| `1` | productpage-v1 → details: 7 s delay | envoyfilter | 21 ms | traces | 5 |" in text
    assert "`EnvoyFilter default/chaos-0a1b2c3d`" in text
    assert 'the user got 200 after 3.0 s, without "Book Details"' in text
    assert "What to do: " in text
    assert "1 of 1 edge was tested." in text
    assert "`0a1b2c3d`, started 2023-11-14T22:13:20Z" in text


def test_what_others_got_while_stateful_waves_held_something_up_is_a_table(doc, breaker):
    assert "| 5, breaker | 9 | 4 | 0 | 200 ms | 100 ms |" in markdown.render({**doc, "others": [breaker]})
    assert "What others got" not in markdown.render(doc)


def test_cells_that_the_same_objects_carried_are_one_line(doc):
    """A wave's cells share their objects: fifty lines of the same would hide the findings."""
    (proof,) = doc["proofs"]
    alone = {**proof, "cell": "3", "objects": ["EnvoyFilter default/chaos-0a1b2c3d-3"]}
    text = markdown.render({**doc, "proofs": [proof, {**proof, "cell": "2"}, alone]})
    assert "- cells `1`, `2` were carried by `EnvoyFilter default/chaos-0a1b2c3d`.\n" in text
    assert "- cell `3` was carried by `EnvoyFilter default/chaos-0a1b2c3d-3`.\n" in text


def test_a_trace_is_drawn_once_and_referred_to_afterwards(doc):
    text = markdown.render(doc)
    drawn = re.findall(r"^Trace \d+, `(\w+)`", text, re.MULTILINE)
    assert len(drawn) == len(set(drawn)) == 3
    assert "drawn as trace" in text


def test_the_same_document_gives_the_same_text(make):
    assert markdown.render(make()) == markdown.render(make())


def test_lists_and_tables_have_no_holes(doc):
    """A blank line inside a table ends it."""
    text = markdown.render(doc)
    assert "\n\n\n" not in text
    assert not re.search(r"^\|.*\n\n\|", text, re.MULTILINE)
    assert all(line == line.rstrip() for line in text.splitlines())
    assert text.endswith("\n")


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "](javascript:alert(1))",
        "| a | b |",
        "`${x}` ```",
        "**bold** _it_ ~~gone~~",
        "![x](http://evil/x.png)",
        "line\n# heading\n```",
        "\x1b[31mred\x00",
        "&lt;b&gt; {{ 7*7 }} {% raw %}",
    ],
)
def test_what_telemetry_says_is_never_markup(make, hostile):
    """Anybody who can send a request can put words in a trace."""
    text = markdown.render(
        make(details=hostile, operation_path=f"/{hostile}", url=f"http://x/{hostile}", error=hostile)
    )
    fences = [line for line in text.splitlines() if line.startswith("```")]
    assert len(fences) % 2 == 0
    assert set(fences) == {"```text", "```"}
    outside = re.sub(r"```text\n.*?\n```", "", text, flags=re.DOTALL)
    outside = re.sub(r"`[^`\n]*`", "", outside)
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    assert not re.search(r"(?<!\\)(?:~~|_it_)", outside)
    assert not [line for line in outside.splitlines() if line.startswith("# ") and "Resilience" not in line]
    assert "\x1b" not in text
    assert "\x00" not in text
    for line in outside.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (7, 8)


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("productpage-v1 → details", "productpage-v1 → details"),
        ("a_b*c", r"a\_b\*c"),
        ("see https://evil/x", r"see https\://evil/x"),
        ("www.evil.example", r"www\.evil.example"),
        ("a & b", "a &amp; b"),
        ("two\nlines", "two lines"),
    ],
)
def test_plain_text_stays_readable_and_markup_is_defused(raw, safe):
    assert escaping.text(raw) == safe


def test_a_waterfall_says_who_called_whom_when_and_how_it_ended(doc):
    trace = doc["cells"][1]["traces"][0]
    head, page, call = waterfall(trace).splitlines()
    assert head.startswith("service and operation")
    assert page.startswith("productpage-v1 GET /productpage")
    assert call.startswith("  productpage-v1 calls details GET /details/0")
    assert call.endswith("no answer  DC,DI")
    assert "3,004 ms" in call


def test_a_waterfall_says_grpcs_own_status_beside_http_200(doc):
    trace = doc["cells"][1]["traces"][0]
    call = {**trace["spans"][-1], "status": 200, "grpc_status": 14, "flags": ["FI"]}
    assert waterfall({**trace, "spans": [*trace["spans"][:-1], call]}).splitlines()[-1].endswith("200 grpc 14  FI")


def test_a_waterfall_of_many_spans_says_how_many_it_left_out(doc):
    trace = doc["cells"][1]["traces"][0]
    first = trace["spans"][0]
    many = [{**first, "span_id": f"{n:016x}"} for n in range(1, 100)]
    assert waterfall({**trace, "spans": many}).splitlines()[-1] == "(39 more spans)"


def test_a_document_without_anything_renders(doc):
    empty = {**doc, "findings": [], "headlines": [], "cells": [], "proofs": []}
    assert "Nothing was found" in markdown.render(empty)


@pytest.mark.parametrize(
    ("number", "unit", "said"),
    [
        (3.0043, "s", "3.0 s"),
        (1.25, "s", "1.25 s"),
        (0.15, "s", "150 ms"),
        (0.0, "retries", "0 retries"),
        (1.0, "retries", "1 retry"),
        (None, "", "–"),
    ],
)
def test_values_read_as_people_say_them(number, unit, said):
    assert numbers.value({"value": number, "unit": unit}) == said
