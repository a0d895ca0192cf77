import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as v from "valibot";
import { Browser, type Page } from "../support/browser.ts";
import { eventually } from "../support/wait.ts";
import { SampleMesh } from "./sample-mesh.ts";

const VERDICTS = ["unreachable", "overlayBlocked", "lossy", "mtuTooSmall", "unknown"] as const;

/** What a reader with weak eyes could not read: texts whose contrast with what is behind them is below AA's 4.5. */
const TOO_PALE = `(() => {
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const over = (color, [red, green, blue]) => {
    context.fillStyle = "rgb(" + [red, green, blue].join() + ")";
    context.fillRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (color) => {
    const [red, green, blue] = color.map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => element === null ? [255, 255, 255] : over(getComputedStyle(element).backgroundColor, behind(element.parentElement));
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  let count = 0;
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (texts.currentNode.data.trim() === "" || !element.checkVisibility() || element.closest("noscript")) continue;
    const back = behind(element);
    const lights = [light(over(getComputedStyle(element).color, back)), light(back)];
    const contrast = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    count++;
    if (contrast < 4.5) found.push(texts.currentNode.data.trim() + ": " + contrast.toFixed(2));
  }
  return { count, found: [...new Set(found)] };
})()`;

for (const nodes of [3, 500]) {
  describe(`with ${nodes} nodes`, () => {
    let browser: Browser;
    let mesh: SampleMesh;
    let page: Page;

    beforeAll(async () => {
      browser = await Browser.start();
      mesh = new SampleMesh();
      for (let number = 0; number < nodes; number++) {
        const verdict = VERDICTS[nodes === 3 ? number : number % 40] ?? "reachable";
        mesh.put(`ip-10-0-${number >> 8}-${number & 255}.eu-central-1.compute.internal`, verdict);
      }
      mesh.tell("peerDown", "n1", `peer ${"x".repeat(300)}: ${"does not answer ".repeat(30)}`);
      page = await browser.open({ width: 1280, height: 900, scheme: "light" });
      await page.go(mesh.url);
      await eventually(async () => (await page.texts("#nodes .name")).length === nodes, {
        within: 20_000,
        what: "all nodes are shown",
      });
      await page.shows("#events li", "does not answer");
      await page.evaluate(v.unknown(), "document.querySelector('#nodes button').click()");
    });

    afterAll(async () => {
      await browser[Symbol.asyncDispose]();
      await mesh[Symbol.asyncDispose]();
    });

    test.each([
      [1280, "light"],
      [1280, "dark"],
      [390, "light"],
      [390, "dark"],
    ] as const)("%d px wide, %s: all fits, can be read, and differs by more than colour", async (width, scheme) => {
      await page.emulate({ width, height: 900, scheme });
      // Not while a colour is on its way to another one.
      await page.evaluate(v.unknown(), "Promise.allSettled(document.getAnimations().map(({ finished }) => finished))");
      const measured =
        "[document.documentElement.scrollWidth, ...[...document.querySelectorAll('main *')].map((one) => one.getBoundingClientRect().right)]";
      expect(await page.evaluate(v.number(), `Math.ceil(Math.max(...${measured}))`)).toBeLessThanOrEqual(width);
      const { count, found } = await page.evaluate(
        v.object({ count: v.number(), found: v.array(v.string()) }),
        TOO_PALE,
      );
      expect(count).toBeGreaterThan(nodes);
      expect(found).toEqual([]);
      const isDark = await page.evaluate(v.string(), "getComputedStyle(document.body).backgroundColor");
      expect(isDark).toBe(scheme === "dark" ? "rgb(21, 23, 26)" : "rgb(246, 246, 244)");
      const signs = await page.evaluate(
        v.array(v.string()),
        "[...document.querySelectorAll('#nodes button')].map((tile) => tile.className + tile.querySelector('.sign').innerText)",
      );
      expect(signs).toContain("bad✕");
      expect(new Set(signs).size).toBe(nodes === 3 ? 2 : 4);
    });

    test("a screen reader gets a name for every tile, field and heading", async () => {
      const tree = await page.accessibility();
      const interactive = tree.filter(({ role }) =>
        ["button", "checkbox", "searchbox", "link", "heading"].includes(role),
      );
      expect(interactive.filter(({ name }) => name.trim() === "")).toEqual([]);
      const tiles = tree.filter(({ role, name }) => role === "button" && /^ip-\S+\.internal, /.test(name));
      expect(tiles).toHaveLength(nodes);
      expect(new Set(tiles.map(({ name }) => name)).size).toBe(nodes);
      expect(tiles[0]).toMatchObject({ name: "ip-10-0-0-0.eu-central-1.compute.internal, down, no answer" });
      expect(tiles[0]?.description).toContain("no answer through the overlay");
    });

    test("the browser complains of nothing", () => {
      expect(page.complaints).toEqual([]);
    });
  });
}
