import { join } from "node:path";
import type { EventKind } from "../../../src/api/events.ts";
import type { Seen, StoryMesh } from "./story-mesh.ts";
import { AWAY_VIEWS, and, type Told, troubleAtOne, troubleWithAll, WELL } from "./told.ts";

/** What goes wrong at node 2, and what each view of each node has to say of it, and must not. */
export interface Story {
  readonly name: string;
  break(mesh: StoryMesh): Promise<unknown>;
  heal(mesh: StoryMesh): Promise<unknown>;
  readonly sees: Readonly<Record<string, Seen>>;
  /** whether packets get from node 1's pod to node 2's and back */
  readonly reaches: { readonly small: boolean; readonly full: boolean };
  /** by node */
  told(names: Names): Readonly<Record<string, Told>>;
  /** what the page shows, by node, in elements of a selector */
  readonly shown: Readonly<Record<string, readonly (readonly [selector: string, text: string])[]>>;
  /** what is told when it is over, by node */
  readonly healed: readonly (readonly [node: string, kind: EventKind, text: RegExp])[];
}

/** What is another in each run. */
export interface Names {
  subnet(number: number): string;
  mac(number: number): string;
}

const BLOCK =
  "table inet closed { chain in { type filter hook input priority 0; udp dport 8472 drop; }; chain out { type filter hook output priority 0; udp dport 8472 drop; }; }";

const UP = { n1: { n2: "up", n3: "up" }, n2: { n1: "up", n3: "up" }, n3: { n1: "up", n2: "up" } } as const;
export const ALL_UP: Readonly<Record<string, Seen>> = UP;

const blocked = (from: number, to: number) => ({
  why: `192.0.2.${to} answers, but nothing answers through the overlay (IPv4)`,
  open: `let UDP port 8472 through between 192.0.2.${from} and 192.0.2.${to}, both ways`,
});
const tooSmall = (from: number, to: number) => ({
  why: "small packets come through the overlay (IPv4), those of full size, 1450 bytes, do not",
  fix: `let the network carry packets of 1500 bytes between 192.0.2.${from} and 192.0.2.${to}, or lower Backend.MTU below that`,
});

const SEEN_BLOCKED = troubleAtOne(
  "down",
  blocked(1, 2).why,
  `${blocked(1, 2).open}; if it is open, see with tartan doctor on that node that flannel.1 is in order, and answers ICMP echoes`,
);
const REACHED_AT_SAME_TIME = /tartan_peer_up\{peer="n3",family="ipv4",[^}]+\} 1/;

