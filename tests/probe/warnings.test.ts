import { expect, test } from "bun:test";
import type { Trouble } from "../../src/probe/engine.ts";
import { probeWarnings } from "../../src/status/readiness.ts";

function troubles(count: number): Trouble[] {
  return Array.from({ length: count }, (_, number) => ({
    key: `10.244.${number}.0-24`,
    ...(number === 0 ? {} : { node: `n${number}` }),
    families: [4],
    verdict: "unreachable",
    why: "no answer",
    fix: "see whether it is up",
  }));
}

/** Of a node with 5,000 peers. */
const probes = (count: number) => ({
  troubled: (most: number) => ({ total: count, of: 5_000, first: troubles(count).slice(0, most) }),
});

test("peers that can't be reached are warnings, each by its name, and many of them are one more", () => {
  expect(probeWarnings(undefined)).toEqual([]);
  expect(probeWarnings(probes(0))).toEqual([]);
  expect(probeWarnings(probes(2))).toEqual([
    { condition: "peers", message: "peer 10.244.0.0-24: no answer: see whether it is up" },
    { condition: "peers", message: "peer n1: no answer: see whether it is up" },
  ]);
  const many = probeWarnings(probes(4_000));
  expect(many).toHaveLength(11);
  expect(many[10]?.message).toBe("4000 of 5000 peers are not reachable as they should be, the others like these");
  const problem = "the peers are not probed: open socket: EPERM";
  expect(probeWarnings({ ...probes(0), problem })).toEqual([{ condition: "peers", message: problem }]);
});
