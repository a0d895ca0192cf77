import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { parseAllDocuments } from "yaml";
import { judgeAgent, judgePeers, judgeReadiness, judgeVersion } from "../../../src/cli/doctor/checks/agent.ts";
import { judgeDate, judgeSkew } from "../../../src/cli/doctor/checks/clock.ts";
import { judgeEntries } from "../../../src/cli/doctor/checks/entries.ts";
import { judgeFirewalls } from "../../../src/cli/doctor/checks/firewalls.ts";
import { judgeEtcdRights, judgeNode, judgeRights, judgeServers } from "../../../src/cli/doctor/checks/lease-source.ts";
import { judgeBlockers, judgeKinds } from "../../../src/cli/doctor/checks/packet-filter.ts";
import { clockOf } from "../../../src/cli/doctor/clock-of.ts";
import type { KernelPeer } from "../../../src/cli/kernel-peers.ts";
import { parseNetConf } from "../../../src/config/net-conf.ts";
import { AGENT_RIGHTS } from "../../../src/lease/kube-review.ts";
import { address } from "../../lease/samples.ts";
import { haveFixes, told } from "./judgements.ts";

const NETWORK = parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}', "x", {
  allocating: false,
}).config;

test("one server of several that is down is a warning, all of them are errors", () => {
  const down = {
    server: "https://b:2379",
    problem: "etcd https://b:2379: connection refused; see that etcd listens there",
  };
  const up = { server: "https://a:2379", latencyMs: 3 };
  expect(told(judgeServers([up, down]))).toBe(
    "ok: https://a:2379 answers in 3 ms by a certificate that was verified\nwarning: etcd https://b:2379: connection refused",
  );
  expect(told(judgeServers([down]))).toBe("error: etcd https://b:2379: connection refused");
  expect(judgeServers([down])[0]?.fix).toBe("see that etcd listens there");
  expect(told(judgeServers([{ server: "http://a:2379", latencyMs: 2500 }]))).toStartWith(
    "warning: http://a:2379 answers only after 2500 ms",
  );
});

test("the rights that are looked at are those of the manifest's ClusterRole", async () => {
  const Role = v.looseObject({
    kind: v.string(),
    rules: v.optional(v.array(v.object({ resources: v.array(v.string()), verbs: v.array(v.string()) })), []),
  });
  const manifest = await Bun.file(join(import.meta.dir, "../../../manifests/tartan.yml")).text();
  const objects = v.parse(
    v.array(Role),
    parseAllDocuments(manifest).map((document) => document.toJS()),
  );
  const rules = objects.flatMap(({ kind, rules }) => (kind === "ClusterRole" ? rules : []));
  const granted = rules.flatMap(({ resources, verbs }) =>
    resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
  );
  expect(AGENT_RIGHTS.map(({ verb, resource }) => `${verb} ${resource}`)).toEqual(granted);
});

test("rights", () => {
  const reviews = [
    { verb: "get", resource: "nodes", allowed: true },
    { verb: "patch", resource: "nodes/status", allowed: false },
  ];
  expect(told(judgeRights({ value: reviews }, "user x"))).toBe("error: user x must not patch nodes/status");
  expect(told(judgeRights({ problem: "can't create selfsubjectaccessreviews: 403" }, "user x"))).toStartWith(
    "warning: its rights could not be looked at",
  );
  expect(told(judgeEtcdRights({ readProblem: undefined, writeProblem: undefined }))).toStartWith("ok: ");
  expect(told(judgeEtcdRights({ readProblem: "etcd x: kv/range: no", writeProblem: "etcd x: kv/txn: no" }))).toBe(
    "error: etcd x: kv/range: no",
  );
});

describe("this node's Node", () => {
  const node = (...podCIDRs: string[]) => ({
    value: { name: "n1", uid: "u", resourceVersion: "1", createdAt: 0, annotations: {}, podCIDRs },
  });

  test.each([
    [node("10.244.1.0/24"), "ok: Node n1 has the podCIDR 10.244.1.0/24"],
    [node(), "error: Node n1 has no podCIDR"],
    [node("10.9.1.0/24"), "error: the podCIDR 10.9.1.0/24 of Node n1 lies outside Network 10.244.0.0/16"],
    [node("fd00::/64"), "error: Node n1 has no IPv4 podCIDR (only fd00::/64)"],
    [{ problem: "there is no Node n1; correct NODE_NAME" }, "error: there is no Node n1"],
  ])("%j: %s", (known, expected) => {
    const finding = judgeNode(known, NETWORK);
    expect(told(finding)).toStartWith(expected);
    expect(haveFixes(finding)).toBe(true);
  });
});