export const STORIES: readonly Story[] = [
  {
    name: "UDP 8472 is blocked at n2",
    break: (mesh) => mesh.node(2).ns.exec(["nft", BLOCK]),
    heal: (mesh) => mesh.node(2).ns.exec(["nft", "delete table inet closed"]),
    sees: {
      n1: { n2: "down", n3: "up" },
      n2: { n1: "down", n3: "down" },
      n3: { n2: "down", n1: "up" },
    },
    reaches: { small: false, full: false },
    told: () => ({
      n1: and(SEEN_BLOCKED, {
        status: [`warnings peers: peer n2: ${blocked(1, 2).why}: ${blocked(1, 2).open}`],
        trace: [
          `leaves this node to 192.0.2.2, n2. But n2 is down: ${blocked(1, 2).why}. What helps: let UDP port 8472`,
        ],
        diff: ["is as desired", /exit code 0 $/],
        metrics: ['tartan_probe_peers{family="ipv4",verdict="overlayBlocked"} 1', REACHED_AT_SAME_TIME],
        data: ['"verdict":"overlayBlocked"', '"overlayBlocked"'],
        never: ["n3 is", "all other nodes", "not ready", "node is up", "lacks", "missing", "MTU is"],
        warnings: 1,
      }),
      n2: and(troubleWithAll("down", [blocked(2, 1).why, blocked(2, 3).why], blocked(2, 1).open), {
        trace: [`leaves this node to 192.0.2.1, n1. But n1 is down: ${blocked(2, 1).why}.`],
        doctor: [
          "see with tartan doctor here that flannel.1 is in order",
          "a rule of the chain inet closed in (hook input) drops packets to UDP port 8472",
          "a rule of the chain inet closed out (hook output) drops packets to UDP port 8472",
        ],
        never: ["on that node", "not ready", "lacks"],
        warnings: 4,
      }),
    }),
    shown: {
      n1: [
        ["#trouble li", "n2 is down"],
        ["#trouble li", blocked(1, 2).open],
        ["#events li", "peer n2: 192.0.2.2 answers, but nothing answers through the overlay"],
      ],
      n2: [["#trouble li", "n3 is down"]],
    },
    healed: [["n1", "peerUp", /^peer n2 is reachable again/]],
  },
  {
    name: "the agent of n2 is stopped",
    break: async (mesh) => {
      await mesh.node(2).agent.stop();
      await mesh.probedAnew(1);
    },
    heal: (mesh) => mesh.node(2).agent.start(),
    sees: { ...UP, n2: "away" },
    reaches: { small: true, full: true },
    told: ({ subnet }) => ({
      n1: WELL,
      n3: WELL,
      n2: and(AWAY_VIEWS, {
        status: [
          "flannel.1 up, MTU 1450",
          "2 routes, 2 neighbours, 2 forwarding entries",
          "peers none is incomplete in the kernel",
          /exit code 3 $/,
        ],
        peers: [
          new RegExp(`${subnet(1)} \\S+ 192\\.0\\.2\\.1 complete`),
          new RegExp(`${subnet(3)} \\S+ 192\\.0\\.2\\.3 complete`),
          "2 peers in the kernel, 0 incomplete",
          /exit code 3 $/,
        ],
        doctor: [
          "agent: no agent runs here, though flannel.1 is there: packets go as the kernel has it, and nobody follows changes fix: start the agent",
          "entries: all that the kernel has of 2 other nodes is complete",
          "external-interface: eth0 with 192.0.2.2",
        ],
        trace: [
          "The packet leaves this node to 192.0.2.1. Note: by the kernel alone: no agent answers",
          /exit code 0 $/,
        ],
        diff: ["The kernel by itself shows nothing wrong", /exit code 3 $/],
        never: ["lacks", "would be lost", "2 up", " is down"],
        warnings: 1,
      }),
    }),
    shown: {
      n1: [["#trouble li", "Nothing is known to be wrong"]],
      n2: [["#banner", "The agent does not answer"]],
    },
    healed: [["n2", "ready", /have their network/]],
  },
  {
    name: "the way to n2 has a small MTU",
    break: (mesh) => mesh.cable(2, "mtu", "1400"),
    heal: (mesh) => mesh.cable(2, "mtu", "1500"),
    sees: {
      n1: { n2: "degraded", n3: "up" },
      n2: { n1: "degraded", n3: "degraded" },
      n3: { n2: "degraded", n1: "up" },
    },
    reaches: { small: true, full: false },
    told: () => ({
      n1: and(troubleAtOne("degraded", tooSmall(1, 2).why, tooSmall(1, 2).fix), {
        status: [`peer n2: ${tooSmall(1, 2).why}: ${tooSmall(1, 2).fix}`],
        doctor: ["mtu: packets of full size do not reach 1 node (n2), smaller ones do"],
        trace: [`to 192.0.2.2, n2. But n2 is degraded: ${tooSmall(1, 2).why}. What helps: ${tooSmall(1, 2).fix}`],
        metrics: [
          'tartan_probe_peers{family="ipv4",verdict="mtuTooSmall"} 1',
          /tartan_peer_up\{peer="n2",family="ipv4",[^}]+\} 1/,
          REACHED_AT_SAME_TIME,
        ],
        data: ['"mtu":{"bytes":1450,"passes":false'],
        never: ["is down", "UDP port 8472 through", "n3 is", "not ready"],
        warnings: 2,
      }),
      n2: and(troubleWithAll("degraded", [tooSmall(2, 1).why], tooSmall(2, 1).fix), {
        doctor: ["mtu: packets of full size do not reach 2 nodes (n1, n3)"],
        trace: ["But n1 is degraded: small packets come through"],
        never: ["is down", "UDP port 8472 through"],
        warnings: 3,
      }),
    }),
    shown: {
      n1: [
        ["#trouble li", "n2 is degraded"],
        ["#trouble li", "packets of 1500 bytes between 192.0.2.1 and 192.0.2.2"],
      ],
      n2: [["#trouble li", "n1 is degraded"]],
    },
    healed: [["n1", "peerUp", /^peer n2 is reachable again/]],
  },
  {
    name: "n2's own interface is given a smaller MTU",
    break: (mesh) => mesh.node(2).ns.exec(["ip", "link", "set", "eth0", "mtu", "1400"]),
    heal: (mesh) => mesh.node(2).ns.exec(["ip", "link", "set", "eth0", "mtu", "1500"]),
    // n2 sends no more than gets through.
    sees: { n1: { n2: "degraded", n3: "up" }, n2: UP.n2, n3: { n2: "degraded", n1: "up" } },
    reaches: { small: true, full: false },
    told: () => ({
      n1: and(troubleAtOne("degraded", tooSmall(1, 2).why, tooSmall(1, 2).fix), {
        trace: ["But n2 is degraded: small packets come through"],
        never: ["is down", "n3 is"],
        warnings: 2,
      }),
      n2: {
        status: ["on eth0, MTU 1400", "flannel.1, MTU 1350", "2 peers: 2 up"],
        peers: ["2 peers: 2 up", /exit code 0 $/],
        doctor: ["mtu: pods' bridge cni0 has MTU 1450, more than the 1350 that reach other nodes"],
        trace: ["mtu flannel.1 1350, 1400 on eth0 less 50 is 1350"],
        diff: ["is as desired"],
        readyz: ['200 {"ready":true,"reasons":[],"warnings":[]}'],
        metrics: ['tartan_peers{state="up"} 2'],
        never: ["is down", "is degraded"],
        warnings: 1,
      },
    }),
    shown: { n1: [["#trouble li", "n2 is degraded"]], n2: [["#trouble li", "Nothing is known to be wrong"]] },
    healed: [
      ["n1", "peerUp", /^peer n2 is reachable again/],
      ["n2", "interfaceChanged", /MTU was 1400, is 1500|MTU 1500/],
    ],
  },
  {
    name: "n2 has another VNI",
    break: async (mesh) => {
      const folder = join(mesh.store, "..", "other-vni.json");
      await Bun.write(folder, JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: "vxlan", VNI: 7 } }));
      await restart(mesh, [...mesh.node(1).agent.flags, `--net-config-path=${folder}`]);
    },
    heal: (mesh) => restart(mesh, mesh.node(1).agent.flags),
    sees: {
      n1: { n2: "leftOut", n3: "up" },
      n2: { n1: "leftOut", n3: "leftOut" },
      n3: { n2: "leftOut", n1: "up" },
    },
    reaches: { small: false, full: false },
    told: ({ subnet }) => ({
      n1: and(
        troubleAtOne(
          "left out",
          "nothing is programmed for it: its VNI is 7, ours is 1",
          "give all nodes one Backend.VNI, 7 or 1, and restart the agents that have the other one",
        ),
        {
          status: [/lease \S+ of n2 is left out: its VNI is 7, ours is 1/],
          trace: [
            `✗ route none to ${subnet(2).replace("0/24", "2")}`,
            "would be lost here: n2 is left out: nothing is programmed for it: its VNI is 7, ours is 1. What helps: give all nodes one",
            /exit code 1 $/,
          ],
          diff: ["is as desired", /exit code 0 $/],
          metrics: [REACHED_AT_SAME_TIME],
          never: ["repairs it by itself", "if the node is gone", "n2 is down", "UDP port 8472 through", "n3 is"],
          warnings: 1,
        },
      ),
      n2: and(
        troubleWithAll(
          "left out",
          ["nothing is programmed for it: its VNI is 1, ours is 7"],
          "give all nodes one Backend.VNI",
        ),
        {
          status: ["backend vxlan, VNI 7"],
          trace: ["n1 is left out: nothing is programmed for it: its VNI is 1, ours is 7", /exit code 1 $/],
          never: ["repairs it by itself", "if the node is gone"],
          warnings: 2,
        },
      ),
    }),
    shown: {
      n1: [["#trouble li", "its VNI is 7, ours is 1"]],
      n2: [["#trouble li", "its VNI is 1, ours is 7"]],
    },
    healed: [["n1", "leaseChanged", /n2.*VNI was 7, is 1/]],
  },
  {
    name: "a forwarding entry of n2 is deleted while its agent is stopped",
    break: async (mesh) => {
      const { vtepMAC } = (await mesh.node(1).agent.lease()).ipv4;
      await mesh.node(2).agent.stop();
      await mesh.node(2).ns.exec(["bridge", "fdb", "del", vtepMAC, "dev", "flannel.1"]);
    },
    heal: (mesh) => mesh.node(2).agent.start(),
    sees: { n1: { n2: "down", n3: "up" }, n2: "away", n3: UP.n3 },
    reaches: { small: false, full: false },
    told: ({ subnet, mac }) => ({
      // Its packets get there; of the answers that are lost on the way back it can know no more.
      n1: and(SEEN_BLOCKED, {
        trace: [
          `to 192.0.2.2, n2. But n2 is down: ${blocked(1, 2).why}`,
          "see with tartan doctor on that node that flannel.1 is in order",
        ],
        diff: ["is as desired"],
        metrics: [REACHED_AT_SAME_TIME],
        never: ["node is up", "n3 is", "all other nodes", "lacks"],
        warnings: 1,
      }),
      n2: and(AWAY_VIEWS, {
        status: [
          "2 routes, 2 neighbours, 1 forwarding entry",
          "peers 1 peer incomplete: the agent mends it when it is back; tartan diff says what is missing",
        ],
        peers: [`${subnet(1)} ${mac(1)} - lacks forwarding`, "complete", "start the agent, which adds what is missing"],
        doctor: [
          `error entries: ${subnet(1)} lacks its forwarding entry (FDB), of ${mac(1)} on flannel.1, so packets to that node's pods are lost, and answers to them fix: start the agent`,
          `tartan trace ${subnet(1).replace("0/24", "1")}`,
          /exit code 3 $/,
        ],
        trace: [
          `✗ fdb no entry for ${mac(1)} on flannel.1`,
          `would be lost here: the forwarding entry (FDB) for ${mac(1)} on flannel.1 is missing`,
          `What helps: start the agent, which adds it; until then: bridge fdb replace ${mac(1)} dev flannel.1 dst`,
          /exit code 1 $/,
        ],
        diff: [`+ forwarding ${mac(1)} on flannel.1 ${subnet(1)} lacks it`, /exit code 1 $/],
        never: ["none is incomplete", "shows nothing wrong"],
        errors: 1,
        warnings: 1,
      }),
      n3: WELL,
    }),
    shown: {
      n1: [["#trouble li", "n2 is down"]],
      n2: [["#banner", "The agent does not answer"]],
    },
    healed: [
      ["n2", "programmed", /1 forwarding-replace/],
      ["n1", "peerUp", /^peer n2 is reachable again/],
    ],
  },
];

async function restart(mesh: StoryMesh, flags: readonly string[]): Promise<void> {
  const { agent } = mesh.node(2);
  await agent.stop();
  agent.flags = flags;
  await agent.start();
}
