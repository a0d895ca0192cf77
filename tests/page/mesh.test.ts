import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import * as v from "valibot";
import { Browser, type Page, type View } from "../support/browser.ts";
import { eventually } from "../support/wait.ts";
import { SampleMesh } from "./sample-mesh.ts";

const WIDE: View = { width: 1280, height: 900, scheme: "light" };

let browser: Browser;
let mesh: SampleMesh;
let page: Page;

beforeAll(async () => {
  browser = await Browser.start();
});

afterAll(() => browser[Symbol.asyncDispose]());

beforeEach(async () => {
  mesh = new SampleMesh();
  page = await browser.open(WIDE);
});

afterEach(async () => {
  await page.close();
  await mesh[Symbol.asyncDispose]();
});

async function load(): Promise<void> {
  await page.go(mesh.url);
  await page.shows("#live", "live");
}

const active = () =>
  page.evaluate(v.string(), "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText");

const tiles = () => page.texts("#nodes .name");

test("the nodes with reachability and latency, what is wrong on top, and nothing from elsewhere", async () => {
  mesh.put("n2", "reachable");
  mesh.put("n3", "overlayBlocked");
  mesh.put("n4", "lossy");
  mesh.put("n5", "mtuTooSmall");
  mesh.put("n6", "unknown");
  mesh.reject("n7", "its backend data is no JSON");
  mesh.tell("peerDown", "n3", "peer n3: blocked");
  await load();
  expect(await page.texts("#title, #readiness")).toEqual(["n1 and the other nodes", "● ready"]);
  expect(await tiles()).toEqual(["n2", "n3", "n4", "n5", "n6", "n7"]);
  expect(await page.texts("#nodes .sign")).toEqual(["●", "✕", "▲", "▲", "?", "–"]);
  const figures = ["8.1 ms", "no answer", "36 % loss", "MTU too small", "", "left out"];
  expect(await page.texts("#nodes .figure")).toEqual(figures);
  expect(await page.texts("#states .count")).toEqual(["1", "0", "1", "2", "1", "1"]);
  const wrong = await page.texts("#trouble strong");
  expect(wrong).toEqual(["n3 is down", "n7 is left out", "n4 is degraded", "n5 is degraded"]);
  expect(await page.shows("#trouble li", "n3 is down")).toContain("let UDP port 8472 through");
  expect(await page.shows("#events li", "peer n3: blocked")).toContain("warning:");
  const isAbove =
    "document.querySelector('#trouble').getBoundingClientRect().bottom < nodes.getBoundingClientRect().top";
  expect(await page.evaluate(v.boolean(), isAbove)).toBe(true);
  const times =
    "[...document.querySelectorAll('time')].every((time) => time.title === time.dateTime && time.title.endsWith('Z'))";
  expect(await page.evaluate(v.boolean(), times)).toBe(true);
  expect(page.requests.filter((url) => !url.startsWith(mesh.url) && !url.startsWith("data:"))).toEqual([]);
  expect(page.requests).toContain(`${mesh.url}debug/events`);
  expect(page.complaints).toEqual([]);
});

test("nothing wrong is said too", async () => {
  await load();
  expect(await page.texts("#trouble li, #none")).toEqual(["✓Nothing is known to be wrong", "There is no other node."]);
});

test("that nothing is known of the other nodes is said, with the reason", async () => {
  mesh.put("n2", "unknown");
  await load();
  expect(await page.shows("#trouble li", "Whether the other nodes answer is not known")).toContain("not probed yet");
});

test("an event brings the news at once; focus and selection stay, and a screen reader hears of it", async () => {
  for (const node of ["n2", "n3", "n4"]) mesh.put(node, "reachable");
  await load();
  await page.evaluate(v.unknown(), "document.querySelectorAll('#nodes button')[1].focus()");
  mesh.put("n3", "unreachable");
  mesh.tell("peerDown", "n3", "peer n3: no answer");
  // Well before it would look by itself.
  await page.shows("#trouble strong", "n3 is down", 20_000);
  expect(await page.shows("#announce", "n3 is down")).toBe("n3 is down");
  expect(await active()).toBe("n3, down, no answer");
  await page.evaluate(v.unknown(), "document.querySelector('#trouble button').focus()");
  mesh.put("n4", "lossy");
  mesh.tell("peerDegraded", "n4", "peer n4: loss");
  await page.shows("#trouble strong", "n4 is degraded", 20_000);
  expect(await active()).toBe("n3");
  mesh.put("n3", "reachable");
  mesh.put("n4", "reachable");
  mesh.tell("peersChanged", "n1", "2 peers are reachable again");
  await page.shows("#trouble strong", "Nothing is known to be wrong", 20_000);
  expect(page.complaints).toEqual([]);
});