describe("the clock", () => {
  const skew = (aheadMs: number, uncertainMs = 500) =>
    told(judgeSkew([{ server: "https://a", clock: { aheadMs, uncertainMs } }]));

  test.each([
    [200, "ok: within 0.7 s of that of https://a"],
    [-5400, "ok: "],
    [5600, "warning: the clock is 6 s ahead of that of https://a"],
    [-42_000, "warning: the clock is 42 s behind that of https://a"],
    [61_000, "error: the clock is 61 s ahead of that of https://a: certificates and tokens may be refused"],
  ])("ahead by %p ms: %s", (aheadMs, expected) => {
    expect(skew(aheadMs)).toStartWith(expected);
  });

  test("a server that does not tell the time says nothing", () => {
    expect(judgeSkew([{ server: "https://a" }])).toEqual([]);
    expect(clockOf(null, 0, 0)).toEqual({});
    expect(clockOf("yesterday", 0, 0)).toEqual({});
  });

  test("a server's date has whole seconds", () => {
    const date = Date.parse("2026-11-26T06:00:00Z");
    expect(clockOf("Thu, 26 Nov 2026 06:00:00 GMT", date + 400, date + 600)).toEqual({
      clock: { aheadMs: 0, uncertainMs: 600 },
    });
    expect(clockOf("Thu, 26 Nov 2026 06:00:00 GMT", date + 10_400, date + 10_600).clock?.aheadMs).toBe(10_000);
  });

  test("a date before this executable was made", () => {
    const built = Date.parse("2026-11-26T00:00:00Z");
    expect(told(judgeDate(0, built))).toStartWith(
      "error: the clock says 1970-01-01, but this executable is of 2026-11-26",
    );
    expect(judgeDate(built - 3_600_000, built)).toBeUndefined();
    expect(judgeDate(0, undefined)).toBeUndefined();
  });
});

describe("the agent", () => {
  const tartan = { pid: 7, name: "tartan", executable: "/usr/local/bin/tartan" };

  test.each([
    [
      { processes: [tartan], address: "127.0.0.1:8285", problems: [] },
      "ok: it runs as tartan (process 7) and answers at 127.0.0.1:8285",
    ],
    [{ processes: [], address: "127.0.0.1:8285", problems: [] }, "ok: it runs and answers at 127.0.0.1:8285"],
    [
      { processes: [tartan], address: undefined, problems: [] },
      "warning: tartan (process 7) runs here, but its --debug-addr is off",
    ],
    [{ processes: [], address: undefined, problems: ["x"] }, ""],
    [
      { processes: [tartan, { ...tartan, pid: 8 }], address: "x", problems: [] },
      "error: 2 agents run in this network namespace",
    ],
    // What the image calls flanneld is tartan.
    [
      { processes: [{ ...tartan, name: "flanneld" }], address: "x", problems: [] },
      "ok: it runs as flanneld (process 7)",
    ],
  ])("%j: %s", (facts, expected) => {
    const findings = judgeAgent({ devices: [], ...facts });
    expect(told(findings)).toStartWith(expected);
    expect(haveFixes(findings)).toBe(true);
  });

  test("a flanneld is to be stopped before tartan starts", () => {
    const flanneld = { pid: 7, name: "flanneld", executable: "/opt/bin/flanneld" };
    const findings = judgeAgent({
      processes: [flanneld],
      address: undefined,
      problems: ["x does not answer"],
      devices: [],
    });
    expect(told(findings)).toContain("warning: flanneld (process 7) keeps this node's part of the network");
  });

  test("its own words", () => {
    const finding = { condition: "lease", message: "no lease" };
    expect(told(judgeReadiness({ ready: true, reasons: [], warnings: [] }))).toBe(
      "ok: it is ready, and warns of nothing",
    );
    expect(told(judgeReadiness({ ready: true, reasons: [], warnings: [finding] }))).toBe("warning: (lease) no lease");
    expect(told(judgeReadiness({ ready: false, reasons: [finding], warnings: [finding] }))).toBe(
      "error: not ready (lease): no lease\nwarning: (lease) no lease",
    );
    expect(told(judgeReadiness({ ready: false, reasons: [], warnings: [] }))).toStartWith("error: ");
    expect(told(judgeVersion("1", "1"))).toStartWith("ok: ");
    expect(told(judgeVersion("1", "2"))).toBe("warning: the agent is 1, this executable 2");
  });

  test("an agent that is not there where its device is", () => {
    const away = { processes: [], address: undefined, problems: ["x does not answer"] };
    expect(judgeAgent({ ...away, devices: [] })).toEqual([]);
    const [found] = judgeAgent({ ...away, devices: ["flannel.1"] });
    expect(found).toMatchObject({ status: "warning", message: expect.stringContaining("though flannel.1 is there") });
    expect(found?.fix).toContain("start the agent");
  });

  test("its warnings of peers, unless the check of peers tells them", () => {
    const of = (message: string) => ({ condition: "peers", message });
    const warnings = [
      of("peer n2: no answer: do this"),
      of("lease k3 of n3 is left out: no JSON"),
      of("not probed: EPERM"),
    ];
    const facts = { ready: true, reasons: [], warnings };
    expect(judgeReadiness(facts)).toHaveLength(3);
    const bad = [
      { node: "n2", key: "k2" },
      { node: "n3", key: "k3" },
    ];
    expect(told(judgeReadiness(facts, bad))).toBe("warning: (peers) not probed: EPERM");
    expect(told(judgeReadiness({ ...facts, warnings: warnings.slice(0, 2) }, bad))).toBe(
      "ok: it is ready, and warns of nothing but peers",
    );
  });

  test("the nodes that it does not reach", () => {
    const counts = { down: 1, notProgrammed: 0, leftOut: 0, degraded: 0, unknown: 2, up: 3 };
    const peer = (node: string, state: "down" | "up" | "unknown") => ({
      key: node,
      node,
      state,
      since: null,
      why: state === "down" ? "no answer" : null,
      fix: null,
    });
    expect(told(judgePeers({ items: [peer("n2", "down"), peer("n3", "up")], counts }))).toBe(
      "warning: n2 is down: no answer",
    );
    expect(told(judgePeers({ items: [peer("n3", "up"), peer("n4", "unknown")], counts }))).toBe(
      "ok: 3 other nodes answer through the overlay, 2 not probed",
    );
    const many = Array.from({ length: 12 }, (_, at) => peer(`n${at}`, "down"));
    expect(judgePeers({ items: many, counts })).toHaveLength(11);
  });
});

