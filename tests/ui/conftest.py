"""A browser for the tests of the page; without Chromium (Debian: apt-get install chromium) they skip."""

import shutil

import pytest

from tests.ui.running_page import running_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    """Of one module: its event loop runs as long, and other modules start loops of their own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of an empty folder."""
    with running_page(tmp_path_factory.mktemp("studies")) as page:
        yield page
