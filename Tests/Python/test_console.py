"""The console in a real browser: Chromium, headless. Screenshots are left in .build/screenshots for a person to look at."""

import numpy as np
import pytest
from harness import ROOT, Cluster, wait_for
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p
from playwright.sync_api import sync_playwright

SHOTS = ROOT / ".build" / "screenshots"
ROWS, DIMENSIONS = 600, 16


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        wait_for(lambda: running.status().nodes_alive == 1, "the first worker")
        running.add_worker("--zone", "b")
        running.add_worker("--zone", "b")
        wait_for(lambda: running.status().nodes_alive == 3, "all workers")
        field = c.VectorField(name="text", dimensions=DIMENSIONS, metric=c.METRIC_L2)
        running.collections.Create(c.CreateCollectionRequest(name="books", fields=[field], shard_count=3, replication_factor=2), timeout=30)
        random = np.random.default_rng(1)
        centres = random.standard_normal((4, DIMENSIONS)) * 4
        request = p.UpsertRequest(collection="books")
        for row in range(ROWS):
            vector = (centres[row % 4] + random.standard_normal(DIMENSIONS)).astype("f4")
            payload = {"title": common.Value(string_value=f"Volume {row} <b>& more</b>"), "shelf": common.Value(string_value="abcd"[row % 4])}
            request.points.add(id=common.PointId(number=row), vectors={"text": common.Vector(data=vector.tobytes())}, payload=payload)
        running.points.Upsert(request, timeout=60)
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, cluster):
    """Opens the console; at the end there must have been no error in it, and no request to anybody else."""
    contexts, problems, origin = [], [], f"http://127.0.0.1:{cluster.coordinator.admin_port}"

    expected = {"left": 0}

    def said(message):
        if message.type not in ("error", "warning"):
            return
        if "status of 400" in message.text and expected["left"]:
            expected["left"] -= 1
        else:
            problems.append(message.text)

    # The browser itself notes each answer of 400 and the like; `refusals` of them are wanted.
    def open_page(refusals=0, **options):
        expected["left"] = refusals
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", said)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((origin, "data:")) else problems.append(request.url))
        page.goto(origin + "/")
        page.get_by_text("All is well").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems, problems


