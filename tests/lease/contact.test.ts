import { expect, test } from "bun:test";
import { ContactRecord } from "../../src/lease/contact.ts";

test("loss and return are told once, whichever part finds them; the first part's error counts", () => {
  const record = new ContactRecord(["watch", "call"]);
  const told: (string | undefined)[] = [];
  record.listen((error) => told.push(error?.message));
  expect(record.current).toEqual({});
  record.heard(7);
  record.set({ call: undefined });
  expect(told).toEqual([]);
  record.set({ call: new Error("refused") });
  record.set({ call: new Error("timed out") });
  record.set({ watch: new Error("broken") });
  expect(told).toEqual(["refused"]);
  expect(record.current).toMatchObject({ lastContactAt: 7, error: { message: "broken" } });
  record.set({ watch: undefined });
  expect(record.current.error?.message).toBe("timed out");
  expect(told).toEqual(["refused"]);
  record.set({ call: undefined });
  expect(told).toEqual(["refused", undefined]);
  expect(record.current).toEqual({ lastContactAt: 7 });
  record.set({ call: new Error("again"), watch: undefined });
  expect(told).toEqual(["refused", undefined, "again"]);
});
