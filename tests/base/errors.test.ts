import { expect, test } from "bun:test";
import { describeError, UsageError } from "../../src/base/errors.ts";

const chain = (...texts: string[]) =>
  texts.reduceRight<Error | undefined>((cause, text) => new Error(text, cause && { cause }), undefined);

test.each<[string, unknown]>([
  ["no route", new Error("no route")],
  ["write subnet.env: open /run/x: EROFS", chain("write subnet.env", "open /run/x", "EROFS")],
  // A wrapper that quotes its cause does not say it twice.
  ["write subnet.env: EROFS", chain("write subnet.env: EROFS", "EROFS")],
  ["two lines", new Error("two\n  lines")],
  ["TypeError", new TypeError()],
  ["refused: a text", new Error("refused", { cause: "a text" })],
  ["refused", new Error("refused", { cause: null })],
  ["a text", "a text"],
  ["17", 17],
])("is told as %j", (text, error) => {
  expect(describeError(error)).toBe(text);
});

test("a chain of causes that bites its tail has an end", () => {
  const first = new Error("first");
  first.cause = new Error("second", { cause: first });
  expect(describeError(first)).toBe("first: second");
});

test("a usage error is known by its name", () => {
  expect(new UsageError("--iface").name).toBe("UsageError");
});
