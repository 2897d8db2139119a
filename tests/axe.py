"""Has axe-core judge the running page: every tab, in light and dark, wide and narrow, empty and with an example.

A tool rather than a test, for axe-core comes from npm:

    npm install --prefix /tmp/axe axe-core
    python app.py &
    python -m tests.axe http://127.0.0.1:7860 /tmp/axe/node_modules/axe-core/axe.min.js
"""

import itertools
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.chromium import ARGUMENTS, CHROMIUM

TABS = ("Generate", "Live", "Compare")
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
GRAVE = ("serious", "critical")


def grave_violations(page: Page, script: str) -> list[str]:
    """What axe-core calls serious or critical, a line for each element."""
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{violation['impact']} {violation['id']}: {node['html'][:160]}"
        for violation in found
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]


def main() -> int:
    """The command; returns 1 where something was found."""
    address, script = sys.argv[1], Path(sys.argv[2]).read_text()
    found = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for width, scheme in itertools.product(WIDTHS, SCHEMES):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(address)
            expect(page.get_by_role("tab")).to_have_count(len(TABS), timeout=30_000)
            for filled, tab in itertools.product((False, True), TABS):
                page.get_by_role("tab", name=tab).click()
                if filled and tab == "Generate":
                    page.get_by_role("button", name="Play the example Mona Lisa").click()
                    expect(page.locator(".crop")).to_contain_text("will do well", timeout=30_000)
                    page.get_by_role("button", name="Adjust the crop").click()
                page.wait_for_timeout(500)  # colours fade from one to the other
                lines = grave_violations(page, script)
                found += len(lines)
                print(width, scheme, tab, "with an example" if filled else "empty", lines or "nothing grave")
            page.close()
        browser.close()
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