def shoot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def fits(page):
    """Nothing reaches beyond the page's right edge."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("name,options", [
    ("wide", {"viewport": {"width": 1280, "height": 900}}), ("narrow", {"viewport": {"width": 360, "height": 740}}),
    ("dark", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}),
])
def test_a_look_at_everything(opened, cluster, name, options):
    page = opened(**options)
    assert page.locator("#tiles").inner_text().count("3 of 3") == 2
    assert page.locator(".node").count() == 3 and page.locator(".replicas li.primary").count() == 3 and page.locator(".replicas li").count() == 6
    page.locator("#collection-list summary").click()
    page.get_by_role("region", name="Shards of books").wait_for()
    query = page.locator("#query-form")
    query.locator("[name=value]").fill("7")
    query.get_by_role("button", name="Search").click()
    page.get_by_role("region", name="Answers").get_by_text("Volume 7 <b>& more</b>").wait_for()
    sample = page.locator("#sample-form")
    sample.locator("[name=count]").fill("400")
    sample.get_by_role("button", name="Show").click()
    page.locator("#projection circle").nth(399).wait_for()
    sample.locator("[name=key]").select_option("shelf")
    sample.get_by_role("button", name="Show").click()
    page.locator("#projection .legend li").nth(3).wait_for()
    assert page.locator("#projection > svg circle").count() == 400
    assert fits(page)
    shoot(page, name)


def test_searches_by_vector_and_text_and_what_is_wrong(opened):
    page = opened(refusals=1)
    form = page.locator("#query-form")
    form.locator("[name=by]").select_option("vector")
    form.locator("[name=value]").fill(str([0.5] * DIMENSIONS))
    form.locator("[name=exact]").check()
    form.get_by_role("button", name="Search").click()
    page.get_by_text("10 points in").wait_for()
    assert "3 of 3 shards" in page.locator("#query-said").inner_text()
    form.locator("[name=value]").fill("1, 2")
    form.get_by_role("button", name="Search").click()
    page.locator("#query-said.bad").wait_for()
    assert "dimensions" in page.locator("#query-said").inner_text()
    form.locator("[name=by]").select_option("text")
    form.locator("[name=value]").fill("volume 599")
    form.get_by_role("button", name="Search").click()
    page.get_by_role("button", name="Like this one").click()
    page.get_by_role("region", name="Answers").get_by_role("row").nth(10).wait_for()


def test_the_keyboard_alone(opened):
    """From the top of the page: past the links to the form, a search, and what it found."""
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "value":
            break
    else:
        raise AssertionError("the query is not reached by Tab")
    page.keyboard.type("11")
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Search":
            break
    page.keyboard.press("Enter")
    answers = page.get_by_role("region", name="Answers")
    answers.get_by_text("Volume 11 ").wait_for()
    # A table that is wider than the page can be scrolled with the arrows, so it takes the focus.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Answers"


def test_everything_has_a_name_for_who_cannot_see_it(opened):
    page = opened()
    nameless = page.evaluate("""() => [...document.querySelectorAll("input, select, textarea, button, svg[role=img], a")].filter((one) =>
        !(one.labels?.length || one.textContent.trim() || one.getAttribute("aria-label"))).map((one) => one.outerHTML)""")
    assert not nameless
    headings = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((one) => Number(one.tagName[1]))")
    assert headings[0] == 1 and all(after - before <= 1 for before, after in zip(headings, headings[1:])), headings


def test_a_move_is_seen(opened, cluster):
    page = opened()
    # Words of a list that changes are read out.
    assert page.locator("#operations").get_attribute("aria-live") == "polite"
    shard = cluster.cluster.Shards(cluster_pb2.ListShardsRequest(), timeout=10).shards[0]
    holders = {replica.node for replica in shard.replicas}
    nodes = [node.id for node in cluster.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes]
    target = next(node for node in nodes if node not in holders)
    source = next(replica.node for replica in shard.replicas if not replica.primary)
    cluster.cluster.Move(cluster_pb2.MoveRequest(collection="books", shard=shard.shard, **{"from": source}, to=target), timeout=10)
    page.locator("#event-list").get_by_text("move", exact=True).first.wait_for()
    shoot(page, "move")


def test_a_worker_that_is_gone_is_said(opened, cluster):
    page = opened()
    cluster.workers[2].kill()
    page.get_by_text("Not all is well").wait_for()
    page.get_by_text("does not answer").wait_for()
    shoot(page, "worker-gone")
    cluster.workers[2].start()
    page.get_by_text("All is well").wait_for()


def test_pages_may_do_nothing_else(browser, cluster):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", cluster.coordinator.admin_port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    policy = answer.getheader("content-security-policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert answer.getheader("x-content-type-options") == "nosniff" and b"<script type" in answer.read()


def test_the_console_asks_for_a_key_and_keeps_it_in_its_tab(browser, tmp_path):
    admin = "the-administrators-key-for-the-console"
    (tmp_path / "admin").write_text(admin)
    with Cluster(coordinator_arguments=["--admin-key-file", str(tmp_path / "admin")], key=admin) as running:
        origin = f"http://127.0.0.1:{running.coordinator.admin_port}/"
        context = browser.new_context()
        page = context.new_page()
        page.goto(origin)
        page.get_by_text("A key is asked for").wait_for()
        page.get_by_label("API key or token").fill("a wrong one")
        page.get_by_role("button", name="Use").click()
        page.locator("#key-said").get_by_text("not valid").wait_for()
        page.get_by_label("API key or token").fill(admin)
        page.get_by_role("button", name="Use").click()
        page.get_by_text("All is well").wait_for()
        assert page.locator("#locked").is_hidden()
        shoot(page, "console-with-key")
        # The tab knows it after a reload; another one does not, and nothing else keeps it.
        page.reload()
        page.get_by_text("All is well").wait_for()
        assert page.evaluate("Object.keys(localStorage).length") == 0 and not context.cookies() and admin not in page.url
        other = context.new_page()
        other.goto(origin)
        other.get_by_text("A key is asked for").wait_for()
        page.get_by_role("button", name="Forget the key").click()
        page.get_by_text("A key is asked for").wait_for()
        assert page.evaluate("sessionStorage.length") == 0
        context.close()
