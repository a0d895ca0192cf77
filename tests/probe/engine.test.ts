import { describe, expect, test } from "bun:test";
import type { Address } from "../../src/net/address.ts";
import type { Family } from "../../src/net/family.ts";
import { type OwnEnd, ProbeEngine, type ProbeInput, type ProbePeer } from "../../src/probe/engine.ts";
import { newsOf } from "../../src/probe/news.ts";
import { address, prefix } from "../lease/samples.ts";
import { FakeCarrier } from "./fake-carrier.ts";

const OWN: Readonly<Record<Family, OwnEnd>> = {
  4: {
    device: "flannel.1",
    port: 8472,
    mtu: 1450,
    overhead: 50,
    vtep: address("10.244.0.0"),
    local: address("192.0.2.1"),
  },
  6: {
    device: "flannel-v6.1",
    port: 8472,
    mtu: 1430,
    overhead: 70,
    vtep: address("fd00::"),
    local: address("2001:db8::1"),
  },
};

/** The peer of that number from 1; `host` numbers its public address. */
function peer(number: number, host = number): ProbePeer {
  const [high, low] = [number >> 8, number & 255];
  return {
    key: `n${number}`,
    node: `n${number}`,
    subnets: { 4: prefix(`10.${high}.${low}.0/24`), 6: prefix(`fd00:0:0:${number.toString(16)}::/64`) },
    publicIPs: { 4: address(`192.0.${host >> 8}.${host & 255}`), 6: address(`2001:db8::${host.toString(16)}`) },
  };
}

const peersTo = (count: number) => Array.from({ length: count }, (_, index) => peer(index + 1));

class World {
  readonly carrier = new FakeCarrier();
  readonly engine = new ProbeEngine(this.carrier, { step: 10, timeout: 50 });
  input: ProbeInput;

  constructor(peers: readonly ProbePeer[], families: readonly Family[] = [4]) {
    const own = Object.fromEntries(families.map((family) => [family, OWN[family]]));
    this.input = { peers, own, isProgrammed: () => true };
  }

  set peers(peers: readonly ProbePeer[]) {
    this.input = { ...this.input, peers };
  }

  /** @returns the changes as text */
  async round(): Promise<string[]> {
    this.engine.setPeers(this.input);
    this.carrier.sent.length = 0;
    const changes = await this.engine.round(new AbortController().signal);
    return changes
      .map(({ peer: { key }, families, from, to }) => `${key} ${families.join("+")}: ${from} to ${to}`)
      .sort();
  }

  /** Nothing answers at these addresses any more. */
  silence(...addresses: (string | undefined)[]): void {
    this.carrier.answersTo = ({ target }) => !addresses.includes(target);
  }

  get targets(): Set<Address> {
    return new Set(this.carrier.sent.map(({ target }) => target));
  }
}

function silenceAll(world: World, peers: readonly ProbePeer[]): void {
  world.silence(...peers.flatMap((one) => [vtepOf(one), one.publicIPs[4]]));
}

async function newsAfter(world: World) {
  world.engine.setPeers(world.input);
  return newsOf(await world.engine.round(new AbortController().signal));
}

const vtepOf = (of: ProbePeer, family: Family = 4) => of.subnets[family]?.address;

