"""The report as a file: what it shows, what it never does, and how it treats gaps."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from runtime_bench.errors import EdgeError
from tests.xprune.explain.made_up_run import REMOVED, Run

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"
LOADING = {
    "src",
    "href",
    "srcset",
    "action",
    "formaction",
    "data",
    "poster",
    "background",
    "ping",
}


class Page(HTMLParser):
    """What a parser that we did not write sees: tags, attributes, the shown text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """Return all shown text; every run of white space is one ordinary space."""
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="session")
def page(plausible_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of the plausible run."""
    return Page(plausible_run.write(tmp_path_factory.mktemp("report") / "report.html"))


def hostile(value: object) -> object:
    """Return a copy of a JSON value in which every text is hostile."""
    if isinstance(value, dict):
        # Layers are keys too, and must still be found under their names.
        return {
            hostile(key) if key.startswith("model.") else key: hostile(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def test_every_removed_layer_is_named_with_its_reason(page: Page, plausible_run: Run):
    """Each layer of the summary stands in the table with its substitute and its reason."""
    cells = [text.strip() for text in page.texts]

    for entry in plausible_run.summary["removed"]:
        assert entry["layer"] in cells
        assert entry["substitute"] in cells
        assert entry["reason"] in cells


def test_a_removed_layer_that_only_the_summary_knows_is_shown(run: Run, tmp_path: Path):
    """The plan may be empty; the summary's list is then the table."""
    run.plan.clear()

    cells = [text.strip() for text in Page(run.write(tmp_path / "report.html")).texts]

    assert set(REMOVED) <= set(cells)


def test_the_headline_says_the_outcome_in_one_sentence(page: Page):
    """Speed-up, kept accuracy and the number of layers stand in plain words."""
    assert (
        "8 of 150 layers were replaced by something cheaper. The result runs 1.25 times as "
        "fast as the original and keeps 96 % of its accuracy."
    ) in page.text


def test_another_input_and_why_stand_in_the_report(run: Run, tmp_path: Path):
    """The headline says that the input is smaller; a table, what else was looked at."""
    run.summary["model"] |= {"imgsz": [256, 320], "base_imgsz": [320, 320]}
    chosen, other = ({"size": [256, width], "precision": "float32"} for width in (320, 288))
    figures = {"latency_ratio": 0.8125, "agreement": 0.4321, "after": None, "layers": None}
    run.summary["variant"] = chosen
    run.summary["variants"] = [
        {"variant": chosen, **figures, "refused": None, "after": 0.4019, "layers": 8},
        {"variant": other, **figures, "refused": "slower & no better"},
    ]

    page = Page(run.write(tmp_path / "report.html"))

    assert "cheaper. Its input is 256×320 pixels, not 320×320. The result runs" in page.text
    cells = [text.strip() for text in page.texts]
    for text in (
        "256×320",
        "256×288",
        "0.812",
        "0.432",
        "0.402",
        "chosen",
        "slower & no better",
    ):
        assert text in cells


def test_nothing_is_loaded_from_anywhere(page: Page):
    """Every address is inside the page (`data:` or a fragment), and no script is there."""
    addresses = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name.split(":")[-1] in LOADING and value is not None
    ]

    assert len(addresses) >= 8  # the pictures, so the rule below was really tried
    assert all(value.startswith(("data:", "#")) for value in addresses)
    assert not {"script", "link", "iframe", "object", "embed"} & {
        tag for tag, attributes in page.tags if attributes.get("href") != "data:,"
    }


def test_the_styles_load_nothing(plausible_run: Run, tmp_path: Path):
    """CSS has its own ways to load: `url()` and `@import`."""
    html = plausible_run.write(tmp_path / "report.html")

    assert "url(" not in html
    assert "@import" not in html
    assert "http" not in re.sub(r'content="|http-equiv', "", html)


def test_the_page_forbids_itself_every_network_access(page: Page):
    """The policy starts from nothing and adds pictures inside the page and its own styles."""
    policies = [
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]

    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    ]


def test_hostile_names_are_shown_as_text(run: Run, tmp_path: Path):
    """Markup in any name of model, layer, class, picture or machine stays text."""
    ordinary = Page(run.write(tmp_path / "ordinary.html"))
    attacked = run.changed(
        summary=hostile(run.summary),
        scores=hostile(run.scores),
        plan=hostile(run.plan),
        latency=hostile(run.latency),
        names=tuple(f"{name}{HOSTILE}" for name in run.names),
        examples=[replace(example, name=HOSTILE) for example in run.examples],
    )

    page = Page(attacked.write(tmp_path / "attacked.html"))

    assert page.text.count(HOSTILE) > 100
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in ordinary.tags} | {"p"}
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]


