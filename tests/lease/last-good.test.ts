import { expect, test } from "bun:test";
import { LastGood } from "../../src/lease/last-good.ts";
import { decodeRecord, type LeaseRecord } from "../../src/lease/records.ts";
import { encodeAttributes } from "../../src/lease/wire.ts";
import { attributesOf } from "./samples.ts";

const OWN = "10.244.1.0-24";
const recordOf = (n: number, changes: Partial<LeaseRecord> = {}): LeaseRecord => ({
  key: `10.244.${n}.0-24`,
  value: encodeAttributes(attributesOf(n)),
  rank: n,
  ...changes,
});

/** Each step is all that there is at one moment. @returns after each the good keys, and the rejected ones in brackets */
function run(...steps: readonly (readonly LeaseRecord[])[]): string[] {
  const lastGood = new LastGood((key) => key === OWN);
  return steps.map((records) =>
    lastGood
      .complete(records.map(decodeRecord))
      .map(({ rejected, ...good }) => (rejected ? `(${rejected.key})` : "lease" in good ? good.lease.key : ""))
      .sort()
      .join(" "),
  );
}

const bad = (n: number, changes: Partial<LeaseRecord> = {}) => recordOf(n, { value: "{", ...changes });
const [two, three] = ["10.244.2.0-24", "10.244.3.0-24"];

test("a record that turns bad stays as it was, however long, and what it says when it is good again counts", () => {
  expect(run([recordOf(2), recordOf(3)], [bad(2), recordOf(3)], [bad(2, { value: "" })], [recordOf(2)])).toEqual([
    `${two} ${three}`,
    `(${two}) ${two} ${three}`,
    `(${two}) ${two}`,
    two,
  ]);
});

test("one that never was good is only rejected", () => {
  expect(run([bad(2), recordOf(3)])).toEqual([`(${two}) ${three}`]);
});

test("one that was deleted is forgotten, also when another takes its place", () => {
  expect(run([recordOf(2), recordOf(3)], [recordOf(3)], [bad(2, { rank: 9 }), recordOf(3)])).toEqual([
    `${two} ${three}`,
    three,
    `(${two}) ${three}`,
  ]);
  expect(run([recordOf(2)], [bad(2, { rank: 9 })])).toEqual([two, `(${two})`]);
  expect(run([recordOf(2), bad(3)], [bad(3)], [bad(2), bad(3)]).at(-1)).toBe(`(${two}) (${three})`);
});

test("our own is never borne", () => {
  expect(run([recordOf(1)], [bad(1)])).toEqual([OWN, `(${OWN})`]);
});
