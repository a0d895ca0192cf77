import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { TestAgent } from "../support/agent.ts";
import type { Netns } from "../support/netns.ts";
import { type NodeInOverlay, Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { rulesetOf } from "../support/ruleset.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** the bound for a repair, in milliseconds, and what the looks at it take */
const REPAIR_MS = 1_000 + 500;

const NET_CONF = { Network: "10.244.0.0/16", Backend: { Type: "vxlan" } };

const ping = (from: Netns, to: string) => from.exec(["ping", "-c", "1", "-W", "2", to]);

for (const [mode, nftables] of [
  ["iptables", false],
  ["nftables", true],
] as const) {
  describeInNamespaces(`an overlay with masquerade and forward rules by ${mode}`, () => {
    const overlay = new Overlay(useTemporaryFolder().path);
    let one: NodeInOverlay;
    let outside: Netns;

    beforeAll(async () => {
      await overlay.create(2, { ...NET_CONF, EnableNFTables: nftables }, ["--ip-masq"]);
      await overlay.start();
      await overlay.attachPods();
      one = overlay.node(1);
      outside = await overlay.addHost(9);
    });

    afterAll(() => overlay[Symbol.dispose]());

    const ruleset = () => rulesetOf(one.ns);

    test("they are there, the state and subnet.env say so", async () => {
      const { rules } = await one.agent.state();
      expect(rules).toMatchObject({ mode, inPlace: { ipv4: true }, errors: [], warnings: [] });
      expect(rules.writes).toBe(1);
      expect(readFileSync(one.agent.subnetFile, "utf8")).toContain("FLANNEL_IPMASQ=true\n");
      expect(await ruleset()).toContain(nftables ? "table ip flannel-ipv4" : "chain FLANNEL-POSTRTG");
    });

    test("a pod reaches what knows no way back to pods, by its node's address; and other pods by its own", async () => {
      await ping(one.pod, "192.0.2.9");
      // Whoever knows the pod network sees its addresses: nothing between pods is masqueraded.
      const { pod, podAddress } = overlay.node(2);
      await pod.exec(["nft", "add table ip seen; add chain ip seen in { type filter hook input priority 0; }"]);
      await pod.exec(["nft", `add rule ip seen in ip saddr ${one.podAddress} counter`]);
      await ping(one.pod, podAddress);
      expect(await pod.exec(["nft", "list", "table", "ip", "seen"])).toMatch(/counter packets [1-9]/);
      await outside.exec(["nft", "add table ip seen; add chain ip seen in { type filter hook input priority 0; }"]);
      await outside.exec(["nft", "add rule ip seen in ip saddr 10.244.0.0/16 counter"]);
      await ping(one.pod, "192.0.2.9");
      expect(await outside.exec(["nft", "list", "table", "ip", "seen"])).toContain("counter packets 0 ");
    });

    test("FORWARD DROP is somebody's will: the policy stays", async () => {
      await one.ns.exec(["iptables-nft", "-P", "FORWARD", "DROP"]);
      if (nftables) {
        const warning = await eventually(
          async () => (await one.agent.readiness()).warnings.find(({ condition }) => condition === "rules"),
          { within: 15_000, what: "a warning" },
        );
        expect(warning.message).toContain("chain FORWARD of the nftables table ip filter drops by its policy");
        expect((await one.agent.state()).rules.warnings).toEqual([warning.message]);
      } else {
        await ping(one.pod, overlay.node(2).podAddress);
        expect((await one.agent.state()).rules.warnings).toEqual([]);
      }
      expect(await one.ns.exec(["iptables-nft", "-S", "FORWARD"])).toStartWith("-P FORWARD DROP");
      expect((await one.agent.readiness()).status).toBe(200);
      await one.ns.exec(["iptables-nft", "-P", "FORWARD", "ACCEPT"]);
      await eventually(async () => (await one.agent.readiness()).warnings.length === 0, {
        within: 15_000,
        what: "no warning is left",
      });
    });

    test("the whole rule set flushed: mended, counted, and pods masquerade again", async () => {
      const { repaired, writes } = (await one.agent.state()).rules;
      expect(repaired).toEqual({});
      await one.ns.exec(["nft", "flush", "ruleset"]);
      await eventually(async () => (await one.agent.state()).rules.writes > writes, {
        within: REPAIR_MS,
        what: "the rules are back",
      });
      const chains = (await one.agent.state()).rules.repaired["chain missing"];
      expect(chains).toBe(2);
      await ping(one.pod, "192.0.2.9");
    });

    test("a stop, also by force, leaves the rules, and the next start writes none", async () => {
      for (const signal of ["SIGTERM", "SIGKILL"] as const) {
        const before = await ruleset();
        await one.agent.stop(signal);
        expect(await ruleset()).toBe(before);
        await one.agent.start();
        expect((await one.agent.state()).rules).toMatchObject({ writes: 0, inPlace: { ipv4: true } });
        expect(await ruleset()).toBe(before);
      }
    });

    test("without the flags, and in the other mode, the rules go", async () => {
      await one.agent.stop();
      const other = (flags: string[], netConf = overlay.netConf) =>
        new TestAgent({
          ns: one.ns,
          folder: join(overlay.store, ".."),
          name: "n1",
          store: overlay.store,
          netConf,
          flags,
        });
      const bare = other(["--iptables-forward-rules=false"]);
      await bare.start();
      await eventually(async () => !/flannel/i.test(await ruleset()), { within: 15_000, what: "the rules are gone" });
      expect(readFileSync(bare.subnetFile, "utf8")).toContain("FLANNEL_IPMASQ=false\n");
      await bare.stop();
      await one.agent.start();
      await one.agent.stop();
      const netConf = join(overlay.store, "..", "other.json");
      await Bun.write(netConf, JSON.stringify({ ...NET_CONF, EnableNFTables: !nftables }));
      const switched = other([], netConf);
      await switched.start();
      await eventually(
        async () => {
          const rules = await ruleset();
          return (
            rules.includes("table ip flannel-ipv4") !== nftables && rules.includes("chain FLANNEL-FWD") === nftables
          );
        },
        { within: 15_000, what: "the other mode's rules are the only ones" },
      );
      await switched.stop();
      await one.agent.start();
    });
  });
}

describeInNamespaces("readiness and the rules", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path);
  const PROGRAMS = ["", "-save", "-restore"].map((suffix) => `iptables${suffix}`);

  beforeAll(() => overlay.create(1));
  afterAll(() => overlay[Symbol.dispose]());

  const agentWith = (changes: Partial<ConstructorParameters<typeof TestAgent>[0]>): TestAgent =>
    new TestAgent({
      ns: overlay.node(1).ns,
      folder: folder.path,
      name: "n1",
      store: overlay.store,
      netConf: overlay.netConf,
      ...changes,
    });
  const reason = (agent: TestAgent, text: string) =>
    eventually(
      async () => {
        const { ready, reasons } = await agent.readiness();
        return ready
          ? undefined
          : reasons.find(({ condition, message }) => condition === "rules" && message.includes(text));
      },
      { within: 10_000, what: `not ready: ${text}` },
    ).catch((cause: unknown) => {
      throw new Error(`the log: ${agent.log}`, { cause });
    });

  test.each(["nft", "legacy"])(
    "with iptables (%s) gone it can't be told that the rules are right; back: ready again",
    async (kind) => {
      const { ns } = overlay.node(1);
      const bin = folder.at(kind);
      const install = () => {
        for (const program of PROGRAMS) symlinkSync(`/usr/sbin/xtables-${kind}-multi`, join(bin, program));
      };
      await Bun.write(join(bin, "README"), "the agent's PATH");
      install();
      const environment = { XTABLES_LOCKFILE: folder.at("lock") };
      const agent = agentWith({ environment, before: `PATH=${bin}`, flags: ["--iptables-resync=1"] });
      await agent.start();
      expect((await agent.state()).rules).toMatchObject({ backend: `iptables-${kind}`, inPlace: { ipv4: true } });
      for (const program of PROGRAMS) unlinkSync(join(bin, program));
      await ns.exec(["env", `XTABLES_LOCKFILE=${folder.at("lock")}`, `iptables-${kind}`, "-F", "FLANNEL-FWD"]);
      await reason(agent, "iptables");
      expect((await agent.state()).rules.inPlace).toEqual({ ipv4: false });
      install();
      await agent.ready();
      expect((await agent.state()).rules.repaired).toEqual({ "rule missing": 2 });
      await agent.stop();
    },
  );

  test("without iptables", async () => {
    const agent = agentWith({ before: "PATH=/empty" });
    agent.spawn();
    expect((await reason(agent, "no iptables program")).message).toContain("apt install iptables");
    await agent.stop();
    const unwilling = agentWith({
      before: "PATH=/empty",
      flags: ["--iptables-forward-rules=false"],
    });
    await unwilling.start();
    await unwilling.stop();
  });

  test("without libnftables, in the mode that needs it", async () => {
    const netConf = folder.at("nft.json");
    await Bun.write(netConf, JSON.stringify({ ...NET_CONF, EnableNFTables: true }));
    const before = "for f in /usr/lib/*/libnftables.so.1; do mount --bind /dev/null $(readlink -f $f); done";
    const agent = agentWith({ netConf, before });
    agent.spawn();
    expect((await reason(agent, "libnftables.so.1")).message).toContain("apt install libnftables1");
    await agent.stop();
    const other = agentWith({ before });
    await other.start();
    await other.stop();
  });

  test("without br_netfilter, in the mode that needs it", async () => {
    const agent = agentWith({ before: "mount -t tmpfs none /proc/sys/net/bridge" });
    agent.spawn();
    expect((await reason(agent, "bridge-nf-call-iptables is missing")).message).toContain("modprobe br_netfilter");
    expect((await agent.state()).rules.inPlace).toEqual({ ipv4: true });
    await agent.stop();
  });
});
