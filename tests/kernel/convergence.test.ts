import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Desired } from "../../src/desired/desired.ts";
import { Comparison } from "../../src/kernel/diff.ts";
import { deviceProblems } from "../../src/kernel/diff-devices.ts";
import { type Operation, placeOf } from "../../src/kernel/operations.ts";
import { NETWORKS } from "../desired/examples.ts";
import { desiredLines, expectDesired, foreignLines } from "./expectations.ts";
import type { FakeKernel } from "./fake-kernel.ts";
import {
  anyBackend,
  anyDesired,
  anyFamilies,
  anyPeers,
  anyStep,
  anyWorld,
  converge,
  desiredFor,
  freshKernel,
} from "./worlds.ts";

const anyOne = anyWorld(20);

const isDelete = ({ kind }: Operation) => kind.endsWith("-delete");
const isLink = ({ kind }: Operation) => kind.startsWith("link-");

/** Whether a foreign device holds the VNI and the port of a desired one. */
function isBlocked(kernel: FakeKernel, desired: Desired): boolean {
  return desired.devices.some((device) =>
    kernel.links.some(
      ({ name, alias, vxlan }) =>
        name !== device.name && alias !== "tartan" && vxlan?.vni === device.vni && vxlan.port === (device.port ?? 8472),
    ),
  );
}

describe("from any state of the kernel", () => {
  test("the desired state is reached in at most four passes, and then there is nothing left to do", () => {
    fc.assert(
      fc.property(anyOne, anyDesired, (world, desired) => {
        const kernel = world.make();
        fc.pre(!isBlocked(kernel, desired));
        const { passes } = converge(kernel, desired, { prune: true }, (operation, refused) => {
          // A deletion may find that something else took its object along.
          if (!isDelete(operation)) expect(refused).toBeUndefined();
        });
        expect(passes).toBeLessThanOrEqual(4);
        expectDesired(kernel, desired);
        const again = kernel.dump(NETWORKS);
        expect(new Comparison(desired, again, { prune: true }).all()).toEqual([]);
        expect(deviceProblems(desired, again)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  test("what is not ours stays as it is", () => {
    fc.assert(
      fc.property(anyOne, anyDesired, (world, desired) => {
        const [kernel, untouched] = [world.make(), world.make()];
        converge(kernel, desired);
        // A device that is made anew, gets another MAC or is set up loses what was on it by the kernel's own rules.
        const survives = (index: number) => {
          const [was, is] = [untouched, kernel].map(({ links }) => links.find((link) => link.index === index));
          return index === 0 || (was !== undefined && is !== undefined && was.mac === is.mac && was.up === is.up);
        };
        expect(foreignLines(kernel, desired, survives)).toEqual(foreignLines(untouched, desired, survives));
      }),
      { numRuns: 500 },
    );
  });

  test("without leave to prune no entry goes, but for one that is in the way of a right one", () => {
    fc.assert(
      fc.property(anyOne, anyDesired, (world, desired) => {
        const { operations } = converge(world.make(), desired, { prune: false });
        const made = new Set(operations.filter((one) => !isDelete(one)).map((one) => Bun.inspect(placeOf(one))));
        for (const operation of operations) {
          // A device and its address are this node's own; a wrong one is in the way.
          if (isLink(operation) || operation.kind === "address-delete" || !isDelete(operation)) continue;
          expect(made).toContain(Bun.inspect(placeOf(operation)));
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("in one pass", () => {
  test("devices come first, then additions, then deletions; a deletion before an addition makes way for it", () => {
    fc.assert(
      fc.property(anyOne, anyDesired, fc.boolean(), (world, desired, prune) => {
        const operations = new Comparison(desired, world.make().dump(NETWORKS), { prune }).all();
        const lastLink = operations.findLastIndex(isLink);
        const lastAdd = operations.findLastIndex((operation) => !isDelete(operation));
        for (const [at, operation] of operations.entries()) {
          if (at <= lastLink) expect(isLink(operation)).toBe(true);
          else if (at < lastAdd && isDelete(operation)) {
            const next = operations.slice(at).find((other) => !isDelete(other));
            expect(next && placeOf(next)).toEqual(placeOf(operation));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("what is right stays right at each moment while peers come, go and change", () => {
    fc.assert(
      fc.property(
        anyFamilies,
        anyBackend,
        anyPeers,
        anyPeers,
        fc.array(
          anyStep.filter(({ kind }) => kind === "entry"),
          { maxLength: 15 },
        ),
        (families, backend, firstPeers, secondPeers, steps) => {
          const kernel = freshKernel();
          converge(kernel, desiredFor(families, firstPeers, { backend }));
          for (const step of steps) step.run(kernel);
          const desired = desiredFor(families, secondPeers, { backend });
          const wanted = Object.values(desiredLines(kernel, desired)).flat();
          const right = () => {
            const lines = new Set(kernel.text().split("\n"));
            return wanted.filter((line) => lines.has(line));
          };
          let known = right();
          const { operations } = converge(kernel, desired, { prune: true }, (operation) => {
            if (isDelete(operation) && "destination" in operation) return;
            const now = right();
            expect(now).toEqual(expect.arrayContaining(known));
            known = now;
          });
          expect(operations.filter(isLink)).toEqual([]);
          expectDesired(kernel, desired);
        },
      ),
      { numRuns: 300 },
    );
  });
});
