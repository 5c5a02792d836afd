"""A real browser without a screen: one Chromium for a session of tests, pictures of pages, and axe's findings.

Workflow:
    browser.get("https://localhost:8443/")
    browser.type("username", "alice"), browser.press("Log on")
    browser.picture("logon")                     # tests/artefacts/portal/logon.png
    assert not browser.defects()                 # axe: nothing serious or critical
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import axe_core_python
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.harness.run import c_program

__all__ = ["ARTEFACTS", "Browser", "open_browser"]

ARTEFACTS: Final = Path(__file__).parents[1] / "artefacts" / "portal"
WAIT_SECONDS: Final = 20.0
WIDE: Final = (1180, 900)
NARROW: Final = (360, 800)
_AXE: Final = Path(axe_core_python.__file__).parent / "axe.min.js"
_SERIOUS: Final = frozenset({"serious", "critical"})


class Browser:
    """A browser at some page.

    Attributes:
        driver: Selenium's.
        downloads: Where files arrive.
    """

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def get(self, url: str) -> None:
        self.driver.get(url)

    def get_until(self, url: str, words: str) -> None:
        """Get a page again and again until its source has the words: servers tell what happened a second later."""

        def has_come(driver: webdriver.Chrome) -> bool:
            driver.get(url)
            return words in driver.page_source

        WebDriverWait(self.driver, WAIT_SECONDS, 0.2).until(has_come, f"{url} does not say {words}")

    @property
    def path(self) -> str:
        """What follows the host in the page's address."""
        return "/" + self.driver.current_url.split("/", 3)[3]

    @property
    def heading(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "h1").text

    @property
    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def type(self, name: str, text: str, form: str = "") -> None:
        """Fill a field in, by its id or name."""
        element = self.find(f"{form} [name='{name}']")
        if element.get_attribute("type") != "file":
            element.clear()
        element.send_keys(text)

    def choose(self, name: str, value: str, form: str = "") -> None:
        Select(self.find(f"{form} select[name='{name}']")).select_by_value(value)

    def tick(self, css: str) -> None:
        self.find(css).click()

    def press(self, label: str, *, leads_away: bool = True, form: str = "") -> None:
        """Press a button, of a form if one is said, or follow a link, and wait for the next page."""
        found = self.driver.find_elements(By.XPATH, f"//button[normalize-space()='{label}']")
        if form:
            found = [self.find(f"{form} button")]
        element = found[0] if found else self.driver.find_element(By.XPATH, f"//a[normalize-space()='{label}']")
        self.driver.execute_script("window.isOld = true")
        element.click()
        if leads_away:
            WebDriverWait(self.driver, WAIT_SECONDS, 0.02).until(_is_new)

    def downloaded(self, name: str) -> bytes:
        """Wait for a file, and take it away."""
        path = self.downloads / name
        WebDriverWait(self.driver, WAIT_SECONDS, 0.02).until(lambda _driver: path.exists() and path.stat().st_size)
        data = path.read_bytes()
        path.unlink()
        return data

    def picture(self, name: str, *, dark: bool = False, narrow: bool = False) -> None:
        """Keep a picture of the whole page; sizes and colours are put back."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.look(dark=dark, narrow=narrow)
        width = (NARROW if narrow else WIDE)[0]
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        size = {"width": width, "height": max(600, int(height)), "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.save_screenshot(str(ARTEFACTS / f"{name}{'-dark' * dark}{'-narrow' * narrow}.png"))
        self.look()

    def look(self, *, dark: bool = False, narrow: bool = False) -> None:
        """Change colours and size of the screen."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        width, height = NARROW if narrow else WIDE
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def defects(self, *, colours: bool = False) -> list[str]:
        """Return what axe finds that is serious or critical on the page as it is shown now.

        Args:
            colours: Look at the colours alone, for another palette of a page that was looked at.
        """
        if not self.driver.execute_script("return typeof axe !== 'undefined'"):
            self.driver.execute_script(_AXE.read_text("utf-8"))
        wanted = "{runOnly: ['color-contrast']}" if colours else "{}"
        found: dict[str, Any] = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"axe.run({wanted}).then(done, error => done({{error: String(error)}}))"
        )
        assert "violations" in found, found
        return [
            f"{one['id']}: {one['help']}: {one['nodes'][0]['html']}"
            for one in found["violations"]
            if one["impact"] in _SERIOUS
        ]

    def overflows(self) -> bool:
        """Say whether the page is wider than the screen."""
        script = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.driver.execute_script(script))

    def complaints(self) -> list[str]:
        """Return what the browser itself complained of since the last time: blocked by policy, missing, broken."""
        found = [one["message"] for one in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium has none here
        # A guess of the browser's at forms with a pass phrase besides an old and a new one.
        return [one for one in found if "Multiple forms should be contained" not in one]


def _is_new(driver: webdriver.Chrome) -> bool:
    """Say whether another page has come and is complete; while one goes the other can be asked nothing."""
    try:
        return bool(driver.execute_script("return !window.isOld && document.readyState === 'complete'"))
    except WebDriverException:
        return False


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium with a profile of its own, which is removed afterwards; certificates are taken as they come."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as place:
        downloads = Path(place) / "downloads"
        downloads.mkdir()
        options = Options()
        options.binary_location = c_program("chromium")
        for word in (
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--hide-scrollbars",
            "--lang=en",
            f"--user-data-dir={place}/profile",
            f"--window-size={WIDE[0]},{WIDE[1]}",
        ):
            options.add_argument(word)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.accept_insecure_certs = True
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option(
            "prefs",
            {"download.default_directory": str(downloads), "credentials_enable_service": False},
        )
        driver = webdriver.Chrome(options=options, service=Service(c_program("chromedriver")))
        try:
            driver.set_page_load_timeout(WAIT_SECONDS)
            driver.set_script_timeout(WAIT_SECONDS)
            yield Browser(driver, downloads)
        finally:
            driver.quit()
