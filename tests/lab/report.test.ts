import { describe, expect, test } from "bun:test";
import type { OutsideResult } from "../../src/cli/lab/outside.ts";
import { type LabReport, type NodeReport, reportJson, reportText, succeeded } from "../../src/cli/lab/report.ts";

function nodeReport(number: number, subnet: string): NodeReport {
  const vtepMAC = `02:00:00:00:00:0${number}`;
  return {
    name: `n${number}`,
    families: [{ family: 4, subnet, podAddress: subnet.replace("0/24", "2"), publicIP: `192.0.2.${number}`, vtepMAC }],
    cni: { plugins: ["flannel", "portmap"], conflist: `/lab/n${number}/list`, addressDir: `/lab/n${number}/networks` },
    rules: "iptables-nft",
    debugURL: `http://127.0.0.1:4000${number}`,
    status: `ip netns exec n${number} tartan status`,
  };
}

function outsideResult(node: string, direction: "in" | "out", sourceWanted: string): OutsideResult {
  const summary = { sent: 3, received: 3, rttMs: 0.5 };
  return { node, family: 4, direction, ...summary, reached: true, sourceWanted, sourceSeen: sourceWanted, ok: true };
}

const GOOD = {
  lease: { source: "embedded", server: null, inspect: [] },
  nodes: [nodeReport(1, "10.244.1.0/24"), nodeReport(2, "10.244.200.0/24")],
  pairs: [
    { from: "n1", to: "n2", family: 4, sent: 3, received: 3, rttMs: 0.1254 },
    { from: "n2", to: "n1", family: 4, sent: 3, received: 2, rttMs: 12 },
  ],
  encapsulated: true,
  capture: "12:00:01.123456 IP …",
  outside: [
    outsideResult("n1", "out", "192.0.2.1"),
    outsideResult("n2", "out", "192.0.2.2"),
    outsideResult("n1", "in", "198.51.100.1"),
    outsideResult("n2", "in", "198.51.100.2"),
  ],
} as const satisfies LabReport;
const [ONE, , , FOUR] = GOOD.outside;
const LOST: LabReport = {
  ...GOOD,
  pairs: [GOOD.pairs[0], { from: "n2", to: "n1", family: 4, sent: 3, received: 0, rttMs: null }],
};
const BARE: LabReport = { ...GOOD, encapsulated: false, capture: undefined };
const CUT_OFF: LabReport = {
  ...GOOD,
  outside: [{ ...ONE, received: 0, rttMs: null, reached: false, sourceSeen: null, ok: false }],
};
const MASQUERADED: LabReport = { ...GOOD, outside: [ONE, { ...FOUR, sourceSeen: "10.244.200.1", ok: false }] };

const plain = (_: string, text: string) => text;

describe("succeeded", () => {
  test.each<[string, LabReport, boolean]>([
    ["every pair reached, one with loss", GOOD, true],
    ["a pair not reached", LOST, false],
    ["not in VXLAN", BARE, false],
    ["the outside not reached", CUT_OFF, false],
    ["the outside's address hidden", MASQUERADED, false],
  ])("%s", (_, report, expected) => {
    expect(succeeded(report)).toBe(expected);
  });
});

