"""A real browser on the real Open WebUI: what a newcomer sees."""

import asyncio
import contextlib
import io
import shutil

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import async_playwright, expect

from autoscaler.sandbox.ollama import DEFAULT_OUTPUT_TOKENS, words
from tests.webui.page import page as chat_page

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

BROWSER = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
QUESTION = "What does the sun do in the evening?"
PATIENCE_MS = 60_000
"""A machine may be busy."""
expect.set_options(timeout=PATIENCE_MS)
ANSWER = "#response-content-container"
NOTE_WHAT_IS_READ = f"""
    window.read = []
    new MutationObserver(() => {{
        const text = document.querySelector("{ANSWER}")?.innerText.trim()
        if (text && text !== window.read.at(-1)) window.read.push(text)
    }}).observe(document.body, {{childList: true, characterData: true, subtree: true}})
"""
"""Each state of the answer on the page, in the browser itself: a busy machine misses none."""
COLOURS = 128
"""Of a picture: enough for a page of text, and a quarter of the size."""


@contextlib.asynccontextmanager
async def browser():
    """Run Debian's Chromium."""
    assert BROWSER is not None, "chromium not found on PATH; type: apt-get install chromium"
    async with async_playwright() as driver:
        running = await driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        try:
            yield running
        finally:
            await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def newcomer(stack, tmp_path):
    """Open the page of a fresh Open WebUI; yields the browser's tab and what it has asked for."""
    async with chat_page(stack.gateway.url, tmp_path / "page") as fresh, browser() as running:
        tab = await running.new_page(viewport={"width": 1200, "height": 760})
        fetched = []
        tab.on("request", lambda request: fetched.append(request.url))
        tab.set_default_timeout(PATIENCE_MS)
        await tab.goto(fresh.url)
        yield tab, fetched, fresh.url
        await tab.screenshot(path=tmp_path / "last.png")


async def test_newcomer_signs_up_chats_and_sees_the_answer_grow(newcomer, stack, tmp_path, request):
    """The first account, a message, an answer that streams, a title, an error in words."""
    tab, fetched, url = newcomer
    await sign_up(tab)
    await tab.evaluate(NOTE_WHAT_IS_READ)
    await say(tab, QUESTION)
    whole = words(DEFAULT_OUTPUT_TOKENS).strip()
    await expect(tab.locator(ANSWER)).to_have_text(whole)
    read = await tab.evaluate("window.read")
    assert len(read) > 3
    assert all(whole.startswith(each) for each in read)
    # The model's title is no JSON, so the chat is called by its first message.
    await expect(tab.get_by_role("heading", name=QUESTION, level=1)).to_be_visible()
    await tab.get_by_role("button", name="Open Sidebar").click()
    await expect(tab.get_by_role("button", name=QUESTION)).to_be_visible()
    await expect(tab.get_by_text("Loading...")).to_have_count(0)
    await picture(tab, tmp_path / "chat.png", request.config.getoption("--pictures"))

    gone = list(stack.addresses)
    stack.addresses.clear()
    try:
        await stack.slots(lambda slots: slots.up == 0)
        await say(tab, "And now?")
        error = tab.get_by_text("no model server is free; please try again later")
        await expect(error.first).to_be_visible()
    finally:
        stack.addresses += gone
        await stack.slots(lambda slots: slots.up == len(gone))
    assert [each for each in fetched if not each.startswith((url, "data:", "blob:"))] == []


async def sign_up(tab):
    """Make the first account and close what greets it."""
    await tab.get_by_role("button", name="Get started").click()
    await tab.locator("#name").fill("Ada")
    await tab.locator("#email").fill("ada@example.org")
    await tab.locator("#password").fill("a good password")
    await tab.get_by_role("button", name="Create Admin Account").click()
    await tab.get_by_role("button", name="Okay, Let's Go!").click()


async def say(tab, text):
    """Write a message and send it; again, where the page that is still loading has emptied it."""
    field = tab.locator("#chat-input")
    message = tab.get_by_role("listitem").filter(has_text=text)
    async with asyncio.timeout(30):
        while not await message.count():
            await field.fill(text)
            await field.press("Enter")
            with contextlib.suppress(AssertionError):
                await expect(message.first).to_be_visible(timeout=5000)


async def picture(tab, path, folder):
    """Take one of the page, with few colours; into `folder` too, where one is given."""
    await tab.mouse.move(600, 560)
    await tab.wait_for_timeout(1000)  # the sidebar slides in
    shot = Image.open(io.BytesIO(await tab.screenshot()))
    shot.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    assert path.stat().st_size < 200_000
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