def test_an_empty_run_is_a_report_full_of_gaps(run: Run, tmp_path: Path):
    """With nothing known, gaps are dashes or words, and no None or NaN is shown."""
    empty = run.changed(
        summary={}, scores={}, plan={}, latency={}, before={}, after={}, examples=[], names=()
    )

    text = Page(empty.write(tmp_path / "report.html")).text

    assert "not measured" in text
    assert "\N{EM DASH}" in text
    assert not re.search(r"\b(None|nan|NaN|null|inf)\b", text)


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf"), "many", True, 10**400])
def test_what_is_no_number_is_a_gap(run: Run, tmp_path: Path, gap: object):
    """A value that cannot be a figure is shown as missing, wherever it stands."""
    for side in ("before", "after"):
        run.summary[side] = dict.fromkeys(("ap", "ap50", "parameters", "macs"), gap)
    run.summary["speedup"] = gap
    run.summary["speedup_interval"] = [gap, gap]
    run.plan["choices"][0]["score"] = gap
    run.latency["layers"]["model.0"] = gap
    run.scores["scores"][0]["layers"]["model.0"]["mean"] = gap
    run.before["latency_samples_s"]["timed"][0] = gap

    text = Page(run.write(tmp_path / "report.html")).text

    assert not re.search(r"\b(None|nan|NaN|inf|many|True)\b", text)
    assert "No figure for speed or accuracy was measured." in text


def test_one_side_without_memory_is_called_not_measured(run: Run, tmp_path: Path):
    """Peak memory may be unknown on one machine; the other figure is still shown."""
    run.before["peak_memory_bytes"] = None

    text = Page(run.write(tmp_path / "report.html")).text

    assert "Peak memory not measured 139 MB \N{EM DASH}" in text


def test_a_speed_up_that_was_not_shown_is_not_claimed(run: Run, tmp_path: Path):
    """An interval that contains 1 is no speed-up."""
    run.summary["speedup_interval"] = [0.97, 1.06]

    text = Page(run.write(tmp_path / "report.html")).text

    assert "runs neither faster nor slower than the original" in text
    assert "times as fast" not in text


def test_detections_below_the_threshold_are_not_shown(page: Page):
    """Of five detections with scores from 0.94 to 0.11, the four above 0.25 are listed."""
    listed = [
        re.findall(r"0\.\d\d", attributes["alt"] or "")
        for tag, attributes in page.tags
        if tag == "img"
    ]

    assert listed == 4 * [["0.94", "0.91", "0.83", "0.62"], ["0.92", "0.88", "0.71"]]


def test_the_licence_of_the_weights_is_explained_only_where_it_asks(run: Run, tmp_path: Path):
    """AGPL-3.0 gets a note, Apache-2.0 does not."""
    copyleft = Page(run.write(tmp_path / "report.html")).text
    run.summary["model"]["licence"] = "Apache-2.0"
    permissive = Page(run.write(tmp_path / "report.html")).text

    assert "These weights are under AGPL-3.0," in copyleft
    assert "These weights are under" not in permissive


def test_a_picture_name_that_is_no_unicode_is_written(run: Run, tmp_path: Path):
    """File names may hold any bytes; Python carries them as lone surrogates."""
    run.summary["data"]["test"] = [b"caf\xe9.jpg".decode("utf-8", "surrogateescape")]

    assert "caf?.jpg" in run.write(tmp_path / "report.html")


def test_a_report_that_cannot_be_written_leaves_nothing(run: Run, tmp_path: Path):
    """A folder in the file's place is an error that names it, and no partial file stays."""
    target = tmp_path / "report.html"
    target.mkdir()

    with pytest.raises(EdgeError, match=r"cannot write .*report\.html"):
        run.write(target)

    assert list(tmp_path.iterdir()) == [target]


def test_one_chart_per_score_table_and_the_deciding_one_is_open(page: Page, plausible_run: Run):
    """Six tables give six charts; the plan's criterion for its usual substitute is open."""
    radios = [attributes for tag, attributes in page.tags if tag == "input"]
    labels = [text.strip() for text in page.texts if text.strip().startswith("removal, ")]

    assert len(radios) == len(plausible_run.scores["scores"]) == 6
    assert [index for index, radio in enumerate(radios) if "checked" in radio] == [2]
    assert labels[2] == "removal, linear"


def test_every_layer_stands_in_every_chart(page: Page, plausible_run: Run):
    """150 layers are drawn six times, removed ones and what is inside them marked."""
    kinds = [attributes.get("class") for tag, attributes in page.tags if tag == "li"]
    parents = {entry["name"]: entry["parent"] for entry in plausible_run.scores["candidates"]}
    inside = {
        name
        for name in parents
        if name not in REMOVED and any(name.startswith(f"{layer}.") for layer in REMOVED)
    }

    assert len(kinds) == 6 * 150
    assert kinds.count("removed") == 6 * len(REMOVED)
    assert kinds.count("inside") == 6 * len(inside)


def test_a_circle_of_parents_ends(run: Run, tmp_path: Path):
    """Two layers that name each other as parent do not hang the report."""
    run.scores["candidates"][0]["parent"] = "model.0.conv"
    run.scores["candidates"][1]["parent"] = "model.0"

    assert run.write(tmp_path / "report.html")


def test_the_plan_is_drawn_without_a_latency_table(run: Run, tmp_path: Path):
    """Removed layers carry their own times; without those either, the report says so."""
    with_times = Page(run.changed(latency=None).write(tmp_path / "report.html"))
    for entry in [*run.plan["choices"], *run.summary["removed"]]:
        entry["saved_s"] = None
    without = Page(run.changed(latency=None).write(tmp_path / "report.html"))

    assert [tag for tag, _ in with_times.tags].count("circle") == len(REMOVED)
    assert "circle" not in [tag for tag, _ in without.tags]
    assert "The time that each layer takes was not measured." in without.text