test("keys alone lead to every node and back", async () => {
  for (let number = 2; number <= 12; number++) mesh.put(`n${number}`, number === 5 ? "unreachable" : "reachable");
  await load();
  await page.evaluate(v.unknown(), "document.querySelector('#find').focus()");
  for (let boxes = 0; boxes < 6; boxes++) await page.press("Tab");
  await page.press("Tab");
  expect(await active()).toStartWith("n2, up");
  const expected = { ArrowRight: "n3", ArrowDown: "n8", ArrowUp: "n3", ArrowLeft: "n2", End: "n12", Home: "n2" };
  for (const [key, node] of Object.entries(expected)) {
    await page.press(key);
    expect(await active()).toStartWith(`${node}, `);
  }
  for (let step = 0; step < 3; step++) await page.press("ArrowRight");
  await page.press("Enter");
  expect(await active()).toBe("✕ n5 is down");
  const detail = await page.shows("#detail-body", "overlay");
  for (const part of ["10.244.5.0/24", "fd00:10:244:5::/64", "0 of 64", "100 %", "no answer through the overlay"])
    expect(detail).toContain(part);
  expect(await page.evaluate(v.string(), "location.hash")).toBe("#node=n5");
  await page.press("Escape");
  expect(await active()).toStartWith("n5, ");
  expect(await page.evaluate(v.boolean(), "detail.hidden")).toBe(true);
  // One stop for all nodes.
  await page.press("Tab");
  expect(await active()).toBe("state");
});

test("nodes are found by name, subnet and address, and left out by state", async () => {
  for (const node of ["n2", "n3", "n4"]) mesh.put(node, node === "n4" ? "unreachable" : "reachable");
  await load();
  await page.evaluate(v.unknown(), "document.querySelector('#find').focus()");
  for (const [text, found] of [
    ["N3", ["n3"]],
    ["10.244.4", ["n4"]],
    ["198.18.0.2", ["n2"]],
    ["zzz", []],
  ] as const) {
    await page.evaluate(v.unknown(), "document.querySelector('#find').select()");
    await page.type(text);
    expect(await tiles()).toEqual([...found]);
  }
  expect(await page.texts("#none, #nodes-title")).toEqual(["Nodes (0 of 3)", "None of 3 nodes matches."]);
  await page.evaluate(v.unknown(), "document.querySelector('#find').select()");
  await page.press("Delete");
  await page.evaluate(v.unknown(), "document.querySelectorAll('#states input')[5].click()");
  expect(await tiles()).toEqual(["n4"]);
});

test("the address leads to one node, also after it was loaded anew", async () => {
  mesh.put("a/b c", "lossy");
  await page.go(`${mesh.url}#node=${encodeURIComponent("a/b c")}`);
  await page.shows("#detail-title", "▲ a/b c is degraded");
});

test("a banner says that the agent does not answer, and goes when it does", async () => {
  mesh.put("n2", "reachable");
  await load();
  mesh.isBroken = true;
  mesh.put("n2", "unreachable");
  mesh.tell("peerDown", "n2", "peer n2: no answer");
  // Both are asked at once.
  const said = await page.shows("#banner", "The agent does not answer");
  expect(said).toMatch(/\/debug\/(state|peers\S*) answers 500/);
  expect(await page.texts("#nodes .figure")).toEqual(["8.1 ms"]);
  mesh.isBroken = false;
  await page.shows("#nodes .figure", "no answer");
  expect(await page.evaluate(v.boolean(), "banner.hidden")).toBe(true);
});

test("names are text, whatever is in them", async () => {
  const name = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`;
  mesh.put(name, "unreachable");
  mesh.reject("n3", name);
  mesh.tell("peerDown", name, `peer ${name}`);
  await load();
  expect(await tiles()).toContain(name);
  await page.shows("#trouble strong", name);
  await page.shows("#events li", name);
  await page.evaluate(v.unknown(), "document.querySelector('#nodes button').click()");
  await page.shows("#detail-title", name);
  const found = "[window.pwned, document.querySelectorAll('main img, main script').length]";
  expect(await page.evaluate(v.unknown(), `JSON.stringify(${found})`)).toBe("[null,0]");
  expect(page.complaints).toEqual([]);
});

test("a node that goes takes its tile along, and the focus goes to the next", async () => {
  for (const node of ["n2", "n3", "n4"]) mesh.put(node, "reachable");
  await load();
  await page.evaluate(v.unknown(), "document.querySelectorAll('#nodes button')[1].focus()");
  mesh.remove("n3");
  mesh.tell("leaseRemoved", "n3", "the lease is gone");
  await eventually(async () => (await tiles()).join() === "n2,n4", { within: 20_000, what: "n3 is gone" });
  expect(await active()).toStartWith("n4, ");
});
