import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatCount } from "../../src/base/count.ts";

test("as a locale that writes commas has it", () => {
  fc.assert(fc.property(fc.nat(), (count) => formatCount(count) === count.toLocaleString("en")));
  expect(formatCount(5000)).toBe("5,000");
});
