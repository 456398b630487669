"""Tests the gallery page in a real browser, opened from disk as a reader opens it."""

import io
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from atari_dqn.gallery.collect import collect
from atari_dqn.gallery.page import write_data, write_page
from atari_dqn.gallery.serve import Server
from tests.gallery import samples
from tests.programs import none_installed

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
pytestmark = pytest.mark.skipif(
    none_installed(*BROWSERS), reason="the page needs a browser (Debian's chromium)"
)

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
LIGHT_SERIES = [(34, 87, 122), (200, 85, 61)]
DARK_SERIES = [(127, 184, 224), (240, 145, 124)]
PONG = "PongDeterministic-v4"
OTHER = samples.protocol(epsilon=0.001)

# For each page: console messages, exceptions, and requests to other hosts.
COMPLAINTS: dict[Page, list[str]] = defaultdict(list)


class Folder(NamedTuple):
    """The folders and media files from which the page is built."""

    root: Path
    videos: Path
    media: dict[str, Path]

    def write(self, live: bool = False) -> str:
        data, _ = collect(self.root, self.videos)
        return write_page(self.videos, data, live).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        expect.set_options(timeout=20_000)  # far more than anything takes
        launched = started.chromium.launch(
            executable_path=next(filter(None, map(shutil.which, BROWSERS)), None), args=QUIET
        )
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    base = tmp_path_factory.mktemp("page")
    root = base / "checkpoints"
    videos = base / "videos"
    media = {"mp4": base / "media" / "one.mp4", "gif": base / "media" / "one.gif"}
    for path in media.values():
        samples.write_media(path, seconds=4.0)
    mp4 = {"mp4": media["mp4"]}
    gif = {"gif": media["gif"]}
    samples.write_run(root, "default-seed1", top=20.0)
    samples.write_run(
        root,
        "dueling-seed1",
        recipe="dueling",
        top=12.0,
        overrides={"optimizer.learning_rate": 0.0007},
    )
    samples.write_run(root, samples.EVIL, game="CartPole-v1", recipe="cartpole", top=400.0)
    for part in range(1, 5):
        samples.write_recording(videos, mp4, steps=50_000 * part, score=4.0 * part)
    samples.write_recording(
        videos, mp4, run="dueling-seed1", recipe="dueling", steps=150_000, score=9.0, protocol=OTHER
    )
    samples.write_recording(
        videos, gif, run="dueling-seed1", recipe="dueling", steps=200_000, score=11.0
    )
    pole: dict[str, Any] = {
        "game": "CartPole-v1",
        "rom": None,
        "run": samples.EVIL,
        "recipe": "cartpole",
    }
    samples.write_recording(videos, mp4, **pole, steps=100_000, score=350.0)
    samples.write_json(videos / "1.json", samples.evaluation(18.0))
    samples.write_json(
        videos / "2.json",
        samples.evaluation(11.0, run="dueling-seed1", recipe="dueling", protocol=OTHER),
    )
    return Folder(root, videos, media)


@pytest.fixture(scope="module")
def address(folder: Folder) -> str:
    return folder.write()


