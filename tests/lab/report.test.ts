import { describe, expect, test } from "bun:test";
import { type LabReport, reportJson, reportText, succeeded } from "../../src/cli/lab/report.ts";

const GOOD: LabReport = {
  lease: { source: "embedded", server: null, inspect: [] },
  nodes: [
    {
      name: "n1",
      subnet: "10.244.1.0/24",
      publicIP: "192.0.2.1",
      vtepMAC: "02:00:00:00:00:01",
      debugURL: "http://127.0.0.1:40001",
    },
    {
      name: "n2",
      subnet: "10.244.200.0/24",
      publicIP: "192.0.2.2",
      vtepMAC: "02:00:00:00:00:02",
      debugURL: "http://127.0.0.1:40002",
    },
  ],
  pairs: [
    { from: "n1", to: "n2", sent: 3, received: 3, rttMs: 0.1254 },
    { from: "n2", to: "n1", sent: 3, received: 2, rttMs: 12 },
  ],
  encapsulated: true,
  capture: "12:00:01.123456 IP …",
};
const LOST: LabReport = {
  ...GOOD,
  pairs: [...GOOD.pairs.slice(0, 1), { from: "n2", to: "n1", sent: 3, received: 0, rttMs: null }],
};
const BARE: LabReport = { ...GOOD, encapsulated: false, capture: undefined };

const plain = (_: string, text: string) => text;

describe("succeeded", () => {
  test.each<[string, LabReport, boolean]>([
    ["every pair reached, one with loss", GOOD, true],
    ["a pair not reached", LOST, false],
    ["not in VXLAN", BARE, false],
  ])("%s", (_, report, expected) => {
    expect(succeeded(report)).toBe(expected);
  });
});

describe("reportJson", () => {
  test("is one document with all that was found", () => {
    expect(JSON.parse(reportJson(GOOD))).toEqual({ ...GOOD });
  });

  test("has null where nothing was found", () => {
    expect(JSON.parse(reportJson({ ...LOST, capture: undefined }))).toMatchObject({
      capture: null,
      pairs: [{}, { received: 0, rttMs: null }],
    });
  });
});

describe("reportText", () => {
  test("shows nodes, pairs, the packet, where to look, and the verdict", () => {
    expect(reportText(GOOD, plain)).toBe(`\
NODE  SUBNET           PUBLIC ADDRESS  VTEP MAC           DEBUG URL
n1    10.244.1.0/24    192.0.2.1       02:00:00:00:00:01  http://127.0.0.1:40001
n2    10.244.200.0/24  192.0.2.2       02:00:00:00:00:02  http://127.0.0.1:40002

LEASES
in a file that the agents share

FROM  TO  SENT  RECEIVED  LOSS        RTT
n1    n2     3         3   0 %   0.125 ms
n2    n1     3         2  33 %  12.000 ms

ON THE WIRE, BETWEEN THE NODES
12:00:01.123456 IP …

TO LOOK INSIDE, WHILE THE LAB RUNS
curl http://127.0.0.1:40001/debug/state
curl http://127.0.0.1:40002/debug/state

All 2 pairs reached, through VXLAN.
`);
  });

  test("shows the server that has the leases, and how to look into it", () => {
    const server = "http://192.0.2.250:2379";
    const text = reportText({ ...GOOD, lease: { source: "etcd", server, inspect: ["etcdctl get", "curl x"] } }, plain);
    expect(text).toContain("\nLEASES\nin etcd, at http://192.0.2.250:2379\n");
    expect(text).toContain("\ncurl http://127.0.0.1:40002/debug/state\netcdctl get\ncurl x\n\n");
  });

  test("names the pairs that were not reached", () => {
    const text = reportText(LOST, plain);
    expect(text).toContain("n2    n1     3         0  100 %         -\n");
    expect(text).toEndWith("\nNot reached: n2 to n1.\n");
  });

  test("says when no VXLAN was seen", () => {
    const text = reportText(BARE, plain);
    expect(text).toContain("no VXLAN packet was seen\n");
    expect(text).toEndWith("\nNot every pair was seen in VXLAN on the switch.\n");
  });

  test("paints what is wrong", () => {
    const painted = reportText(LOST, (colour, text) => `<${colour}>${text}</${colour}>`);
    expect(painted).toContain("<red>n2    n1 ");
    expect(painted).toContain("<red>Not reached: n2 to n1.</red>");
    expect(painted).not.toContain("<red>n1    n2 ");
  });
});
