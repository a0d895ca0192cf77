import { describe, expect, test } from "bun:test";
import { isElf, readElf } from "../../scripts/image/elf.ts";
import { program } from "./elf-sample.ts";

describe("an ELF file", () => {
  test("says what it needs", () => {
    expect(readElf(program({ needed: ["libc.so.6", "libm.so.6"] }))).toEqual({
      machine: "x86-64",
      interpreter: "/lib64/loader.so.2",
      needed: ["libc.so.6", "libm.so.6"],
    });
  });

  test("of arm64, that needs nothing", () => {
    const { machine, needed } = readElf(program({ machine: 183, needed: [] }));
    expect({ machine, needed }).toEqual({ machine: "AArch64", needed: [] });
  });

  test.each([
    ["a script", new TextEncoder().encode(`#!/bin/sh\n${" ".repeat(64)}`), "not an ELF file"],
    ["one for another machine", program({ machine: 8 }), "another machine, number 8"],
  ])("%s is refused", (_, bytes, message) => {
    expect(() => readElf(bytes)).toThrow(message);
  });

  test("the Bun that runs this is one", async () => {
    const bytes = await Bun.file(process.execPath).bytes();
    expect(isElf(bytes)).toBe(true);
    const { interpreter, needed } = readElf(bytes);
    expect(interpreter).toMatch(/^\/lib.*\/ld-linux-/);
    expect(needed).toEqual(expect.arrayContaining(["libc.so.6", "libm.so.6"]));
  });
});
