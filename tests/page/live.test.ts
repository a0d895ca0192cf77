import { afterAll, beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { Browser, type Page } from "../support/browser.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

const INTERVAL_S = 4;
/** A round begins up to 5 % late, and is over 1.8 s after its last first probe; then the page reads at most twice a second. */
const ONE_ROUND_MS = INTERVAL_S * 1.05 * 1000 + 1_800 + 1_000;
/** for a busy machine */
const SLACK_MS = 3_000;

describeInNamespaces("the page of a real agent", () => {
  const overlay = new Overlay(useTemporaryFolder().path, [4, 6]);
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    await overlay.create(4, undefined, [`--probe-interval=${INTERVAL_S}`, "--debug-addr=127.0.0.1:8285"]);
    await overlay.start();
    browser = await Browser.start(overlay.node(1).ns);
    page = await browser.open({ width: 1280, height: 800, scheme: "light" });
    await page.go("http://localhost:8285/");
  });

  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    overlay[Symbol.dispose]();
  });

  const states = async () => {
    const [names, signs] = await Promise.all([page.texts("#nodes .name"), page.texts("#nodes .sign")]);
    return names.map((name, index) => `${signs[index]} ${name}`).join(" ");
  };

  test("shows the peers as reachable, with round trips of the one and the other family", async () => {
    await eventually(async () => (await states()) === "● n2 ● n3 ● n4", { within: 20_000, what: "all are up" });
    for (const figure of await page.texts("#nodes .figure")) expect(figure).toMatch(/^\d+(\.\d+)? ms$/);
    await page.evaluate(v.unknown(), "document.querySelector('#nodes button').click()");
    const detail = await page.shows("#detail", "n2 is up");
    expect(detail.match(/kernel entries\tall there, on flannel(-v6)?\.1/g)).toHaveLength(2);
    expect(detail.match(/Packets of 14[35]0 bytes: come through/g)).toHaveLength(2);
    await page.press("Escape");
    await page.shows("#live", "live");
  });

  test("a peer behind a closed port is shown as down within one round, with what to do, and as up again", async () => {
    const { ns } = overlay.node(3);
    await ns.exec([
      "nft",
      "table inet closed { chain in { type filter hook input priority 0; udp dport 8472 drop; }; }",
    ]);
    await eventually(async () => (await states()) === "● n2 ✕ n3 ● n4", {
      within: ONE_ROUND_MS + SLACK_MS,
      what: "n3 is shown as down",
    });
    expect(await page.shows("#trouble li", "n3 is down")).toContain("let UDP port 8472 through");
    await page.shows("#events li", "peer n3");
    await page.shows("#announce", "n3 is down");
    await ns.exec(["nft", "delete table inet closed"]);
    await eventually(async () => (await states()) === "● n2 ● n3 ● n4", {
      within: ONE_ROUND_MS + SLACK_MS,
      what: "n3 is shown as up again",
    });
    await page.shows("#trouble li", "Nothing is known to be wrong");
    expect(page.complaints).toEqual([]);
    expect(page.requests.filter((url) => !/^(http:\/\/localhost:8285\/|data:)/.test(url))).toEqual([]);
  });

  test("an agent that stops is told in a banner, and its next start is followed like the one before", async () => {
    const { agent } = overlay.node(1);
    await agent.stop();
    await page.shows("#banner", "The agent does not answer");
    expect(await states()).toBe("● n2 ● n3 ● n4");
    await agent.start();
    await eventually(async () => (await page.texts("#banner")).join("") === "", { within: 20_000, what: "no banner" });
    await page.shows("#live", "live");
    await page.shows("#events li", "tartan");
  });
});
