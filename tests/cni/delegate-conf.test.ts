import { expect, test } from "bun:test";
import * as v from "valibot";
import { parseConf } from "../../src/cni/conf.ts";
import { delegateConf } from "../../src/cni/delegate-conf.ts";
import { parseSubnetEnv } from "../../src/config/subnet-env.ts";

const Conflist = v.strictObject({
  cniVersion: v.string(),
  name: v.string(),
  plugins: v.array(v.looseObject({ type: v.string() })),
});

const ENV =
  "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n" +
  "TARTAN_DEVICES=flannel.1\n";
const DUAL =
  "FLANNEL_NETWORK=10.244.0.0/16,10.200.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\n" +
  "FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n";
const SIX =
  "FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:7::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n";

const IPAM = {
  type: "host-local",
  ranges: [[{ subnet: "10.244.7.0/24" }]],
  routes: [{ dst: "10.244.0.0/16" }],
};

/** What flannel-io/cni-plugin v1.6 gives its delegate for the same input (doCmdAdd, getDelegateIPAM). */
const CASES: readonly { readonly what: string; readonly conf: object; readonly env?: string; readonly to: object }[] = [
  {
    what: "nothing but a name: a bridge that is the gateway",
    conf: {},
    to: { name: "net", type: "bridge", isGateway: true, ipMasq: false, mtu: 1450, ipam: IPAM },
  },
  {
    what: "the usual delegate",
    conf: { cniVersion: "0.3.1", delegate: { hairpinMode: true, isDefaultGateway: true } },
    to: {
      cniVersion: "0.3.1",
      name: "net",
      type: "bridge",
      hairpinMode: true,
      isDefaultGateway: true,
      isGateway: true,
      ipMasq: false,
      mtu: 1450,
      ipam: IPAM,
    },
  },
  {
    what: "another type is no gateway by itself",
    conf: { delegate: { type: "ipvlan", master: "eth0" } },
    to: { name: "net", type: "ipvlan", master: "eth0", ipMasq: false, mtu: 1450, ipam: IPAM },
  },
  {
    what: "what the operator says of MTU, masquerading and gateway counts, also when it is 0, false or null",
    conf: { delegate: { mtu: 0, ipMasq: true, isGateway: false, hairpinMode: null } },
    to: { name: "net", type: "bridge", isGateway: false, ipMasq: true, mtu: 0, hairpinMode: null, ipam: IPAM },
  },
  {
    what: "runtimeConfig is passed, and counts more than the delegate's",
    conf: { runtimeConfig: { mac: "x" }, delegate: { runtimeConfig: { mac: "y", ips: [] } } },
    to: {
      name: "net",
      type: "bridge",
      isGateway: true,
      ipMasq: false,
      mtu: 1450,
      runtimeConfig: { mac: "x" },
      ipam: IPAM,
    },
  },
  {
    what: "a version in the delegate stays only without one of its own",
    conf: { delegate: { cniVersion: "0.4.0" } },
    to: {
      name: "net",
      cniVersion: "0.4.0",
      type: "bridge",
      isGateway: true,
      ipMasq: false,
      mtu: 1450,
      ipam: IPAM,
    },
  },
  {
    what: "of ipam ranges are replaced, routes go before the network's, the rest stays",
    conf: {
      ipam: {
        type: "whereabouts",
        dataDir: "/x",
        ranges: [[{ subnet: "192.0.2.0/24" }]],
        routes: [{ dst: "0.0.0.0/0", gw: "10.244.7.9" }],
        extra: [1],
      },
    },
    to: {
      name: "net",
      type: "bridge",
      isGateway: true,
      ipMasq: false,
      mtu: 1450,
      ipam: {
        type: "whereabouts",
        dataDir: "/x",
        extra: [1],
        ranges: [[{ subnet: "10.244.7.0/24" }]],
        routes: [{ dst: "0.0.0.0/0", gw: "10.244.7.9" }, { dst: "10.244.0.0/16" }],
      },
    },
  },
  {
    what: "both families, several networks; nobody masquerades yet",
    conf: {},
    env: DUAL,
    to: {
      name: "net",
      type: "bridge",
      isGateway: true,
      ipMasq: true,
      mtu: 1430,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.244.7.0/24" }], [{ subnet: "fd00:0:0:7::/64" }]],
        routes: [{ dst: "10.244.0.0/16" }, { dst: "10.200.0.0/16" }, { dst: "fd00::/48" }],
      },
    },
  },
  {
    what: "IPv6 alone",
    conf: { ipam: null, delegate: null, runtimeConfig: null },
    env: SIX,
    to: {
      name: "net",
      type: "bridge",
      isGateway: true,
      ipMasq: true,
      mtu: 1430,
      ipam: { type: "host-local", ranges: [[{ subnet: "fd00:0:0:7::/64" }]], routes: [{ dst: "fd00::/48" }] },
    },
  },
];

for (const { what, conf, env = ENV, to } of CASES) {
  test(what, () => {
    const parsed = parseConf(JSON.stringify({ name: "net", type: "flannel", ...conf }), "ADD");
    const made = delegateConf(parsed, parseSubnetEnv(env));
    expect(JSON.parse(JSON.stringify(made))).toEqual(to);
  });
}

test("the example in manifests is sound: one chain of Debian's plugins, in a version that they speak", async () => {
  const list = v.parse(Conflist, await Bun.file(`${import.meta.dir}/../../manifests/cni-conflist.json`).json());
  expect(["0.3.1", "0.4.0", "1.0.0"]).toContain(list.cniVersion);
  expect(list.plugins.map(({ type }) => type)).toEqual(["flannel", "portmap"]);
  const parsed = parseConf(JSON.stringify({ ...list.plugins[0], name: list.name, cniVersion: list.cniVersion }), "ADD");
  expect(delegateConf(parsed, parseSubnetEnv(ENV))).toMatchObject({
    name: "cbr0",
    type: "bridge",
    cniVersion: list.cniVersion,
    hairpinMode: true,
    isDefaultGateway: true,
  });
});

test("flannel's defaults for its files, also for an empty name", () => {
  for (const files of [{}, { subnetFile: "", dataDir: "" }]) {
    const { subnetFile, dataDir } = parseConf(JSON.stringify({ name: "net", ...files }), "ADD");
    expect([subnetFile, dataDir]).toEqual(["/run/flannel/subnet.env", "/var/lib/cni/flannel"]);
  }
});

test("what the operator can't set under delegate is refused by its name", () => {
  for (const [delegate, says] of [
    [{ name: "x" }, "delegate must not have name"],
    [{ ipam: {} }, "delegate must not have ipam"],
    [{ type: 7 }, "delegate.type"],
    [{ type: "../bridge" }, "delegate.type"],
  ] as const) {
    const parsed = parseConf(JSON.stringify({ name: "net", delegate }), "ADD");
    expect(() => delegateConf(parsed, parseSubnetEnv(ENV))).toThrow(says);
  }
});
