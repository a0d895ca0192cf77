import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { describeWithEtcd, type EtcdServer, startCluster } from "../support/etcd.ts";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { withoutLoss } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** New leases get one of the lowest 100 subnets; what the tests write themselves lies above. */
const PREFIX = "/coreos.com/network";
const CONFIG = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}';
/** How long etcd is away at least, in seconds. */
const OUTAGE = 20;
// Elections and starts of etcd take their time on a busy machine.
setDefaultTimeout(240_000);

describeInNamespaces("what befalls etcd costs no packet between healthy nodes", () => {
  describeWithEtcd("while agents have their leases in a cluster of three members", () => {
    // Before the folder goes: what still runs would write into it again.
    afterAll(async () => {
      for (const member of members) await member[Symbol.asyncDispose]();
      overlay[Symbol.dispose]();
    });

    const folder = useTemporaryFolder();
    const overlay = new Overlay(folder.path);
    let members: EtcdServer[] = [];
    let place: { readonly ns: Netns; readonly address: string };

    beforeAll(async () => {
      await overlay.create(0);
      place = { ns: await overlay.addHost(250), address: "192.0.2.250" };
      members = await startCluster(3, { place });
      await ctl("put", `${PREFIX}/config`, CONFIG);
      overlay.leases = [`--etcd-endpoints=${members.map(({ endpoint }) => endpoint).join(",")}`];
      // No probes: nodes that are made up below would not answer them.
      for (const number of [1, 2, 3]) await overlay.addNode(number, ["--probe-interval=0"]);
      await overlay.start();
      await overlay.attachPods();
    });

    /** Asks all members, one after the other, until one does it: there may be an election. */
    const ctl = (...args: string[]): Promise<string> => {
      const endpoints = `--endpoints=${members.map(({ endpoint }) => endpoint).join(",")}`;
      const [member] = members;
      if (member === undefined) throw new Error("there is no etcd");
      return eventually(async () => `${await member.ctl([endpoints, ...args])} `, {
        within: 30_000,
        what: `etcdctl ${args.join(" ")}`,
      });
    };
    /** Writes the lease of a made-up node, as flannel does. */
    const putPeer = (n: number) =>
      ctl(
        "put",
        `${PREFIX}/subnets/10.244.${n}.0-24`,
        JSON.stringify({
          PublicIP: `192.0.2.${n}`,
          PublicIPv6: null,
          BackendType: "vxlan",
          BackendData: { VNI: 1, VtepMAC: `02:00:00:00:0${Math.floor(n / 100)}:${n % 100}` },
        }),
      );
    const deletePeer = (n: number) => ctl("del", `${PREFIX}/subnets/10.244.${n}.0-24`);

    const agents = () => overlay.nodes.map(({ agent }) => agent);
    const settled = (leases: number, within?: number) =>
      Promise.all(agents().map((agent) => agent.settled(leases, within)));
    const inContact = () => Promise.all(agents().map((agent) => agent.warned("leaseSource", false, 30_000)));
    /** What happens in etcd is seen by all. */
    const isFollowed = async (): Promise<void> => {
      await putPeer(177);
      await settled(4, 30_000);
      await deletePeer(177);
      await settled(3, 30_000);
    };
    const all = (work: (member: EtcdServer) => Promise<void>) => Promise.all(members.map(work));

    /** The member that node 1's watch is connected to. */
    const talkedTo = (): Promise<EtcdServer> =>
      eventually(
        async () => {
          const connections = await overlay.node(1).ns.exec(["ss", "-Htn", "state", "established"]);
          const member = members.find(({ port }) => connections.split(/\s+/).includes(`192.0.2.250:${port}`));
          if (member === undefined) throw new Error(`it has the connections:\n${connections}`);
          return member;
        },
        { within: 15_000, what: "node 1 talks to a member of etcd" },
      );

    test("the member that is talked to killed, twice: others take over; it comes back", async () => {
      await overlay.withoutLoss(async () => {
        const killed = await talkedTo();
        await killed.signal("SIGKILL");
        await isFollowed();
        await inContact();
        const next = await talkedTo();
        expect(next).not.toBe(killed);
        await killed.restart();
        await next.signal("SIGKILL");
        await isFollowed();
        await inContact();
        await next.restart();
      });
      expect((await overlay.node(1).agent.readiness()).ready).toBe(true);
    });

    test("etcd gone for 20 s and back: ready all the while, a warning says why and since when", async () => {
      await overlay.withoutLoss(async (ping) => {
        const { agent } = overlay.node(1);
        await all((member) => member.signal("SIGKILL"));
        const told = /^etcd http:\/\/192\.0\.2\.250.*: last contact (\d+) s ago: no etcd endpoint answers: .*refused/;
        await agent.warned("leaseSource", true);
        const ages: number[] = [];
        while ((ages.at(-1) ?? 0) < OUTAGE) {
          await ping.answers(100, 10_000);
          expect(await agent.readiness()).toMatchObject({ status: 200, ready: true });
          const [warning = ""] = await agent.warnings("leaseSource");
          expect(warning).toMatch(told);
          ages.push(Number(told.exec(warning)?.[1]));
        }
        expect(ages).toEqual(ages.toSorted((a, b) => a - b));
        await all((member) => member.restart());
        await inContact();
        await isFollowed();
      });
    });

    test("compacted past our revision while we were cut off: what changed meanwhile is seen all the same", async () => {
      await putPeer(178);
      await settled(4);
      await overlay.withoutLoss(async () => {
        const [, seen] = /"revision":(\d+)/.exec(await ctl("get", "-w", "json", "config")) ?? [];
        await all((member) => member.signal("SIGKILL"));
        await cutOff();
        await all((member) => member.restart());
        await deletePeer(178);
        await putPeer(179);
        const [, now] = /"revision":(\d+)/.exec(await ctl("get", "-w", "json", "config")) ?? [];
        await ctl("compact", `${now}`);
        await expect(members[0]?.ctl(["get", `--rev=${seen}`, "config"])).rejects.toThrow("has been compacted");
        const known = async () => (await overlay.node(1).agent.leases()).map(({ ipv4 }) => ipv4.subnet);
        expect(await known()).toContain("10.244.178.0/24");
        await letIn();
        const isRight = async () => {
          const subnets = await known();
          return subnets.includes("10.244.179.0/24") && !subnets.includes("10.244.178.0/24");
        };
        await eventually(isRight, { within: 20_000, what: "what changed is seen" });
        await settled(4);
        await inContact();
        await deletePeer(179);
        await settled(3);
      });
    });

    test("values that are not JSON: a good lease stays as it was, others are left out, counted and shown", async () => {
      const { agent } = overlay.node(1);
      const { key } = await overlay.node(2).agent.lease();
      const leases = await agent.leases();
      await overlay.withoutLoss(async (ping) => {
        // Or it would write its lease anew at once.
        overlay.node(2).agent.signal("SIGSTOP");
        try {
          await ctl("put", "--ignore-lease", `${PREFIX}/subnets/${key}`, "{");
          await ctl("put", `${PREFIX}/subnets/10.244.201.0-24`, "nonsense");
          await eventually(async () => (await agent.state()).rejectedLeases.length === 2, {
            within: 15_000,
            what: "both are shown",
          });
          const told = [
            'lease 10.244.201.0-24 is left out: the value is not JSON: "nonsense"',
            `lease ${key} stays as it was: the value is not JSON: "{"`,
          ];
          expect((await agent.warnings("peers")).toSorted()).toEqual(told.toSorted());
          for (const line of told) await agent.logged(line);
          expect((await agent.readiness()).ready).toBe(true);
          await agent.settled(3);
          await ping.answers(50, 10_000);
        } finally {
          overlay.node(2).agent.signal("SIGCONT");
        }
        await ctl("del", `${PREFIX}/subnets/10.244.201.0-24`);
        await agent.warned("peers", false);
        await settled(3);
      });
      // Its own agent has put it right.
      expect(await agent.leases()).toEqual(leases);
      expect(await ctl("get", "--print-value-only", `${PREFIX}/subnets/${key}`)).toStartWith(
        '{"PublicIP":"192.0.2.2",',
      );
    });

    test("a watch that falls silent as its node changes its address is found out; the lease keeps its subnet", async () => {
      const { ns, agent, pod } = overlay.node(3);
      const { ipv4, key } = await agent.lease();
      await overlay.withoutLoss(async () => {
        await ns.exec(["ip", "address", "del", "192.0.2.3/24", "dev", "eth0"]);
        await ns.exec(["ip", "address", "add", "192.0.2.103/24", "dev", "eth0"]);
        const isKnown = async () =>
          (await overlay.node(1).agent.leases()).some(({ ipv4 }) => ipv4.publicIP === "192.0.2.103");
        await eventually(isKnown, { within: 30_000, what: "the new address is published, the others follow" });
        await agent.ready();
        await isFollowed();
        await inContact();
      });
      expect(await agent.lease()).toMatchObject({ key, ipv4: { subnet: ipv4.subnet, vtepMAC: ipv4.vtepMAC } });
      await withoutLoss(pod, overlay.node(1).podAddress, async () => {});
    });

    /** From now on etcd refuses whoever is not in its own namespace. */
    const cutOff = () => place.ns.exec(["nft", "-f", "-"], FIREWALL);
    const letIn = () => place.ns.exec(["nft", "delete", "table", "inet", "cut"]);
  });
});

const FIREWALL = `table inet cut {
  chain input {
    type filter hook input priority 0
    iifname "eth0" reject with tcp reset
  }
}
`;
