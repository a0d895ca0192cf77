import { expect, test } from "bun:test";
import { parseReport } from "./junit.ts";
import { TemporaryFolder } from "./temp.ts";

const SUITE = `
  import { beforeAll, describe, test } from "bun:test";
  describe("outer <a>", () => {
    describe("inner", () => {
      test("says \\"x\\" & 'y'", () => {});
      test("fails", () => { throw new Error("<testcase name='none'><skipped />"); });
    });
  });
  test("hangs", () => new Promise(() => {}), 10);
  test.skip("left out", () => {});
  test.todo("to come");
  describe.skip("group", () => {
    beforeAll(() => {});
    test("left out too", () => {});
  });
`;

test("reads the report that bun test writes", async () => {
  using folder = new TemporaryFolder();
  await Bun.write(folder.at("some.test.ts"), SUITE);
  const report = ["--reporter=junit", `--reporter-outfile=${folder.at("report.xml")}`];
  const command = [process.execPath, "test", ...report, "./some.test.ts"];
  expect(await Bun.spawn(command, { cwd: folder.path, stdout: "ignore", stderr: "ignore" }).exited).toBe(1);
  const file = "some.test.ts";
  expect(parseReport(await Bun.file(folder.at("report.xml")).text())).toEqual([
    { file, name: `outer <a> > inner > says "x" & 'y'`, outcome: "passed" },
    { file, name: "outer <a> > inner > fails", outcome: "failed" },
    { file, name: "hangs", outcome: "failed" },
    { file, name: "left out", outcome: "skipped" },
    { file, name: "to come", outcome: "skipped" },
    { file, name: "group > left out too", outcome: "skipped" },
  ]);
});

test("finds no test in an empty report", () => {
  expect(parseReport('<?xml version="1.0"?><testsuites name="bun test" tests="0"></testsuites>')).toEqual([]);
});