def open_page(
    browser: Browser,
    address: str,
    width: int = 1280,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    motion: Literal["reduce", "no-preference"] = "no-preference",
    script: str = "",
) -> Page:
    """Opens a page and collects its console messages, errors and foreign requests in COMPLAINTS.

    A script runs before those of the page.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion=motion
    )
    page = context.new_page()
    if script:
        page.add_init_script(script)
    page.set_default_timeout(20_000)
    complaints = COMPLAINTS[page]
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append("a dialog"))
    here = (address.rsplit("/", 1)[0], "data:", "blob:")
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(here) else complaints.append(f"asked for {request.url}")
        ),
    )
    page.goto(address, wait_until="domcontentloaded")
    return page


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    opened = open_page(browser, address)
    yield opened
    assert COMPLAINTS[opened] == []
    opened.context.close()


@pytest.fixture(scope="module")
def shared(browser: Browser, address: str) -> Iterator[Page]:
    """One page for the tests that share its state: opening a page takes longer than most tests."""
    opened = open_page(browser, address)
    yield opened
    assert COMPLAINTS[opened] == []
    opened.context.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, folder: Folder) -> Folder:
    """Two seeds of Breakout, a newer run of Pong, random play, and a released agent."""
    base = tmp_path_factory.mktemp("lab")
    made = Folder(base / "checkpoints", base / "videos", folder.media)
    gif = {"gif": folder.media["gif"]}
    for seed, mean in ((1, 10.0), (2, 20.0)):
        name = f"seed{seed}"
        run = samples.write_run(made.root, name, overrides={"machine.seed": seed})
        samples.write_metrics(run)
        (run / "evaluations.csv").write_text("steps,mean,median\n100000,3,3\n200000,7,7\n")
        samples.write_recording(made.videos, gif, run=name, score=mean)
        samples.write_json(made.videos / f"{name}.json", samples.evaluation(mean, run=name))
    pong = {"game": "PongDeterministic-v4", "rom": "pong", "run": "newest"}
    samples.write_run(made.root, "newest", game=pong["game"], started="2026-11-25T10:15:00+0000")
    for steps, score in ((100_000, 14.0), (200_000, 12.0)):
        samples.write_recording(made.videos, gif, **pong, steps=steps, score=score)
    random = {"run": "random", "recipe": None, "source": "random", "steps": 0}
    samples.write_recording(made.videos, gif, **random, score=2.0)
    samples.write_json(made.videos / "random.json", samples.evaluation(1.5, **random))
    agent = samples.write_run(made.root, "agent")
    (made.root / "released").mkdir()
    agent.rename(made.root / "released" / "agent")
    samples.write_json(
        made.root / "released" / "agent" / "agent_evaluation_1.json",
        samples.evaluation(29.0, run="agent", protocol=OTHER),
    )
    return made


@pytest.fixture(scope="module")
def lab_address(lab: Folder) -> str:
    return lab.write()


@pytest.fixture
def lab_page(browser: Browser, lab_address: str) -> Iterator[Page]:
    opened = open_page(browser, lab_address)
    yield opened
    assert COMPLAINTS[opened] == []
    opened.context.close()


def curves(page: Page, game: int = 1) -> Locator:
    """Returns the drawn chart of a game; charts are in the order of the games' ids."""
    chart = page.locator(".chart").nth(game - 1)
    chart.scroll_into_view_if_needed()
    expect(chart.locator(".scatterlayer .trace").first).to_be_attached()
    return chart


def count_pixels(picture: bytes, color: tuple[int, int, int], tolerance: int = 12) -> int:
    """Returns the number of pixels that are close to a color."""
    pixels: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
    return int((np.abs(pixels.astype(int) - color).max(axis=-1) <= tolerance).sum())


def video_times(page: Page) -> list[float]:
    videos = "[...document.querySelectorAll('#slots video')]"
    found: list[float] = page.evaluate(f"{videos}.map((video) => video.currentTime)")
    return found


def wait_until(page: Page, condition: str) -> None:
    """Waits for a condition in the page.

    The page's security policy forbids the polling that Playwright itself would do there.
    """
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def wait_until_playing(page: Page) -> None:
    wait_until(
        page,
        "[...document.querySelectorAll('#slots video')].every((video) => video.currentTime > 0.2)",
    )


def test_curves_and_recordings_are_drawn(page: Page) -> None:
    expect(page.locator("#summary")).to_have_text("2 games, 3 runs, 7 recordings")
    chart = curves(page)
    page.wait_for_timeout(300)
    drawn = chart.screenshot()
    assert all(count_pixels(drawn, color) > 150 for color in LIGHT_SERIES)
    card = page.locator(".card").first
    expect(card.locator("video")).to_be_attached()
    wait_until(page, "document.querySelector('.card video').readyState >= 2")
    page.wait_for_timeout(200)
    assert count_pixels(card.screenshot(), samples.ORANGE, 25) > 3_000
    wait_until(page, "document.querySelector('#slots video').readyState >= 2")
    page.wait_for_timeout(200)
    assert count_pixels(page.locator("#slots").screenshot(), samples.ORANGE, 25) > 20_000


def test_a_gif_is_still_until_the_mouse_is_over_it(shared: Page) -> None:
    card = shared.locator(".card", has_text="11").first
    card.scroll_into_view_if_needed()
    expect(card.locator("canvas")).to_be_attached()
    assert count_pixels(card.screenshot(), samples.ORANGE, 25) > 3_000
    card.hover()
    expect(card.locator("img")).to_be_visible()
    shared.mouse.move(0, 0)
    expect(card.locator("img")).to_have_count(0)