test("entries of other nodes that the kernel lacks, each with what it means, the first five by name", () => {
  const peer = (number: number, missing: KernelPeer["missing"]): KernelPeer => ({
    family: 4,
    device: "flannel.1",
    subnet: `10.244.${number}.0/24`,
    vtepAddress: address(`10.244.${number}.0`),
    vtepMAC: undefined,
    publicIP: undefined,
    missing,
  });
  expect(told(judgeEntries([]))).toBe("ok: the kernel has no other node");
  expect(told(judgeEntries([peer(1, [])]))).toBe("ok: all that the kernel has of 1 other node is complete");
  const [one] = judgeEntries([peer(1, ["neighbour"]), peer(2, [])]);
  expect(one).toMatchObject({ status: "error", fix: expect.stringContaining("tartan trace 10.244.1.1") });
  expect(one?.message).toStartWith("10.244.1.0/24 lacks its neighbour entry, of 10.244.1.0 on flannel.1, so packets");
  const many = judgeEntries([1, 2, 3, 4, 5, 6, 7].map((number) => peer(number, ["forwarding"])));
  expect(many.map(({ message }) => message).at(-1)).toBe("2 more nodes lack entries");
});

describe("the packet filter", () => {
  test.each([
    [{ legacy: 0, nft: 0 }, "ok: nobody else has iptables rules"],
    [{ legacy: 0, nft: 7 }, "ok: all iptables rules are in iptables-nft"],
    [{ legacy: 7, nft: 0 }, "ok: all iptables rules are in iptables-legacy"],
    [{ legacy: 1, nft: 7 }, "warning: iptables-legacy has 1 rules and iptables-nft 7"],
  ])("rules %j: %s", (rules, expected) => {
    expect(told(judgeKinds(rules))).toStartWith(expected);
  });

  test("chains that drop", () => {
    expect(told(judgeBlockers([]))).toStartWith("ok: ");
    const [finding] = judgeBlockers(["chain x drops: traffic may be lost; accept the pod network in that chain"]);
    expect(finding).toEqual({
      status: "warning",
      message: "chain x drops: traffic may be lost",
      fix: "accept the pod network in that chain",
    });
  });

  const nothing = {
    tables: [],
    chains: [],
    legacyUfw: false,
    ufwConf: undefined,
    port: 8472,
    networks: ["10.244.0.0/16"],
  };
  const ufw = [{ family: "ip", table: "filter", name: "ufw-before-forward" }];
  test.each([
    [{}, "ok: neither firewalld nor ufw is active"],
    [{ tables: [{ family: "inet", name: "firewalld" }] }, "warning: firewalld is active"],
    [{ chains: [{ family: "ip", table: "filter", name: "FORWARD_direct" }] }, "warning: firewalld is active"],
    [{ chains: ufw }, "warning: ufw is active"],
    [{ legacyUfw: true, ufwConf: "ENABLED=yes\n" }, "warning: ufw is active"],
    // What it left behind when it was turned off.
    [{ chains: ufw, ufwConf: "ENABLED=no\n" }, "ok: "],
  ])("firewalls %j: %s", (change, expected) => {
    const findings = judgeFirewalls({ ...nothing, ...change });
    expect(told(findings)).toStartWith(expected);
    expect(haveFixes(findings)).toBe(true);
  });
});
