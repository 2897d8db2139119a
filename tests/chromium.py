"""Debian's Chromium, for tests in a real browser: where it is, and how it keeps to itself."""

from playwright.sync_api import expect

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=60_000)  # what a busy machine may take to answer; where it matters, tests say less
