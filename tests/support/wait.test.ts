import { expect, test } from "bun:test";
import { eventually } from "./wait.ts";

test("returns the first truthy value, after exceptions and falsy ones", async () => {
  const answers = [
    () => {
      throw new Error("not yet");
    },
    () => 0,
    () => Promise.resolve(7),
  ];
  expect(await eventually(() => answers.shift()?.(), { within: 10_000, what: "a seven" })).toBe(7);
  expect(answers).toHaveLength(0);
});

test("says what was awaited and what the last look saw", async () => {
  const waiting = eventually(() => "", { within: 20, what: "the route is back" });
  await expect(waiting).rejects.toThrow('not within 20 ms: the route is back: the last look saw ""');
});

test("looks once more when the time is over, for a look tells how things were when it began", async () => {
  const until = performance.now() + 100;
  const look = async () => {
    const isThere = performance.now() >= until;
    await Bun.sleep(70);
    return isThere;
  };
  expect(await eventually(look, { within: 100, what: "it is there" })).toBe(true);
});

test("keeps the last exception as its cause", async () => {
  const refusal = new Error("connection refused");
  const look = () => Promise.reject(refusal);
  const error = await eventually(look, { within: 0, what: "an answer" }).catch((error: unknown) => error);
  expect(error).toHaveProperty("message", "not within 0 ms: an answer: connection refused");
  expect(error).toHaveProperty("cause", refusal);
});
