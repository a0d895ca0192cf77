import { describe, expect, test } from "bun:test";
import { judgeCniConf, pluginsCalled } from "../../../src/cli/doctor/checks/cni-conf.ts";
import { judgePlugins, judgePluginVersion } from "../../../src/cli/doctor/checks/cni-plugins.ts";
import {
  judgeBridgeAddresses,
  judgeSubnetEnv,
  type SubnetEnvFacts,
} from "../../../src/cli/doctor/checks/subnet-env.ts";
import { prefix } from "../../net/values.ts";
import { haveFixes, told } from "./judgements.ts";

const FLANNEL = '{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"flannel"},{"type":"portmap"}]}';
const OTHER = '{"name":"k8s","cniVersion":"1.0.0","plugins":[{"type":"calico"}]}';

describe("CNI configurations", () => {
  test.each<[string, Record<string, string>, boolean, string[]]>([
    [
      "ours alone",
      { "10-flannel.conflist": FLANNEL },
      true,
      ["ok: the runtime takes /x/10-flannel.conflist, which calls flannel"],
    ],
    ["another's behind it", { "10-flannel.conflist": FLANNEL, "20-calico.conflist": OTHER }, true, ["ok: "]],
    [
      "another's before it",
      { "05-calico.conflist": OTHER, "10-flannel.conflist": FLANNEL },
      true,
      ["error: /x/05-calico.conflist (calico) comes before flannel's by name"],
    ],
    [
      "another's alone",
      { "05-calico.conflist": OTHER },
      false,
      ["warning: no CNI configuration in /x calls flannel (only 05-calico.conflist)"],
    ],
    ["none yet", {}, false, ["skipped: no CNI configuration in /x calls flannel: it comes"]],
    ["none though the agent is ready", {}, true, ["warning: no CNI configuration in /x calls flannel"]],
    [
      "broken before it",
      { "05-x.conf": "{", "10-flannel.conflist": FLANNEL },
      true,
      ["error: /x/05-x.conf: it is not JSON"],
    ],
    [
      "empty behind it",
      { "10-flannel.conflist": FLANNEL, "99-x.conf": "" },
      true,
      ["warning: /x/99-x.conf: it is empty"],
    ],
    [
      "no object",
      { "05-x.conf": "[]", "10-flannel.conflist": FLANNEL },
      true,
      ["error: /x/05-x.conf: it is no CNI configuration"],
    ],
    [
      "ours with a mistake",
      { "10-flannel.conflist": FLANNEL.replace("1.0.0", "9.9.9") },
      true,
      ["error: /x/10-flannel.conflist: cniVersion must be one of"],
    ],
  ])("%s", (_, files, isDue, expected) => {
    const list = Object.entries(files).map(([name, text]) => ({ name, text }));
    const findings = judgeCniConf({ folder: "/x", files: list, isDue });
    expect(told(findings).split("\n")).toEqual(expected.map((text) => expect.stringContaining(text)));
    expect(haveFixes(findings)).toBe(true);
  });
});

test("the plugins that the configuration calls, and the runtime's own", () => {
  const called = (text: string) => pluginsCalled([{ name: "10-flannel.conflist", text }]);
  expect(called(FLANNEL)).toEqual(["flannel", "bridge", "host-local", "portmap", "loopback"]);
  expect(called("{")).toEqual(["flannel", "bridge", "host-local", "portmap", "loopback"]);
  expect(
    called('{"plugins":[{"type":"flannel","delegate":{"type":"ptp"},"ipam":{"type":"static"}},{"type":"tuning"}]}'),
  ).toEqual(["flannel", "ptp", "static", "tuning", "loopback"]);
});

test("plugins that are missing or can't be run", () => {
  const findings = judgePlugins({
    folder: "/opt/cni/bin",
    plugins: [
      { type: "flannel", file: "missing" },
      { type: "bridge", file: "there" },
      { type: "portmap", file: "not executable" },
      { type: "loopback", file: "missing" },
    ],
  });
  expect(told(findings)).toBe(
    [
      "error: the plugin /opt/cni/bin/flannel is missing: no pod can be made",
      "error: /opt/cni/bin/portmap is there, but it is no executable file",
      "error: the plugin /opt/cni/bin/loopback is missing",
    ].join("\n"),
  );
  expect(findings[0]?.fix).toBe("tartan install-cni --cni-bin-dir=/opt/cni/bin");
  expect(findings[1]?.fix).toBe("chmod 755 /opt/cni/bin/portmap");
});

