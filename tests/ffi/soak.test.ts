import { expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { Netns } from "../support/netns.ts";
import { describeInNamespaces } from "../support/requires.ts";

const State = v.object({ rss: v.number(), descriptors: v.number() });
const Result = v.object({
  operations: v.number(),
  refused: v.number(),
  before: State,
  after: State,
  descriptorsAtEnd: v.number(),
});

/** bytes; one leaked message an operation would be 400 MB, one leaked address of 60 bytes 6 MB */
const MARGIN = 5 * 1024 * 1024;

describeInNamespaces("100,000 operations through libnl with forced garbage collection", () => {
  test("neither crash nor grow, and leave no descriptor open", async () => {
    using ns = new Netns();
    await ns.exec(
      ["ip", "-batch", "-"],
      "link add soak type vxlan id 1 dstport 8472 local 198.18.0.1\nlink set soak up\n",
    );
    const shown = await ns.exec(["ip", "-o", "link", "show", "soak"]);
    const ifindex = /^\d+/.exec(shown)?.[0] ?? "";
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "soak.ts"), ns.path, ifindex], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    expect({ code, signal: child.signalCode, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
    const { before, after, refused, descriptorsAtEnd } = v.parse(Result, JSON.parse(stdout));
    console.log(before, after, refused, descriptorsAtEnd);
    expect(after.rss - before.rss).toBeLessThan(MARGIN);
    expect(after.descriptors).toBe(before.descriptors);
    // The socket of the soak itself is closed.
    expect(descriptorsAtEnd).toBeLessThan(after.descriptors);
    expect(refused).toBeGreaterThan(0);
  });
});
