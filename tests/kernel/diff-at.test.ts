import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Desired } from "../../src/desired/desired.ts";
import { plan } from "../../src/desired/plan.ts";
import { Comparison } from "../../src/kernel/diff.ts";
import type { Change } from "../../src/kernel/mirror.ts";
import { type Operation, placeOf } from "../../src/kernel/operations.ts";
import { describe as describeOperation } from "../../src/kernel/reconciler.ts";
import type { Lease } from "../../src/lease/lease.ts";
import type { Family } from "../../src/net/family.ts";
import { exampleInput, exampleLease, exampleMac, IPV4, NETWORKS } from "../desired/examples.ts";
import { driftCases, own, settledKernel } from "./drift-cases.ts";
import {
  anyBackend,
  anyDesired,
  anyFamilies,
  anyPeers,
  anyStep,
  anyWorld,
  converge,
  desiredFor,
  Follower,
  freshKernel,
  UNDERLAY,
} from "./worlds.ts";

const texts = (operations: readonly Operation[]) => operations.map(describeOperation);

/** What the changed places show is what the whole comparison finds. */
function expectAgreement(desired: Desired, { mirror }: Follower, changes: readonly Change[], prune: boolean): void {
  const comparison = new Comparison(desired, mirror, { prune });
  const all = comparison.all();
  const found = new Set(changes.flatMap((change) => texts(comparison.at(change))));
  expect([...found].sort()).toEqual([...new Set(texts(all))].sort());
}

describe("a look at one place", () => {
  test.each(driftCases.map((one) => [one.what, one] as const))("finds what is wrong after: %s", (_, { change }) => {
    const kernel = settledKernel();
    const follower = new Follower(kernel);
    expect(change(kernel)).toBeUndefined();
    const changes = follower.follow();
    if (changes === undefined) expect(follower.fullReads).toBe(2);
    else expectAgreement(desiredFor(IPV4, [1, 2]), follower, changes, true);
  });

  test("finds every difference, and nothing where there is none", () => {
    fc.assert(
      fc.property(anyWorld(15), anyDesired, fc.boolean(), (world, desired, prune) => {
        const comparison = new Comparison(desired, world.make().dump(NETWORKS), { prune });
        const all = comparison.all();
        for (const operation of all)
          expect(texts(comparison.at(placeOf(operation)))).toContain(describeOperation(operation));
        const known = new Set(texts(all));
        for (const operation of all) {
          for (const found of texts(comparison.at(placeOf(operation)))) expect(known).toContain(found);
        }
        expect(comparison.at({ kind: "nothing" })).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test("an entry is there where its device is, and nothing is to be done for it", () => {
    fc.assert(
      fc.property(anyWorld(15), anyDesired, (world, desired) => {
        const comparison = new Comparison(desired, world.make().dump(NETWORKS), { prune: false });
        const all = comparison.all();
        const todo = new Set(all.map((operation) => JSON.stringify([operation.kind, placeOf(operation)])));
        const unready = new Set(
          all.flatMap((operation) => {
            if (operation.kind === "link-add") return operation.device.name;
            return operation.kind === "link-change" && operation.changes.up ? operation.name : [];
          }),
        );
        const isDone = (device: string, kind: Operation["kind"], place: Change) =>
          !unready.has(device) && !todo.has(JSON.stringify([kind, place]));
        for (const [key, { device }] of desired.routes)
          expect(comparison.hasRoute(key)).toBe(isDone(device, "route-replace", { kind: "route", key }));
        for (const device of desired.devices) {
          const index = world.make().links.find(({ name }) => name === device.name)?.index;
          for (const address of device.neighbours.keys()) {
            const place: Change = { kind: "neighbour", index: index ?? 0, address };
            expect(comparison.hasNeighbour(device, address)).toBe(isDone(device.name, "neighbour-replace", place));
          }
          for (const key of device.forwarding.keys()) {
            const place: Change = { kind: "forwarding", index: index ?? 0, key };
            expect(comparison.hasForwarding(device, key)).toBe(isDone(device.name, "forwarding-replace", place));
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  test("at what was notified finds all that a change made wrong, and a change without consequence gives nothing", () => {
    fc.assert(
      fc.property(
        anyFamilies,
        anyBackend,
        anyPeers,
        fc.array(anyStep, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        (families, backend, peers, steps, prune) => {
          const kernel = freshKernel();
          const desired = desiredFor(families, peers, { backend });
          converge(kernel, desired);
          const follower = new Follower(kernel);
          for (const step of steps) step.run(kernel);
          const changes = follower.follow();
          if (changes !== undefined) expectAgreement(desired, follower, changes, prune);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("a look at where two plans differ", () => {
  const anyPeerChange = fc.tuple(fc.subarray([1, 2, 3, 4, 5, 6]), fc.subarray([1, 2, 3, 4, 5, 6]));

  test("finds all that there is to do in a kernel that the first one was brought to, additions first", () => {
    fc.assert(
      fc.property(anyFamilies, anyPeerChange, fc.boolean(), (families, [before, after], prune) => {
        const input = exampleInput(families, [], { external: { index: UNDERLAY } });
        const leases = (peers: readonly number[]) => [input.own, ...peers.map((n) => known(families, n))];
        const first = plan({ ...input, leases: leases(before) });
        const second = plan({ ...input, leases: leases(after) }, first);
        if (second.delta === undefined) throw new Error("few leases changed, and yet all was planned anew");
        const kernel = freshKernel();
        converge(kernel, first.desired, { prune });
        const comparison = new Comparison(second.desired, kernel.dump(NETWORKS), { prune });
        const operations = comparison.differing(second.delta);
        expect(texts(operations).sort()).toEqual(texts(comparison.all()).sort());
        const firstDelete = operations.findIndex(({ kind }) => kind.endsWith("-delete"));
        if (firstDelete >= 0) {
          expect(operations.slice(firstDelete).every(({ kind }) => kind.endsWith("-delete"))).toBe(true);
        }
        converge(kernel, second.desired, { prune });
        expect(new Comparison(second.desired, kernel.dump(NETWORKS), { prune }).differing(second.delta)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  test("keeps what is in the way of an addition before it", () => {
    const input = exampleInput(IPV4, [], { external: { index: UNDERLAY } });
    const first = plan(input);
    const second = plan({ ...input, leases: [input.own, known(IPV4, 1)] }, first);
    if (second.delta === undefined) throw new Error("one lease came, and yet all was planned anew");
    const kernel = freshKernel();
    converge(kernel, first.desired);
    const index = kernel.link("flannel.1")?.index ?? 0;
    kernel.setForwarding({ index, mac: exampleMac(4, 1), destination: undefined, permanent: true, special: true });
    kernel.addRoute(own(1, { index }), "first");
    kernel.addRoute(own(1, { index: UNDERLAY, gateway: undefined, onlink: false, protocol: 4 }), "first");
    const comparison = new Comparison(second.desired, kernel.dump(NETWORKS), { prune: true });
    expect(comparison.differing(second.delta).map(({ kind }) => kind)).toEqual([
      "neighbour-replace",
      "forwarding-delete",
      "forwarding-replace",
      "route-delete",
      "route-replace",
    ]);
  });
});

const leasesByName = new Map<string, Lease>();

/** A peer's lease, the same object each time. */
function known(families: readonly Family[], n: number): Lease {
  const key = `${families.join()} ${n}`;
  const lease = leasesByName.get(key) ?? exampleLease(families, n);
  leasesByName.set(key, lease);
  return lease;
}