test.each([
  [
    { version: "0.1.0+abc", supported: ["0.1.0", "1.1.0"], said: "" },
    "ok: /p is 0.1.0+abc and speaks CNI 0.1.0 to 1.1.0",
  ],
  [
    { version: "0.0.9+def", supported: ["0.1.0", "1.0.0"], said: "" },
    "warning: /p is tartan 0.0.9+def, this executable is 0.1.0+abc",
  ],
  [
    { version: "CNI flannel plugin v1.4.0", supported: ["0.1.0", "1.0.0"], said: "" },
    "warning: /p is not tartan's plugin",
  ],
  [{ version: undefined, supported: ["0.1.0", "1.0.0"], said: "" }, "warning: /p is not tartan's plugin"],
  [
    { version: undefined, supported: undefined, said: "exec format error" },
    "error: /p does not answer as a CNI plugin: exec format error",
  ],
  [
    { version: undefined, supported: undefined, said: "" },
    "error: /p does not answer as a CNI plugin: it says nothing",
  ],
])("a plugin that answers %j: %s", (answers, expected) => {
  expect(told(judgePluginVersion("/p", "0.1.0+abc", answers))).toStartWith(expected);
});

describe("subnet.env", () => {
  const TEXT =
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\nTARTAN_DEVICES=flannel.1\n";
  const facts: SubnetEnvFacts = {
    path: "/s",
    text: TEXT,
    isAgentHere: true,
    lease: { 4: prefix("10.244.1.0/24") },
    networks: { 4: prefix("10.244.0.0/16") },
    present: ["eth0", "flannel.1"],
  };

  test.each<[string, Partial<SubnetEnvFacts>, string]>([
    ["right", {}, "ok: /s has 10.244.1.0/24, MTU 1450"],
    ["missing", { text: undefined }, "error: /s is not there though an agent runs"],
    ["not there yet", { text: undefined, isAgentHere: false }, "skipped: /s is not there yet"],
    [
      "garbage",
      { text: "\0\0" },
      "error: /s can't be used, so pods can't be made: it has no line of the form KEY=value",
    ],
    [
      "incomplete",
      { text: "FLANNEL_MTU=1450\n" },
      "error: /s can't be used, so pods can't be made: it lacks FLANNEL_NETWORK",
    ],
    [
      "another lease's",
      { lease: { 4: prefix("10.244.2.0/24") } },
      "error: /s has 10.244.1.0/24, but the lease is of 10.244.2.0/24",
    ],
    [
      "of one family only",
      { lease: { ...facts.lease, 6: prefix("fd00:1::/64") } },
      "error: /s has no IPv6 subnet, but the lease is of fd00:1::/64",
    ],
    [
      "another network's",
      { networks: { 4: prefix("10.99.0.0/16") } },
      "warning: /s lacks the pod network 10.99.0.0/16",
    ],
    ["of a device that is gone", { present: ["eth0"] }, "error: the device flannel.1 that /s names is not there"],
    ["nothing to hold it against", { lease: {}, networks: {} }, "ok: "],
  ])("%s", (_, change, expected) => {
    const findings = judgeSubnetEnv({ ...facts, ...change });
    expect(told(findings)).toStartWith(expected);
    expect(haveFixes(findings)).toBe(true);
  });

  test.each([
    [["10.244.1.1/24"], "ok: "],
    [[], "ok: "],
    [["fe80::1/64"], "ok: "],
    [["10.244.9.1/24"], "error: cni0 has 10.244.9.1/24, but this node's subnet is 10.244.1.0/24"],
  ])("the bridge with %j: %s", (addresses, expected) => {
    const list = addresses.map((text) => ({ address: text.split("/")[0] ?? "", length: Number(text.split("/")[1]) }));
    expect(told(judgeBridgeAddresses("cni0", list, { 4: prefix("10.244.1.0/24") }))).toStartWith(expected);
  });
});
