import { expect, test } from "bun:test";
import fc from "fast-check";
import { type Plan, plan } from "../../src/desired/plan.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { DUAL, exampleInput, exampleLease, examplePublicIP, exampleSubnet } from "./examples.ts";

/** Node n in one of its versions: another MAC, another node's address given up, no VXLAN at all, or gone. */
function version(n: number, state: number): Lease | undefined {
  if (state === 0) return undefined;
  if (state === 4) return exampleLease(DUAL, n, { backendType: "host-gw", vteps: {} });
  const other = exampleLease(DUAL, n + 100 * state);
  return exampleLease(
    DUAL,
    n,
    state === 1
      ? {}
      : { vteps: other.vteps, publicIPs: { 4: examplePublicIP(4, n), 6: examplePublicIP(6, n + 100 * state) } },
  );
}

const state = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 1, arbitrary: fc.constant(4) },
);
const steps = fc.array(fc.array(fc.tuple(fc.integer({ min: 1, max: 8 }), state), { maxLength: 3 }), { maxLength: 20 });

test("a plan made from an earlier one is the plan made from scratch, and names all that is different", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const present = new Map<number, Lease>();
      const base = exampleInput(DUAL, []);
      let before: Plan | undefined;
      for (const changes of all) {
        for (const [n, to] of changes) {
          const lease = version(n, to);
          if (lease === undefined) present.delete(n);
          else present.set(n, lease);
        }
        const leases = [base.own, ...present.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
        const next: Plan = plan({ ...base, leases }, before);
        const scratch = plan({ ...base, leases });
        expect(plain(next)).toEqual(plain(scratch));
        if (next.delta !== undefined && before !== undefined) {
          expect(next.delta.from).toBe(before.desired);
          for (const key of different(before.desired.routes, next.desired.routes))
            expect(next.delta.routes.has(key)).toBe(true);
          for (const [i, device] of next.desired.devices.entries()) {
            const old = before.desired.devices[i];
            if (old === undefined) throw new Error("a device is new");
            for (const key of different(old.neighbours, device.neighbours))
              expect(next.delta.neighbours.get(device.name)?.has(key)).toBe(true);
            for (const key of different(old.forwarding, device.forwarding))
              expect(next.delta.forwarding.get(device.name)?.has(key)).toBe(true);
          }
        }
        before = next;
      }
    }),
    { numRuns: 300 },
  );
});

test("few changes are planned by way of what changed; an address that moves from one peer to another stays", () => {
  const base = exampleInput(DUAL, []);
  const [one, two] = [exampleLease(DUAL, 1), exampleLease(DUAL, 2)];
  const before = plan({ ...base, leases: [base.own, one, two] });
  const moved = exampleLease(DUAL, 3, { vteps: one.vteps });
  const after = plan({ ...base, leases: [base.own, two, moved] }, before);
  expect(after.delta).toBeDefined();
  expect(plain(after)).toEqual(plain(plan({ ...base, leases: [base.own, two, moved] })));
  expect(after.desired.routes.has(`${exampleSubnet(4, 1).address}/24`)).toBe(false);
});

function plain({ desired }: Plan): unknown {
  return {
    ...desired,
    routes: new Map([...desired.routes].sort()),
    devices: desired.devices.map((device) => ({
      ...device,
      neighbours: new Map([...device.neighbours].sort()),
      forwarding: new Map([...device.forwarding].sort()),
    })),
  };
}

function different<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): K[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key));
}
