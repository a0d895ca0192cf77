import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ContactListener } from "../../src/lease/contact.ts";
import { LeaseKeeper, renewDelay } from "../../src/lease/keeper.ts";
import type { Lease, Snapshot } from "../../src/lease/lease.ts";
import { sameOwner } from "../../src/lease/ownership.ts";
import { LeaseLostError, type LeaseRequest, type LeaseSource, OutOfSubnetsError } from "../../src/lease/source.ts";
import { FakeTime, settle } from "./fake-time.ts";
import { address, leaseOf, macOf, NETWORK, prefix, requestOf, snapshotOf } from "./samples.ts";

const HOUR = 3_600_000;

/** A store of one lease, which tests may change and break. */
class FakeSource implements LeaseSource {
  readonly kind = "embedded";
  readonly location = "memory";
  readonly contact = {};
  readonly requests: LeaseRequest[] = [];
  onLost: "acquire" | "exit" = "acquire";
  renewals = 0;
  lease: Lease | undefined;
  failure: Error | undefined;
  readonly #time: FakeTime;

  constructor(time: FakeTime) {
    this.#time = time;
  }

  async acquire(request: LeaseRequest): Promise<Lease> {
    this.requests.push(request);
    if (this.failure !== undefined) throw this.failure;
    const { previous, ...attributes } = request;
    const subnets = Object.keys(previous).length === 0 ? { 4: prefix("10.244.7.0/24") } : previous;
    const mine = this.lease !== undefined && sameOwner(this.lease, attributes) ? this.lease : undefined;
    const vteps =
      mine?.vteps[4]?.vni === attributes.vteps[4]?.vni ? (mine?.vteps ?? attributes.vteps) : attributes.vteps;
    const createdAt = mine?.createdAt ?? this.#time.now();
    this.lease = {
      ...attributes,
      vteps,
      key: "10.244.7.0-24",
      subnets,
      createdAt,
      expiresAt: this.#time.now() + 24 * HOUR,
    };
    return this.lease;
  }