describe("the engine", () => {
  test("asks each of 200 peers in four rounds, of at most 64 peers and three packets each", async () => {
    const world = new World(peersTo(200));
    const asked = new Map<string, number>();
    for (let round = 0; round < 8; round++) {
      await world.round();
      expect(world.carrier.sent.length).toBeLessThanOrEqual(64 * 3);
      for (const target of world.targets) asked.set(target, (asked.get(target) ?? 0) + 1);
    }
    // Of each peer the VTEP's and the public address.
    expect(asked.size).toBe(400);
    expect(new Set(asked.values())).toEqual(new Set([2]));
  });

  test("tells of a peer that goes down after one round, tells why, and tells when it is back", async () => {
    const world = new World([peer(1), peer(2), peer(3)]);
    expect(await world.round()).toEqual([
      "n1 4: unknown to reachable",
      "n2 4: unknown to reachable",
      "n3 4: unknown to reachable",
    ]);
    expect(await world.round()).toEqual([]);
    world.silence(vtepOf(peer(2)));
    expect(await world.round()).toEqual(["n2 4: reachable to overlayBlocked"]);
    expect(world.engine.troubled(10)).toMatchObject({ total: 1, first: [{ key: "n2", verdict: "overlayBlocked" }] });
    world.silence(vtepOf(peer(2)), peer(2).publicIPs[4]);
    expect(await world.round()).toEqual(["n2 4: overlayBlocked to unreachable"]);
    // Of what is known to be down little is sent.
    const again = await world.round();
    expect(again).toEqual([]);
    expect(world.carrier.sent.filter(({ target }) => target === vtepOf(peer(2)))).toHaveLength(2);
    world.silence(peer(2).publicIPs[4]);
    expect(await world.round()).toEqual(["n2 4: unreachable to reachable"]);
    expect(world.engine.troubled(10)).toEqual({ total: 0, first: [] });
  });

  test("says so where it is the same with all peers, at once", async () => {
    const world = new World([peer(1), peer(2)]);
    await world.round();
    world.silence(vtepOf(peer(1)));
    await world.round();
    expect(world.engine.everywhere(4)).toBeUndefined();
    expect(world.engine.troubled(1).first[0]?.fix).not.toContain("all other nodes");
    world.silence(vtepOf(peer(1)), vtepOf(peer(2)));
    await world.round();
    expect(world.engine.everywhere(4)).toBe("overlayBlocked");
    for (const { fix } of world.engine.troubled(2).first)
      expect(fix).toStartWith("it is the same with all other nodes");
    world.silence(vtepOf(peer(1)), vtepOf(peer(2)), peer(2).publicIPs[4]);
    await world.round();
    expect(world.engine.everywhere(4)).toBeUndefined();
    // Of one other node nobody can tell which of the two it is.
    const small = new World([peer(1)]);
    small.silence(vtepOf(peer(1)));
    await small.round();
    expect(small.engine.everywhere(4)).toBeUndefined();
  });

  test("knows nothing of peers to which this node sends no probes, and tells no news of it", async () => {
    const world = new World([peer(1)], [4, 6]);
    await world.round();
    world.carrier.refuses = ({ family }) => family === 4;
    expect(await world.round()).toEqual(["n1 4: reachable to unknown"]);
    expect(world.engine.facts("n1", 4)).toMatchObject({ verdict: "unknown", overlay: { sent: 1, received: 1 } });
    expect(world.engine.troubled(10).total).toBe(0);
    world.carrier.refuses = () => true;
    expect(await newsAfter(world)).toEqual([]);
    world.carrier.refuses = () => false;
    expect(await newsAfter(world)).toEqual([]);
    expect(world.engine.verdict("n1", 4)).toBe("reachable");
  });

  test("tells apart that only small packets pass", async () => {
    const world = new World([peer(1)]);
    world.carrier.answersTo = ({ bytes }) => bytes < 1400;
    expect(await world.round()).toEqual(["n1 4: unknown to mtuTooSmall"]);
    expect(world.engine.facts("n1", 4)).toMatchObject({ fullBytes: 1450, fullSizePasses: false });
    // ICMP takes 8 bytes of the packet and IP 20.
    expect(Math.max(...world.carrier.sent.map(({ bytes }) => bytes))).toBe(1430);
  });

  test("does not take a peer that goes down in the midst of a round for a small MTU", async () => {
    const world = new World([peer(1)]);
    await world.round();
    // One small probe each is answered, and nothing after that.
    world.carrier.answersTo = () => world.carrier.sent.length <= 2;
    expect(await world.round()).toEqual(["n1 4: reachable to unreachable"]);
    expect(world.engine.facts("n1", 4)?.fullSizePasses).toBe(true);
  });

  test("does not take an outage between two small packets for a small MTU", async () => {
    const world = new World([peer(1)]);
    await world.round();
    // The first train of large packets is lost, and nothing else.
    const isLarge = ({ bytes }: { bytes: number }) => bytes > 1400;
    world.carrier.answersTo = (train) => !isLarge(train) || world.carrier.sent.filter(isLarge).length > 5;
    expect(await world.round()).toEqual([]);
    expect(world.engine.facts("n1", 4)?.fullSizePasses).toBe(true);
  });

  test("counts nothing as lost that was sent before the first answer, of a peer that comes up or was away", async () => {
    const world = new World([peer(1)]);
    // The third probe finds that it has come up; that the two before it are lost is known only later.
    const comesUp = () => {
      let sent = 0;
      world.carrier.answersTo = ({ target, path }) => target !== vtepOf(peer(1)) || path !== "overlay" || ++sent > 2;
    };
    comesUp();
    expect(await world.round()).toEqual(["n1 4: unknown to reachable"]);
    expect(world.engine.facts("n1", 4)?.overlay).toMatchObject({ sent: 1, received: 1 });
    // From then on what is lost counts.
    comesUp();
    await world.round();
    expect(world.engine.facts("n1", 4)?.overlay).toMatchObject({ sent: 4, received: 2 });
    silenceAll(world, [peer(1)]);
    expect(await world.round()).toEqual(["n1 4: reachable to unreachable"]);
    world.carrier.answersTo = ({ target, sent }) => target !== vtepOf(peer(1)) || sent > 0;
    expect(await world.round()).toEqual(["n1 4: unreachable to reachable"]);
    expect(world.engine.facts("n1", 4)?.overlay).toMatchObject({ sent: 1, received: 1 });
  });

  test("forgets the losses of a peer's device with the device, and not that it answers", async () => {
    const [first, second] = ["02:00:00:00:00:01", "02:00:00:00:00:02"].map((mac) => ({
      ...peer(1),
      vteps: { 4: { mac } },
    }));
    if (first === undefined || second === undefined) throw new Error("there are two");
    const world = new World([first]);
    for (let round = 0; round < 3; round++) await world.round();
    world.peers = [{ ...first }];
    await world.round();
    expect(world.engine.facts("n1", 4)?.overlay.sent).toBe(4);
    world.peers = [second];
    expect(await world.round()).toEqual([]);
    expect(world.engine.facts("n1", 4)).toMatchObject({ verdict: "reachable", overlay: { sent: 1, received: 1 } });
  });

  test("has families apart, and one message where both are alike", async () => {
    const world = new World([peer(1), peer(2)], [4, 6]);
    await world.round();
    world.silence(vtepOf(peer(1)), vtepOf(peer(2)), vtepOf(peer(2), 6));
    expect(await world.round()).toEqual(["n1 4: reachable to overlayBlocked", "n2 4+6: reachable to overlayBlocked"]);
    const { total, first } = world.engine.troubled(10);
    expect(total).toBe(2);
    expect(first.map(({ key, families }) => [key, families])).toEqual([
      ["n1", [4]],
      ["n2", [4, 6]],
    ]);
    expect(world.engine.facts("n1", 6)?.verdict).toBe("reachable");
  });

  test("asks new peers in the next round, forgets those that left, and begins anew with whoever has another address", async () => {
    const world = new World(peersTo(200));
    for (let round = 0; round < 4; round++) await world.round();
    world.peers = [...peersTo(200).slice(10), peer(201)];
    expect(await world.round()).toEqual(["n201 4: unknown to reachable"]);
    expect(world.engine.size).toBe(191);
    expect(world.engine.facts("n5", 4)).toBeUndefined();
    expect(world.engine.facts("n15", 4)?.verdict).toBe("reachable");
    // The same node, read anew.
    world.peers = world.input.peers.map((one) => ({ ...one }));
    expect(await world.round()).toEqual([]);
    expect(world.engine.facts("n201", 4)?.overlay.sent).toBe(1);
    world.peers = [...world.input.peers.filter(({ key }) => key !== "n15"), peer(15, 3000)];
    expect(await world.round()).toEqual(["n15 4: unknown to reachable"]);
    expect(world.targets).toContain(address("192.0.11.184"));
  });

  test("has no trouble with a peer that left, nor with the one that takes its place", async () => {
    const world = new World([peer(1), peer(2)]);
    await world.round();
    silenceAll(world, [peer(2)]);
    await world.round();
    expect(world.engine.troubled(10).total).toBe(1);
    world.peers = [peer(1)];
    await world.round();
    expect(world.engine.troubled(10)).toEqual({ total: 0, first: [] });
    world.peers = [peer(1), peer(3)];
    expect(await world.round()).toEqual(["n3 4: unknown to reachable"]);
    expect(world.engine.troubled(10)).toEqual({ total: 0, first: [] });
  });

  test("leaves out what is not programmed, and a family that the node has not", async () => {
    const world = new World([peer(1), peer(2), { ...peer(3), publicIPs: {} }], [4, 6]);
    const programmed = (key: string, family: Family) => key === "n1" || (key === "n2" && family === 6);
    world.input = { ...world.input, isProgrammed: ({ key }, family) => programmed(key, family) };
    expect(await world.round()).toEqual(["n1 4+6: unknown to reachable", "n2 6: unknown to reachable"]);
    expect(world.engine.facts("n2", 4)).toBeUndefined();
    expect(world.engine.facts("n3", 4)).toBeUndefined();
    expect(world.engine.size).toBe(2);
  });

  test("keeps what it knew when a round is ended", async () => {
    const world = new World([peer(1)]);
    await world.round();
    world.silence(vtepOf(peer(1)));
    const stopping = new AbortController();
    const running = world.engine.round(stopping.signal);
    stopping.abort();
    expect(await running).toEqual([]);
    expect(world.engine.facts("n1", 4)?.verdict).toBe("reachable");
  });
});

