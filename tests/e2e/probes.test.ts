import { afterAll, beforeAll, expect, test } from "bun:test";
import * as v from "valibot";
import { type Peer, PeerList } from "../../src/api/peers.ts";
import { makePeer, putPeers } from "../bench/peers.ts";
import { openStore, TestAgent } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** Of an agent that has one round a second; with the packets of a train, and a loaded machine. */
const SOON_MS = 30_000;

const REFUSE =
  "table inet refused { chain output { type filter hook output priority 0; icmp type echo-request drop; icmpv6 type echo-request drop; }; }";
const BLOCK = "table inet blocked { chain output { type filter hook output priority 0; udp dport 8472 drop; }; }";

describeInNamespaces("agents that probe each other", () => {
  const overlay = new Overlay(useTemporaryFolder().path, [4, 6]);

  beforeAll(async () => {
    await overlay.create(3, undefined, ["--probe-interval=1"]);
    await overlay.start();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const peers = async () => v.parse(PeerList, await (await overlay.node(1).agent.fetch("/debug/peers")).json());
  /** What changes between two probes of one round would be told of one family first, and of the other one later. */
  const roundHasEnded = async (): Promise<void> => {
    const now = Date.now();
    const isProbed = ({ ipv4, ipv6 }: Peer) =>
      [ipv4, ipv6].every((family) => Date.parse(family?.probe?.lastProbedAt ?? "") > now);
    const look = async () => (await peers()).items.every(isProbed);
    await eventually(look, { within: SOON_MS, what: "a round ends" });
  };
  const lines = (text: string) =>
    overlay
      .node(1)
      .agent.log.split("\n")
      .filter((line) => line.includes(text));

  test("say nothing as long as all is well", async () => {
    const { ns, agent } = overlay.node(1);
    const chain = 'chain output { type filter hook output priority 0; oifname "flannel*" counter name sent; }';
    await ns.exec(["nft", `table inet probing { counter sent {}; ${chain}; }`]);
    const sent = async () =>
      Number(/packets (\d+)/.exec(await ns.exec(["nft", "list", "counter", "inet", "probing", "sent"]))?.[1]);
    // Three rounds: of each family a small and a large one to each of two peers.
    await eventually(async () => (await sent()) >= 3 * 2 * 2 * 2, { within: SOON_MS, what: "peers are probed" });
    await ns.exec(["nft", "delete table inet probing"]);
    expect(await agent.warnings("peers")).toEqual([]);
    expect(lines(" probe: ")).toEqual([]);
  });

  test("warn of a blocked port, each peer once in the log; the node stays ready, and all is well again afterwards", async () => {
    const { agent, ns } = overlay.node(1);
    await roundHasEnded();
    await ns.exec(["nft", BLOCK]);
    await eventually(async () => (await agent.warnings("peers")).length === 2, {
      within: SOON_MS,
      what: "node 1 warns of both peers",
    });
    const { ready, warnings } = await agent.readiness();
    expect(ready).toBe(true);
    for (const [at, name] of ["n2", "n3"].entries()) {
      const publicIP = `192.0.2.${at + 2}`;
      const told = warnings.find(({ message }) => message.startsWith(`peer ${name}: `));
      expect(told?.condition).toBe("peers");
      expect(told?.message).toContain(`${publicIP} answers, but nothing answers through the overlay (IPv4 and IPv6)`);
      expect(told?.message).toContain(`let UDP port 8472 through between 192.0.2.1 and ${publicIP}`);
    }
    await ns.exec(["nft", "delete table inet blocked"]);
    await agent.warned("peers", false);
    for (const name of ["n2", "n3"]) {
      await agent.logged(`WARNING probe: peer ${name}: `);
      await agent.logged(`INFO    probe: peer ${name} is reachable again (IPv4 and IPv6)`);
    }
  });

  test("say of a packet filter here that drops the probes what it is, and that the peers are not known, not that they are down", async () => {
    const { agent, ns } = overlay.node(1);
    const downs = async () => (await agent.events("peerDown")).length;
    const before = await downs();
    await ns.exec(["nft", REFUSE]);
    const told = await agent.warned("peers", true);
    expect(told).toMatch(
      /^probes do not leave this node: send an echo request to \S+: EPERM; a rule of its packet filter/,
    );
    await eventually(async () => (await peers()).counts.unknown === 2, { within: SOON_MS, what: "they are unknown" });
    expect((await peers()).items[0]?.why).toContain("probes do not leave this node");
    await ns.exec(["nft", "delete table inet refused"]);
    await agent.warned("peers", false);
    await eventually(async () => (await peers()).counts.up === 2, { within: SOON_MS, what: "both are up again" });
    expect(await downs()).toBe(before);
  });

  test("go on while the lease source is away", async () => {
    const { agent } = overlay.node(1);
    const store = await Bun.file(overlay.store).bytes();
    await Bun.write(overlay.store, "this is no database");
    await agent.warned("leaseSource", true);
    await roundHasEnded();
    await overlay.cable(3, "down");
    expect(await agent.warned("peers", true)).toStartWith("peer n3: no answer through the overlay (IPv4 and IPv6)");
    await overlay.cable(3, "up");
    await agent.warned("peers", false);
    await Bun.write(overlay.store, store);
  });
});

describeInNamespaces("a peer that does not answer", () => {
  const overlay = new Overlay(useTemporaryFolder().path);

  afterAll(() => overlay[Symbol.dispose]());

  test("is warned of until it leaves, not until the next round of probes", async () => {
    await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } }, [
      "--probe-interval=3600",
    ]);
    const { agent } = overlay.node(1);
    await agent.start();
    await agent.stop();
    using store = openStore(overlay.store);
    putPeers(store, [makePeer(300)]);
    // The only round comes a second after the start.
    await agent.start();
    expect(await agent.warned("peers", true)).toContain("no answer through the overlay (IPv4)");
    store.run("DELETE FROM leases WHERE node IS NULL");
    await agent.warned("peers", false);
    expect((await agent.readiness()).ready).toBe(true);
  });
});

describeInNamespaces("an agent without CAP_NET_RAW", () => {
  const folder = useTemporaryFolder().path;
  const overlay = new Overlay(folder);

  afterAll(() => overlay[Symbol.dispose]());

  test("says so once and goes on, and has nothing to say with --probe-interval=0", async () => {
    await overlay.create(2, { Network: "10.244.0.0/16", EnableNFTables: true, Backend: { Type: "vxlan" } });
    await overlay.node(2).agent.start();
    const agent = new TestAgent({
      ns: overlay.node(1).ns,
      folder,
      name: "weak",
      store: overlay.store,
      netConf: overlay.netConf,
      flags: ["--probe-interval=1"],
      before: 'exec setpriv --bounding-set=-net_raw "$0" "$@"',
    });
    const settled = () => agent.settled(2);
    agent.spawn();
    await settled();
    const problem = "the peers are not probed: open socket domain 2: EPERM; give the agent CAP_NET_RAW";
    expect(await agent.warned("peers", true)).toStartWith(problem);
    // Old rules of iptables can't be looked for without it either, which is not the probes' business.
    expect((await agent.readiness()).reasons.filter(({ condition }) => condition !== "rules")).toEqual([]);
    const { turns } = (await agent.state()).reconcile;
    await eventually(async () => (await agent.state()).reconcile.turns > turns, {
      within: SOON_MS,
      what: "it goes on",
    });
    expect(agent.log.split(problem)).toHaveLength(2);
    await agent.stop();
    agent.flags = ["--probe-interval=0"];
    agent.spawn();
    await settled();
    expect((await agent.readiness()).warnings).toEqual([]);
  });
});
