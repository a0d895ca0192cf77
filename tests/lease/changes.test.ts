import { expect, test } from "bun:test";
import fc from "fast-check";
import { leaseChanges } from "../../src/lease/changes.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { leaseOf } from "./samples.ts";

const sample = (n: number) => leaseOf(n, `10.244.${n}.0/24`);
const versions = Array.from({ length: 8 }, (_, n) => [sample(n), sample(n)] as const);
/** Each lease as one of two objects, or not there; sorted by key. */
const lists = fc
  .tuple(...versions.map(([one, other]) => fc.constantFrom<(Lease | undefined)[]>(one, other, undefined)))
  .map((leases) =>
    leases.filter((lease) => lease !== undefined).toSorted((a, b) => Number(a.key > b.key) - Number(a.key < b.key)),
  );

test("what is in one list and not in the other, but for this node's", () => {
  fc.assert(
    fc.property(lists, lists, fc.nat(7), (before, after, own) => {
      const ownKey = sample(own).key;
      const others = (leases: readonly Lease[], than: readonly Lease[]) =>
        leases.filter((lease) => lease.key !== ownKey && !than.some((other) => other === lease));
      const expected = { gone: others(before, after), come: others(after, before) };
      expect(leaseChanges(before, after, ownKey)).toEqual(expected);
      const number = expected.gone.length + expected.come.length;
      expect(leaseChanges(before, after, ownKey, number)).toEqual(expected);
      if (number > 0) expect(leaseChanges(before, after, ownKey, number - 1)).toBeUndefined();
    }),
  );
});
