import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { FAMILIES, type Family } from "../../src/net/family.ts";
import type { Host } from "../../src/rules/host.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { eventually } from "../support/wait.ts";
import { FLANNEL_IPTABLES, FLANNEL_NFTABLES, plainly } from "./flannel.ts";
import { FilterHost, MEANS, type Means, TestKeeper, type Wanted } from "./in-namespace.ts";
import { OLD_NETWORKS, OLD_SUBNETS } from "./samples.ts";

/** The rules that are there by one means, in all chains of the tables where ours may be. */
async function present(
  on: FilterHost,
  means: Means,
  family: Family,
): Promise<{ masquerade: string[]; forward: string[] }> {
  if (means !== "nftables") {
    const [masquerade, forward] = await Promise.all([
      on.saved(means, family, "nat"),
      on.saved(means, family, "filter"),
    ]);
    return { masquerade, forward };
  }
  const listed = await on.table(FLANNEL_NFTABLES[family].table).catch(() => "");
  const chain = (name: string) => {
    const body = new RegExp(`chain ${name} \\{\\n([^}]*)\\}`).exec(listed)?.[1] ?? "";
    return body
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("comment "));
  };
  return { masquerade: chain("postrtg"), forward: chain("forward") };
}

/** What should be there. iptables-save prints the built-in chain first, as it was there first. */
function expected(means: Means, family: Family, { ipMasq = true, randomFully = true, forward = true }: Wanted) {
  const flannel =
    means === "nftables"
      ? { masquerade: FLANNEL_NFTABLES[family].postrtg, forward: FLANNEL_NFTABLES[family].forward }
      : { masquerade: FLANNEL_IPTABLES[family].nat, forward: FLANNEL_IPTABLES[family].filter };
  const ports = randomFully ? (lines: readonly string[]) => [...lines] : plainly;
  return { masquerade: ipMasq ? ports(flannel.masquerade) : [], forward: forward ? ports(flannel.forward) : [] };
}

async function expectRules(on: FilterHost, means: Means, wanted: Wanted = {}): Promise<void> {
  for (const family of FAMILIES) expect(await present(on, means, family)).toEqual(expected(means, family, wanted));
}

const NOTHING: Wanted = { ipMasq: false, forward: false };
const FLAGS: readonly Wanted[] = [true, false].flatMap((ipMasq) =>
  [true, false].flatMap((randomFully) => [true, false].map((forward) => ({ ipMasq, randomFully, forward }))),
);

