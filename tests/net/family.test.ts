import { expect, test } from "bun:test";
import { type Family, familiesOf, mapFamilies, type PerFamily } from "../../src/net/family.ts";

test("familiesOf names those that have a value, IPv4 first", () => {
  expect(familiesOf({})).toEqual([]);
  expect(familiesOf({ 6: "b" })).toEqual([6]);
  expect(familiesOf({ 6: 0, 4: "" })).toEqual([4, 6]);
});

test("mapFamilies leaves out what is not there and what maps to nothing", () => {
  const seen: Family[] = [];
  const values: PerFamily<number> = { 6: 3, 4: 2 };
  const doubled = mapFamilies(values, (value, family) => {
    seen.push(family);
    return value === 2 ? undefined : 2 * value;
  });
  expect(doubled).toEqual({ 6: 6 });
  expect(Object.keys(doubled)).toEqual(["6"]);
  expect(seen).toEqual([4, 6]);
  expect(mapFamilies<number, number>({}, (value) => value)).toEqual({});
});
