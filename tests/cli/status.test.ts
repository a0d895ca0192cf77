import { describe, expect, test } from "bun:test";
import type { Event } from "../../src/api/events.ts";
import type { State } from "../../src/api/state.ts";
import { kernelStatusLines } from "../../src/cli/status/kernel.ts";
import { lines, statusLines } from "../../src/cli/status/text.ts";

const NOW = Date.parse("2026-11-26T06:00:00.000Z");
const SCREEN = { paint: (_: unknown, text: string) => text, width: 80 };
const COLOURED = { paint: (colour: string, text: string) => `<${colour}>${text}`, width: 80 };

const RULES: State["rules"] = {
  ...{
    mode: "nftables",
    backend: "nftables",
    version: "1.0.6",
    inPlace: { ipv4: true },
    looks: 1,
    lastLookMs: 0.1,
    checks: 1,
  },
  ...{ forks: 0, writes: 1, repaired: {}, lastCheck: null, lastWrite: null, errors: [], warnings: [] },
};

const STATE: State = {
  ...{ version: "0.1.0+aaaa", node: "n1", startedAt: "2026-11-26T03:55:00.000Z", uptimeMs: 7_500_000 },
  process: { pid: 17, cpuMs: 10, residentBytes: 1 },
  readiness: { ready: true, reasons: [], warnings: [] },
  config: {
    ...{ flags: {}, network: null, nftables: true, warnings: [], logLevel: "info" },
    backend: { type: "vxlan", vni: 1, port: null, gbp: false, learning: false, mtu: null },
  },
  externalInterface: { index: 2, name: "eth0", mtu: 1500, addresses: ["192.0.2.1"], publicIPs: ["192.0.2.1"] },
  leaseSource: {
    kind: "etcd",
    location: "http://192.0.2.11:2379",
    lastContactAt: "2026-11-26T05:59:58.000Z",
    error: null,
  },
  lease: {
    ...{ key: "10.244.1.0-24", node: "n1", backendType: "vxlan", createdAt: null, expiresAt: null },
    ipv4: { subnet: "10.244.1.0/24", publicIP: "192.0.2.1", vni: 1, vtepMAC: "02:00:00:00:00:01" },
  },
  ...{
    leaseProblem: null,
    snapshotTakenAt: null,
    leaseCounts: { used: 3, rejected: 0, rejectedSinceStart: 0 },
    rejectedLeases: [],
  },
  peerCounts: { down: 0, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 0, up: 2 },
  desired: null,
  reconcile: {
    ...{
      settled: true,
      pruning: true,
      busySince: null,
      turns: 4,
      lastTurnAt: null,
      failuresInARow: 0,
      fullReads: 1,
      failed: 0,
      driftsFound: 1,
    },
    repaired: { "route-replace": 2 },
  },
  ...{ lastApply: null, failures: [], cniConf: null, rules: RULES },
};

const REPAIR: Event = {
  ...{ id: 5, at: "2026-11-26T05:58:00.000Z", kind: "repaired", level: "warning", message: "2 routes were deleted" },
  ...{ node: null, cause: null, durationMs: 3, times: 1 },
};

function text(
  changes: Partial<State>,
  screen: typeof SCREEN | typeof COLOURED = SCREEN,
  version = "0.1.0+aaaa",
): string {
  return lines(statusLines({ state: { ...STATE, ...changes }, repairs: [REPAIR], version, now: NOW }), screen);
}

describe("the status of a node", () => {
  test("is one screen", () => {
    expect(text({})).toBe(`node       n1, agent up for 2h5m, process 17
state      ready
lease      10.244.1.0/24 at 192.0.2.1, VTEP MAC 02:00:00:00:00:01
leases     3 leases in etcd http://192.0.2.11:2379
           last contact 2s ago
backend    vxlan, VNI 1, UDP port 8472 on eth0, MTU 1500
peers      2 peers: 2 up
kernel     as desired, repaired since the start: 2 route-replace
rules      nftables 1.0.6: IPv4 in place
repairs    2m ago: 2 routes were deleted
version    0.1.0+aaaa
`);
  });

  test("has every reason and every warning in full, and what else is not right", () => {
    const shown = text(
      {
        readiness: {
          ready: false,
          reasons: [{ condition: "device", message: `flannel.1 is missing${" abcdefg".repeat(10)}` }],
          warnings: [{ condition: "peers", message: "n2 can't be reached" }],
        },
        leaseSource: { ...STATE.leaseSource, error: "connection refused" },
        leaseProblem: "it is another node's",
        rejectedLeases: [
          { key: "10.244.9.0-24", node: null, reason: "no VTEP MAC", kept: false },
          { key: "10.244.8.0-24", node: null, reason: "no public address", kept: true },
        ],
        peerCounts: { ...STATE.peerCounts, down: 1 },
        reconcile: { ...STATE.reconcile, settled: false },
        failures: [{ operation: "add", object: "x", error: "EPERM", message: "add route: EPERM" }],
      },
      COLOURED,
    );
    for (const line of [
      "<red>not ready",
      `<red>device: flannel.1 is missing${" abcdefg".repeat(5)}`,
      `<bold>           <red>${"abcdefg ".repeat(5).trim()}`,
      "<yellow>peers: n2 can't be reached",
      "<yellow>connection refused",
      "<red>it is another node's",
      "<yellow>10.244.9.0-24 is left out: no VTEP MAC",
      "<yellow>10.244.8.0-24 stays as it was: no public address",
      "<red>3 peers: 1 down, 2 up",
      "<yellow>not as desired, repaired since the start: 2 route-replace",
      "<red>add route: EPERM",
    ]) {
      expect(shown).toContain(`${line}\n`);
    }
  });

  test("tells a running agent of another version", () => {
    expect(text({}, COLOURED, "0.2.0+bbbb")).toEndWith(
      "<yellow>the agent runs 0.1.0+aaaa, this executable is 0.2.0+bbbb\n",
    );
  });

  test("fits 80 columns, whatever is long", () => {
    const lease = STATE.lease && {
      ...STATE.lease,
      ipv4: { subnet: "x".repeat(90), publicIP: null, vni: null, vtepMAC: null },
    };
    const shown = text({
      node: "n".repeat(200),
      lease,
      leaseSource: { ...STATE.leaseSource, location: "http://x,".repeat(30) },
    });
    for (const line of shown.split("\n")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(80);
  });

  test("of which the agent says nothing yet has no holes", () => {
    const config = { ...STATE.config, backend: null };
    const shown = text({
      node: null,
      lease: null,
      config,
      externalInterface: null,
      rules: { ...RULES, backend: null, version: null, inPlace: {} },
    });
    expect(shown).toContain("lease      none\n");
    expect(shown).toContain("backend    not known yet\n");
    expect(shown).toContain("rules      nftables: none wanted\n");
    expect(shown).not.toMatch(/undefined|null/);
  });
});

test("a node without an agent shows what it has", () => {
  const status = {
    ...{
      devices: [],
      incompletePeers: 2,
      rules: null,
      rulesProblem: "only root may ask",
      processes: [{ pid: 7, name: "flanneld" }],
    },
    subnetFile: { path: "/run/flannel/subnet.env", problem: "it is missing", content: null },
  };
  expect(
    lines(kernelStatusLines(status), SCREEN),
  ).toBe(`state      the agent does not answer: packets go as the kernel has it, and
           nobody follows changes; see its log
           flanneld runs here as process 7
devices    no VXLAN device
peers      2 peers incomplete: the agent mends it when it is back; tartan diff
           says what is missing
subnet.env /run/flannel/subnet.env: it is missing
rules      only root may ask
`);
});