describeInNamespaces("on the real kernel", () => {
  describe.each([...MEANS])("%s", (means) => {
    let on: FilterHost;
    beforeAll(() => {
      on = new FilterHost();
    });
    afterAll(() => on[Symbol.dispose]());

    // One after the other on one host: each start also takes away what the one before had and this one has not.
    test.each([...FLAGS, {}])("the rules of both families are flannel's: %j", async (wanted) => {
      const keeper = new TestKeeper(on, means, wanted);
      await keeper.start();
      await expectRules(on, means, wanted);
      expect(keeper.facts().writes).toBeLessThanOrEqual(1);
      expect(keeper.facts().repaired).toEqual({});
      await keeper.stop();
      await expectRules(on, means, wanted);
    });

    test("at the next start the rules are taken over and nothing is written", async () => {
      const keeper = new TestKeeper(on, means);
      await keeper.start();
      expect(keeper.facts()).toMatchObject({ writes: 0, inPlace: { 4: true, 6: true } });
      await keeper.stop();
    });

    test("as long as nothing changes no process is started and nothing is read", async () => {
      const keeper = new TestKeeper(on, means, { resyncSeconds: 1 });
      await keeper.start();
      const { forks, checks, looks } = await keeper.quiet();
      await eventually(() => keeper.facts().looks >= looks + 3, { within: 10_000, what: "three resyncs" });
      expect(keeper.facts()).toMatchObject({ forks, checks, writes: 0 });
      await keeper.stop();
    });

    test("rules of the network and the subnet that the node had before go", async () => {
      const before = new TestKeeper(on, means, { networks: OLD_NETWORKS, subnets: OLD_SUBNETS });
      await before.start();
      expect(JSON.stringify(await present(on, means, 4))).toContain("10.9.7.0/24");
      await before.stop();
      const keeper = new TestKeeper(on, means);
      await keeper.start();
      await expectRules(on, means);
      await keeper.stop();
    });

    test("a family that the network has no more loses its rules", async () => {
      const keeper = new TestKeeper(on, means, { families: [4] });
      await keeper.start();
      expect(await present(on, means, 4)).toEqual(expected(means, 4, {}));
      expect(await present(on, means, 6)).toEqual(expected(means, 6, NOTHING));
      await keeper.stop();
    });
  });

  test.each(MEANS.flatMap((from) => MEANS.filter((to) => to !== from).map((to) => [from, to] as const)))(
    "from %s to %s: the old rules go, the new ones come",
    async (from, to) => {
      using on = new FilterHost();
      const before = new TestKeeper(on, from);
      await before.start();
      await before.stop();
      const host = on.host(() => true);
      const keeper = new TestKeeper(on, to, { host: to === "nftables" ? host : preferring(host, to) });
      await keeper.start();
      await expectRules(on, to);
      await expectRules(on, from, NOTHING);
      await keeper.stop();
    },
  );

  test.each(["nft", "legacy"] as const)(
    "what flanneld left in %s is adopted; others' rules around it stay",
    async (means) => {
      using on = new FilterHost();
      for (const family of FAMILIES) {
        const { nat, filter } = FLANNEL_IPTABLES[family];
        const base = family === 4 ? "iptables" : "ip6tables";
        const input = [
          "*nat",
          ":FLANNEL-POSTRTG - [0:0]",
          "-A POSTROUTING -j ACCEPT -o lo",
          ...nat,
          "-A POSTROUTING -o eth9 -j MASQUERADE",
          "COMMIT",
          "*filter",
          ":FLANNEL-FWD - [0:0]",
          ...filter,
          "COMMIT\n",
        ];
        await on.sh(`${base}-${means}-restore --noflush`, input.join("\n"));
      }
      const before = await on.sh(`iptables-${means}-save | grep -v '^#'`);
      const keeper = new TestKeeper(on, means);
      await keeper.start();
      expect(keeper.facts().writes).toBe(0);
      // Docker and network policies insert before the jump; it stays where it is.
      await on.sh(`iptables-${means} -I FORWARD -j ACCEPT -i eth9 && iptables-${means} -D FORWARD -j ACCEPT -i eth9`);
      await on.sh(`iptables-${means} -t nat -I POSTROUTING -o eth8 -j ACCEPT`);
      await keeper.stop();
      const again = new TestKeeper(on, means);
      await again.start();
      expect(again.facts().writes).toBe(0);
      await again.stop();
      await on.sh(`iptables-${means} -t nat -D POSTROUTING -o eth8 -j ACCEPT`);
      expect(await on.sh(`iptables-${means}-save | grep -v '^#'`)).toBe(before);
    },
  );

  test("--random-fully is left out where iptables does not know it", async () => {
    using on = new FilterHost();
    const host = on.host((name) => name.includes("-legacy"));
    const old: Host = {
      ...host,
      async run(command, options) {
        const result = await host.run(command, options);
        return command.includes("--version") ? { ...result, stdout: "iptables v1.6.1\n" } : result;
      },
    };
    const keeper = new TestKeeper(on, "legacy", { host: old });
    await keeper.start();
    await expectRules(on, "legacy", { randomFully: false });
    expect(keeper.facts()).toMatchObject({ backend: "iptables-legacy", version: "1.6.1" });
    await keeper.stop();
  });

  test.each<[string, string[], "nft" | "legacy"]>([
    ["the default, where nothing is", [], "nft"],
    ["kubelet's hint, whatever else is there", ["legacy -A INPUT", "nft -t mangle -N KUBE-IPTABLES-HINT"], "nft"],
    ["the hint of older kubelets", ["nft -A INPUT", "legacy -t mangle -N KUBE-KUBELET-CANARY"], "legacy"],
    ["the kind with more rules", ["nft -A INPUT", "legacy -A INPUT", "legacy -A OUTPUT"], "legacy"],
    ["flannel's own rules do not count", ["legacy -N FLANNEL-FWD", "legacy -A FLANNEL-FWD"], "nft"],
  ])("the kind of iptables is chosen by %s", async (_, lines, kind) => {
    using on = new FilterHost();
    for (const line of lines) await on.sh(`iptables-${line}`);
    const keeper = new TestKeeper(on, "nft", { host: on.host(() => true) });
    await keeper.start();
    expect(keeper.facts().backend).toBe(`iptables-${kind}`);
    await keeper.stop();
  });

  test("nothing wanted: nothing is made, and nothing is needed", async () => {
    using on = new FilterHost();
    const keeper = new TestKeeper(on, "nft", {
      ...NOTHING,
      host: on.host(
        () => false,
        () => undefined,
      ),
    });
    await keeper.start();
    expect(keeper.facts()).toMatchObject({ writes: 0, forks: 0 });
    expect(await on.sh("nft list ruleset; cat /proc/self/net/ip_tables_names")).toBe("");
    await keeper.stop();
  });
});

/** The host has both kinds, and uses this one. */
function preferring(host: Host, kind: "nft" | "legacy"): Host {
  return {
    ...host,
    async run(command, options) {
      const result = await host.run(command, options);
      const shown = `iptables v1.8.9 (${kind === "nft" ? "nf_tables" : "legacy"})\n`;
      return command[0] === "iptables" && command[1] === "--version" ? { ...result, stdout: shown } : result;
    },
  };
}
