import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Family } from "../../src/net/family.ts";
import { Overlay } from "../support/overlay.ts";
import { startPing, withoutLoss } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** Another configuration comes with a restart of the agents, one after the other. Pods notice nothing of it. */

const FAMILIES: readonly Family[] = [4, 6];
const DEVICES = ["flannel.1", "flannel-v6.1"];
const NETWORK = { Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00:10:244::/48" };
/** in milliseconds, for what an agent does after it is ready */
const SOON_MS = 15_000;

interface Configuration {
  /** of the external interface, instead of its own */
  readonly mtu?: number;
  readonly nftables?: boolean;
  readonly masquerade?: boolean;
  readonly forward?: boolean;
}

describeInNamespaces("a configuration that changes, with a restart of one agent after the other", () => {
  const overlay = new Overlay(useTemporaryFolder().path, FAMILIES);

  beforeAll(async () => {
    await overlay.create(2);
    await overlay.start();
    await overlay.attachPods();
    // The pods' interfaces look for duplicates of their link-local addresses first, and answer nobody until then.
    for (const family of FAMILIES) {
      const ping = startPing(overlay.node(1).pod, overlay.node(2).podAddresses[family] ?? "");
      await ping.answers(10, 20_000);
      await ping.stop();
    }
  });

  afterAll(() => overlay[Symbol.dispose]());

  /** Writes the configuration, and restarts the agents with it. */
  const restartAllWith = async ({ mtu, nftables = false, masquerade = false, forward = true }: Configuration) => {
    const backend = { Type: "vxlan", ...(mtu === undefined ? {} : { MTU: mtu }) };
    await Bun.write(overlay.netConf, JSON.stringify({ ...NETWORK, EnableNFTables: nftables, Backend: backend }));
    for (const { agent } of overlay.nodes) {
      await agent.stop();
      agent.flags = [`--ip-masq=${masquerade}`, `--iptables-forward-rules=${forward}`];
      await agent.start();
      await agent.settled(2);
    }
  };

  /** A hundred pings a second in each family, both ways, while something happens. */
  const withoutAnyLoss = (happening: () => Promise<unknown>): Promise<unknown> => {
    const [one, two] = [overlay.node(1), overlay.node(2)];
    const ways = FAMILIES.flatMap((family) => [
      { pod: one.pod, address: two.podAddresses[family] ?? "" },
      { pod: two.pod, address: one.podAddresses[family] ?? "" },
    ]);
    const during = ways.reduce(
      (inner, { pod, address }) =>
        () =>
          withoutLoss(pod, address, inner),
      happening,
    );
    return during();
  };

  const indices = () =>
    Promise.all(
      overlay.nodes.flatMap(({ ns }) =>
        DEVICES.map(async (device) => (await ns.exec(["ip", "-o", "link", "show", device])).split(":")[0]),
      ),
    );

  const eachNodeHas = async (what: string, look: (ruleset: string) => boolean): Promise<void> => {
    for (const { ns } of overlay.nodes) {
      const right = async () => look(await ns.exec(["nft", "list", "ruleset"]));
      await eventually(right, { within: SOON_MS, what: `${ns.name} has ${what}` });
    }
  };

  test.each<[number | undefined, readonly [number, number]]>([
    [1400, [1350, 1330]],
    [undefined, [1450, 1430]],
    [1380, [1330, 1310]],
    [undefined, [1450, 1430]],
  ])("the MTU %p: the devices, which stay, and subnet.env have it, and no packet is lost", async (mtu, expected) => {
    const before = await indices();
    await withoutAnyLoss(() => restartAllWith(mtu === undefined ? {} : { mtu }));
    expect(await indices()).toEqual(before);
    for (const { ns, agent } of overlay.nodes) {
      for (const [at, device] of DEVICES.entries()) {
        expect(await ns.exec(["ip", "link", "show", device])).toContain(` mtu ${expected[at]} `);
      }
      expect(readFileSync(agent.subnetFile, "utf8")).toContain(`\nFLANNEL_MTU=${expected[1]}\n`);
    }
  });

  test.each<[string, boolean]>([
    ["nftables", true],
    ["iptables", false],
    ["nftables", true],
    ["iptables", false],
  ])("the rules by %s: those of the other mode are gone, and no packet is lost", async (mode, nftables) => {
    await withoutAnyLoss(() => restartAllWith({ nftables, masquerade: true }));
    const [tables, chains] = [
      ["flannel-ipv4", "flannel-ipv6"],
      ["FLANNEL-POSTRTG", "FLANNEL-FWD"],
    ];
    await eachNodeHas(
      `the rules by ${mode} alone`,
      (rules) =>
        tables.every((table) => rules.includes(table) === nftables) &&
        chains.every((chain) => rules.includes(chain) !== nftables),
    );
    for (const { agent } of overlay.nodes) {
      const { rules } = await agent.state();
      expect(rules).toMatchObject({ mode, inPlace: { ipv4: true, ipv6: true }, errors: [], warnings: [] });
    }
  });

  for (const nftables of [false, true]) {
    const mode = nftables ? "nftables" : "iptables";
    test.each<[boolean, boolean]>([
      [false, true],
      [true, true],
      [true, false],
      [false, false],
      [true, true],
    ])(`masquerading %p, forwarding %p, by ${mode}: no packet is lost`, async (masquerade, forward) => {
      await withoutAnyLoss(() => restartAllWith({ nftables, masquerade, forward }));
      const masquerades = (rules: string) => /masquerade/.test(rules);
      const forwards = (rules: string) => (nftables ? /chain forward \{/.test(rules) : /FLANNEL-FWD/.test(rules));
      await eachNodeHas(`masquerade rules: ${masquerade}`, (rules) => masquerades(rules) === masquerade);
      await eachNodeHas(`forward rules: ${forward}`, (rules) => forwards(rules) === forward);
      for (const { agent } of overlay.nodes) {
        expect(readFileSync(agent.subnetFile, "utf8")).toContain(`\nFLANNEL_IPMASQ=${masquerade}\n`);
      }
    });
  }

  test("where FORWARD drops, the rules in iptables stay in place over a restart, and no packet is lost", async () => {
    await restartAllWith({ masquerade: true });
    const policies = (policy: string) =>
      overlay.nodes.flatMap(({ ns }) =>
        ["iptables", "ip6tables"].map((command) => ns.exec([command, "-P", "FORWARD", policy])),
      );
    await Promise.all(policies("DROP"));
    try {
      await withoutAnyLoss(() => restartAllWith({ masquerade: true }));
      await withoutAnyLoss(() => restartAllWith({ masquerade: false, mtu: 1400 }));
      // Or the policy would not have been in the way at all.
      expect(await overlay.node(1).ns.exec(["iptables", "-S", "FORWARD"])).toStartWith("-P FORWARD DROP\n");
    } finally {
      await Promise.all(policies("ACCEPT"));
    }
  });
});
