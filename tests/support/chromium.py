"""A real Chromium with a profile of its own: what a person sees who opens a page for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PROGRAM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SCREEN = (1280, 800)  # pixels of a page
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def start(profile: Path) -> Any:
    """A driver whose pages are of `SCREEN`, and whose logs hold what they said and asked for.

    Args:
      profile: Folder, made anew.
    """
    for program in (PROGRAM, DRIVER):
        if not program.exists():
            pytest.fail(f"{program} is missing: apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(PROGRAM)
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    inner = driver.execute_script("return [window.innerWidth, window.innerHeight]")
    outer = driver.get_window_size()
    driver.set_window_size(SCREEN[0] + outer["width"] - inner[0], SCREEN[1] + outer["height"] - inner[1])
    return driver
