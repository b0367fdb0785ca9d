"""The catalogue, the matrix of areas by terms and the pilots by data: every row where it belongs, in words."""

from __future__ import annotations

import re
from html import unescape

import pytest
import yaml

from sendap.catalog import Catalog
from sendap.exposure import exposure_matrix
from sendap.protocol import Protocol, read_protocol
from sendap.site.catalogue import KINDS, catalogue_page, pilots_by_dataset
from sendap.site.data_used import DESCRIBED, MADE_UP, REAL, SILENT, data_used_page, kind_of
from sendap.site.exposure_page import codes_in, exposure_page
from sendap.site.found import latest_runs
from sendap.site.markup import anchor
from tests.site.made_runs import ROOT, make_run, summary
from tests.site.test_stage import HOSTILE


@pytest.fixture(scope="module")
def catalog():
    return Catalog(ROOT / "data-catalog")


@pytest.fixture(scope="module")
def protocols():
    return [read_protocol(ROOT / "analysis", pilot) for pilot in ("CP", "SBIF", "TRAIN", "RCC")]


@pytest.fixture(scope="module")
def exposure(catalog):
    return exposure_page(catalog)


def rows_of(html: str, caption: str) -> list[list[str]]:
    """The rows of the table with a caption, each cell as its words."""
    table = re.search(rf"<caption>{re.escape(caption)}</caption>.*?</table>", html, re.DOTALL)
    assert table, caption
    body = table[0][table[0].index("<tbody") :]
    # On a narrow screen each cell says its column, which isn't part of what it holds.
    body = re.sub(r'<span class="sendap-cell-name".*?</span>', "", body)
    return [
        [words(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_every_dataset_stands_once_in_the_index_of_its_access(catalog, protocols):
    page = catalogue_page(catalog, protocols)
    for access, title in KINDS.items():
        own = sorted((d for d in catalog.datasets.values() if d.access == access), key=lambda d: d.title.casefold())
        assert f"## {title} ({len(own)})" in page
        rows = rows_of(page, title)
        assert [row[0] for row in rows] == [dataset.title for dataset in own]
        for dataset, row in zip(own, rows, strict=True):
            assert f"{{#{anchor('dataset', dataset.id)}}}" in page
            assert f'href="#{anchor("dataset", dataset.id)}"' in page
            assert dataset.publisher in row[1]
            assert (dataset.wait in row[3]) if access != "published" else True


def test_the_index_names_the_pilots_that_use_a_dataset_and_links_those_with_a_board_page(catalog, protocols):
    assert [each.id for each in pilots_by_dataset(protocols)["lait"]] == ["CP", "RCC"]
    assert [each.id for each in pilots_by_dataset(protocols)["npd-social-care"]] == ["SBIF"]
    page = catalogue_page(catalog, protocols, {"RCC": "rcc/board.html"})
    title = catalog.dataset("lait").title
    (row,) = [row for row in rows_of(page, KINDS["published"]) if row[0] == title]
    assert "CP : SEND and AP Change Programme , RCC : Regional Care Co-operative pathfinders" in row[3]
    assert '<a href="rcc/board.html">RCC' in page
    assert ">CP<span" in page
    assert "cp/board.html" not in page


def test_a_dataset_that_is_only_described_says_so_and_has_no_empty_parts(catalog):
    page = catalogue_page(catalog)
    start = page.index("{#dataset-nhs-workforce}")
    part = page[start : page.index("{#dataset-", start + 10)]
    assert "It is only described here." in part
    assert "Files and columns" not in part


def test_the_catalogue_stays_one_page_of_a_size_that_loads(catalog):
    # Above a megabyte the details should move to pages of their own.
    assert len(catalogue_page(catalog).encode()) < 1_000_000


def test_the_exposure_page_shows_every_cell_of_the_matrix_in_words(catalog, exposure):
    page = exposure
    matrix = exposure_matrix(catalog)
    seen: dict[str, list[str]] = {}
    for region in {place.region for place in catalog.places.current}:
        rows = rows_of(page, f"{region}: programmes of each area by school term")
        names = [row[0] for row in rows]
        assert names == sorted(names)
        assert {catalog.places.region_of(catalog.places.code_of_name(name)) for name in names} == {region}
        seen.update({row[0]: row[1:] for row in rows})
    assert len(seen) == len(matrix) == 153
    for code, cells in matrix.iterrows():
        expected = [" ".join(codes_in(cell)) or "none" for cell in cells]
        assert seen[catalog.places.name_of(str(code))] == expected


def test_the_shade_of_a_cell_is_the_number_of_its_programmes(exposure):
    cells = re.findall(r'<span class="sendap-heat-(\d)">(.*?)</span>', exposure)
    assert len(cells) == 153 * 15
    for step, inside in cells:
        count = 0 if inside == "none" else len(inside.split("<br>"))
        assert int(step) == min(count, 3)
    assert {step for step, _ in cells} >= {"0", "1", "2"}


def test_the_exposure_page_counts_areas_by_programme_and_term(catalog, exposure):
    page = exposure
    title = re.search(r"<caption>(Programmes had \d+ areas in [^<]*)</caption>", page)[1]
    rows = {row[0]: row[1:] for row in rows_of(page, title)}
    assert set(rows) == {code if each.complete else f"{code}*" for code, each in catalog.rollouts.items()}
    # 32 areas from autumn 2023 to summer 2025, and none before: the terms run from autumn 2020.
    assert rows["CP"] == ["0"] * 9 + ["32"] * 6
    # 5, 9, 20 and 4 areas joined in March of 2021, 2022, 2023 and 2024, which lies in a spring term.
    assert rows["SV"] == ["0", *["5"] * 3, *["14"] * 3, *["34"] * 3, *["38"] * 5][:15]


def test_the_exposure_page_has_a_picture_with_words_for_each_region(catalog, exposure):
    page = exposure
    alts = re.findall(r'<img alt="([^"]+)"', page)
    assert len(alts) == len({place.region for place in catalog.places.current}) + 1
    assert all(alt.startswith("Heat-map of ") and len(alt) <= 250 for alt in alts)
    assert len(page.encode()) < 1_500_000


@pytest.fixture
def found(tmp_path):
    make_run(tmp_path, summary("CP", datasets=["lait", "ehc-plans-2025", "send-tribunal-appeal-rate"]))
    make_run(tmp_path, summary("SBIF", synthetic=True, datasets=["npd-social-care", "ehc-plans-2025"]))
    nothing = {"kind": "description", "datasets": [], "primary": "", "guards": []}
    make_run(tmp_path, summary("TRAIN", **nothing))
    make_run(tmp_path, summary("RCC", kind="description", datasets=["lait"], guards=[]))
    return latest_runs(tmp_path)


def test_each_run_is_of_one_kind(found):
    assert {each.pilot: kind_of(each) for each in found} == {
        "CP": REAL, "SBIF": MADE_UP, "RCC": DESCRIBED, "TRAIN": SILENT,
    }  # fmt: skip


def test_pilots_by_data_say_what_is_used_what_is_awaited_and_why(found, catalog, protocols):
    page = data_used_page(found, catalog, protocols)
    ((name, used, waits, why),) = rows_of(page, "Evaluated on published figures")
    assert (name, waits) == ("Pilot CP (CP)", "none")
    assert catalog.dataset("lait").title in used
    count = len(protocols[0].outcomes)
    assert why == f"Who took part is public. {count} of {count} outcomes are measured."
    ((name, used, waits, why),) = rows_of(page, "Shown on synthetic data")
    assert name == "Synthetic data, not a finding Pilot SBIF (SBIF)"
    assert used.startswith("Synthetic data in the layout of: ")
    assert waits == f"{catalog.dataset('npd-social-care').title} ( 6 to 12 months )"
    assert why.startswith("Nobody has published who took part. It needs every local authority that the fund paid")
    ((name, _, waits, why),) = rows_of(page, "Described with figures")
    assert name == "Pilot RCC (RCC)"
    assert catalog.dataset("looked-after-children").title in waits
    assert why == read_protocol(ROOT / "analysis", "RCC").why_no_effect
    ((name, used, waits, _),) = rows_of(page, "Described without figures")
    assert (name, used, waits) == ("Pilot TRAIN (TRAIN)", "none", "none")
    assert "1 pilot is evaluated on published figures. 1 pilot is shown on synthetic data" in page
    assert "2 pilots are described only" in page


def test_a_description_on_synthetic_figures_stays_a_description_and_says_so(tmp_path, catalog, protocols):
    make_run(tmp_path, summary("RCC", kind="description", datasets=["lait"], guards=[], synthetic=True))
    page = data_used_page(latest_runs(tmp_path), catalog, protocols)
    ((name, used, _, why),) = rows_of(page, "Described with figures")
    assert name.startswith("Synthetic data, not a finding")
    assert used.startswith("Synthetic data in the layout of: ")
    assert why.endswith("It was run without a folder of published figures.")
    assert "0 pilots are shown on synthetic data" in page


def test_pilots_without_a_run_are_listed_as_not_run_yet(found, catalog, protocols):
    page = data_used_page(found[:1], catalog, protocols)
    assert words(re.search(r"<p>Not run yet: .*?</p>", page)[0]).count(":") == 1 + len(protocols) - 1


def test_a_real_run_whose_primary_outcome_waits_says_so(tmp_path, catalog, protocols):
    make_run(tmp_path, summary("SBIF", datasets=["ehc-plans-2025", "social-care-outcomes"]))
    page = data_used_page(latest_runs(tmp_path), catalog, protocols)
    ((_, _, waits, why),) = rows_of(page, "Evaluated on published figures")
    assert catalog.dataset("npd-social-care").title in waits
    assert why == "Who took part was supplied. 2 of 7 outcomes are measured; the primary outcome waits for its data."


def test_hostile_words_of_runs_and_protocols_stay_words(tmp_path, catalog):
    content = yaml.safe_load((ROOT / "analysis/rcc/protocol.yaml").read_text(encoding="utf-8"))
    content.update(name=HOSTILE, why_no_effect=HOSTILE)
    protocol = Protocol.model_validate(content)
    make_run(tmp_path, summary("RCC", name=HOSTILE, kind="description", datasets=["lait"], guards=[]))
    for page in (
        data_used_page(latest_runs(tmp_path), catalog, [protocol]),
        catalogue_page(catalog, [protocol]),
    ):
        assert not re.search(r"(?<!\\)<script", page)
        assert "{{<" not in page
        assert page.count("```{=html}") * 2 == page.count("```")
        assert "&lt;script&gt;" in page
