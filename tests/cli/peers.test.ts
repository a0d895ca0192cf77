import { describe, expect, test } from "bun:test";
import { screenOf } from "../../src/cli/output.ts";
import { countsLine } from "../../src/cli/peer-words.ts";
import { listText, peerTable } from "../../src/cli/peers/command.ts";
import { changesOf } from "../../src/cli/peers/watch.ts";
import { samplePeer, samplePeers } from "./samples.ts";

const SCREEN = { paint: (_: unknown, text: string) => text, width: 80 };
const WIDE = { ...SCREEN, width: Number.POSITIVE_INFINITY };

describe("the table of peers", () => {
  test("shows each on a line of 80 columns at most, also 500 of them", () => {
    const lines = peerTable(samplePeers(500), SCREEN, false);
    expect(lines).toHaveLength(501);
    expect(lines[0]).toMatch(/^NODE +STATE +SINCE +LOSS +RTT +WHY$/);
    expect(lines[1]).toMatch(/^node-0 +down .*0 % +0\.25 ms +the public .*…$/);
    expect(Math.max(...lines.map((line) => Bun.stringWidth(line)))).toBe(80);
  });

  test("cuts long names and reasons, and leaves numbers whole", () => {
    const node = `${"very-long-name-".repeat(6)}.eu-central-1.compute.internal`;
    const [, line = ""] = peerTable(
      [samplePeer(1, { node, state: "notProgrammed", why: "w".repeat(200) })],
      SCREEN,
      false,
    );
    expect(Bun.stringWidth(line)).toBe(80);
    expect(line).toMatch(/^very-long-name-\S*… {2}not programmed +\S+ +0 % +0\.25 ms +w+…$/);
  });

  test("in full is as wide as it takes, with a line for each family", () => {
    const one = samplePeer(1);
    const dual = {
      ...one,
      ...(one.ipv4 && { ipv6: { ...one.ipv4, subnet: "fd00:10:244:1::/64" } }),
      why: "w".repeat(200),
    };
    const lines = peerTable([dual], WIDE, true);
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain("IPv4");
    expect(lines[2]).toContain("fd00:10:244:1::/64");
    expect(lines[2]).toContain("w".repeat(200));
  });

  test("says where a value is not known", () => {
    const { ipv4, ...rest } = samplePeer(1, { node: null, state: "unknown", since: null });
    const [, line] = peerTable([{ ...rest, ...(ipv4 && { ipv4: { ...ipv4, probe: null } }) }], SCREEN, false);
    expect(line).toMatch(/^10\.244\.1\.0-24 +unknown +- +- +-$/);
  });

  test("is without colours where there is no terminal", () => {
    const lines = peerTable(samplePeers(20), screenOf({ isTTY: false, columns: 0 } as NodeJS.WriteStream), false);
    expect(lines.join("")).not.toContain("\u001b");
  });
});

test.each([3, 10, 24])(
  "a screen of %d lines has trouble first, the counts last, and says what it leaves out",
  (height) => {
    const items = samplePeers(500);
    const counts = { ...{ down: 50, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0 }, up: 450 };
    const list = { items, counts, ...{ total: 500, offset: 0, next: null, probeIntervalMs: 10_000 } };
    const lines = listText(list, { node: undefined, output: "text" }, SCREEN, height);
    expect(lines).toHaveLength(height);
    expect(lines.at(-1)).toBe("500 peers: 50 down, 450 up; probed every 10 s");
    expect(lines.at(-2)).toBe(`… and ${501 - (height - 2)} more lines`);
    expect(lines.slice(1, -2).every((line) => line.includes("down"))).toBe(true);
  },
);

test("why and what to do stand in full below the table, of the first in trouble", () => {
  const why = "192.0.2.2 answers, but nothing answers through the overlay (IPv4)";
  const fix = "let UDP port 8472 through between 192.0.2.1 and 192.0.2.2, both ways";
  const bad = [1, 2, 3, 4].map((number) => samplePeer(number, { state: "down", why, fix }));
  const counts = { down: 4, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 1 };
  const list = { items: [...bad, samplePeer(5)], counts, total: 5, offset: 0, next: null, probeIntervalMs: 10_000 };
  const shown = (output: "text" | "wide") => listText(list, { node: undefined, output }, SCREEN);
  const lines = shown("text");
  expect(Math.max(...lines.map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(80);
  const text = lines.slice(7).join("\n");
  expect(text).toStartWith(`node-1 is down: ${why.replace(" (", "\n  (")}\n  fix: ${fix}\nnode-2 is down`);
  expect(text).toContain("… and 1 more in trouble: tartan peers -o wide");
  expect(text).not.toContain("node-4 is");
  expect(shown("wide").join("\n")).not.toContain("node-1 is down:");
  expect(listText({ ...list, items: [samplePeer(5)] }, { node: undefined, output: "text" }, SCREEN)).toHaveLength(3);
});

test.each([
  [{}, "no other node"],
  [{ up: 1 }, "1 peer: 1 up"],
  [{ up: 2, down: 1, notProgrammed: 3 }, "6 peers: 1 down, 3 not programmed, 2 up"],
])("counts %p are %p", (counts, expected) => {
  const all = { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 0 };
  expect(countsLine({ ...all, ...counts })).toBe(expected);
});

test("--watch tells of what is new, gone or in another state, once", () => {
  const [a, b, c, d] = [1, 2, 3, 4].map((number) => samplePeer(number));
  if (!a || !b || !c || !d) throw new Error("there are four");
  const known = new Map([a, b, c].map((peer) => [peer.key, peer]));
  const now = [a, { ...b, state: "down" as const, why: "it does not answer" }, d];
  const lines = changesOf(known, now, (peer, before) => `${peer.node} ${before?.state ?? "new"} ${peer.why ?? ""}`);
  expect(lines).toEqual(["node-2 up it does not answer", "node-4 new ", "node-3 up its lease is gone"]);
});
