import { describe, expect, test } from "bun:test";
import type { Verdict } from "../../src/api/peers.ts";
import { type Evidence, explain, type PathState, verdictOf } from "../../src/probe/verdict.ts";

const ANSWERS: Record<string, PathState> = { "+": "answers", "-": "silent", "?": "unknown" };

/** @param paths a sign each for overlay, full size and underlay */
function evidence(paths: string, sent = 64, lost = 0): Evidence {
  const [overlay = "unknown", fullSize = "unknown", underlay = "unknown"] = [...paths].map((sign) => ANSWERS[sign]);
  return { overlay, fullSize, underlay, sent, received: sent - lost };
}

describe("a verdict", () => {
  test.each<[string, Verdict]>([
    ["???", "unknown"],
    ["??+", "unknown"],
    ["??-", "unknown"],
    ["+++", "reachable"],
    // Many filter ICMP in the underlay, and that is no trouble.
    ["++-", "reachable"],
    ["++?", "reachable"],
    ["+?+", "reachable"],
    ["+-+", "mtuTooSmall"],
    ["+--", "mtuTooSmall"],
    ["+-?", "mtuTooSmall"],
    ["-++", "overlayBlocked"],
    ["--+", "overlayBlocked"],
    ["-?+", "overlayBlocked"],
    ["-+-", "unreachable"],
    ["-?-", "unreachable"],
    ["--?", "unreachable"],
  ])("of overlay, full size, underlay %s is %s", (paths, expected) => {
    for (const before of ["unknown", "reachable", "lossy", "unreachable"] as const) {
      expect(verdictOf(evidence(paths), before)).toBe(expected);
    }
  });

  test.each<[sent: number, lost: number, before: Verdict, expected: Verdict]>([
    [64, 6, "reachable", "reachable"],
    [64, 7, "reachable", "lossy"],
    [64, 64, "reachable", "lossy"],
    // Once lossy, it stays so until much less is lost.
    [64, 6, "lossy", "lossy"],
    [64, 4, "lossy", "lossy"],
    [64, 3, "lossy", "reachable"],
    // A few probes say nothing.
    [3, 1, "reachable", "reachable"],
    [19, 10, "reachable", "reachable"],
    [20, 2, "reachable", "reachable"],
    [20, 3, "reachable", "lossy"],
  ])("with %p sent and %p lost, after %p, is %p", (sent, lost, before, expected) => {
    expect(verdictOf(evidence("+++", sent, lost), before)).toBe(expected);
    // What is worse goes before.
    expect(verdictOf(evidence("+-+", sent, lost), before)).toBe("mtuTooSmall");
    expect(verdictOf(evidence("--+", sent, lost), before)).toBe("overlayBlocked");
  });
});

test("each verdict that is not right is explained, with what can be done", () => {
  const scene = {
    families: "IPv4",
    publicIP: "192.0.2.2",
    local: "192.0.2.1",
    devices: ["flannel.7"],
    port: 4789,
    fullBytes: [1450],
    outerBytes: 1500,
    lossPercent: 12.4,
    everywhere: false,
  };
  const words = (verdict: Verdict) => {
    const found = explain(verdict, scene);
    return found && `${found.why}: ${found.fix}`;
  };
  expect(words("reachable")).toBeUndefined();
  expect(words("unknown")).toBeUndefined();
  expect(words("overlayBlocked")).toMatch(
    /192\.0\.2\.2 answers.*UDP port 4789.*192\.0\.2\.1 and 192\.0\.2\.2.*flannel\.7/,
  );
  expect(words("unreachable")).toMatch(/no answer.*IPv4.*192\.0\.2\.2.*node is up/);
  expect(words("mtuTooSmall")).toMatch(/1450 bytes.*1500 bytes.*Backend\.MTU/);
  expect(words("lossy")).toMatch(/12 %.*between 192\.0\.2\.1 and 192\.0\.2\.2/);
  expect(words("overlayBlocked")).toContain("on that node");
  const everywhere = explain("overlayBlocked", { ...scene, everywhere: true });
  expect(everywhere?.fix).toMatch(
    /^it is the same with all other nodes, so begin with this one: .*UDP port 4789.* doctor here that/,
  );
});
