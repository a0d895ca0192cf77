import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import * as v from "valibot";
import { Browser, type Page } from "../../support/browser.ts";
import { describeInNamespaces } from "../../support/requires.ts";
import { useTemporaryFolder } from "../../support/temp.ts";
import { eventually } from "../../support/wait.ts";
import { ALL_UP, type Names, STORIES } from "./stories.ts";
import { PAGE, StoryMesh, type Views } from "./story-mesh.ts";
import { type Told, WELL, wrongIn } from "./told.ts";

const NODES = ["n1", "n2", "n3"] as const;
/** for a page that reads anew after an event, or finds the agent again */
const SHOWN_MS = 40_000;
// Of three nodes, two browsers and, at each look, five commands on a busy machine.
setDefaultTimeout(180_000);

const numberOf = (node: string) => Number(node.slice(1));
/** whose pods a packet is traced to */
const targetOf = (node: string) => (node === "n2" ? 1 : 2);

/** Errors and warnings of tartan doctor. */
function findings({ doctor }: Views): { errors: number; warnings: number } {
  const [, errors, warnings] = /^(\d+) errors?, (\d+) warnings?, /m.exec(doctor) ?? [];
  return { errors: Number(errors), warnings: Number(warnings) };
}

/** Lines that are too long for a terminal though they could be broken; a command to copy stays in one. */
function tooLong({ status, peers, doctor, trace }: Views): string[] {
  return [status, peers, doctor, trace]
    .flatMap((text) => text.split("\n"))
    .filter((line) => Bun.stringWidth(line) > 80)
    .filter((line) => !/^(tartan: |What helps: )/.test(line) && line.trim().includes(" ") && !line.includes("/tmp/"));
}

describeInNamespaces("each view tells the same story, and a true one,", () => {
  const mesh = new StoryMesh(useTemporaryFolder().path);
  const browsers: Browser[] = [];
  const pages: Record<string, Page> = {};
  /** of each node when all was well: some hosts are warned of by themselves */
  const usual: Record<string, ReturnType<typeof findings>> = {};
  let names: Names;

  beforeAll(async () => {
    await mesh.bringUp();
    for (const node of ["n1", "n2"]) {
      const browser = await Browser.start(mesh.node(numberOf(node)).ns);
      browsers.push(browser);
      const page = await browser.open({ width: 1280, height: 800, scheme: "light" });
      await page.go(PAGE);
      await page.shows("#trouble li", /./, SHOWN_MS).catch(async (cause: unknown) => {
        const found = await page.evaluate(
          v.unknown(),
          "location.href + document.visibilityState + document.body.innerText",
        );
        throw new Error(`the page of ${node}: ${page.complaints.join("; ")}; ${page.requests.join(" ")}; ${found}`, {
          cause,
        });
      });
      pages[node] = page;
    }
    const leases = await Promise.all(mesh.nodes.map(({ agent }) => agent.lease()));
    names = {
      subnet: (number) => leases[number - 1]?.ipv4.subnet ?? "",
      mac: (number) => leases[number - 1]?.ipv4.vtepMAC ?? "",
    };
    await mesh.see(ALL_UP);
    for (const node of NODES) usual[node] = findings(await mesh.lookAt(numberOf(node), targetOf(node)));
  });

  afterAll(async () => {
    for (const browser of browsers) await browser[Symbol.asyncDispose]();
    mesh[Symbol.dispose]();
  });

  const check = async (node: string, told: Told) => {
    const views = await mesh.lookAt(numberOf(node), targetOf(node));
    const wrong = wrongIn(views, told);
    if (wrong.length > 0) throw new Error(`${node}: ${wrong.join("\n")}`);
    const { errors = 0, warnings = 0 } = usual[node] ?? {};
    expect({ node, ...findings(views) }).toEqual({
      ...{ node, errors: errors + (told.errors ?? 0), warnings: warnings + (told.warnings ?? 0) },
    });
    expect(tooLong(views)).toEqual([]);
  };

  const allIsWell = async () => {
    await mesh.see(ALL_UP);
    for (const node of NODES) await check(node, WELL);
    expect(await mesh.reaches(1, 2)).toEqual({ small: true, full: true });
    for (const page of Object.values(pages)) await page.shows("#trouble li", "Nothing is known to be wrong", SHOWN_MS);
  };

  test("when all is well", allIsWell);

  for (const { name, sees, reaches, told, shown, healed, ...story } of STORIES) {
    describe(`when ${name}:`, () => {
      let brokenAt = 0;
      beforeAll(async () => {
        brokenAt = Date.now();
        await story.break(mesh);
        await mesh.see(sees);
      });

      test("the packets are as the views say", async () => {
        expect(await mesh.reaches(1, 2)).toEqual(reaches);
        expect(await mesh.reaches(1, 3)).toEqual({ small: true, full: true });
      });

      test.each(Object.keys(told({ subnet: () => "", mac: () => "" })))("%s", async (node) => {
        await check(node, told(names)[node] ?? {});
      });

      test.each(Object.keys(shown))("the page of %s", async (node) => {
        for (const [selector, text] of shown[node] ?? []) await pages[node]?.shows(selector, text, SHOWN_MS);
      });

      test("and when it is over", async () => {
        await story.heal(mesh);
        for (const [node, kind, text] of healed) {
          const { agent } = mesh.node(numberOf(node));
          const isTold = async () =>
            (await agent.events(kind)).some(({ at, message }) => Date.parse(at) > brokenAt && text.test(message));
          await eventually(isTold, { within: SHOWN_MS, what: `${node} tells of ${kind} ${text}` });
        }
        await allIsWell();
      });
    });
  }
});
