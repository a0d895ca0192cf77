import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { TemporaryFolder } from "../support/temp.ts";

const RUNNER = join(import.meta.dir, "..", "run.ts");

/** Runs the runner on one test file. @returns its exit code and the lines on stdout from the result on */
async function runOn(source: string) {
  using folder = new TemporaryFolder();
  const file = folder.at("sample.test.ts");
  await Bun.write(file, `import { describe, expect, test } from "bun:test";\n${source}`);
  const child = Bun.spawn([process.execPath, RUNNER, file], { stdout: "pipe", stderr: "ignore" });
  const [stdout, code] = await Promise.all([child.stdout.text(), child.exited]);
  const result = stdout.slice(stdout.indexOf("== result\n")).trimEnd().split("\n").slice(1);
  return { code, result: result.map((line) => line.replace(/^failed: \S*sample\.test\.ts/, "failed: sample.test.ts")) };
}

describe("the test runner", () => {
  test("counts what passed", async () => {
    const source = `test.each([1, 2, 3])("%d", () => {});`;
    expect(await runOn(source)).toEqual({ code: 0, result: ["3 passed, 0 failed"] });
  });

  test("names what failed and counts what was skipped", async () => {
    const source = `
      describe("a group", () => { test("is wrong", () => { expect(1).toBe(2); }); });
      test("is right", () => {});
      test.skip("is left out", () => {});`;
    const result = ["failed: sample.test.ts: a group > is wrong", "1 passed, 1 failed, 1 skipped"];
    expect(await runOn(source)).toEqual({ code: 1, result });
  });

  test("counts a crash as a failure", async () => {
    const source = `
      test("is right", () => {});
      test("crashes", () => { process.kill(process.pid, "SIGSEGV"); return new Promise(() => {}); });`;
    const { code, result } = await runOn(source);
    expect({ code, last: result.at(-1) }).toEqual({ code: 1, last: "0 passed, 1 failed" });
    expect(result[0]).toStartWith("failed: bun test: SIGSEGV before it wrote its report");
  });

  test("counts a file that can't be loaded as a failure", async () => {
    const source = `import { absent } from "./absent.ts"; test("is right", () => { absent(); });`;
    const result = ["failed: sample.test.ts: no test ran", "0 passed, 1 failed"];
    expect(await runOn(source)).toEqual({ code: 1, result });
  });

  test("counts an error outside of the tests as a failure", async () => {
    const source = `import { afterAll } from "bun:test"; test("is right", () => {}); afterAll(() => { throw new Error("late"); });`;
    const { code, result } = await runOn(source);
    expect({ code, last: result.at(-1) }).toEqual({ code: 1, last: "1 passed, 1 failed" });
  });

  test("says that no file matches", async () => {
    const child = Bun.spawn([process.execPath, RUNNER, "no-such-file"], { stdout: "pipe", stderr: "inherit" });
    expect(await child.stdout.text()).toEndWith(
      "failed: no test file under tests/ has in its path: no-such-file\n0 passed, 1 failed\n",
    );
    expect(await child.exited).toBe(1);
  });
});