describe("reportJson", () => {
  test("is one document with all that was found", () => {
    const nodes = GOOD.nodes.map((node) => {
      const [{ family: _, ...first } = {}] = node.families;
      return { ...node, ...first };
    });
    expect(JSON.parse(reportJson(GOOD))).toEqual({ ...GOOD, nodes });
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
NODE  SUBNET           POD ADDRESS   PUBLIC ADDRESS  VTEP MAC           RULES         DEBUG URL
n1    10.244.1.0/24    10.244.1.2    192.0.2.1       02:00:00:00:00:01  iptables-nft  http://127.0.0.1:40001
n2    10.244.200.0/24  10.244.200.2  192.0.2.2       02:00:00:00:00:02  iptables-nft  http://127.0.0.1:40002

LEASES
in a file that the agents share

PODS
attached by the CNI plugins flannel and portmap, from the conflist that each agent wrote

FROM  TO  FAMILY  SENT  RECEIVED  LOSS        RTT
n1    n2  IPv4       3         3   0 %   0.125 ms
n2    n1  IPv4       3         2  33 %  12.000 ms

FROM     TO       FAMILY  SENT  RECEIVED  LOSS       RTT  SEEN AS
n1       outside  IPv4       3         3   0 %  0.500 ms  192.0.2.1
n2       outside  IPv4       3         3   0 %  0.500 ms  192.0.2.2
outside  n1       IPv4       3         3   0 %  0.500 ms  198.51.100.1
outside  n2       IPv4       3         3   0 %  0.500 ms  198.51.100.2

ON THE WIRE, BETWEEN THE NODES
12:00:01.123456 IP …

TO LOOK INSIDE, WHILE THE LAB RUNS
http://127.0.0.1:40001/ in a browser is the mesh page: how n1 sees the others
ip netns exec n1 tartan status
curl http://127.0.0.1:40001/debug/state
curl http://127.0.0.1:40002/debug/state
cat /lab/n1/list
head /lab/n1/networks/*

All 2 pairs reached, through VXLAN.
Every pod reached the outside by its node's address, and the outside every pod by its own.
`);
  });

  test("shows both families of a node, on a line each", () => {
    const [node] = GOOD.nodes;
    const [podAddress, publicIP] = ["fd00::2", "2001:db8::1"];
    const six = { family: 6, subnet: "fd00::/64", podAddress, publicIP, vtepMAC: "02:00:00:00:06:01" } as const;
    const dual = { ...node, families: [...node.families, six] };
    expect(reportText({ ...GOOD, nodes: [dual] }, plain)).toStartWith(`\
NODE  SUBNET         POD ADDRESS  PUBLIC ADDRESS  VTEP MAC           RULES         DEBUG URL
n1    10.244.1.0/24  10.244.1.2   192.0.2.1       02:00:00:00:00:01  iptables-nft  http://127.0.0.1:40001
n1    fd00::/64      fd00::2      2001:db8::1     02:00:00:00:06:01

`);
  });

  test("shows the server that has the leases, and how to look into it", () => {
    const server = "http://192.0.2.250:2379";
    const text = reportText({ ...GOOD, lease: { source: "etcd", server, inspect: ["etcdctl get", "curl x"] } }, plain);
    expect(text).toContain("\nLEASES\nin etcd, at http://192.0.2.250:2379\n");
    expect(text).toContain("\nhead /lab/n1/networks/*\netcdctl get\ncurl x\n\n");
  });

  test("names the pairs that were not reached", () => {
    const text = reportText(LOST, plain);
    expect(text).toContain("n2    n1  IPv4       3         0  100 %         -\n");
    expect(text).toEndWith("\nNot reached: n2 to n1 (IPv4).\n");
    expect(reportText(CUT_OFF, plain)).toEndWith("\nNot reached: n1 to outside (IPv4).\n");
  });

  test("says by which address the outside was seen, and by which it should have been", () => {
    expect(reportText(MASQUERADED, plain)).toEndWith(
      "\noutside to n2 (IPv4) was seen as 10.244.200.1 instead of 198.51.100.2.\n",
    );
  });

  test("says when no VXLAN was seen", () => {
    const text = reportText(BARE, plain);
    expect(text).toContain("no VXLAN packet was seen\n");
    expect(text).toEndWith("\nNot every pair was seen in VXLAN on the switch.\n");
  });

  test("paints what is wrong", () => {
    const painted = reportText(LOST, (colour, text) => `<${colour}>${text}</${colour}>`);
    expect(painted).toContain("<red>n2    n1 ");
    expect(painted).toContain("<red>Not reached: n2 to n1 (IPv4).</red>");
    expect(painted).not.toContain("<red>n1    n2 ");
  });
});
