import { expect, test } from "bun:test";
import { Turns } from "../../src/status/turns.ts";

test("so many at a time, the others in their order, also after one that fails; more than may wait are refused", async () => {
  const turns = new Turns(2, 3);
  const ends: { readonly name: number; end(error?: Error): void }[] = [];
  const work = (name: number) => () => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    ends.push({ name, end: (error) => (error === undefined ? resolve(name) : reject(error)) });
    return promise;
  };
  const results = [1, 2, 3, 4, 5].map((name) => turns.take(work(name)));
  const names = () => ends.map(({ name }) => name);
  expect(names()).toEqual([1, 2]);
  await expect(turns.take(work(6))).rejects.toMatchObject({ status: 503 });
  ends[1]?.end(new Error("2 fails"));
  await expect(results[1]).rejects.toThrow("2 fails");
  await Bun.sleep(0);
  expect(names()).toEqual([1, 2, 3]);
  ends[0]?.end();
  ends[2]?.end();
  expect(await Promise.all([results[0], results[2]])).toEqual([1, 3]);
  await Bun.sleep(0);
  expect(names()).toEqual([1, 2, 3, 4, 5]);
  for (const { end } of ends) end();
  await Promise.all([results[3], results[4]]);
  const again = turns.take(work(7));
  expect(names().at(-1)).toBe(7);
  ends.at(-1)?.end();
  expect(await again).toBe(7);
});