  async renew(own: Lease): Promise<Lease> {
    this.renewals++;
    if (this.failure !== undefined) throw this.failure;
    if (this.lease === undefined || !sameOwner(this.lease, own)) throw new LeaseLostError("it is gone");
    this.lease = { ...this.lease, expiresAt: this.#time.now() + 24 * HOUR };
    return this.lease;
  }

  async *watch(): AsyncGenerator<Snapshot> {}
  async settings() {
    return { network: NETWORK, warnings: [], publicIPs: {} };
  }

  async announceReady() {}
  tellContact: ContactListener = () => {};
  onContact(listener: ContactListener) {
    this.tellContact = listener;
  }

  close(): void {}

  snapshot(changes: Partial<Snapshot> = {}): Snapshot {
    return snapshotOf(this.lease === undefined ? [] : [this.lease], { takenAt: this.#time.now(), ...changes });
  }
}

let time: FakeTime;
let source: FakeSource;
let keeper: LeaseKeeper;
let changes: Lease[];
let losses: string[];
let fatal: string[];

beforeEach(() => {
  time = new FakeTime();
  source = new FakeSource(time);
  [changes, losses, fatal] = [[], [], []];
  keeper = new LeaseKeeper({
    source,
    network: NETWORK,
    renewMarginMinutes: 60,
    onChange: (own) => changes.push(own),
    onLost: ({ message }) => losses.push(message),
    onFatal: ({ message }) => fatal.push(message),
    now: time.now,
    wait: time.wait,
    random: () => 1,
  });
});

afterEach(async () => {
  keeper.stop();
  await settle();
  // Nothing goes on after the end.
  expect(time.sleeping).toBe(0);
});

async function start(): Promise<Lease> {
  keeper.start(requestOf(1));
  await settle();
  if (keeper.own === undefined) throw new Error("no lease");
  return keeper.own;
}

test.each([
  [24 * HOUR, HOUR, 23 * HOUR],
  [HOUR + 1, HOUR, 1],
  // A margin as long as the life, or longer, must not renew without end.
  [HOUR, HOUR, HOUR / 2],
  [10, HOUR, 5],
  [0, HOUR, 0],
  [-5, HOUR, 0],
  [Number.POSITIVE_INFINITY, HOUR, Number.POSITIVE_INFINITY],
])("of %d ms of life with a margin of %d, %d are waited for", (left, margin, delay) => {
  expect(renewDelay(left, margin)).toBe(delay);
});

describe("taking the lease", () => {
  test("it is there, told once, and nothing is done after that", async () => {
    const own = await start();
    expect(changes).toEqual([own]);
    expect(keeper.error).toBeUndefined();
    await time.pass(10 * HOUR);
    expect(source.requests).toHaveLength(1);
    expect(source.renewals).toBe(0);
  });

  test("failures are shown and tried again, ever more slowly, at most a minute apart", async () => {
    source.failure = new OutOfSubnetsError("none left");
    keeper.start(requestOf(1));
    await time.pass(400_000);
    expect(keeper.error).toBe(source.failure);
    expect(keeper.own).toBeUndefined();
    expect(time.waits.slice(0, 9)).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    source.failure = undefined;
    await time.pass(60_000);
    expect(keeper.error).toBeUndefined();
    expect(changes).toHaveLength(1);
  });

  test("a changed request is published, with the subnet and the MAC of the lease; the same one is not", async () => {
    const own = await start();
    keeper.update(requestOf(1));
    // Only a proposal.
    keeper.update(requestOf(1, { vteps: { 4: { vni: 1, mac: macOf(50) } } }));
    await settle();
    expect(source.requests).toHaveLength(1);
    const publicIPs = { 4: address("172.31.50.50") };
    keeper.update(requestOf(1, { publicIPs }));
    await settle();
    expect(source.requests).toHaveLength(2);
    expect(keeper.own).toMatchObject({ publicIPs, vteps: own.vteps, subnets: own.subnets });
    expect(changes).toHaveLength(2);
  });

  test("a request that changes while the first one is on its way is published after it", async () => {
    keeper.start(requestOf(1));
    const publicIPs = { 4: address("172.31.50.50") };
    keeper.update(requestOf(1, { publicIPs }));
    await settle();
    expect(keeper.own?.publicIPs).toEqual(publicIPs);
  });
});

describe("renewing", () => {
  test("happens a margin before the end, again and again, and is no change to tell of", async () => {
    await start();
    await time.pass(22.9 * HOUR);
    expect(source.renewals).toBe(0);
    await time.pass(0.2 * HOUR);
    expect(source.renewals).toBe(1);
    await time.pass(23 * HOUR);
    expect(source.renewals).toBe(2);
    expect(changes).toHaveLength(1);
    expect(keeper.own?.expiresAt).toBe(source.lease?.expiresAt ?? 0);
  });

  test("is tried again while the store does not answer, and the error is shown", async () => {
    await start();
    source.failure = new Error("no answer");
    await time.pass(23 * HOUR + 1);
    expect(keeper.error).toBe(source.failure);
    await time.pass(0.5 * HOUR);
    // At most a minute apart, and not more often than the backoff says.
    expect(source.renewals).toBeWithin(30, 40);
    source.failure = undefined;
    await time.pass(60_000);
    expect(keeper.error).toBeUndefined();
    expect(losses).toEqual([]);
  });

  test("follows an end that somebody else moved", async () => {
    await start();
    if (source.lease !== undefined) source.lease = { ...source.lease, expiresAt: time.now() + 2 * HOUR };
    keeper.observe(source.snapshot());
    await time.pass(1.1 * HOUR);
    expect(source.renewals).toBe(1);
  });

  test("does not wait for a lease without an end", async () => {
    await start();
    const { expiresAt: _expiresAt, ...reservation } = keeper.own ?? leaseOf(1, "10.244.7.0/24");
    source.lease = reservation;
    keeper.observe(source.snapshot());
    await time.pass(100 * HOUR);
    expect(source.renewals).toBe(0);
  });
});

describe("a snapshot", () => {
  test("without the lease: it is taken again at once, with the subnet and the MAC of before", async () => {
    const own = await start();
    source.lease = undefined;
    await time.pass(1);
    keeper.observe(source.snapshot());
    await time.pass(0);
    expect(losses).toEqual(["it is gone"]);
    expect(source.requests.at(-1)).toMatchObject({ previous: own.subnets, vteps: own.vteps });
    expect(keeper.own).toMatchObject({ key: own.key, createdAt: time.now() });
    expect(changes).toHaveLength(2);
    expect(keeper.error).toBeUndefined();
    expect(fatal).toEqual([]);
  });

  test("from before the lease was taken says nothing", async () => {
    const early = source.snapshot();
    await time.pass(1);
    await start();
    keeper.observe(early);
    await settle();
    expect(source.renewals).toBe(0);
  });

  test("that is late is not believed: the store is asked", async () => {
    await start();
    keeper.observe(source.snapshot({ leases: [] }));
    await settle();
    expect(source.renewals).toBe(1);
    expect(losses).toEqual([]);
    expect(source.requests).toHaveLength(1);
  });

  test("with another node's lease under our key: it is lost", async () => {
    await start();
    source.lease = leaseOf(2, "10.244.7.0/24");
    keeper.observe(source.snapshot());
    await settle();
    expect(losses).toHaveLength(1);
    expect(source.requests).toHaveLength(2);
  });

  test("with a lease that somebody changed: it is published anew, and the MAC that is published wins", async () => {
    const own = await start();
    source.lease = { ...own, vteps: { 4: { vni: 1, mac: macOf(77) } } };
    keeper.observe(source.snapshot());
    await settle();
    expect(losses).toEqual([]);
    expect(keeper.own?.vteps).toEqual({ 4: { vni: 1, mac: macOf(77) } });
    expect(changes).toHaveLength(2);
  });

  test("that rejects the lease: the reason is shown until one has it", async () => {
    const own = await start();
    const rejected = [{ key: own.key, reason: "its MAC is that of another" }];
    await time.pass(1);
    keeper.observe(source.snapshot({ leases: [], rejected }));
    expect(keeper.error?.message).toBe("lease 10.244.7.0-24 can't be used: its MAC is that of another");
    await settle();
    expect(source.requests).toHaveLength(2);
    keeper.observe(source.snapshot({ leases: [], rejected }));
    await settle();
    // The second time it waits.
    expect(source.requests).toHaveLength(2);
    expect(keeper.error).toBeDefined();
    keeper.observe(source.snapshot());
    expect(keeper.error).toBeUndefined();
    await time.pass(HOUR);
    expect(source.requests).toHaveLength(2);
  });

  test("that takes the lease away each time: the fight is slow", async () => {
    await start();
    for (let second = 0; second < 300; second++) {
      source.lease = leaseOf(2, "10.244.7.0/24");
      keeper.observe(source.snapshot());
      await time.pass(1000);
    }
    expect(losses.length).toBeWithin(3, 13);
  });

  test("with a lease that is changed again and again: it is mended within seconds each time", async () => {
    const own = await start();
    for (let round = 2; round < 20; round++) {
      source.lease = { ...own, backendType: "host-gw", vteps: {} };
      keeper.observe(source.snapshot());
      await time.pass(5000);
      expect(source.requests).toHaveLength(round);
      expect(source.lease).toMatchObject({ backendType: "vxlan", vteps: own.vteps });
    }
  });

  test.each<[string, () => void]>([
    ["a snapshot comes", () => keeper.observe(source.snapshot({ leases: [] }))],
    ["contact is back", () => source.tellContact(undefined)],
  ])("after failures, once %s it is tried again within seconds", async (_, happens) => {
    await start();
    source.failure = new Error("no answer");
    source.tellContact(source.failure);
    keeper.update(requestOf(1, { publicIPs: { 4: address("172.31.50.50") } }));
    await time.pass(200_000);
    expect(time.waits.at(-1)).toBe(60_000);
    source.failure = undefined;
    // Several nodes do not come at one moment, nor is what is told once more a reason to wait longer.
    happens();
    await time.pass(4000);
    happens();
    expect(keeper.error).toBeDefined();
    await time.pass(1000);
    expect(keeper.error).toBeUndefined();
    expect(keeper.own?.publicIPs).toEqual({ 4: address("172.31.50.50") });
  });

  test("that comes in while the lease is being renewed is looked at afterwards", async () => {
    await start();
    await time.pass(23 * HOUR - 1);
    const { promise, resolve } = Promise.withResolvers<Lease>();
    const { lease } = source;
    source.renew = () => promise;
    await time.pass(1);
    keeper.observe(source.snapshot({ leases: [leaseOf(2, "10.244.7.0/24")] }));
    source.renew = async () => {
      throw new LeaseLostError("it is gone");
    };
    resolve(lease ?? leaseOf(1, "10.244.7.0/24"));
    await settle();
    expect(losses).toEqual(["it is gone"]);
  });
});

test("a source that says so ends the keeper when the lease is lost", async () => {
  const own = await start();
  source.onLost = "exit";
  source.lease = undefined;
  keeper.observe(source.snapshot());
  await settle();
  expect(fatal).toEqual(["it is gone"]);
  await time.pass(HOUR);
  expect(source.requests).toHaveLength(1);
  expect(keeper.own).toBe(own);
});

test("a stopped keeper does nothing more, whatever it is told", async () => {
  await start();
  keeper.stop();
  keeper.observe(source.snapshot({ leases: [] }));
  keeper.update(requestOf(1, { publicIPs: { 4: address("172.31.50.50") } }));
  await time.pass(100 * HOUR);
  expect([source.requests.length, source.renewals]).toEqual([1, 0]);
});