def point(page: Page, steps: float, score: float) -> tuple[float, float]:
    """Returns the position on the screen of a data point in the first visible chart."""
    x, y = page.evaluate(
        """([steps, score]) => { const chart = document.querySelector('.game:not([hidden]) .chart');
        const { xaxis, yaxis } = chart._fullLayout;
        const box = chart.querySelector('.nsewdrag').getBoundingClientRect();
        return [box.x + xaxis.d2p(steps), box.y + yaxis.d2p(score)]; }""",
        [steps, score],
    )
    return x, y


def hover(page: Page, chart: Locator, steps: float, score: float) -> str:
    """Moves the mouse over a data point and returns the text that the chart shows for it."""
    for _ in range(50):
        page.mouse.move(0, 0)
        page.mouse.move(*point(page, steps, score))
        page.wait_for_timeout(100)
        if label := chart.locator(".hoverlayer").text_content():
            return str(label)
    raise AssertionError("the chart shows no text for this point")


def test_hovering_over_a_curve_shows_step_score_and_epsilon(shared: Page) -> None:
    label = hover(shared, curves(shared), 75_000, 7.5)
    assert re.search(
        r"default-seed1\s*step 7[45],\d+\s*score 7\.[45]\d*\s*epsilon 0\.6\d*", label
    ), label


def test_clicking_a_curve_plays_the_recording_with_the_nearest_step(page: Page) -> None:
    chart = curves(page)
    hover(page, chart, 115_000, 11.5)
    page.mouse.click(*point(page, 115_000, 11.5))
    expect(page.locator("#training-step")).to_have_text("step 100,000 · 2 of 4")
    wait_until_playing(page)
    expect(chart).to_have_attribute("role", "img")


def test_a_run_can_be_hidden_and_shown_again(page: Page) -> None:
    chart = curves(page)
    legend = page.locator(".legend", has_text="dueling-seed1")
    legend.click()
    expect(legend).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".run h3", has_text="dueling-seed1")).to_have_count(0)
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    hidden = chart.screenshot()
    assert count_pixels(hidden, LIGHT_SERIES[0]) > 150
    assert count_pixels(hidden, LIGHT_SERIES[1]) < 20
    legend.click()
    expect(page.locator(".run h3", has_text="dueling-seed1")).to_have_count(1)


def test_the_timeline_and_the_slider_move_through_training(shared: Page) -> None:
    shared.locator("#training").fill("0")
    expect(shared.locator("#slots .score")).to_have_text("4")
    expect(shared.locator("#earlier")).to_be_disabled()
    shared.locator("#later").click()
    expect(shared.locator("#slots .score")).to_have_text("8")
    shared.locator(".timeline svg").first.scroll_into_view_if_needed()
    box = shared.locator(".timeline svg").first.bounding_box()
    assert box
    shared.mouse.click(box["x"] + box["width"] * 0.76, box["y"] + box["height"] / 2)
    expect(shared.locator("#slots .score")).to_have_text("12")
    expect(shared.locator(".card[aria-current]")).to_contain_text("150k steps")


def test_two_recordings_play_synchronized(page: Page) -> None:
    page.locator(".card").nth(0).click()
    page.locator(".row li").nth(2).hover()
    page.locator(".beside").nth(2).click()
    expect(page.locator("#slots .slot")).to_have_count(2)
    wait_until_playing(page)
    for rate in ("2", "0.5"):
        page.locator("#speed").select_option(rate)
        page.wait_for_timeout(300)
        left, right = video_times(page)
        assert abs(left - right) < 0.2
    if (
        page.locator("#play").get_attribute("data-playing") == "true"
    ):  # it may already have reached its end
        page.locator("#play").click()
    page.wait_for_timeout(150)
    left, right = video_times(page)
    assert left == pytest.approx(right, abs=0.02)
    page.locator("#seek").fill("3.0")
    assert video_times(page) == pytest.approx([3.0, 3.0], abs=0.02)
    expect(page.locator("#stage-note")).to_be_hidden()