describe("the news", () => {
  test("are one for each peer, and one for many", async () => {
    const world = new World(peersTo(40));
    silenceAll(world, []);
    expect(await newsAfter(world)).toEqual([]);
    silenceAll(world, [peer(7)]);
    const [down, ...none] = await newsAfter(world);
    expect(none).toEqual([]);
    expect(down).toMatchObject({ kind: "peerDown", level: "warning", node: "n7", durationMs: expect.any(Number) });
    expect(down?.cause).toBe("no answer through the overlay (IPv4), and none from 192.0.0.7");
    expect(down?.message).toMatch(/^peer n7: no answer through the overlay \(IPv4\), and none from 192\.0\.0\.7: /);
    silenceAll(world, []);
    const message = "peer n7 is reachable again (IPv4)";
    // For so long it had not been.
    const durationMs = expect.any(Number);
    expect(await newsAfter(world)).toEqual([{ kind: "peerUp", level: "info", node: "n7", message, durationMs }]);
    silenceAll(world, peersTo(40));
    expect(await newsAfter(world)).toEqual([
      {
        kind: "peersChanged",
        level: "warning",
        message: expect.stringMatching(/^40 peers do not answer through the overlay: n\d+, n\d+, n\d+, n\d+, n\d+, …$/),
      },
    ]);
  });
});
