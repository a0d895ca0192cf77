import { afterAll, beforeAll, expect, test } from "bun:test";
import { droppingHandles, judgePortRules } from "../../../src/cli/doctor/checks/port-rules.ts";
import { Netns } from "../../support/netns.ts";
import { describeInNamespaces } from "../../support/requires.ts";
import { told } from "./judgements.ts";
import { diagnose } from "./running-doctor.ts";

const listing = (...exprs: object[][]) =>
  JSON.stringify({
    nftables: [{ metainfo: {} }, { chain: {} }, ...exprs.map((expr, at) => ({ rule: { handle: at + 1, expr } }))],
  });
const port = (right: unknown, protocol = "udp") => ({
  match: { op: "==", left: { payload: { protocol, field: "dport" } }, right },
});
const [DROP, ACCEPT, COUNTER] = [{ drop: null }, { accept: null }, { counter: { packets: 0, bytes: 0 } }];

test.each<[string, object[][], number[]]>([
  ["one that drops", [[port(8472), COUNTER, DROP]], [1]],
  ["one that rejects", [[port(8472), { reject: { type: "icmp" } }]], [1]],
  [
    "a set, a range, and a range in a set",
    [
      [port({ set: [53, 8472] }), DROP],
      [port({ range: [8000, 9000] }, "th"), DROP],
      [port({ set: [{ range: [8472, 8473] }] }), DROP],
    ],
    [1, 2, 3],
  ],
  ["other ports and protocols", [[port(53), DROP], [port(8472, "tcp"), DROP], [DROP], [port(8472), COUNTER]], []],
  [
    "what the other nodes are taken out of before",
    [
      [port(8472), ACCEPT],
      [port(8472), DROP],
    ],
    [],
  ],
])("of rules %s", (_, rules, handles) => {
  expect(droppingHandles(listing(...rules), 8472)).toEqual(handles);
});

test("a rule that drops is named with the command that deletes it", () => {
  const [found] = judgePortRules([{ chain: "inet filter input", hook: "input", handle: 7 }], 8472);
  expect(found?.status).toBe("warning");
  expect(found?.message).toStartWith(
    "a rule of the chain inet filter input (hook input) drops packets to UDP port 8472",
  );
  expect(found?.fix).toContain("nft delete rule inet filter input handle 7");
  expect(told(judgePortRules([], 4789))).toBe("ok: no rule of nf_tables is found that drops packets to UDP port 4789");
});

describeInNamespaces("tartan doctor in a namespace with rules", () => {
  let ns: Netns;
  beforeAll(() => {
    ns = new Netns();
  });
  afterAll(() => ns[Symbol.dispose]());

  const found = async () => (await diagnose(ns, ["--debug-addr=off"])).of("vxlan-port-rules");

  test("names each rule in the way, nft's and iptables-nft's, and what it names deletes it", async () => {
    expect(await found()).toEqual(["ok: no rule of nf_tables is found that drops packets to UDP port 8472"]);
    await ns.exec([
      "nft",
      "table inet closed { chain in { type filter hook input priority 0; udp dport 8472 drop; }; }",
    ]);
    await ns.exec(["iptables-nft", "-A", "OUTPUT", "-p", "udp", "--dport", "8472", "-j", "DROP"]);
    const report = await diagnose(ns, ["--debug-addr=off"]);
    expect(report.of("vxlan-port-rules").toSorted()).toEqual([
      expect.stringContaining(
        "warning: a rule of the chain inet closed in (hook input) drops packets to UDP port 8472",
      ),
      expect.stringContaining("warning: a rule of the chain ip filter OUTPUT (hook output) drops packets"),
    ]);
    for (const { fix = "" } of report.report.findings.filter(({ check }) => check === "vxlan-port-rules")) {
      const [, command = ""] = /^(nft delete rule [^,]+),/m.exec(fix) ?? [];
      await ns.exec(command.split(" "));
    }
    expect(await found()).toEqual(["ok: no rule of nf_tables is found that drops packets to UDP port 8472"]);
  });
});