def test_comparing_different_protocols_or_a_gif_shows_a_notice(page: Page) -> None:
    page.locator(".card").nth(0).click()
    page.locator("#compare").click()
    expect(page.locator(".empty-slot")).to_be_visible()
    page.locator(".card", has_text="150k steps").nth(1).click()
    expect(page.locator("#stage-note")).to_have_text(
        "Different protocols, so the scores are not comparable: epsilon 0.05 and 0.001."
    )
    page.locator(".card", has_text="11").last.scroll_into_view_if_needed()
    page.locator(".card .score", has_text="11").click()
    expect(page.locator("#stage-hint")).to_contain_text(
        "GIFs cannot be synchronized. Both started together"
    )
    expect(page.locator("#slots img")).to_have_attribute(
        "alt", re.compile(r"dueling-seed1, after 200,000 .* score 11$")
    )
    wait_until(page, "document.querySelector('#slots img').naturalWidth > 0")


def test_filters_narrow_the_games_runs_and_recordings(shared: Page) -> None:
    expect(shared.locator("#filter-game option")).to_have_count(3)
    shared.locator("#filter-game").select_option("CartPole-v1")
    expect(shared.locator(".game:visible")).to_have_count(1)
    shared.locator("#filter-game").select_option("")
    shared.locator("#filter-recipe").select_option("dueling@1")
    expect(shared.locator(".run:visible")).to_have_count(1)
    shared.locator("#filter-recipe").select_option("")
    shared.locator("#filter-min").fill("8")
    shared.locator("#filter-max").fill("11")
    expect(shared.locator("#filter-result")).to_have_text("3 of 7 recordings")
    expect(shared.locator(".card .score")).to_have_text(["8", "9", "11"])
    expect(shared.locator("#results tbody tr")).to_have_count(1)
    shared.locator("#filter-min").fill("10000")
    shared.locator("#filter-max").fill("")
    expect(shared.locator("#loading")).to_have_text("No run matches the filters.")
    shared.locator("#filter-clear").click()
    expect(shared.locator(".game:visible")).to_have_count(2)


def test_results_are_separated_by_protocol(shared: Page) -> None:
    expect(shared.locator(".protocol table")).to_have_count(2)
    expect(shared.locator("#results .note")).to_contain_text(
        "2 protocols: compare scores within a table"
    )
    row = shared.locator("#results tbody tr").first
    expect(row).to_contain_text("default-seed1")
    expect(row).to_contain_text("18 ± 1.5")
    expect(row).to_contain_text("0.57")
    shared.locator("#results").get_by_role("button", name=re.compile("Watch")).first.click()
    expect(shared.locator("#slots .score")).to_have_text("16")


def test_comparing_the_settings_of_two_runs_shows_only_differences(shared: Page) -> None:
    shared.locator("#open-settings").click()
    shared.locator("#settings-a").select_option(label="default-seed1 · BreakoutDeterministic-v4")
    table = shared.locator("#settings-table")
    expect(table).to_contain_text("network.torso")
    shared.locator("#settings-b").select_option(label="dueling-seed1 · BreakoutDeterministic-v4")
    expect(table).not_to_contain_text("network.torso")
    expect(table.get_by_role("row", name="optimizer.learning_rate 0")).to_contain_text("0.0007")
    shared.keyboard.press("Escape")
    expect(shared.locator("#settings")).to_be_hidden()


