import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { TemporaryFolder } from "./temp.ts";

test("a temporary folder goes with all that is in it", () => {
  let path: string;
  {
    using folder = new TemporaryFolder();
    path = folder.path;
    writeFileSync(folder.at("file"), "content");
    expect(existsSync(path)).toBe(true);
  }
  expect(existsSync(path)).toBe(false);
});

test("two temporary folders are apart", () => {
  using a = new TemporaryFolder();
  using b = new TemporaryFolder();
  expect(a.path).not.toBe(b.path);
});
