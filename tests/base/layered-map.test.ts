import { expect, test } from "bun:test";
import fc from "fast-check";
import { LayeredMap } from "../../src/base/layered-map.ts";

const keys = fc.integer({ min: 0, max: 40 });
const changes = fc.array(fc.tuple(keys, fc.option(fc.integer(), { nil: undefined })), { maxLength: 30 });

test("behaves as a plain map to which the changes were made", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(keys, fc.integer())), fc.array(changes, { maxLength: 40 }), (first, steps) => {
      const model = new Map(first);
      let map = LayeredMap.of(new Map(first));
      for (const step of steps) {
        const before = { map, entries: new Map(map) };
        map = map.with(new Map(step));
        for (const [key, value] of new Map(step)) {
          if (value === undefined) model.delete(key);
          else model.set(key, value);
        }
        expect(new Map(map)).toEqual(model);
        expect(map.size).toBe(model.size);
        expect(new Set(map.keys())).toEqual(new Set(model.keys()));
        for (let key = 0; key <= 40; key++) {
          expect(map.get(key)).toBe(model.get(key));
          expect(map.has(key)).toBe(model.has(key));
        }
        // The one that it was made from is as it was.
        expect(new Map(before.map)).toEqual(before.entries);
      }
    }),
  );
});

test("many changes are folded into one map, and stay", () => {
  let map = LayeredMap.of<number, number>(new Map());
  for (let number = 0; number < 5_000; number++) map = map.with(new Map([[number, number]]));
  expect(map.size).toBe(5_000);
  expect([...map.values()].sort((a, b) => a - b)).toEqual(Array.from({ length: 5_000 }, (_, number) => number));
});
