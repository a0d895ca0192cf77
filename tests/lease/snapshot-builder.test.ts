import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Lease } from "../../src/lease/lease.ts";
import type { Candidate } from "../../src/lease/records.ts";
import { buildSnapshot } from "../../src/lease/snapshot.ts";
import { SnapshotBuilder } from "../../src/lease/snapshot-builder.ts";
import { address, leaseOf, macOf, NETWORK } from "./samples.ts";

/** One node's lease in one of its versions: a few of them collide with others, a few are no leases at all. */
function version(node: number, state: number): Candidate | undefined {
  const lease = (changes: Partial<Lease>): Candidate => ({
    lease: leaseOf(node, `10.244.${node}.0/24`, { key: `node-${node}`, ...changes }),
    rank: node,
  });
  switch (state) {
    case 0:
      return undefined;
    case 1:
    case 2:
    case 3:
    case 4:
      return lease({ vteps: { 4: { vni: 1, mac: macOf(1000 * state + node) } } });
    case 5:
      return lease({ publicIPs: { 4: address("192.0.2.200") } });
    case 6:
      return lease({ subnets: leaseOf(node, "10.244.128.0/17").subnets });
    case 7:
      return lease({ subnets: leaseOf(node, "10.9.0.0/24").subnets });
    default:
      return { rejected: { key: `node-${node}`, reason: "garbage" } };
  }
}

/** Mostly states without a collision, so that the index is used and left again. */
const state = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 0, max: 4 }) },
  { weight: 1, arbitrary: fc.integer({ min: 5, max: 8 }) },
);
const step = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), state), { maxLength: 4 });

test("gives what building from scratch gives, after any changes", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const builder = new SnapshotBuilder(NETWORK);
      const present = new Map<number, Candidate>();
      for (const [at, changes] of steps.entries()) {
        for (const [node, to] of changes) {
          const candidate = version(node, to);
          if (candidate === undefined) present.delete(node);
          else present.set(node, candidate);
        }
        const candidates = [...present.values()];
        const snapshot = builder.build(candidates, at);
        expect(snapshot).toEqual(buildSnapshot(candidates, NETWORK, at));
        // The plan tells by identity what changed.
        for (const lease of snapshot.leases) {
          expect(candidates.some((candidate) => candidate.rejected === undefined && candidate.lease === lease)).toBe(
            true,
          );
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("a snapshot that was given out stays as it is", () => {
  const builder = new SnapshotBuilder(NETWORK);
  const [one, two] = [version(1, 1), version(2, 1)];
  if (!one || !two) throw new Error("no candidates");
  const first = builder.build([one, two], 0);
  const keys = first.leases.map(({ key }) => key);
  builder.build([one], 1);
  expect(first.leases.map(({ key }) => key)).toEqual(keys);
});