def test_every_function_has_a_keyboard_shortcut(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    expect(page.locator("#help dt")).to_have_count(14)
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    wait_until(page, "document.querySelector('#slots video')?.readyState >= 1")
    page.keyboard.press("p")
    expect(page.locator("#slots .score")).to_have_text("12")
    page.keyboard.press("n")
    expect(page.locator("#slots .score")).to_have_text("16")
    wait_until_playing(page)
    page.keyboard.press("0")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause (Space)")
    page.keyboard.press(" ")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play (Space)")
    page.locator("#seek").fill("1")
    page.keyboard.press(".")
    assert video_times(page) == pytest.approx([1 + 4 / 60], abs=0.01)
    page.keyboard.press("3")
    expect(page.locator("#speed")).to_have_value("2")
    page.keyboard.press("d")
    expect(page.locator("#settings")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#filter-game")).to_be_focused()
    card = page.locator(".card").first
    card.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card").nth(1)).to_be_focused()
    page.keyboard.press("c")
    expect(page.locator("#slots .slot")).to_have_count(2)
    expect(page.locator("#slots .score").nth(1)).to_have_text("8")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", (
        "the element with keyboard focus must have a visible outline"
    )


def test_the_theme_follows_the_system_and_can_be_toggled(
    browser: Browser, page: Page, address: str
) -> None:
    chart = curves(page)
    page.keyboard.press("t")
    page.wait_for_timeout(400)
    dark = page.screenshot()
    assert count_pixels(dark, (21, 23, 27), 3) > 200_000
    assert all(count_pixels(chart.screenshot(), color) > 150 for color in DARK_SERIES)
    page.locator("#toggle-theme").click()
    assert count_pixels(page.screenshot(), (246, 245, 242), 3) > 200_000
    dark_page = open_page(browser, address, scheme="dark")
    assert count_pixels(dark_page.screenshot(), (21, 23, 27), 3) > 200_000
    dark_page.context.close()


def test_a_run_name_that_contains_a_script_is_shown_as_text(page: Page) -> None:
    expect(page.locator(".run h3", has_text=samples.EVIL)).to_be_attached()
    page.locator("#filter-game").select_option("CartPole-v1")
    page.locator(".card").click()
    expect(page.locator("#facts")).to_contain_text(samples.EVIL)
    wait_until_playing(page)
    page.locator("#open-settings").click()
    expect(page.locator("#settings-a")).to_contain_text(samples.EVIL)
    page.keyboard.press("Escape")
    chart = page.locator(".game:visible .chart")
    expect(chart.locator(".scatterlayer .trace").first).to_be_attached()
    assert samples.EVIL in hover(page, chart, 50_000, 100)


def test_the_page_opens_on_the_best_recording_of_the_newest_run(lab_page: Page) -> None:
    expect(lab_page.locator("#facts")).to_contain_text("newest")
    expect(lab_page.locator("#slots .score")).to_have_text("14")
    expect(lab_page.locator("#summary")).to_have_text(
        "2 games, 3 runs, 1 released agent, 5 recordings"
    )
    expect(lab_page.locator(".game h2")).to_have_text([PONG, samples.BREAKOUT])
    jumps = lab_page.locator("#jump button")
    expect(jumps).to_have_text(
        [PONG, samples.BREAKOUT, "Leaderboard", "Released agents", "Results"]
    )
    jumps.nth(1).click()
    wait_until(
        lab_page,
        "Math.abs(document.querySelectorAll('.game h2')[1].getBoundingClientRect().y) < 90",
    )


def test_random_play_is_a_row_of_its_games_table(lab_page: Page) -> None:
    game = lab_page.locator(".game", has_text=samples.BREAKOUT)
    rows = game.locator(".of-runs tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.last).to_contain_text("random play")
    expect(rows.last).to_contain_text("1.5 ± 1.5")
    expect(rows.last.locator("code")).to_have_text(f"atari-dqn random --game {samples.BREAKOUT}")
    expect(game.locator(".run h3")).to_have_text(["seed1", "seed2"])
    rows.last.get_by_role("button", name=re.compile("Watch")).click()
    expect(lab_page.locator("#slots .score")).to_have_text("2")
    expect(lab_page.locator("#facts")).to_contain_text("random play")


def test_released_agents_have_a_table_with_scores_and_commands(lab: Folder, lab_page: Page) -> None:
    rows = lab_page.locator("#released-table tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("29 ± 1.5")
    agent = lab.root / "released" / "agent"
    expect(rows.locator("code")).to_have_text(f"atari-dqn eval {agent}")
    expect(lab_page.locator(".game .legend", has_text="agent")).to_have_count(0)
    lab_page.locator("#released-curves summary").click()
    chart = lab_page.locator("#released-charts .chart")
    expect(chart.locator(".scatterlayer .trace").first).to_be_attached()


def test_the_leaderboard_has_an_interval_only_over_several_seeds(lab_page: Page) -> None:
    rows = lab_page.locator("#leaderboard tbody tr")
    expect(rows).to_have_count(2)
    released = rows.filter(has_text="released")
    expect(released.locator("td").nth(5)).to_have_text("\u2013")
    seeds = rows.filter(has_not_text="released")
    shown = f"{samples.DEFAULT} tutorial epsilon 0.05 2 200k 15 10 to 20 20 0.46 Watch"
    cells = seeds.locator("td").all_inner_texts()
    assert " ".join(" ".join(cells).split()) == shown
    seeds.get_by_role("button").click()
    expect(lab_page.locator("#slots .score")).to_have_text("20")


def test_loss_q_and_speed_are_drawn_below_the_scores_and_lines_are_explained(
    lab_page: Page,
) -> None:
    game = lab_page.locator(".game", has_text=samples.BREAKOUT)
    game.locator(".small-charts").scroll_into_view_if_needed()
    small = game.locator(".small-chart")
    expect(small).to_have_count(3)
    for place in range(3):
        expect(small.nth(place).locator(".scatterlayer .trace")).to_have_count(2)
    expect(game.locator(".reading")).to_contain_text("Dotted in the color of a run: evaluations")
    expect(game.locator(".reading")).to_contain_text(
        "Dotted gray: random play (1.7) and a human tester (30.5)."
    )
    without = lab_page.locator(".game", has_text=PONG)
    expect(without.locator(".small-charts")).to_be_hidden()


def test_filters_are_kept_in_the_address(browser: Browser, lab_address: str) -> None:
    page = open_page(browser, f"{lab_address}#game={samples.BREAKOUT}&kind=random")
    expect(page.locator(".game:visible h2")).to_have_text([samples.BREAKOUT])
    expect(page.locator(".of-runs:visible tbody tr")).to_have_count(1)
    expect(page.locator("#slots .score")).to_have_text("2")
    page.locator("#filter-kind").select_option("")
    expect(page.locator(".of-runs:visible tbody tr")).to_have_count(3)
    page.locator("#filter-protocol").select_option("tutorial")
    page.locator("#filter-min").fill("15")
    assert page.url.endswith(f"#game={samples.BREAKOUT}&protocol=tutorial&min=15")
    expect(page.locator("#filter-result")).to_have_text("1 of 5 recordings")
    page.reload()
    expect(page.locator("#filter-min")).to_have_value("15")
    expect(page.locator("#filter-result")).to_have_text("1 of 5 recordings")
    page.go_back()
    expect(page.locator("#filter-protocol")).to_have_value("")
    expect(page.locator("#filter-game")).to_have_value(samples.BREAKOUT)
    expect(page.locator(".of-runs:visible tbody tr")).to_have_count(3)
    page.go_back()
    expect(page.locator("#filter-kind")).to_have_value("random")
    page.locator("#filter-clear").click()
    expect(page.locator(".game:visible")).to_have_count(2)
    assert page.url in (lab_address, f"{lab_address}#")
    assert COMPLAINTS[page] == []
    page.context.close()


def test_a_gif_pauses_at_a_key_a_click_and_the_button(lab_page: Page) -> None:
    screen = lab_page.locator("#slots .screen")
    play = lab_page.locator("#play")
    expect(screen.locator("img")).to_be_visible()
    expect(play).to_have_attribute("aria-label", "Pause (Space)")
    acts: list[Callable[[], None]] = [
        lambda: lab_page.keyboard.press(" "),
        lambda: screen.click(),
        lambda: play.click(),
    ]
    for act in acts:
        act()
        expect(screen.locator("canvas")).to_be_visible()
        expect(play).to_have_attribute("aria-label", "Play (Space)")
        still = screen.screenshot()
        assert count_pixels(still, samples.ORANGE, 25) > 20_000
        lab_page.wait_for_timeout(300)
        assert screen.screenshot() == still
        act()
        expect(screen.locator("img")).to_be_visible()


def test_a_gif_starts_paused_for_readers_who_prefer_less_motion(
    browser: Browser, lab_address: str
) -> None:
    page = open_page(browser, lab_address, motion="reduce")
    expect(page.locator("#slots canvas")).to_be_visible()
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play (Space)")
    page.locator("#play").click()
    expect(page.locator("#slots img")).to_be_visible()
    page.context.close()


CLIPBOARD = """Object.defineProperty(navigator, "clipboard", { value: {
writeText: (text) => %s } });"""


def test_commands_are_copied(browser: Browser, lab: Folder, lab_address: str) -> None:
    script = CLIPBOARD % "{ window.copied = text; return Promise.resolve(); }"
    page = open_page(browser, lab_address, script=script)
    run = lab.root / PONG / "newest"
    buttons = page.locator(".commands").first.get_by_role("button")
    expect(buttons).to_have_count(2)
    for button, command in zip(
        buttons.all(),
        (f"atari-dqn train --game {PONG} --run-dir {run}", f"atari-dqn eval {run}"),
        strict=True,
    ):
        button.click()
        expect(button).to_have_text("Copied")
        assert page.evaluate("window.copied") == command
    page.context.close()


def test_a_command_is_selected_where_copying_is_forbidden(
    browser: Browser, lab: Folder, lab_address: str
) -> None:
    script = CLIPBOARD % "Promise.reject(new Error())"
    page = open_page(browser, lab_address, script=script + "document.execCommand = () => false;")
    button = page.locator(".commands").first.get_by_role("button").last
    button.click()
    expect(button).to_have_text("Press Ctrl+C")
    selected = page.evaluate("getSelection().toString()")
    assert selected == f"atari-dqn eval {lab.root / PONG / 'newest'}"
    page.context.close()


def test_a_fresh_clone_shows_the_released_agents(
    browser: Browser, folder: Folder, tmp_path: Path
) -> None:
    fresh = Folder(tmp_path / "checkpoints", tmp_path / "videos", folder.media)
    agent = samples.write_run(fresh.root, "agent")
    agent.parent.rename(fresh.root / "released")
    samples.write_json(
        fresh.root / "released" / "agent" / "agent_evaluation_1.json",
        samples.evaluation(29.0, run="agent"),
    )
    path = samples.write_recording(fresh.videos, {"gif": folder.media["gif"]}, run="agent")
    path.parent.parent.rename(fresh.videos / "released")
    page = open_page(browser, fresh.write())
    expect(page.locator("#summary")).to_have_text("1 released agent, 1 recording")
    expect(page.locator("#begin")).to_contain_text("atari-dqn train --game breakout")
    expect(page.locator("#released-table tbody tr")).to_contain_text("29 ± 1.5")
    expect(page.locator("#leaderboard")).to_be_hidden()
    expect(page.locator("#slots .score")).to_have_text("3")
    assert COMPLAINTS[page] == []
    page.context.close()


def test_curves_of_a_hundred_runs_are_thin_below_the_mean_of_each_recipe(
    browser: Browser, folder: Folder, tmp_path: Path
) -> None:
    many = Folder(tmp_path / "checkpoints", tmp_path / "videos", folder.media)
    for number in range(100):
        recipe = ("default", "double")[number % 2]
        top = 20.0 + number / 10 + 40 * (number % 2)
        samples.write_run(many.root, f"run{number}", recipe=recipe, top=top, episodes=300)
    page = open_page(browser, many.write())
    chart = curves(page)
    expect(page.locator("#summary")).to_have_text("1 game, 100 runs, 0 recordings")
    styles = """document.querySelector('.chart').data.filter((one) => one.line)
        .map(({ line, opacity }) => [line.width, opacity ?? 1])"""
    lines = page.evaluate(styles)
    assert lines == [[1, 0.3]] * 100 + [[3.5, 1]] * 2
    page.wait_for_timeout(300)
    assert all(count_pixels(chart.screenshot(), color) > 500 for color in LIGHT_SERIES)
    page.locator(".of-runs tbody tr").first.hover()
    wait_until(page, f"({styles}).some(([width]) => width === 3)")
    assert page.locator("*").count() < 10_000
    assert COMPLAINTS[page] == []
    page.context.close()


def test_every_control_and_image_has_an_accessible_name(shared: Page) -> None:
    shared.locator(".card").first.click()
    unnamed = shared.evaluate(
        """[...document.querySelectorAll('button, select, input, a, img, [role=img], #slots video')]
        .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.alt))
        .filter((one) => !one.labels?.length)
        .map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    assert (
        shared.evaluate("new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size")
        == shared.locator("[id]").count()
    )


def test_on_a_phone_the_page_has_one_column_and_large_controls(
    browser: Browser, address: str
) -> None:
    page = open_page(browser, address, 390, 844)
    curves(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator("#stage")).to_have_css("position", "static")
    expect(page.locator("#close-stage")).to_be_hidden()
    small = page.evaluate(
        """[...document.querySelectorAll('button:not(.beside), select, input')]
        .filter((one) => one.checkVisibility())
        .map((one) => [one.outerHTML, one.getBoundingClientRect().height])
        .filter(([, height]) => height < 40)"""
    )
    assert small == []
    page.locator(".card").first.click()
    expect(page.locator("#stage")).to_have_css("position", "fixed")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#slots").evaluate("(one) => one.getBoundingClientRect().right") <= 390
    page.locator("#close-stage").click()
    expect(page.locator("#stage")).to_have_css("position", "static")
    assert COMPLAINTS[page] == []
    page.context.close()


def test_a_page_without_its_data_file_reports_that_it_is_missing(
    browser: Browser, address: str, tmp_path: Path, folder: Folder
) -> None:
    shutil.copy(folder.videos / "index.html", tmp_path)
    shutil.copytree(
        folder.videos / "gallery", tmp_path / "gallery", ignore=shutil.ignore_patterns("data.js")
    )
    page = open_page(browser, (tmp_path / "index.html").as_uri())
    expect(page.locator("#loading")).to_contain_text("is missing")
    page.context.close()


def test_a_page_of_2000_recordings_is_painted_within_three_seconds(
    browser: Browser, folder: Folder, tmp_path: Path
) -> None:
    many = Folder(tmp_path / "checkpoints", tmp_path / "videos", folder.media)
    for number in range(4):
        samples.write_run(many.root, f"seed{number}", episodes=2_000)
        for part in range(500):
            only = {"gif": folder.media["gif"]} if part % 5 == 0 else {"mp4": folder.media["mp4"]}
            samples.write_recording(
                many.videos, only, run=f"seed{number}", steps=400 * part, score=float(part % 40)
            )
    address = many.write()
    painted = []
    for _ in range(3):
        page = open_page(browser, address)
        wait_until(
            page,
            "performance.getEntriesByName('first-contentful-paint').length "
            "&& document.querySelector('.card')",
        )
        painted.append(
            page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        )
        shown = page.evaluate("performance.now()")
        expect(page.locator("#summary")).to_have_text("1 game, 4 runs, 2,000 recordings")
        curves(page)
        loaded = page.evaluate("document.querySelectorAll('video[src], canvas').length")
        assert loaded < 60, "only visible recordings are loaded"
        assert page.locator("*").count() < 5_000
        assert COMPLAINTS[page] == []
        if len(painted) < 3:
            page.context.close()
    assert min(painted) < 3_000, painted
    assert shown < 10_000
    row = page.locator(".row").first
    row.evaluate("(one) => one.scrollTo(one.scrollWidth, 0)")
    expect(row.locator(".card")).to_have_count(96)
    assert page.evaluate("document.querySelectorAll('.still > video[src], canvas').length") < 60
    page.context.close()


def test_a_live_page_shows_new_recordings(browser: Browser, folder: Folder, tmp_path: Path) -> None:
    live_folder = Folder(tmp_path / "checkpoints", tmp_path / "videos", folder.media)
    live_folder.videos.mkdir()
    live_folder.write(live=True)
    with Server(live_folder.videos, 0) as server:
        server.start()
        page = open_page(browser, server.address)
        expect(page.locator("#loading")).to_contain_text("Nothing has been recorded yet")
        expect(page.locator("#live")).to_be_visible()
        page.wait_for_timeout(300)
        samples.write_run(live_folder.root, "default-seed1")
        samples.write_recording(live_folder.videos, {"mp4": folder.media["mp4"]}, steps=50_000)
        write_data(live_folder.videos, collect(live_folder.root, live_folder.videos)[0], live=True)
        expect(page.locator(".card")).to_have_count(1)
        page.locator(".card").click()
        wait_until_playing(page)
        page.locator("#seek").fill("3.5")
        wait_until(page, "document.querySelector('#slots video').currentTime >= 3.4")
        samples.write_recording(live_folder.videos, {"mp4": folder.media["mp4"]}, steps=90_000)
        write_data(live_folder.videos, collect(live_folder.root, live_folder.videos)[0], live=True)
        expect(page.locator(".card")).to_have_count(2)
        expect(page.locator("#training-step")).to_have_text("step 50,000 · 1 of 2")
        assert COMPLAINTS[page] == []
        page.context.close()
