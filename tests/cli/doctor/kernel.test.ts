import { describe, expect, test } from "bun:test";
import { judgeBridge, judgeFilters, judgeVxlan } from "../../../src/cli/doctor/checks/features.ts";
import { judgeConntrack, judgeForwarding, judgeReversePath } from "../../../src/cli/doctor/checks/sysctls.ts";
import { type KernelFeatures, type Presence, presenceOf } from "../../../src/cli/doctor/kernel-features.ts";
import { haveFixes, told } from "./judgements.ts";

const VXLAN = { module: "vxlan", option: "VXLAN" };
const NOTHING: KernelFeatures = {
  release: "6.1.0",
  loaded: undefined,
  shown: new Set(),
  builtIn: undefined,
  available: undefined,
  config: undefined,
};
const set = (...names: string[]) => new Set(names);

describe("whether the kernel has something", () => {
  test.each<[string, Partial<KernelFeatures>, Presence]>([
    ["loaded", { loaded: set("vxlan") }, "here"],
    ["to be seen under /sys/module", { loaded: set(), shown: set("vxlan") }, "here"],
    ["listed as built in", { loaded: set(), builtIn: set("vxlan"), available: set() }, "here"],
    ["configured in, without modules", { config: new Map([["VXLAN", "y"]]) }, "here"],
    ["a module that is installed", { loaded: set(), builtIn: set(), available: set("vxlan") }, "loadable"],
    ["a module whose file is not to be seen", { loaded: set(), config: new Map([["VXLAN", "m"]]) }, "loadable"],
    [
      "a module whose package is not installed",
      { loaded: set(), builtIn: set(), available: set("veth"), config: new Map([["VXLAN", "m"]]) },
      "missing",
    ],
    ["configured out", { loaded: set(), config: new Map([["VETH", "y"]]) }, "missing"],
    ["neither built in nor a module", { loaded: set(), builtIn: set("veth"), available: set("bridge") }, "missing"],
    ["not configured, without modules", { config: new Map() }, "missing"],
    ["a kernel of which nothing is known", { loaded: set("veth") }, "unknown"],
  ])("%s", (_, facts, expected) => {
    expect(presenceOf(VXLAN, { ...NOTHING, ...facts })).toBe(expected);
  });
});

test.each<[Presence, boolean, string]>([
  ["here", false, "ok"],
  ["loadable", false, "ok"],
  ["unknown", true, "ok"],
  ["missing", false, "error"],
  ["unknown", false, "skipped"],
])("VXLAN that is %s, in use: %p is %s", (presence, isUsed, status) => {
  const finding = judgeVxlan(presence, isUsed, "6.1.0");
  expect(finding.status as string).toBe(status);
  expect(haveFixes(finding)).toBe(true);
});

test.each<["iptables" | "nftables", Presence, Presence, string]>([
  ["nftables", "here", "missing", "ok: nf_tables is there for the rules"],
  ["nftables", "missing", "here", "error: EnableNFTables is true, but kernel 6.1.0 has no nf_tables"],
  ["nftables", "unknown", "here", "skipped: which packet filters"],
  ["iptables", "loadable", "here", "ok: nf_tables and ip_tables (legacy) are there for iptables"],
  ["iptables", "missing", "here", "ok: ip_tables (legacy) is there for iptables"],
  ["iptables", "missing", "missing", "error: kernel 6.1.0 has neither nf_tables nor ip_tables"],
  ["iptables", "unknown", "missing", "skipped: which packet filters"],
])("rules in %s, nf_tables %s, ip_tables %s: %s", (mode, nfTables, ipTables, expected) => {
  const finding = judgeFilters({ mode, nfTables, ipTables, release: "6.1.0" });
  expect(told(finding)).toStartWith(expected);
  expect(haveFixes(finding)).toBe(true);
});

test.each<[4 | 6, string | undefined, Presence, string, string]>([
  [4, "1", "here", "ok: br_netfilter is there, net.bridge.bridge-nf-call-iptables is 1", ""],
  [6, "0", "here", "warning: net.bridge.bridge-nf-call-ip6tables is 0", "bridge-nf-call-ip6tables=1"],
  [4, undefined, "loadable", "error: br_netfilter is not loaded", "modprobe br_netfilter"],
  [4, undefined, "missing", "error: br_netfilter is not loaded", "set EnableNFTables to true"],
])("br_netfilter of IPv%p at %p, %s: %s", (family, value, presence, expected, fix) => {
  const finding = judgeBridge(family, value, presence);
  expect(told(finding)).toStartWith(expected);
  expect(finding.fix ?? "").toContain(fix);
});

test.each<[4 | 6, string | undefined, string, string]>([
  [4, "1", "ok: net.ipv4.ip_forward is 1", ""],
  [4, "0", "error: net.ipv4.ip_forward is 0", "sysctl -w net.ipv4.ip_forward=1"],
  [6, "1", "ok: net.ipv6.conf.all.forwarding is 1", ""],
  [6, "0", "error: net.ipv6.conf.all.forwarding is 0", "sysctl -w net.ipv6.conf.all.forwarding=1"],
  [6, undefined, "error: the kernel has no net.ipv6.conf.all.forwarding", "ipv6.disable=1"],
])("forwarding of IPv%p at %p: %s", (family, value, expected, fix) => {
  const finding = judgeForwarding(family, value);
  expect(told(finding)).toStartWith(expected);
  expect(finding.fix ?? "").toContain(fix);
});

test("strict reverse path filtering counts where there are several ways out", () => {
  const strict = [
    { name: "eth1", value: 1 },
    { name: "flannel.1", value: 1 },
  ];
  expect(told(judgeReversePath({ interfaces: strict, uplinks: ["eth1"] }))).toStartWith(
    "ok: eth1 1, flannel.1 1; with one",
  );
  const findings = judgeReversePath({ interfaces: strict, uplinks: ["eth0", "eth1"] });
  expect(findings.map(({ status }) => status)).toEqual(["warning", "warning"]);
  // As sysctl(8) has it: dots of a name are slashes.
  expect(findings[1]?.fix).toContain("sysctl -w net.ipv4.conf.flannel/1.rp_filter=2");
  const loose = strict.map(({ name }) => ({ name, value: 2 }));
  expect(told(judgeReversePath({ interfaces: loose, uplinks: ["eth0", "eth1"] }))).toStartWith("ok: no interface");
});

test.each([
  [10, 100, "ok: 10 of 100 tracked connections are in use"],
  [75, 100, "warning: 75 of 100"],
  [95, 100, "error: 95 of 100 tracked connections are in use: new ones are dropped"],
  [5, 0, "ok: 5 tracked connections, without a limit"],
])("%p of %p connections: %s", (count, max, expected) => {
  expect(told(judgeConntrack(count, max))).toStartWith(expected);
});
