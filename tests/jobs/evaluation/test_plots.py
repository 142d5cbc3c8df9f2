"""Plots: what is drawn, that nothing comes from elsewhere, and that bytes do not change."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from jobs.evaluation.catalogue import METRICS
from jobs.evaluation.plots import (
    COLOURS,
    colours,
    draw_differences,
    draw_distribution,
    draw_groups,
    draw_plots,
    for_file,
    for_page,
)
from jobs.evaluation.rows import join
from jobs.evaluation.summary import SummaryOptions, summarise
from tests.jobs.evaluation import made_up


@pytest.fixture(scope="module")
def evaluated():
    return join([made_up.table(made_up.rows(60))])


@pytest.fixture(scope="module")
def summary(evaluated):
    return summarise(evaluated, SummaryOptions(resamples=200))


@pytest.fixture(scope="module")
def plots(evaluated, summary):
    one = {name: values if name == "psnr_hole_db" else values * np.nan for name, values in evaluated.values.items()}
    return draw_plots(replace(evaluated, values=one), summarise(replace(evaluated, values=one), SummaryOptions(resamples=200)))


def test_a_plot_for_the_distribution_and_for_each_way_to_group(plots):
    assert set(plots) == {("psnr_hole_db", what) for what in ("distribution", "group", "mask_type", "coverage", "yaw")}
    assert "10–20 %" in plots["psnr_hole_db", "coverage"] and "n = " in plots["psnr_hole_db", "coverage"]
    assert "n95" in plots["psnr_hole_db", "mask_type"] and "0–15°" in plots["psnr_hole_db", "yaw"]


def test_plots_are_small_valid_and_need_nothing_from_elsewhere(plots):
    for svg in plots.values():
        for text in (for_file(svg), for_page(svg)):
            ElementTree.fromstring(text[text.index("<svg") :])
            assert len(text) < 60_000 and not re.search(r"(href|src)=\"http|@import|<script", text)


def test_the_same_numbers_give_the_same_bytes(evaluated, summary):
    metric, methods = METRICS["psnr_hole_db"], ["prior", "telea"]
    first, second = (draw_distribution(evaluated, metric, methods, colours(methods), summary) for _ in range(2))
    assert first == second and str(np.datetime64("today"))[:4] not in re.sub(r"[\d.]{5,}", "", first)


def test_each_method_keeps_its_colour_and_its_mark(plots):
    for svg in plots.values():
        page = for_page(svg)
        for number in (0, 1):
            parts = re.findall(rf'<g data-method="{number}">.*?</g>', page, flags=re.DOTALL)
            assert parts and any(COLOURS[number] in part for part in parts)
            assert not any(COLOURS[1 - number] in part for part in parts)


def test_a_page_gives_its_own_ink_and_a_file_white_paper(plots):
    svg = plots["psnr_hole_db", "coverage"]
    page, file = for_page(svg), for_file(svg)
    assert "var(--ink)" in page and "#010101" not in page + file
    assert 'fill="#ffffff"' in file and "var(" not in file
    assert not re.search(r"<svg[^>]* (width|height)=", page)
    ids = re.findall(r' id="([^"]*)"', page)
    assert all(f"#{name}" in page for name in ids), "ids that nothing refers to would clash in a page of many plots"


def test_few_pictures_are_shown_one_by_one():
    metric, methods = METRICS["psnr_hole_db"], ["prior", "telea"]
    few = join([made_up.table(made_up.rows(9))])
    svg = draw_distribution(few, metric, methods, colours(methods), summarise(few, SummaryOptions(resamples=50)))
    uses = re.findall(r'<g data-method="0">(.*?)</g>\n</g>', for_page(svg), flags=re.DOTALL)
    assert sum(part.count("<use") for part in uses) >= 9


def test_numbers_on_the_axes_are_whole(evaluated, summary):
    values = np.linspace(-0.075, 0.075, 31)
    svg = draw_differences(METRICS["ssim_hole"], values, "#00aa00", "#aa0000")
    assert "0.075" in svg or "0.025" in svg, "coordinates are shortened, labels are not"
    assert "#00aa00" in svg and "#aa0000" in svg


def test_values_that_are_all_equal_can_be_drawn():
    rows = made_up.rows(60)
    for row in rows:
        row["psnr_hole_db"] = 20.0
    equal = join([made_up.table(rows)])
    draw_distribution(
        equal, METRICS["psnr_hole_db"], ["prior"], colours(["prior"]), summarise(equal, SummaryOptions(resamples=50))
    )


def test_names_are_neither_mark_up_nor_too_long():
    rows = [{**row, "method": row["method"].replace("prior", "_$x^2$<b>" + "y" * 300)} for row in made_up.rows(9)]
    found = join([made_up.table(rows)])
    summary = summarise(found, SummaryOptions(resamples=50))
    methods = list(summary["methods"])
    for svg in (
        draw_distribution(found, METRICS["psnr_hole_db"], methods, colours(methods), summary),
        draw_groups(summary, METRICS["psnr_hole_db"], "mask_type", methods, colours(methods)),
    ):
        assert "_$x^2$&lt;b&gt;yyyy" in svg and "y" * 30 not in svg
